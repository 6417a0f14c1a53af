package etcdserver

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// firstPatience is how long a new member waits for the first one. If that does not come, etcd itself loses about
// as much time, and no more, with members that wait for each other.
const firstPatience = 2 * time.Second

// awaitFirst orders the very first start of a cluster. A new member asks the others, by the order of their peer
// URLs, whether it was a member before; members that start together would all listen, ask, and not yet answer, which
// costs a second for each of the others. So all but the first by that order begin once the first answers.
func awaitFirst(ctx context.Context, config *embed.Config) error {
	if _, err := os.Stat(filepath.Join(config.Dir, "member")); err == nil || !config.IsNewCluster() {
		return nil
	}
	first, err := firstPeer(config)
	if err != nil || first == "" {
		return err
	}
	settings, err := config.PeerTLSInfo.ClientConfig()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: settings, DisableKeepAlives: true}}
	patience, cancel := context.WithTimeout(ctx, firstPatience)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if answers(patience, client, first+"/members") {
			return nil
		}
		select {
		case <-poll.C:
		case <-patience.Done():
			return ctx.Err()
		}
	}
}

// answers says whether the server behind the URL gives any answer. (A listener alone is not enough: etcd shakes
// hands before it serves.)
func answers(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil
}

// firstPeer is the first of all peer URLs; empty if it is this member's.
func firstPeer(config *embed.Config) (string, error) {
	peers, _, err := config.PeerURLsMapAndToken("etcd")
	if err != nil {
		return "", err
	}
	urls := peers.URLs()
	slices.Sort(urls)
	if len(urls) == 0 || slices.Contains(peers[config.Name].StringSlice(), urls[0]) {
		return "", nil
	}
	return urls[0], nil
}
