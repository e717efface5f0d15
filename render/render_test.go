package render

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// odd is a policy type whose effect the test writes.
func odd(name string, place ir.Place, effect func(in policy.Input) policy.Effect) policy.Type {
	return policy.Define(policy.Spec[pair]{Name: name, Place: place,
		Effect: func(_ *pair, in policy.Input) (policy.Effect, error) { return effect(in), nil }})
}

func secretOf(name, text string) *tlsv3.Secret {
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{Secret: inlineText(text)}}}
}

func TestDiagnostics(t *testing.T) {
	t.Parallel()
	oneFilter := func(f policy.Filter) func(policy.Input) policy.Effect {
		return func(policy.Input) policy.Effect { return policy.Effect{Filters: []policy.Filter{f}} }
	}
	types := append(fakes(),
		odd("no-config", 0, oneFilter(policy.Filter{})),
		odd("router", 0, oneFilter(policy.Filter{Config: &routerv3.Router{}})),
		odd("bad-header", 0, oneFilter(policy.Filter{Config: setHeader("", "x")})),
		odd("names-route", 0, func(policy.Input) policy.Effect { return policy.Effect{Route: &routev3.Route{Name: "mine"}} }),
		odd("no-cluster", 0, func(in policy.Input) policy.Effect {
			return policy.Effect{Route: &routev3.Route{Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				RequestMirrorPolicies: []*routev3.RouteAction_RequestMirrorPolicy{{Cluster: in.ID + ".mirror"}}}}}}
		}),
		odd("no-file", 0, oneFilter(policy.Filter{Config: &luav3.Lua{DefaultSourceCode: &corev3.DataSource{
			Specifier: &corev3.DataSource_Filename{Filename: "/files/gone.lua"}}}})),
		odd("unknown-any", 0, func(policy.Input) policy.Effect {
			return policy.Effect{Clusters: []*clusterv3.Cluster{{Name: "c", Metadata: &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{"x": {TypeUrl: "type.googleapis.com/no.Such"}}}}}}
		}),
		odd("takes-a-name", 0, func(policy.Input) policy.Effect {
			return policy.Effect{Clusters: []*clusterv3.Cluster{{Name: "http:10.0.0.1:8080"}}}
		}),
		odd("no-sds-source", 0, func(policy.Input) policy.Effect {
			a := mustAny(&tlsv3.UpstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: "gone"}}}})
			return policy.Effect{Clusters: []*clusterv3.Cluster{{Name: "c", TransportSocket: &corev3.TransportSocket{Name: "t", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: a}}}}}
		}))
	for _, c := range []struct {
		name  string
		binds []*ir.Binding
		want  []string // code and a part of the summary
	}{
		{"unknown type", []*ir.Binding{bind("nobody", "b", pair{})}, []string{`render/unknown-policy no policy type is named "nobody"`}},
		{"two timeouts", []*ir.Binding{bind("timeout", "a", pair{"", "1s"}), bind("timeout", "b", pair{"", "2s"})},
			[]string{"render/conflict PolicyBinding default/b sets route.timeout of the API's routes, which PolicyBinding default/a sets"}},
		{"two equal timeouts", []*ir.Binding{bind("timeout", "a", pair{"", "1s"}), bind("timeout", "b", pair{"", "1s"})}, nil},
		{"rules on route fields", []*ir.Binding{bind("timeout", "a", pair{"", "1s"}, method("GET"))}, []string{`render/not-conditional policy "timeout" cannot have rules`}},
		{"rules on the first", []*ir.Binding{bind("cors", "a", pair{"", "x"}, method("GET"))}, []string{`render/not-conditional policy "cors" cannot have rules: it always runs first`}},
		{"rules judged by the filter itself", []*ir.Binding{bind("limit", "a", pair{}, method("GET"))}, nil},
		{"no configuration", []*ir.Binding{bind("no-config", "a", pair{})}, []string{"render/internal flexgw made something that Envoy would not take: policy no-config"}},
		{"a router in a chain", []*ir.Binding{bind("router", "a", pair{})}, []string{"render/internal flexgw made something that Envoy would not take: 8081/orders: a Router cannot stand in a chain"}},
		{"a constraint broken inside an Any", []*ir.Binding{bind("bad-header", "a", pair{})}, []string{"render/internal flexgw made something that Envoy would not take: envoy.extensions.filters.http.header_mutation.v3.HeaderMutation: invalid"}},
		{"a route renamed", []*ir.Binding{bind("names-route", "a", pair{})}, []string{"render/internal flexgw made something that Envoy would not take: policy names-route sets name of routes"}},
		{"a cluster that is not", []*ir.Binding{bind("no-cluster", "a", pair{})}, []string{`render/internal flexgw made something that Envoy would not take: ScopedRouteConfiguration 8081/orders names Cluster "default.a.mirror", which there is not`}},
		{"a file that is not", []*ir.Binding{bind("no-file", "a", pair{})}, []string{"render/internal flexgw made something that Envoy would not take: file /files/gone.lua is named, but not listed"}},
		{"an unknown message", []*ir.Binding{bind("unknown-any", "a", pair{})}, []string{`render/internal flexgw made something that Envoy would not take: unknown message type "type.googleapis.com/no.Such"`}},
		{"a name taken twice", []*ir.Binding{bind("takes-a-name", "a", pair{})}, []string{"render/internal flexgw made something that Envoy would not take: two resources are the Cluster http:10.0.0.1:8080"}},
		{"a secret from nowhere", []*ir.Binding{bind("no-sds-source", "a", pair{})}, []string{`render/internal flexgw made something that Envoy would not take: secret "gone" has no sds_config`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			res, l := Render(oneAPI(c.binds...), types, Options{Files: "/files"}, nil)
			if (res == nil) != (len(c.want) > 0) {
				t.Errorf("resources: %v", res)
			}
			expect(t, l, c.want)
			_, l = Render(oneAPI(c.binds...), types, Options{Files: "/files", Judge: true}, nil)
			expect(t, l, c.want)
		})
	}
}

