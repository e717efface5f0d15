package lint_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/lint"
)

var today = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// api is an API with some routes, by path pattern, in a file of its own.
func api(name string, paths ...string) *ir.API {
	id := diag.Object{Kind: "ApiInstance", Namespace: "default", Name: name}
	at := diag.Range{File: name + ".yaml", Start: diag.Pos{Line: 4, Column: 9}}
	a := &ir.API{Origin: ir.Origin{Object: id, Range: at}, Address: diag.Range{File: name + ".yaml", Start: diag.Pos{Line: 6, Column: 12}}}
	for _, p := range paths {
		r := &ir.Route{Origin: a.Origin}
		if p != "" {
			r.Rules = []ir.Match{{Path: pattern(p)}}
		}
		a.Routes = append(a.Routes, r)
	}
	return a
}

func pattern(text string) ir.Pattern {
	return ir.Pattern{Text: text, Range: diag.Range{File: "p.yaml", Start: diag.Pos{Line: 9, Column: 1}}}
}

func guard(policy string, g ir.Guard, paths ...string) *ir.Binding {
	b := &ir.Binding{Policy: policy, Guard: g, Origin: ir.Origin{Object: diag.Object{Kind: "PolicyBinding", Namespace: "default", Name: policy}}}
	for _, p := range paths {
		b.Rules = append(b.Rules, ir.Match{Path: pattern(p)})
	}
	return b
}

func listener(addr string, apis ...*ir.API) *ir.Listener {
	return &ir.Listener{Addr: netip.MustParseAddrPort(addr), APIs: apis}
}

func with(a *ir.API, bs ...*ir.Binding) *ir.API {
	a.Bindings = bs
	return a
}

func check(o lint.Options, g *ir.Gateway) string {
	o.Today, o.Asked = today, func(diag.Code) bool { return true }
	var b strings.Builder
	for _, d := range lint.Check(g, o) {
		fmt.Fprintln(&b, d)
	}
	return b.String()
}

