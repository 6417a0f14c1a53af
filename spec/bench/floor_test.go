package bench_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"code.cloudfoundry.org/lager/v3"
	"github.com/pivotal-cf/brokerapi/v10"
	"github.com/pivotal-cf/brokerapi/v10/domain"
	"github.com/pivotal-cf/brokerapi/v10/domain/apiresponses"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/serviceforge/serviceforge/store"
)

// floor is a broker that could not do less: brokerapi, and one transaction of
// the size of ours for a provision (performance.md §1d).
type floor struct {
	brokerapi.ServiceBroker
	services []domain.Service
	client   *clientv3.Client
	record   string
}

func (f *floor) Services(context.Context) ([]domain.Service, error) { return f.services, nil }

func (f *floor) LastOperation(context.Context, string, domain.PollDetails) (domain.LastOperation, error) {
	return domain.LastOperation{State: domain.InProgress, Description: "The infrastructure is at work"}, nil
}

func (f *floor) Provision(ctx context.Context, id string, _ domain.ProvisionDetails, _ bool) (domain.ProvisionedServiceSpec, error) {
	key := "/floor/v1/instances/" + id
	answer, err := f.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, f.record), clientv3.OpDelete("/floor/v1/tombstones/"+id)).
		Else(clientv3.OpGet(key)).Commit()
	if err == nil && !answer.Succeeded {
		err = apiresponses.ErrInstanceAlreadyExists
	}
	return domain.ProvisionedServiceSpec{IsAsync: true, OperationData: id}, err
}

// floorMain runs a floor with an etcd like ours.
func floorMain(args []string) int {
	flags := flag.NewFlagSet("floor", flag.ContinueOnError)
	state := flags.String("state", "", "folder")
	menu := flags.String("catalog", "", "file with the catalog to serve")
	size := flags.Int("record", 1900, "size of a record")
	outside := flags.String("etcd", "", "URL of an etcd outside (default: built in)")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	f := &floor{record: strings.Repeat("r", *size)}
	text, err := os.ReadFile(*menu)
	var catalog struct {
		Services []domain.Service `json:"services"`
	}
	if err = errors.Join(err, json.Unmarshal(text, &catalog)); err != nil {
		return complain(err)
	}
	f.services = catalog.Services
	if *outside != "" {
		if f.client, err = store.Dial(store.Cluster{Endpoints: []string{*outside}}); err != nil {
			return complain(err)
		}
		defer f.client.Close()
	} else {
		etcd, err := store.StartEmbedded(*state, "")
		if err != nil {
			return complain(err)
		}
		defer etcd.Close()
		f.client = etcd.Client()
	}
	logger := lager.NewLogger("floor")
	return serve(brokerapi.New(f, logger, brokerapi.BrokerCredentials{Username: "cc", Password: "secret"}), http.NotFoundHandler())
}

// bareMain runs nothing but our etcd: the floor of a restart, and the etcd
// outside where a URL is given beside the folder.
func bareMain(args []string) int {
	etcd, err := store.StartEmbedded(args[0], strings.Join(args[1:], ""))
	if err != nil {
		return complain(err)
	}
	defer etcd.Close()
	return serve(http.NotFoundHandler(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() }))
}

// etcdOf is where ours keeps its etcd.
func etcdOf(state string) string { return filepath.Join(state, "etcd") }