func expect(t *testing.T, l diag.List, want []string) {
	t.Helper()
	if len(l) != len(want) {
		t.Fatalf("%d diagnostics, want %d: %v", len(l), len(want), l)
	}
	for i, d := range l {
		if got := string(d.Code) + " " + d.Summary; !strings.HasPrefix(got, want[i]) {
			t.Errorf("got  %s\nwant %s", got, want[i])
		}
		if d.Subject.IsZero() || d.Object.IsZero() {
			t.Errorf("%s names no place", d)
		}
	}
}

// TestDiagnosticsNameWhatIsDeclared names a policy that stands inline by the object in which it stands.
func TestDiagnosticsNameWhatIsDeclared(t *testing.T) {
	t.Parallel()
	owner := place("ApiInstance", "orders", 4).Object
	inline := func(name, timeout string, n int, rules ...ir.Match) *ir.Binding {
		b := bind(name, fmt.Sprintf("orders-%s-%d", name, n), pair{"", timeout}, rules...)
		b.Origin.Of = &owner
		return b
	}
	for _, c := range []struct {
		binds []*ir.Binding
		want  string
	}{
		{[]*ir.Binding{inline("timeout", "1s", 1), inline("timeout", "2s", 12)},
			`render/conflict policy "timeout" of ApiInstance default/orders sets route.timeout of the API's routes, which policy "timeout" of ApiInstance default/orders sets`},
		{[]*ir.Binding{inline("cors", "", 1, method("GET"))}, `render/not-conditional policy "cors" cannot have rules`},
		{[]*ir.Binding{inline("nobody", "", 1)}, `render/unknown-policy no policy type is named "nobody"`},
	} {
		_, l := Render(oneAPI(c.binds...), fakes(), Options{Files: "/files"}, nil)
		expect(t, l, []string{c.want})
		if l[0].Object != owner {
			t.Errorf("%s is about %s", l[0], l[0].Object)
		}
	}
}

