// Package chaos sets a real flexgw with a real Envoy upon hard times: what Envoy refuses, edits without end, and kills.
//
// The short form belongs to every run of the tests; `task chaos` runs the long one (CHAOS=long) and prints its figures.
package chaos

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// long is the form that takes hours.
func long() bool { return os.Getenv("CHAOS") == "long" }

var taken sync.Map

// freePort finds a port that nobody listens on and that no other test was given.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if _, used := taken.LoadOrStore(port, true); !used {
			return port
		}
	}
}

// answering is the port of an upstream that answers 200.
func answering(t testing.TB) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	t.Cleanup(s.Close)
	port := s.Listener.Addr().(*net.TCPAddr).Port
	taken.Store(port, true)
	return port
}

// steady asks over connections that must stay open.
type steady struct {
	stop     context.CancelFunc
	wait     sync.WaitGroup
	requests atomic.Int64
	dials    atomic.Int64
	mu       sync.Mutex
	failures []string
}

func (s *steady) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

// each calls f over and over on n goroutines, with a client of one connection each.
func each(t testing.TB, n int, f func(s *steady, client int, c *http.Client)) *steady {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s := &steady{stop: stop}
	for i := range n {
		tr := &http.Transport{MaxConnsPerHost: 1, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			s.dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}}
		c := &http.Client{Transport: tr, Timeout: 10 * time.Second}
		s.wait.Go(func() {
			defer tr.CloseIdleConnections()
			for ctx.Err() == nil {
				s.requests.Add(1)
				f(s, i, c)
				time.Sleep(3 * time.Millisecond) // the machine has two cores for all of this
			}
		})
	}
	t.Cleanup(func() { stop(); s.wait.Wait() })
	return s
}

// keepAlive asks for one address.
func keepAlive(t testing.TB, n int, url string) *steady {
	t.Helper()
	return each(t, n, func(s *steady, _ int, c *http.Client) {
		res, err := c.Get(url)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode != 200 {
				err = fmt.Errorf("status %d", res.StatusCode)
			}
		}
		if err != nil {
			s.fail("%v", err)
		}
	})
}

// end stops, and wants no failure and no more connections than dials; negative: any number. It returns how many requests
// there were.
func (s *steady) end(t testing.TB, dials int) int64 {
	t.Helper()
	s.stop()
	s.wait.Wait()
	if len(s.failures) > 0 {
		t.Errorf("%d of %d requests failed, the first: %s", len(s.failures), s.requests.Load(), s.failures[0])
	}
	if n := s.dials.Load(); dials >= 0 && n != int64(dials) {
		t.Errorf("%s connections were made, want %d: some were closed", strconv.FormatInt(n, 10), dials)
	}
	return s.requests.Load()
}