func TestCheck(t *testing.T) {
	t.Parallel()
	auth := func(paths ...string) *ir.Binding { return guard("basic", ir.Authenticates, paths...) }
	mutual := listener("0.0.0.0:8443", api("a", ""))
	mutual.TLS = guard("tls", ir.Authenticates)
	secure := listener("0.0.0.0:8443", with(api("a", ""), auth()))
	secure.TLS = guard("tls", ir.GuardNone)
	gappy := api("gappy", "")
	gappy.Gaps = true
	var many []*ir.API
	for i := range 601 {
		many = append(many, with(api(fmt.Sprintf("api-%03d", i), ""), auth()))
	}
	crowd := listener("0.0.0.0:8443", many...)
	crowd.TLS = guard("tls", ir.GuardNone)
	header := auth()
	hosted := auth()
	hosted.Rules = []ir.Match{{Host: pattern(`api\.example\.org`)}}
	hostedAPI := api("a", "/x")
	hostedAPI.Routes[0].Rules = []ir.Match{{Host: pattern(`api\.example\.org`), Path: pattern("/.*")}}
	header.Rules = []ir.Match{{Headers: []ir.HeaderPattern{{Name: "x-check", Pattern: pattern(".*")}}}}

	for name, c := range map[string]struct {
		listeners []*ir.Listener
		upstreams []*ir.Upstream
		options   lint.Options
		want      string
	}{
		"nobody asks: one note": {listeners: []*ir.Listener{listener("0.0.0.0:8081", api("b", ""), api("a", ""))},
			want: "a.yaml:6:12: note: ApiInstance \"a\" and 1 more on port 8081 asks nobody who they are [lint/open-api]\n"},
		"the one that was forgotten": {listeners: []*ir.Listener{listener("0.0.0.0:8081", with(api("a", ""), auth()), with(api("b", ""), auth()), api("c", ""))},
			want: "a.yaml:6:12: note: ApiInstance \"a\" and 1 more asks for credentials on port 8081, which does not encrypt [lint/clear-credentials]\n" +
				"c.yaml:6:12: warning: ApiInstance \"c\" asks nobody who they are; 2 of 3 APIs on port 8081 do [lint/open-api]\n"},
		"loopback":                    {listeners: []*ir.Listener{listener("127.0.0.1:8081", api("a", ""))}},
		"client certificates":         {listeners: []*ir.Listener{mutual}},
		"encrypted":                   {listeners: []*ir.Listener{secure}},
		"something is wrong with it":  {listeners: []*ir.Listener{listener("0.0.0.0:8081", gappy)}},
		"no routes, nothing to reach": {listeners: []*ir.Listener{listener("0.0.0.0:8081", api("a"))}},
		"past the slash": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), auth("/admin/.*")))},
			want: "p.yaml:9:1: warning: policy \"basic\" runs for /admin/.*, but \"/admin\" gets past it to the upstream [lint/bypass]\n"},
		"past without the slash": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), auth("/admin")))},
			want: "p.yaml:9:1: warning: policy \"basic\" runs for /admin, but \"/admin/\" gets past it to the upstream [lint/bypass]\n"},
		"past one of several": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), auth("/(admin|ops)/.*", "/admin")))},
			want: "p.yaml:9:1: warning: policy \"basic\" runs for /(admin|ops)/.*, but \"/ops\" gets past it to the upstream [lint/bypass]\n"},
		"past alternatives in no group": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), auth("/admin|/ops")))},
			want: "p.yaml:9:1: warning: policy \"basic\" runs for /admin|/ops, but \"/admin/\" gets past it to the upstream [lint/bypass]\n"},
		"not past: a limit of one path":  {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), guard("limit", ir.Restricts, "/admin")))}},
		"not past: with and without":     {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), auth("/admin/?", "/ops(?:/.*)?")))}},
		"not past: the last slash alone": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), auth("/")))}},
		"not past: what is not one page": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), auth("/v[0-9]+", "/a.*")))}},
		"a host decides": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), hosted))},
			want: "p.yaml:9:1: warning: policy \"basic\" runs only for requests to the host api\\.example\\.org, and a client can write another one [lint/bypass]\n"},
		"not past: the routes ask for that host":        {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(hostedAPI, hosted))}},
		"not past: another binding has the other hosts": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), hosted, guard("basic", ir.Authenticates, ".*")))}},
		"not past: no route takes it":                   {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", "/admin/.*"), auth("/admin/.*")))}},
		"not past: another rule takes it":               {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), auth("/admin/.*", "/admin")))}},
		"not past: another guard":                       {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), auth("/admin/.*"), guard("jwt", ir.Authenticates)))}},
		"no guard":                                      {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), guard("header-injection-flex", ir.GuardNone, "/admin/.*")))}},
		"a header decides": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), header))},
			want: "p.yaml:9:1: warning: policy \"basic\" runs only for requests with the header \"x-check\", which a client can leave out [lint/bypass]\n"},
		"never runs": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", "/orders(/.*)?", "/bills/.*"), guard("header-injection-flex", ir.GuardNone, "/order/.*", "/bill")))},
			want: "p.yaml:9:1: warning: policy \"header-injection-flex\" never runs: no route of ApiInstance \"a\" takes a path that fits /order/.* [lint/idle-policy]\n"},
		"runs for one rule": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", "/orders(/.*)?"), guard("x", ir.GuardNone, "/order/.*", "/orders/[0-9]+")))}},
		"too many": {listeners: []*ir.Listener{crowd},
			want: "api-600.yaml:4:9: warning: this gateway has 601 APIs; release 1.14 of the product supports 600 [lint/too-many-apis]\n"},
		"too many for nobody": {listeners: []*ir.Listener{crowd}, options: lint.Options{Target: ir.Release{Major: 1, Minor: 5}}},
		"nothing is shared": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), &ir.Binding{Policy: "rate-limiting-flex", Shares: true, Rare: &ir.Rare{PolicyAt: pattern("").Range}}))},
			want: "p.yaml:9:1: warning: policy \"rate-limiting-flex\" is to be shared by all replicas, and no Configuration has a sharedStorage [lint/no-shared-storage]\n"},
		"nobody takes spans": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), &ir.Binding{Policy: "tracing-flex", Rare: &ir.Rare{PolicyAt: pattern("").Range}}))},
			want: "p.yaml:9:1: warning: policy \"tracing-flex\" traces nothing: no Configuration has a tracing.provider that takes the spans [lint/no-tracing-provider]\n"},
		"spans that others may take": {options: lint.Options{Partial: true}, listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), &ir.Binding{Policy: "tracing-flex"}))}},
		"set twice": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), sets("x", "y"), sets("z", "x")))},
			want: "p.yaml:9:1: warning: two policies of ApiInstance \"a\" set the x of every request [lint/set-twice]\n"},
		"set by one, or for some": {listeners: []*ir.Listener{listener("127.0.0.1:8081", with(api("a", ""), sets("x", "x"), sets("y"))), listener("127.0.0.1:8082", with(api("b", ""), sets("x")))}},
		"a loop": {listeners: []*ir.Listener{listener("0.0.0.0:8081", gappy)}, upstreams: []*ir.Upstream{{Host: "localhost", Port: 8081, Address: pattern("").Range}, {Host: "localhost", Port: 8082}, {Host: "orders", Port: 8081}},
			want: "p.yaml:9:1: warning: the upstream localhost:8081 is this gateway itself, so requests may go round in circles [lint/loop]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := check(c.options, &ir.Gateway{Settings: &ir.Settings{}, Listeners: c.listeners, Upstreams: c.upstreams})
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		from, until time.Duration // from today
		want        string
	}{
		"good":    {-day, 31 * day, ""},
		"soon":    {-day, 29 * day, "warning: certificate.crt ends on 2026-06-30 [lint/certificate-ends-soon]"},
		"expired": {-9 * day, -day, "error: certificate.crt ended on 2026-05-31: whoever checks it refuses the connection [lint/expired-certificate]"},
		"early":   {day, 90 * day, "warning: certificate.crt is not valid before 2026-06-02 [lint/early-certificate]"},
	} {
		b := guard("tls", ir.Authenticates)
		b.Own().Validity = []ir.Validity{{What: "certificate.crt", At: pattern("").Range, From: today.Add(c.from), Until: today.Add(c.until)}}
		for _, g := range []*ir.Gateway{{Listeners: []*ir.Listener{{Addr: netip.MustParseAddrPort("0.0.0.0:8443"), TLS: b}}}, {Upstreams: []*ir.Upstream{{Bindings: []*ir.Binding{b}}}}} {
			got := strings.TrimSuffix(strings.TrimPrefix(check(lint.Options{}, g), "p.yaml:9:1: "), "\n")
			if got != c.want {
				t.Errorf("%s: got %s, want %s", name, got, c.want)
			}
		}
	}
}