func mustAny(m proto.Message) *anypb.Any {
	b, err := marshal(m)
	if err != nil {
		panic(err)
	}
	return &anypb.Any{TypeUrl: typePrefix + string(m.ProtoReflect().Descriptor().FullName()), Value: b}
}

func TestOneNameTwoContents(t *testing.T) {
	t.Parallel()
	types := fakeTypes{odd("secret", 0, func(in policy.Input) policy.Effect {
		return policy.Effect{Secrets: []*tlsv3.Secret{secretOf(in.ID, in.API.BasePath)}}
	})}
	s := settings()
	u := service(s, "u", "http", "10.0.0.1", 80)
	b := bind("secret", "shared", pair{})
	_, l := Render(gateway(s, []*ir.Upstream{u}, listen("127.0.0.1:8081", api(s, "a", "/a", u, b), api(s, "b", "/b", u, b))), types, Options{}, nil)
	expect(t, l, []string{`render/conflict PolicyBinding default/shared sets Secret "default.shared"`})
	_, judged := Render(gateway(s, []*ir.Upstream{u}, listen("127.0.0.1:8081", api(s, "a", "/a", u, b), api(s, "b", "/b", u, b))), types, Options{Judge: true}, nil)
	expect(t, judged, []string{`render/conflict PolicyBinding default/shared sets Secret "default.shared"`})
	proofs := &remembered{known: map[Hash]uint64{}, files: map[string]Hash{"gateway.yaml": {1}}}
	apis := []*ir.API{api(s, "a", "/a", u, b), api(s, "b", "/b", u, b)}
	for _, a := range apis {
		a.Routes[0].To[0].Origin = a.Origin
	}
	for range 2 { // each of the two is right by itself
		_, judged = Render(gateway(s, []*ir.Upstream{u}, listen("127.0.0.1:8081", apis...)), types, Options{Judge: true, Proofs: proofs}, nil)
		expect(t, judged, []string{`render/conflict PolicyBinding default/shared sets Secret "default.shared"`})
	}
	if strings.Contains(fmt.Sprint(l), "/a") {
		t.Errorf("the content is shown: %v", l)
	}
}

func TestServiceDiagnostics(t *testing.T) {
	t.Parallel()
	s := settings()
	for _, c := range []struct {
		binds []*ir.Binding
		want  []string
	}{
		{[]*ir.Binding{bind("tls-out", "a", pair{"", "h2"}), bind("tls-out", "b", pair{"", "h2"})}, []string{"render/conflict PolicyBinding default/b sets the TLS context of the Service"}},
		{[]*ir.Binding{bind("credential", "a", pair{}, method("GET"))}, []string{`render/not-conditional policy "credential" cannot have rules: it is bound to a Service`}},
	} {
		_, l := Render(gateway(s, []*ir.Upstream{service(s, "u", "https", "u.internal", 443, c.binds...)}), fakes(), Options{}, nil)
		expect(t, l, c.want)
	}
}

func TestOnePortTwice(t *testing.T) {
	t.Parallel()
	s := settings()
	u := service(s, "u", "http", "10.0.0.1", 80)
	_, l := Render(gateway(s, []*ir.Upstream{u}, listen("127.0.0.1:8081", api(s, "a", "/a", u)), listen("127.0.0.2:8081", api(s, "b", "/b", u))), fakes(), Options{}, nil)
	if len(l) != 1 || l[0].Code != "render/port-twice" {
		t.Errorf("%v", l)
	}
}

