package store

import (
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A request may be slow to take the answer of its transaction: the watch has
// brought that write then, and the leader may have buried the instance since.
func TestAWriteThatTheWatchHasOvertakenIsNoNews(t *testing.T) {
	v := newView(nil)
	v.apply(Summary{ID: "a", Revision: 3})
	v.remove("a", 4)
	v.take(clientv3.WatchResponse{Header: &pb.ResponseHeader{Revision: 4}})
	v.apply(Summary{ID: "a", Revision: 3})
	if e, there := v.summaries["a"]; there {
		t.Errorf("it came back: %+v", e)
	}
	v.apply(Summary{ID: "a", Revision: 5})
	if _, there := v.summaries["a"]; !there {
		t.Error("a new order under the same id is not known")
	}
}
