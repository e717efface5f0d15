package cli

import (
	"context"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/egress"
	metering "github.com/flexgw/flexgw/reconcile/usage"
)

// TestDeclarationsDoNotHurryUsage: a platform that wants to be left alone is left alone however often declarations change, unless they name
// another way to it.
func TestDeclarationsDoNotHurryUsage(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(srv.Close)
	f := newSigner(t).file(t, time.Now().Add(100*day))
	f.Metering = srv.URL + "/m"
	f.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	log := slog.New(slog.DiscardHandler)
	d := &daemon{log: log, registrar: &registrar{}, egress: egress.New(egress.Options{})}
	l, err := metering.Open(t.TempDir(), metering.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	d.usage = l
	d.deliverUsage()
	d.delivery.Turned = nil
	d.countFor(f)
	if err := l.Count(metering.Position{Turn: 1, Offset: 1}, []metering.Count{{API: "default/a", Hour: time.Now(), N: 1}}); err != nil {
		t.Fatal(err)
	}

	// A Run that is to end at once says its last words, unless it is not the time.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	d.delivery.Run(ended)
	if x := d.delivery.Delivery(); calls.Load() != 0 || x.Reason != metering.Waiting || !strings.Contains(x.Message, "before the first declarations are served") {
		t.Errorf("before anything is served it was called %d times, and is %+v", calls.Load(), x)
	}
	d.usageServed(d.goThrough(egress.Proxy{}, ""))
	for _, c := range []struct {
		other bool
		want  int32
	}{{false, 1}, {false, 1}, {true, 2}, {false, 2}} {
		d.usageServed(c.other)
		d.delivery.Run(ended)
		if got, failures := calls.Load(), d.delivery.Delivery().Failures; got != c.want || failures != 1 {
			t.Fatalf("another way: %v: it was called %d times, want %d; %d failures", c.other, got, c.want, failures)
		}
	}
}

// TestNobodyIsCalledBeforeTheWayIsKnown: declarations may name a proxy. Until they are served neither reports leave nor is the registration renewed,
// and what is named then is the way of both.
func TestNobodyIsCalledBeforeTheWayIsKnown(t *testing.T) {
	t.Parallel()
	d := &daemon{egress: egress.New(egress.Options{}), registrar: &registrar{}, log: slog.New(slog.DiscardHandler), env: Env{Getenv: func(string) (string, bool) { return "", false }}}
	app := &cli.App{Flags: egressFlags(), Action: d.egressOf}
	if err := app.Run([]string{"run"}); err != nil {
		t.Fatal(err)
	}
	if d.wayKnown() {
		t.Error("it is known before anything was read")
	}
	for _, purpose := range []egress.Purpose{egress.Usage, egress.Registration} {
		d.egress.Set(purpose, []egress.Destination{{Host: "a.example.com:443", Why: "the registration"}})
		if res, err := d.egress.HTTPClient(purpose).Get("https://a.example.com/"); err == nil || !strings.Contains(err.Error(), "is not called yet") {
			t.Errorf("%s: %v, %v", purpose, res, err)
		}
	}
	proxy, err := egress.ParseProxy("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	d.goThrough(proxy, "a place")
	for _, purpose := range []egress.Purpose{egress.Usage, egress.Registration} {
		away := (*egress.ProxyError)(nil)
		if res, err := d.egress.HTTPClient(purpose).Get("https://a.example.com/"); !errors.As(err, &away) {
			t.Errorf("%s goes another way: %v, %v", purpose, res, err)
		}
	}
}

// TestAnotherProxyIsAnotherWay, and the same one is none.
func TestAnotherProxyIsAnotherWay(t *testing.T) {
	t.Parallel()
	d := &daemon{egress: egress.New(egress.Options{})}
	d.goThrough(egress.Pending("not yet"), "")
	named := func(text string) egress.Proxy {
		p, err := egress.ParseProxy(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for i, c := range []struct {
		p     egress.Proxy
		other bool
	}{
		{egress.Proxy{}, true}, {egress.Proxy{}, false},
		{named("http://a:b@p.example.com:8888"), true}, {named("http://a:b@P.example.com:8888"), false}, {named("http://a:c@p.example.com:8888"), true},
		{named("http://a:c@p.example.com:8888").Except([]string{"m.example.com"}), true},
	} {
		if got := d.goThrough(c.p, "a place"); got != c.other {
			t.Errorf("%d: another one: %v, want %v", i, got, c.other)
		}
	}
}