func TestMoreSlots(t *testing.T) {
	t.Parallel()
	count := func(n int) (int, diag.List) {
		var bs []*ir.Binding
		for i := range n {
			bs = append(bs, bind("inject", fmt.Sprint("b", i), pair{"x-a", fmt.Sprint(i)}, method("GET")))
		}
		res, l := Render(oneAPI(bs...), fakes(), Options{}, nil)
		if res == nil {
			t.Fatal(l)
		}
		x, _ := res.Get(Key{ListenerType, "port-8081"})
		m, err := x.Message()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := JSON(m)
		return strings.Count(string(b), `"name": "flex.cond.`), l
	}
	for n, slots := range map[int]int{0: 16, 16: 16, 17: 32, 33: 48} {
		got, l := count(n)
		if got != slots {
			t.Errorf("%d conditional filters: %d slots, want %d", n, got, slots)
		}
		if warned := len(l) == 1 && l[0].Code == "render/more-slots" && l[0].Severity == diag.Warning; warned != (slots > 16) {
			t.Errorf("%d conditional filters: %v", n, l)
		}
	}
}

// TestNamesOfTheChain: a binding cannot take the name of a slot or of another filter.
func TestNamesOfTheChain(t *testing.T) {
	t.Parallel()
	own := bind("inject", "chain.0", pair{"x-a", "1"})
	own.Origin.Object.Namespace = "flex"
	res, l := Render(oneAPI(own, bind("inject", "twice", pair{"x-a", "2"}), bind("inject", "twice", pair{"x-a", "3"})), fakes(), Options{}, nil)
	if res == nil {
		t.Fatal(l)
	}
	x, _ := res.Get(Key{ScopeType, "8081/orders"})
	m, _ := x.Message()
	y := yamlText(t, m)
	for _, want := range []string{"- name: _flex.chain.0\n", "- name: default.twice\n", `- name: "default.twice~"`} {
		if !strings.Contains(string(y), want) {
			t.Errorf("no %q in\n%s", want, y)
		}
	}
}

// TestMemo: what is kept has the bytes of what is rendered anew, and what changed is rendered anew.
func TestMemo(t *testing.T) {
	t.Parallel()
	fetched := map[string]string{}
	o := Options{Files: "/files", Got: func(n policy.Need) ([]byte, bool) { s, ok := fetched[n.URL]; return []byte(s), ok }}
	g := many(50)
	scripted := *g.Listeners[0].APIs[7]
	scripted.Bindings = append(scripted.Bindings, bind("script", "lua", pair{"http://keys", ""}))
	g.Listeners[0].APIs[7] = &scripted
	m := &Memo{}
	render := func() *Resources {
		t.Helper()
		warm, l := Render(g, fakes(), o, m)
		cold, _ := Render(g, fakes(), o, nil)
		if len(l) > 0 {
			t.Fatal(l)
		}
		if ks := warm.Changed(cold); len(ks) > 0 {
			t.Fatalf("kept, but stale: %v", ks)
		}
		if d := cmp.Diff(cold.Files(), warm.Files()); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff(cold.Instances(), warm.Instances()); d != "" {
			t.Fatal(d)
		}
		for _, typ := range resourceTypes {
			a, b := cold.list(typ), warm.list(typ)
			for i := range a {
				if d := cmp.Diff(a[i].Origins, b[i].Origins); d != "" {
					t.Fatalf("%s: %s", a[i].Name, d)
				}
			}
		}
		return warm
	}
	last := render()
	step := func(name string, want int, f func()) {
		t.Helper()
		f()
		now := render()
		if ks := now.Changed(last); len(ks) != want {
			t.Errorf("%s: %d changes, want %d: %v", name, len(ks), want, ks)
		}
		last = now
	}
	step("nothing", 0, func() {})
	step("an edit", 1, func() { edit(g, 20, "other") })
	step("what was fetched", 1, func() { fetched["http://keys"] = "v1" })
	step("the same again", 0, func() {})
	step("fetched anew", 1, func() { fetched["http://keys"] = "v2" })
	step("an API gone", 1, func() { remove(g, 3) })
	step("an outbound policy", 2+1, func() { // its own cluster instead of the shared one, and the API that names it
		ups := append([]*ir.Upstream(nil), g.Upstreams...)
		u := *ups[9]
		u.Bindings = []*ir.Binding{bind("tls-out", "out", pair{"skip", ""})}
		for i, a := range g.Listeners[0].APIs {
			if a.Routes[0].To[0].Upstream == ups[9] {
				b, r := *a, *a.Routes[0]
				r.To = []ir.Split{{Upstream: &u, Weight: 100}}
				b.Routes = []*ir.Route{&r}
				replace(g, i, &b)
			}
		}
		ups[9] = &u
		g.Upstreams = ups
	})
	step("settings", 1, func() { s := *g.Settings; s.ProxyProtocol = true; g.Settings = &s })
	step("a metering log", 1, func() { o.UsageLog = "/usage" })
	step("other folder", 1, func() { o.Files = "/elsewhere" })
}

