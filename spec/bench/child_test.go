package bench_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Children of the bench: this test binary again, by its first argument. Each
// ends when its standard input does, so none outlives the bench.
var children = map[string]func(args []string) int{
	"__floor": floorMain,
	"__ours":  oursMain,
	"__bare":  bareMain,
}

// child is a running child; its Control answers what a load cannot tell.
type child struct {
	Address string // of the face under load
	Control string // URL
	b       testing.TB
	command *exec.Cmd
	stdin   io.Closer
	stop    func()
}

// start starts a child and waits until it says that it is ready. ready is the
// time from the start of the process.
func start(b testing.TB, args ...string) (c *child, ready time.Duration) {
	b.Helper()
	program, err := filepath.Abs(os.Args[0])
	must(b, err)
	c = &child{b: b, command: exec.Command(program, args...)}
	c.command.Stderr = os.Stderr
	c.stdin, err = c.command.StdinPipe()
	must(b, err)
	stdout, err := c.command.StdoutPipe()
	must(b, err)
	begin := time.Now()
	must(b, c.command.Start())
	c.stop = sync.OnceFunc(func() {
		_ = c.stdin.Close()
		if err := c.command.Wait(); err != nil {
			b.Errorf("%s: %v", args[0], err)
		}
	})
	b.Cleanup(c.stop)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatalf("%v does not start: %v", args, err)
	}
	ready = time.Since(begin)
	fields := strings.Fields(line)
	c.Address, c.Control = fields[0], "http://"+fields[1]
	return c, ready
}

// serve is what a child does at its end: it serves both faces, says where, and
// returns when its standard input ends.
func serve(face, control http.Handler) int {
	listeners := make([]net.Listener, 2)
	for i, handler := range []http.Handler{face, control} {
		var err error
		if listeners[i], err = listenLow(); err != nil {
			return complain(err)
		}
		go func() { _ = http.Serve(listeners[i], handler) }()
	}
	fmt.Println(listeners[0].Addr(), listeners[1].Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// listenLow listens below 32768: the ephemeral range is the loads'.
func listenLow() (net.Listener, error) {
	var errs []error
	for port := 20000 + os.Getpid()%10000; len(errs) < 100; port++ {
		listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return listener, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, "bench:", err)
	return 1
}

// ask sends a command to the child's control and decodes the answer, if wanted.
func (c *child) ask(command string, into any) {
	c.b.Helper()
	response, err := http.Get(c.Control + command)
	must(c.b, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(c.b, err)
	if response.StatusCode != http.StatusOK {
		c.b.Fatalf("%s: %s", command, text)
	}
	if into != nil {
		must(c.b, json.Unmarshal(text, into))
	}
}

// calls are the director's calls so far, by name.
func (c *child) calls() map[string]int {
	var calls map[string]int
	c.ask("/calls", &calls)
	return calls
}

// syncs reads etcd's own count of WAL syncs.
func (c *child) syncs() float64 {
	var count float64
	c.ask("/syncs", &count)
	return count
}

// cpu is the processor time of the child so far, in seconds. Its own children
// (the renderer) count when they have ended.
func (c *child) cpu() float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.command.Process.Pid))
	must(c.b, err)
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	user, _ := strconv.ParseFloat(string(fields[11]), 64)
	system, _ := strconv.ParseFloat(string(fields[12]), 64)
	return (user + system) / 100 // USER_HZ
}

// anon is the child's memory without what the kernel may drop, in bytes, after
// a garbage collection.
func (c *child) anon() float64 {
	c.ask("/collect", nil)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.command.Process.Pid))
	must(c.b, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			must(c.b, err)
			return kB * 1024
		}
	}
	c.b.Fatal("no RssAnon")
	return 0
}

func must(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
