package bench_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// request writes the n-th request of a load into buffer. Loads are written by
// hand: net/http as the client would cost as much as the servers do.
type request func(buffer []byte, n int) []byte

const head = " HTTP/1.1\r\nHost: bench\r\nX-Broker-API-Version: 2.17\r\nAuthorization: Basic "

var login = base64.StdEncoding.EncodeToString([]byte("cc:secret"))

// get is the same GET every time.
func get(path string) request {
	whole := []byte("GET " + path + head + login + "\r\n\r\n")
	return func(buffer []byte, _ int) []byte { return append(buffer, whole...) }
}

// put orders an instance of the plan under an id that nobody used before.
func put(service, plan, prefix string) request {
	body := fmt.Sprintf(`{"service_id":%q,"plan_id":%q,"organization_guid":"org-guid-here","space_guid":"space-guid-here",`+
		`"context":{"platform":"cloudfoundry","organization_guid":"org-guid-here","space_guid":"space-guid-here"}}`, service, plan)
	rest := []byte("?accepts_incomplete=true" + head + login +
		"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	return func(buffer []byte, n int) []byte {
		buffer = append(buffer, "PUT /v2/service_instances/"+prefix...)
		return append(strconv.AppendInt(buffer, int64(n), 10), rest...)
	}
}

// load is a number of connections that each send one request after the other.
type load struct {
	address string // several are separated by commas: connections take turns
	request request
	want    int // status
	sent    int // requests so far, over all slices
}

// slice is what one stretch of load showed.
type slice struct {
	p50, p99 float64 // seconds
	rate     float64 // per second
	n        int     // answers
}

// run loads the server with c connections for the time.
func (l *load) run(c int, length time.Duration) (slice, error) {
	took := make([][]float64, c)
	errs := make([]error, c)
	begin := time.Now()
	var all sync.WaitGroup
	for i := range c {
		all.Go(func() { took[i], errs[i] = l.connection(i, c, begin.Add(length)) })
	}
	all.Wait()
	elapsed := time.Since(begin).Seconds()
	var every []float64
	most := 0
	for i := range took {
		if errs[i] != nil {
			return slice{}, errs[i]
		}
		every = append(every, took[i]...)
		most = max(most, len(took[i]))
	}
	l.sent += most * c
	return slice{p50: median(every), p99: quantile(every, 0.99), rate: float64(len(every)) / elapsed, n: len(every)}, nil
}

// connection sends every c-th request until the end, at least one.
func (l *load) connection(i, c int, end time.Time) ([]float64, error) {
	addresses := strings.Split(l.address, ",")
	conn, err := net.Dial("tcp", addresses[i%len(addresses)])
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 16<<10)
	var took []float64
	var buffer []byte
	for n := l.sent + i; ; n += c {
		begin := time.Now()
		buffer = l.request(buffer[:0], n)
		if _, err := conn.Write(buffer); err != nil {
			return nil, err
		}
		status, body, err := answer(reader)
		if err != nil {
			return nil, err
		}
		if status != l.want {
			return nil, fmt.Errorf("%s: %d, want %d: %s", bytes.SplitN(buffer, []byte("\r\n"), 2)[0], status, l.want, body)
		}
		took = append(took, time.Since(begin).Seconds())
		if time.Now().After(end) {
			return took, nil
		}
	}
}

// answer reads one answer with a Content-Length or in chunks; the body is nil
// where nobody would look at it.
func answer(r *bufio.Reader) (status int, body []byte, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil || len(line) < 12 {
		return 0, nil, fmt.Errorf("no status line: %w", err)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, err
	}
	length, chunked := 0, false
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	for {
		if chunked {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return 0, nil, err
			}
			size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
			if err != nil {
				return 0, nil, err
			}
			length = int(size) + 2
		}
		if status < 400 {
			_, err = r.Discard(length)
		} else if more := make([]byte, length); err == nil {
			_, err = io.ReadFull(r, more)
			body = append(body, more...)
		}
		if err != nil || !chunked || length == 2 {
			return status, body, err
		}
	}
}
