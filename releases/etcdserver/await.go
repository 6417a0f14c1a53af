package etcdserver

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// healthPatience is how long a member may take until it serves: it may have to
// join a cluster, whose members must have been connected for five seconds.
const healthPatience = time.Minute

// awaitHealth returns once the member of that configuration serves: it has its
// vote, the cluster has a leader and answers. A full database is no reason to
// wait: the update that waits may be what enlarges it.
func awaitHealth(ctx context.Context, configFile string) error {
	config, err := embed.ConfigFromFile(configFile)
	if err != nil {
		return fmt.Errorf("%s: %w", configFile, err)
	}
	if config.PeerTLSInfo.ServerName, err = memberName(config.PeerTLSInfo.CertFile); err != nil {
		return err
	}
	settings, err := config.PeerTLSInfo.ClientConfig()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true}}
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	url := config.AdvertiseClientUrls[0].String() + "/health?exclude=NOSPACE"
	for {
		err := healthy(ctx, client, url)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the member does not serve: %w", err)
		}
	}
}

func healthy(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s", response.Status)
	}
	return nil
}
