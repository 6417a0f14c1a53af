package house_test

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// arrows says which of our packages a package may import: CONTRIBUTING.md, "The
// house". Every package has a row; each names only packages of the rows below it.
var arrows = []struct {
	from string
	to   string
}{
	{"cmd/serviceforge", "cmd"},
	{"cmd", "serviceforge broker dashboard admin localbosh localbosh/render localbosh/vm demo config orchestrator orchestrator/bosh orchestrator/director orchestrator/install orchestrator/ownership orchestrator/readiness orchestrator/shelf " +
		"store releases releases/archive releases/authoring releases/boshrelease releases/etcdserver releases/spiff releases/validate users infrastructure_pools catalog"},

	{"broker", "serviceforge catalog orchestrator orchestrator/bindings"},
	{"dashboard", "serviceforge catalog orchestrator"},
	{"admin", "serviceforge catalog orchestrator orchestrator/bindings orchestrator/ownership orchestrator/readiness orchestrator/install releases/archive store"},
	{"demo", ""},
	{"config", "serviceforge"},

	{"orchestrator/bosh", "serviceforge orchestrator/director"},
	{"orchestrator/install", "serviceforge infrastructure_pools orchestrator/director orchestrator/shelf releases releases/archive releases/boshrelease releases/spiff releases/validate store"},
	{"orchestrator", "serviceforge catalog infrastructure_pools orchestrator/bindings orchestrator/director orchestrator/dispatch orchestrator/line orchestrator/ownership " +
		"orchestrator/progress orchestrator/readiness orchestrator/shelf orchestrator/verdict orchestrator/work releases releases/deployed releases/parameters releases/spiff store users"},
	{"orchestrator/bindings", "serviceforge catalog orchestrator/line orchestrator/shelf orchestrator/work releases releases/parameters store users"},
	{"orchestrator/ownership", "serviceforge infrastructure_pools orchestrator/director orchestrator/shelf releases/deployed store"},
	{"orchestrator/readiness", "serviceforge catalog infrastructure_pools orchestrator/director orchestrator/shelf"},
	{"orchestrator/dispatch", "serviceforge infrastructure_pools orchestrator/breaker orchestrator/director orchestrator/line orchestrator/progress orchestrator/work store"},
	{"orchestrator/progress", "serviceforge orchestrator/line orchestrator/work store"},
	{"orchestrator/breaker", "serviceforge orchestrator/director orchestrator/verdict store"},
	{"orchestrator/verdict", "serviceforge orchestrator/director"},
	{"orchestrator/line", ""},
	{"orchestrator/work", "store"},
	{"orchestrator/director", ""},
	{"orchestrator/shelf", "serviceforge catalog releases releases/archive store"},

	{"store", "serviceforge"},
	{"releases/authoring", "serviceforge infrastructure_pools releases releases/archive releases/boshrelease releases/spiff releases/tarball releases/trees releases/yamldoc"},
	{"releases/validate", "serviceforge catalog infrastructure_pools releases releases/archive releases/spiff releases/tarball releases/yamldoc"},
	{"releases", "serviceforge catalog infrastructure_pools users releases/archive releases/deployed releases/parameters releases/secrets releases/spiff releases/trees releases/yamldoc"},
	{"releases/archive", "serviceforge releases/tarball"},
	{"releases/boshrelease", "serviceforge releases/tarball"},
	{"releases/deployed", "serviceforge"},
	{"releases/parameters", "serviceforge releases/trees"},
	{"releases/secrets", "serviceforge releases/trees"},
	{"releases/spiff", "serviceforge releases/trees releases/yamldoc"},
	{"releases/tarball", ""},
	{"releases/trees", "serviceforge"},
	{"releases/yamldoc", "serviceforge"},
	{"releases/etcdserver", ""},
	{"users", "serviceforge"},
	{"infrastructure_pools", "serviceforge catalog"},

	{"catalog", "serviceforge"},
	{"serviceforge", ""},

	{"localbosh", "localbosh/api localbosh/deploy localbosh/tasks localbosh/blobs localbosh/render localbosh/vm localbosh/durable"},
	{"localbosh/api", "localbosh/deploy localbosh/tasks localbosh/blobs localbosh/manifest localbosh/bosherr"},
	{"localbosh/deploy", "localbosh/tasks localbosh/blobs localbosh/render localbosh/vm localbosh/manifest localbosh/bosherr localbosh/durable"},
	{"localbosh/tasks", "localbosh/bosherr localbosh/durable"},
	{"localbosh/blobs", "localbosh/manifest localbosh/bosherr localbosh/durable"},
	{"localbosh/render", ""},
	{"localbosh/vm", "localbosh/monit"},
	{"localbosh/manifest", "localbosh/bosherr"},
	{"localbosh/monit", ""},
	{"localbosh/bosherr", ""},
	{"localbosh/durable", ""},
}

