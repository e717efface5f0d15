package render

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/e2e/ports"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/schema/ir"
)

func TestStatBounds(t *testing.T) {
	t.Parallel()
	bounds := StatBounds()
	patterns := make([]*regexp.Regexp, len(bounds))
	for i, b := range bounds {
		patterns[i] = regexp.MustCompile(`^(?:` + b.regex + `)$`)
	}
	for ms := range 12_000 {
		text, want := strconv.Itoa(ms), bounds[len(bounds)-1].Name
		for _, b := range bounds {
			if b.Seconds > 0 && float64(ms) < b.Seconds*1000 {
				want = b.Name
				break
			}
		}
		for i, b := range bounds {
			if patterns[i].MatchString(text) {
				if b.Name != want {
					t.Fatalf("%d ms is counted below %s, want %s", ms, b.Name, want)
				}
				break
			}
		}
	}
	for _, b := range bounds[:len(bounds)-1] {
		if ms, err := strconv.Atoi(b.Name); err != nil || float64(ms) != b.Seconds*1000 {
			t.Errorf("the bound %s is %v seconds", b.Name, b.Seconds)
		}
	}
}

// What a real Envoy counts for an API, and what not.
func TestParseStat(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Stat{
		"flexgw.requests.api.default/shop.class.2.ms.25":            {Kind: StatRequests, API: "default/shop", Class: "2", Bound: "25"},
		"flexgw.requests.api.default/a.class.1.ms.5.class..ms.none": {Kind: StatRequests, API: "default/a.class.1.ms.5", Bound: "none"},
		"flexgw.requests.api..class.4.ms.more":                      {Kind: StatRequests, Class: "4", Bound: "more"},
		"flexgw.micros.api.default/a.ms.5":                          {Kind: StatMicros, API: "default/a.ms.5"},
		"flexgw.failures.api.team/x.api.y":                          {Kind: StatFailures, API: "team/x.api.y"},
	} {
		if got, ok := ParseStat(name); !ok || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, ok, want)
		}
	}
	for _, name := range []string{"", "flexgw.", "cluster.flexgw-xds.upstream_cx_total", "flexgw.requests.api.default/shop", "flexgw.requests.api.default/shop.ms.5", "flexgw.other.api.x", "xflexgw.micros.api.a"} {
		if got, ok := ParseStat(name); ok {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestStatsOnEnvoy(t *testing.T) {
	t.Parallel()
	envoyPath(t)
	held := make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Hold") != "" {
			close(held)
			<-r.Context().Done()
		}
		wait, _ := time.ParseDuration(r.Header.Get("X-Wait"))
		time.Sleep(wait)
		if status, err := strconv.Atoi(r.Header.Get("X-Status")); err == nil {
			w.WriteHeader(status)
		}
		if r.Header.Get("X-Cut") != "" {
			panic(http.ErrAbortHandler)
		}
		if r.Header.Get("Upgrade") != "" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			_, _ = c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"))
			c.Close()
		}
	}))
	t.Cleanup(up.Close)
	at := netip.MustParseAddrPort(up.Listener.Addr().String())
	addr, dir := ports.Addr(t), t.TempDir()
	s := settings()
	u := service(s, "up", "http", at.Addr().String(), at.Port())
	dead := service(s, "dead", "http", "127.0.0.1", 9) // discard; nobody listens
	g := gateway(s, []*ir.Upstream{u, dead}, listen(addr,
		api(s, "shop", "/shop", u),
		api(s, "closed", "/closed", u, bind("auth", "auth", pair{"alice", aliceHash})),
		api(s, "de.ad", "/dead", dead),
	))
	res, l := Render(g, fakes(), Options{Files: dir}, nil)
	if len(l) > 0 {
		t.Fatal(l)
	}
	m, err := Static(res, BootstrapOptions{NodeID: "n", EnforceSocket: dir + "/e", AdminSocket: dir + "/a"}, true)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, m, addr)
	began := time.Now()
	for _, c := range []struct {
		path    string
		headers []string
	}{
		{"/shop", nil}, {"/shop", nil},
		{"/shop", []string{"X-Status: 404"}},
		{"/shop", []string{"X-Wait: 600ms"}},
		{"/shop", []string{"X-Cut: yes"}},
		{"/shop", []string{"Connection: upgrade", "Upgrade: websocket"}},
		{"/closed", nil},
		{"/dead", nil},
		{"/nobody", nil},
	} {
		request(t, "GET", "http://"+addr+c.path, "", c.headers...)
	}
	abort(t, "http://"+addr+"/shop", held, "X-Hold: yes")
	admin := envoy.NewAdmin(filepath.Join(dir, "a"))
	want := map[string]uint64{
		"requests.api.default/shop.class.1":   1,
		"requests.api.default/shop.class.2":   3,
		"requests.api.default/shop.class.4":   1,
		"requests.api.default/shop.class.5":   1,
		"requests.api.default/shop.class.":    1,
		"requests.api.default/closed.class.4": 1, // a filter answered
		"requests.api.default/de.ad.class.5":  1,
		"requests.api..class.4":               1, // no API
		"failures.api.default/shop":           1, // cut; a websocket that its upstream ends is none
		"failures.api.default/de.ad":          1,
	}
	var got map[string]uint64
	for late := time.Now().Add(time.Minute); time.Now().Before(late); time.Sleep(50 * time.Millisecond) {
		stats, err := admin.Stats(t.Context(), `^flexgw\.`)
		if err != nil {
			t.Fatal(err)
		}
		if n := stats["flexgw.micros.api.default/shop"]; n < 600_000 || time.Duration(n)*time.Microsecond > 10*time.Since(began) {
			t.Errorf("%d µs in all, %s since the first of ten requests", n, time.Since(began))
		}
		long := uint64(0)
		for _, b := range StatBounds() {
			if b.Seconds > 0.5 || b.Seconds == 0 {
				long += stats["flexgw.requests.api.default/shop.class.2.ms."+b.Name]
			}
		}
		if long == 0 {
			t.Error("no request of more than 500 ms, and one waited for 600")
		}
		got = map[string]uint64{}
		for name, n := range stats {
			name, _, _ = strings.Cut(strings.TrimPrefix(name, StatPrefix+"."), ".ms.")
			if !strings.HasPrefix(name, StatMicros) {
				got[name] += n
			}
		}
		if maps.Equal(got, want) {
			return
		}
	}
	t.Errorf("-want +got\n%s", cmp.Diff(want, got))
}

// abort goes away when the request has come, before there is an answer.
func abort(t *testing.T, url string, came <-chan struct{}, header string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { <-came; cancel() }()
	c := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true}}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	k, v, _ := strings.Cut(header, ": ")
	q.Header.Set(k, v)
	if res, err := c.Do(q); err == nil {
		t.Error(fmt.Errorf("status %d", res.StatusCode))
		res.Body.Close()
	}
}
