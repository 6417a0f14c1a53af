// Package address finds addresses for servers that tests start and that do not
// find one for themselves.
package address

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
)

// Ports of this range are given out: the system gives them to nobody who asks
// for any port, so that they stay free until the server listens. Each process
// has a few to begin with, for packages are tested at the same time.
const (
	first, ports = 10_000, 15_000
	each         = 50
)

var given atomic.Uint32

// Free is an address of 127.0.0.1 on which nobody listens, and which this
// process has given to nobody else.
func Free(t testing.TB) string {
	t.Helper()
	begin := uint32(os.Getpid()) % (ports / each) * each
	var err error
	for range ports {
		address := fmt.Sprintf("127.0.0.1:%d", first+(begin+given.Add(1))%ports)
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatalf("no address is free: %v", err)
	return ""
}