func replace(g *ir.Gateway, i int, a *ir.API) {
	l := *g.Listeners[0]
	l.APIs = append([]*ir.API(nil), l.APIs...)
	l.APIs[i] = a
	g.Listeners = []*ir.Listener{&l}
}

func remove(g *ir.Gateway, i int) {
	l := *g.Listeners[0]
	l.APIs = append(append([]*ir.API(nil), l.APIs[:i]...), l.APIs[i+1:]...)
	g.Listeners = []*ir.Listener{&l}
}

// Wanted names who needs what: the same thing twice when two bindings do, once for one that a selector bound to several APIs.
func TestWanted(t *testing.T) {
	t.Parallel()
	a, b := bind("script", "a", pair{"http://a", ""}), bind("script", "b", pair{"http://a", ""})
	a.Origin.Range.Start.Line, b.Origin.Range.Start.Line = 1, 2
	again := *a
	g := oneAPI(a, b, bind("inject", "i", pair{"x", "y"}), &again)
	var got []string
	for _, w := range Wanted(g, fakes()) {
		got = append(got, fmt.Sprintf("%s %s %s %d", w.Policy, w.URL, w.Binding.Origin.Object.Name, w.Binding.Origin.Range.Start.Line))
	}
	if d := cmp.Diff([]string{"script http://a a 1", "script http://a b 2"}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestNeeds(t *testing.T) {
	t.Parallel()
	g := oneAPI(bind("script", "b", pair{"http://b", ""}), bind("script", "a", pair{"http://a", ""}), bind("script", "c", pair{"http://b", ""}), bind("inject", "i", pair{"x", "y"}))
	want := []policy.Need{{Policy: "script", Purpose: "script", URL: "http://a"}, {Policy: "script", Purpose: "script", URL: "http://b"}}
	if d := cmp.Diff(want, new(Needy).Needs(g, fakes())); d != "" {
		t.Error(d)
	}
}

func TestLookups(t *testing.T) {
	t.Parallel()
	s := settings()
	u := service(s, "u", "http", "10.0.0.1", 80)
	res, l := Render(gateway(s, []*ir.Upstream{u}, listen("0.0.0.0:9000", api(s, "a", "/a", u)), listen("[::1]:8081", api(s, "b", "/b", u))), fakes(), Options{}, nil)
	if res == nil {
		t.Fatal(l)
	}
	if d := cmp.Diff([]string{"[::1]:8081", "0.0.0.0:9000"}, res.Addresses()); d != "" {
		t.Error(d)
	}
	var names []string
	res.Each(ScopeType, func(x *Resource) { names = append(names, x.Name) })
	if d := cmp.Diff([]string{"8081/b", "9000/a"}, names); d != "" {
		t.Error(d)
	}
	x, ok := res.Get(Key{ScopeType, "9000/a"})
	if !ok || !cmp.Equal(x.Refs, []Key{{ClusterType, "http:10.0.0.1:80"}}) || x.Origins[0].Object.Name != "a" {
		t.Errorf("%+v", x)
	}
	if _, ok := res.Get(Key{ScopeType, "9000"}); ok {
		t.Error("found what is not there")
	}
	if got := res.Changed(nil); len(got) != 5 {
		t.Errorf("everything is %v", got)
	}
}

// TestStaticIsDeterministic also proves that resources are left alone by their static form.
func TestStaticIsDeterministic(t *testing.T) {
	t.Parallel()
	g := oneAPI(bind("script", "lua", pair{"", "text"}))
	res, _ := Render(g, fakes(), Options{Files: "/files"}, nil)
	var last []byte
	for range 3 {
		m, err := Static(res, BootstrapOptions{NodeID: "n"}, true)
		if err != nil {
			t.Fatal(err)
		}
		b, err := marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && string(last) != string(b) {
			t.Error("other bytes")
		}
		last = b
		if j, _ := JSON(m); !strings.Contains(string(j), "function envoy_on_request") || strings.Contains(string(j), "/files/") {
			t.Errorf("the file is not inline:\n%s", j)
		}
	}
	again, _ := Render(g, fakes(), Options{Files: "/files"}, nil)
	if ks := again.Changed(res); len(ks) > 0 {
		t.Error(ks)
	}
}

// TestMemoReplacesServices: a Service that was edited and keeps its cluster has the bytes and origins of a rendering from
// nothing, whichever member of a shared cluster it is, and one that gets another cluster too.
func TestMemoReplacesServices(t *testing.T) {
	t.Parallel()
	s := settings()
	slow := settings()
	slow.UpstreamIdle = 5 * time.Second
	ups := func(edit map[int]*ir.Upstream) []*ir.Upstream {
		list := []*ir.Upstream{service(s, "a", "http", "10.0.0.1", 80), service(s, "b", "http", "10.0.0.1", 80), service(s, "c", "http", "10.0.0.2", 80)}
		for i, u := range edit {
			list[i] = u
		}
		return list
	}
	first := ups(nil)
	m := &Memo{}
	for i, edit := range []map[int]*ir.Upstream{
		nil,
		{0: service(slow, "a", "http", "10.0.0.1", 80)},
		{1: service(slow, "b", "http", "10.0.0.1", 80)},
		{0: service(slow, "a", "http", "10.0.0.1", 80), 1: service(slow, "b", "http", "10.0.0.1", 80), 2: service(slow, "c", "http", "10.0.0.2", 80)},
		{2: service(s, "c", "http", "10.0.0.1", 80)},
		{2: service(s, "c", "https", "10.0.0.2", 443)},
		nil,
	} {
		list := ups(edit)
		for k := range list {
			if edit[k] == nil {
				list[k] = first[k]
			}
		}
		x, y := api(s, "x", "/x", list[0]), api(s, "y", "/y", list[2])
		y.Address = diag.Range{File: "y.yaml", Start: diag.Pos{Line: int32(1 + i/2)}}
		g := gateway(s, list, listen("0.0.0.0:8081", x, y))
		kept, l := Render(g, fakes(), Options{}, m)
		anew, more := Render(g, fakes(), Options{}, nil)
		if kept == nil || anew == nil {
			t.Fatal(l, more)
		}
		if ks := kept.Changed(anew); len(ks) > 0 {
			t.Errorf("edit %d: other bytes of %v", i, ks)
		}
		for _, typ := range resourceTypes {
			kept.Each(typ, func(x *Resource) {
				if y, _ := anew.Get(x.Key); !slices.EqualFunc(x.Origins, y.Origins, func(a, b *ir.Origin) bool { return *a == *b }) {
					t.Errorf("edit %d: %s has other origins: %s", i, x.Name, cmp.Diff(y.Origins, x.Origins))
				}
			})
		}
	}
}