func TestBytePatterns(t *testing.T) {
	t.Parallel()
	a := api("a", "")
	a.Routes[0].Rules = []ir.Match{{Host: pattern(`bücher\.example`), Method: pattern("GET")}}
	want := "p.yaml:9:1: warning: host pattern \"bücher\\\\.example\" has characters beyond ASCII, which the gateway matches byte by byte [lint/byte-pattern]\n"
	if d := cmp.Diff(want, check(lint.Options{}, &ir.Gateway{Listeners: []*ir.Listener{listener("127.0.0.1:1", a)}})); d != "" {
		t.Error(d)
	}
}

// TestHolds: within the period that Holds tells, and nowhere around it, Check says the same as today.
func TestHolds(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	var bs []*ir.Binding
	for i, c := range []struct{ from, until time.Duration }{{-400 * day, 400 * day}, {-3 * day, 20 * day}, {5 * day, 90 * day}, {-9 * day, -2 * day}} {
		b := guard("tls", ir.Authenticates)
		b.Own().Validity = []ir.Validity{{What: "certificate.crt", At: pattern("").Range, From: today.Add(c.from), Until: today.Add(c.until)}}
		b.Own().Validity[0].At.Start.Line += int32(i)
		bs = append(bs, b)
	}
	g := &ir.Gateway{Upstreams: []*ir.Upstream{{Bindings: bs}}}
	said := func(at time.Time) string { return fmt.Sprint(lint.Check(g, lint.Options{Today: at})) }
	changes := 0
	for at := today.Add(-420 * day); at.Before(today.Add(420 * day)); {
		from, until := lint.Holds(g, lint.Options{Today: at})
		for _, other := range []time.Time{from, until.Add(-1), at.Add(until.Sub(at) / 2)} {
			if !from.IsZero() && !until.IsZero() && said(other) != said(at) {
				t.Errorf("%s and %s differ, but %s to %s is one period", other, at, from, until)
			}
		}
		if until.IsZero() {
			break
		}
		if !until.After(at) {
			t.Fatalf("%s holds until %s", at, until)
		}
		if said(until) != said(at) {
			changes++
		}
		at = until
	}
	if changes != 10 { // three for each certificate, but two that end soon before they begin
		t.Errorf("%d changes", changes)
	}
	if from, until := lint.Holds(&ir.Gateway{}, lint.Options{Today: today}); !from.IsZero() || !until.IsZero() {
		t.Errorf("without certificates: %s to %s", from, until)
	}
}

// setter is a configuration that sets what it holds.
type setter []string

func (s setter) Sets() []string { return s }

func sets(what ...string) *ir.Binding {
	return &ir.Binding{Policy: "p", Made: setter(what), Sets: true, Rare: &ir.Rare{PolicyAt: pattern("").Range}}
}