// foreign says which of our packages may import a module, with what is below
// its path. The longest path that fits counts. A module without a row may not
// be imported: a new dependency is a decision, made here.
var foreign = map[string]string{
	"code.cloudfoundry.org/lager":                           "broker",
	"github.com/cloudfoundry/bosh-cli":                      "orchestrator/bosh",
	"github.com/cloudfoundry/bosh-cli/v7/director/template": "releases", // ops files, ((vars))
	"github.com/cppforlife/go-patch":                        "infrastructure_pools releases",
	"github.com/santhosh-tekuri/jsonschema":                 "releases/parameters releases/yamldoc",
	"golang.org/x/text":                                     "releases/yamldoc", // the words of jsonschema's errors
	"github.com/cloudfoundry/bosh-utils":                    "orchestrator/bosh",
	"github.com/cloudfoundry/config-server":                 "localbosh/manifest",
	"github.com/cppforlife/go-semi-semantic":                "localbosh/manifest",
	"github.com/go-chi/chi":                                 "admin broker localbosh/api",
	"github.com/go-viper/mapstructure":                      "config",
	"github.com/hashicorp/golang-lru":                       "admin",
	"github.com/jackc/pgx":                                  "users",
	"github.com/jdxcode/netrc":                              "cmd",
	"github.com/mandelsoft/spiff":                           "releases/spiff",
	"github.com/mattn/go-isatty":                            "cmd",
	"github.com/oklog/ulid":                                 "cmd store",
	"github.com/go-json-experiment/json":                    "broker",
	"github.com/pivotal-cf/brokerapi":                       "broker",
	"github.com/prometheus/client_golang":                   "cmd",
	"github.com/rivo/uniseg":                                "cmd",
	"github.com/schollz/progressbar":                        "cmd",
	"github.com/spf13/cobra":                                "cmd",
	"github.com/spf13/pflag":                                "cmd config",
	"github.com/spf13/viper":                                "cmd config",
	"github.com/tetratelabs/wazero":                         "localbosh/render",
	"github.com/tidwall/gjson":                              "store", // a summary out of a record, without decoding the rest
	"github.com/redis/go-redis":                             "users",
	"go.etcd.io/etcd":                                       "store users demo releases/etcdserver",
	"go.etcd.io/etcd/server":                                "store releases/etcdserver",
	"go.uber.org/zap":                                       "store users demo releases/etcdserver", // the etcd client's logger
	"golang.org/x/crypto":                                   "store releases/secrets",
	"golang.org/x/oauth2":                                   "orchestrator/bosh",
	"golang.org/x/sys":                                      "releases/spiff localbosh/blobs localbosh/deploy localbosh/render localbosh/vm",
	"golang.org/x/time":                                     "admin broker orchestrator/dispatch",
	"google.golang.org/grpc":                                "store users releases/etcdserver",
	"gopkg.in/yaml.v3":                                      "config infrastructure_pools releases releases/authoring releases/boshrelease releases/deployed releases/spiff releases/trees releases/validate releases/yamldoc localbosh/api localbosh/deploy localbosh/manifest localbosh/monit",
}

// pointUp finds arrows that do not point down: imports of non-test code that no
// row allows.
func pointUp(tr *tree) (bad []string) {
	allowed := map[string][]string{}
	for _, row := range arrows {
		allowed[row.from] = strings.Fields(row.to)
	}
	for _, file := range tr.code {
		from := file.folder()
		if from == "" {
			from = "serviceforge"
		}
		if file.isTest() || from == "spec" || strings.HasPrefix(from, "spec/") {
			continue // specs look at the house from outside
		}
		row, known := allowed[from]
		if !known {
			bad = append(bad, tr.at(file.ast.Name, "package %s has no row in the table of spec/house", from))
			continue
		}
		for _, spec := range file.ast.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			ours, isOurs := strings.CutPrefix(name, us)
			ours = strings.TrimPrefix(ours, "/")
			if ours == "" {
				ours = "serviceforge"
			}
			switch {
			case isOurs && !slices.Contains(row, ours):
				bad = append(bad, tr.at(spec, "%s may not import %s", from, ours))
			case !isOurs && strings.Contains(strings.Split(name, "/")[0], ".") && !mayImport(from, name):
				bad = append(bad, tr.at(spec, "%s may not import %s", from, name))
			}
		}
	}
	return bad
}

func mayImport(from, name string) bool {
	for prefix := name; prefix != "."; prefix = path.Dir(prefix) {
		if packages, found := foreign[prefix]; found {
			return slices.Contains(strings.Fields(packages), from)
		}
	}
	return false
}

// rowsUp finds rows of the table itself that allow an arrow to a row above, or
// that are there for nothing.
func rowsUp(tr *tree) (bad []string) {
	rank := map[string]int{}
	for i, row := range arrows {
		rank[row.from] = i
	}
	packages := map[string]bool{}
	for _, file := range tr.code {
		packages[file.folder()] = true
	}
	packages["serviceforge"] = packages[""]
	for i, row := range arrows {
		if !packages[row.from] {
			bad = append(bad, "spec/house has a row for "+row.from+", which is no package")
		}
		for _, to := range strings.Fields(row.to) {
			if below, known := rank[to]; !known || below <= i {
				bad = append(bad, "the row of "+row.from+" allows "+to+", which is not below it")
			}
		}
	}
	for _, module := range slices.Sorted(maps.Keys(foreign)) {
		for from := range strings.FieldsSeq(foreign[module]) {
			if _, known := rank[from]; !known {
				bad = append(bad, "the row of "+module+" allows "+from+", which is no package")
			}
		}
	}
	return bad
}
