package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Load asks over connections that must stay open.
type Load struct {
	Requests atomic.Int64
	// Ended is how many connections the other side ended, or said in an answer that it will. That is not how many were made beyond the first:
	// net/http itself gives one up when it learns 50 ms late that a request was written.
	Ended atomic.Int64

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
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &watched{Conn: c, l: l}, nil
		}}
		c := &http.Client{Transport: farewells{tr}, Timeout: patience}
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

// watched sees who ends a connection.
type watched struct {
	net.Conn
	l    *Load
	once sync.Once
}

func (w *watched) end() { w.once.Do(func() { w.l.Ended.Add(1) }) }

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil && !errors.Is(err, net.ErrClosed) { // else it was the client
		w.end()
	}
	return n, err
}

// farewells sees answers that say that their connection ends: the client ends it then.
type farewells struct{ *http.Transport }

func (f farewells) RoundTrip(r *http.Request) (*http.Response, error) {
	var on net.Conn
	res, err := f.Transport.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { on = i.Conn }})))
	if w, ok := on.(*watched); ok && err == nil && res.Close {
		w.end()
	}
	return res, err
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

// End stops, and wants no failure, a request at least of each of so many clients, and that nobody ended a connection of theirs; negative:
// connections may end. It returns how many requests there were.
func (l *Load) End(t testing.TB, clients int) int64 {
	t.Helper()
	l.Stop()
	if len(l.failures) > 0 {
		t.Errorf("%d of %d requests failed, the first: %s", len(l.failures), l.Requests.Load(), l.failures[0])
	}
	if n := l.Ended.Load(); clients >= 0 && n > 0 {
		t.Errorf("%d connections of %d clients were ended by the other side", n, clients)
	}
	if n := l.Requests.Load(); n < int64(clients) {
		t.Errorf("only %d requests were made", n)
	}
	return l.Requests.Load()
}
