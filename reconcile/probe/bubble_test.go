package probe_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flexgw/flexgw/e2e/ports"
	"github.com/flexgw/flexgw/reconcile/probe"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// pipes is a listener whose connections are pipes, so that the clock of a synctest bubble is theirs too.
type pipes chan net.Conn

var pipesAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:8081"))

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return pipesAddr }

// inBubble asks a server that lives on a clock of its own, which stands while anybody works: what took how long is exact.
func inBubble(t *testing.T, serve http.HandlerFunc, f func(t *testing.T, ask func(ctx context.Context, probes ...*ir.Probe) diag.List)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := make(pipes)
		s := &http.Server{Handler: serve}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = s.Serve(p) }()
		f(t, func(ctx context.Context, probes ...*ir.Probe) diag.List {
			return probe.Prober{Now: time.Now, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				select {
				case p <- theirs:
					return ours, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}}.Ask(ctx, port(t, pipesAddr, false, probes...))
		})
		close(p)
		_ = s.Close()
		<-ended
	})
}

// hangs answers nothing before the caller goes.
func hangs(w http.ResponseWriter, r *http.Request) {
	if r.Method == "PRI" { // HTTP/2, as gRPC begins it
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
		return
	}
	if strings.HasSuffix(r.URL.Path, "/slow") {
		_ = http.NewResponseController(w).Flush()
	}
	<-r.Context().Done()
}

// What is said of an answer that does not come in time does not depend on which of two clocks is read first.
func TestAnswersThatDoNotCome(t *testing.T) {
	t.Parallel()
	inBubble(t, hangs, func(t *testing.T, ask func(context.Context, ...*ir.Probe) diag.List) {
		for range 500 {
			for want, p := range map[string]*ir.Probe{
				"GET http://HOST/shop/never had no answer within 50ms":                            {HTTP: get(func(h *ir.ProbeHTTP) { h.Path = "/never" }).HTTP},
				"GET http://HOST/shop/slow answered 200 and broke off: context deadline exceeded": {HTTP: get(func(h *ir.ProbeHTTP) { h.Path, h.Contains = "/slow", "x" }).HTTP},
				"gRPC http://HOST/shop/grpc.health.v1.Health/Check had no answer within 50ms":     check(nil),
			} {
				p.Timeout = 50 * time.Millisecond
				from := time.Now()
				if got := said(ask(t.Context(), p), pipesAddr); got != want || time.Since(from) != p.Timeout {
					t.Fatalf("after %s got  %s\nwant %s", time.Since(from), got, want)
				}
			}
		}
	})
}

// Many probes take little longer than one, and all that fail are told, in order.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int64
	serve := func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(20 * time.Millisecond)
		now.Add(-1)
		w.WriteHeader(http.StatusNotFound)
	}
	inBubble(t, serve, func(t *testing.T, ask func(context.Context, ...*ir.Probe) diag.List) {
		var all []*ir.Probe
		for range 64 {
			all = append(all, get(nil))
		}
		from := time.Now()
		if list := ask(t.Context(), all...); len(list) != 64 {
			t.Errorf("%d failed, want 64", len(list))
		}
		if took := time.Since(from); most.Load() != 16 || took != 80*time.Millisecond {
			t.Errorf("%d at once, and %s for all, want 16 and four turns", most.Load(), took)
		}
	})
}

// One failure is enough to go back: what would be known much later is not waited for.
func TestFirstFailureIsEnough(t *testing.T) {
	t.Parallel()
	serve := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			<-r.Context().Done()
		}
		w.WriteHeader(http.StatusNotFound)
	}
	inBubble(t, serve, func(t *testing.T, ask func(context.Context, ...*ir.Probe) diag.List) {
		slow := get(func(h *ir.ProbeHTTP) { h.Path = "/slow" })
		slow.Timeout, slow.Attempts = time.Minute, 3
		from := time.Now()
		if list := ask(t.Context(), slow, get(nil), get(nil)); len(list) != 2 || time.Since(from) != time.Second {
			t.Errorf("after %s: %v", time.Since(from), list)
		}
	})
}

// When another revision comes, nothing is said of the one before.
func TestEndsWithItsContext(t *testing.T) {
	t.Parallel()
	inBubble(t, hangs, func(t *testing.T, ask func(context.Context, ...*ir.Probe) diag.List) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		from := time.Now()
		if list := ask(ctx, get(nil), get(nil)); list != nil || time.Since(from) != 50*time.Millisecond {
			t.Errorf("%s: %v", time.Since(from), list)
		}
	})
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	at := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(ports.Free(t))))
	if got, want := said(ask(t.Context(), port(t, at, false, get(nil))), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: at.Port}), "GET http://HOST/shop/health found no listener: connect: connection refused"; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}
