package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Load asks over connections that must stay open.
type Load struct {
	Requests atomic.Int64
	Dials    atomic.Int64

	stop     context.CancelFunc
	wait     sync.WaitGroup
	mu       sync.Mutex
	failures []string
}

// Each calls f over and over on n goroutines, with a client of one connection each; an error of f is a failure.
func Each(t testing.TB, n int, f func(client int, c *http.Client) error) *Load {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &Load{stop: stop}
	for i := range n {
		tr := &http.Transport{MaxConnsPerHost: 1, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			l.Dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}}
		c := &http.Client{Transport: tr, Timeout: patience}
		l.wait.Go(func() {
			defer tr.CloseIdleConnections()
			for ctx.Err() == nil {
				l.Requests.Add(1)
				if err := f(i, c); err != nil {
					l.mu.Lock()
					l.failures = append(l.failures, err.Error())
					l.mu.Unlock()
				}
				time.Sleep(3 * time.Millisecond) // the machine has two cores for all of this
			}
		})
	}
	t.Cleanup(l.Stop)
	return l
}

// KeepAlive asks for one address on n connections; every answer must be a 200.
func KeepAlive(t testing.TB, n int, url string) *Load {
	t.Helper()
	return Each(t, n, func(_ int, c *http.Client) error {
		res, err := c.Get(url)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", res.StatusCode)
		}
		_, err = io.Copy(io.Discard, res.Body)
		return err
	})
}

// Stop ends it and waits.
func (l *Load) Stop() {
	l.stop()
	l.wait.Wait()
}

// Failures is how many requests failed so far.
func (l *Load) Failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.failures)
}

// End stops, and wants no failure and as many connections as dials says; negative: any number. It returns how many requests
// there were.
func (l *Load) End(t testing.TB, dials int) int64 {
	t.Helper()
	l.Stop()
	if len(l.failures) > 0 {
		t.Errorf("%d of %d requests failed, the first: %s", len(l.failures), l.Requests.Load(), l.failures[0])
	}
	if n := l.Dials.Load(); dials >= 0 && n != int64(dials) {
		t.Errorf("%d connections were made, want %d: some were closed", n, dials)
	}
	if n := l.Requests.Load(); n < int64(dials) {
		t.Errorf("only %d requests were made", n)
	}
	return l.Requests.Load()
}
