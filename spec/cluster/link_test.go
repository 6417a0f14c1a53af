package cluster_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// link is the way from one process to another. What is sent over a link that
// is cut is neither lost nor refused: it stays on its way until the link is
// mended, as in a network that drops packets.
type link struct {
	target string
	done   chan struct{} // closed at the end of the spec

	mu    sync.Mutex
	open  chan struct{} // closed while bytes may pass
	delay time.Duration // of each piece
}

func newLink(t testing.TB, target string) *link {
	l := &link{target: target, done: make(chan struct{}), open: make(chan struct{})}
	close(l.open)
	t.Cleanup(func() { close(l.done) })
	return l
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

// slow lets each piece of what is sent take a time; 0 = no more.
func (l *link) slow(delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = delay
}

// pass returns when a piece may go on; false = the spec is over.
func (l *link) pass() bool {
	l.mu.Lock()
	open, delay := l.open, l.delay
	l.mu.Unlock()
	if delay > 0 {
		select {
		case <-l.done:
			return false
		case <-time.After(delay): // the slowness is the fault
		}
	}
	select {
	case <-l.done:
		return false
	case <-open:
		return true
	}
}

// carry joins conn, of which head was read already, with the link's target.
func (l *link) carry(conn net.Conn, head []byte) {
	defer conn.Close()
	if !l.pass() {
		return
	}
	other, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer other.Close()
	ended := make(chan struct{}, 2)
	pump := func(to, from net.Conn, head []byte) {
		defer func() { ended <- struct{}{} }()
		buffer := make([]byte, 32<<10)
		n := copy(buffer, head)
		for {
			if n > 0 && !l.pass() {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
			var err error
			if n, err = from.Read(buffer); err != nil {
				return
			}
		}
	}
	go pump(other, conn, head)
	go pump(conn, other, nil)
	select {
	case <-ended:
	case <-l.done:
	}
}

// listen accepts connections until the end of the spec.
func listen(t testing.TB, accept func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go accept(conn)
		}
	}()
	return listener.Addr().String()
}

// listen returns an address that leads over the link.
func (l *link) listen(t testing.TB) (address string) {
	t.Helper()
	return listen(t, func(conn net.Conn) { l.carry(conn, nil) })
}

// listenFor returns an address of a member for its peers. All of them dial the
// same address: the name by which each greets tells whose link it is.
func listenFor(t testing.TB, links map[string]*link) (address string) {
	t.Helper()
	return listen(t, func(conn net.Conn) {
		name, head := greeting(conn)
		if l, ok := links[name]; ok {
			l.carry(conn, head)
			return
		}
		_ = conn.Close()
	})
}

// errGreeted ends a handshake of which only the beginning is wanted.
var errGreeted = errors.New("greeted")

// greeting reads the server's name from a TLS client's first words.
func greeting(conn net.Conn) (name string, head []byte) {
	var read bytes.Buffer
	_ = tls.Server(overheard{conn, io.TeeReader(conn, &read)}, &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			name = hello.ServerName
			return nil, errGreeted
		},
	}).Handshake()
	return name, read.Bytes()
}

// overheard is a connection whose reader is listened to, and that says nothing.
type overheard struct {
	net.Conn
	reader io.Reader
}

func (o overheard) Read(p []byte) (int, error)  { return o.reader.Read(p) }
func (o overheard) Write(p []byte) (int, error) { return len(p), nil }
