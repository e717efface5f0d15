package render

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/schema/ir"
)

func trialOf(t *testing.T, g *ir.Gateway, o Options) *Trial {
	t.Helper()
	r, l := Render(g, fakes(), o, nil)
	if r == nil {
		t.Fatal(l)
	}
	return NewTrial(g, fakes(), r)
}

func bootstrapOf(t *testing.T, f Form, err error) *bootstrapv3.Bootstrap {
	t.Helper()
	b := &bootstrapv3.Bootstrap{}
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(f.Data, b); err != nil {
		t.Fatal(err)
	}
	if f.Clusters != len(b.StaticResources.Clusters) || f.Listeners != len(b.StaticResources.Listeners) {
		t.Errorf("%d clusters, %d listeners: counted %d and %d", len(b.StaticResources.Clusters), len(b.StaticResources.Listeners), f.Clusters, f.Listeners)
	}
	return b
}

// TestTrialNeedsNothing: no name is left to resolve, no file to read or to write, no authority of a host.
func TestTrialNeedsNothing(t *testing.T) {
	t.Parallel()
	s := settings()
	u := service(s, "secure", "https", "secure.internal", 443)
	g := gateway(s, []*ir.Upstream{u, service(s, "plain", "h2", "plain.internal", 80)},
		listen("0.0.0.0:8081", api(s, "a", "/a", u, bind("script", "s", pair{"", "x"}), bind("auth", "auth", pair{"alice", "x"}))))
	x := trialOf(t, g, Options{Files: "/nowhere/files", SystemCA: "/nowhere/ca.pem", UsageLog: "/nowhere/usage.log"})
	f, err := x.Whole()
	j, err2 := JSON(bootstrapOf(t, f, err))
	if err2 != nil {
		t.Fatal(err2)
	}
	for _, bad := range []string{"/nowhere", "filename", `"secure.internal"`, "envoy.clusters.dns", "STRICT_DNS", "configSource", "sdsConfig", "ads\""} {
		for line := range strings.Lines(string(j)) {
			// SNI, SAN and Host are texts for others, and resolve nothing; so is the name of an endpoint.
			if strings.Contains(line, bad) && !strings.Contains(line, "sni") && !strings.Contains(line, "exact") && !strings.Contains(line, "hostname") && !strings.Contains(line, "host_rewrite") {
				t.Errorf("%s in %s", bad, strings.TrimSpace(line))
			}
		}
	}
	if !strings.Contains(string(j), `"path": "`+trialLog+`"`) || strings.Count(string(j), `"address": "127.0.0.1"`) != 2 {
		t.Errorf("%s", j)
	}
	again, err := trialOf(t, g, Options{Files: "/nowhere/files", SystemCA: "/elsewhere.pem", UsageLog: "/elsewhere.log"}).Whole()
	if err != nil || !bytes.Equal(f.Data, again.Data) {
		t.Errorf("where files are changes what is asked: %v", err)
	}
}

// TestTrialParts: over any gateway, some of the parts make a configuration with which nothing is wrong, and all of them leave
// out nothing.
func TestTrialParts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		w := &world{Rand: rand.New(rand.NewPCG(seed, 7)), settings: settings(), ports: map[uint16][]*ir.API{}}
		w.ups = []*ir.Upstream{w.upstream(), w.upstream()}
		for range 40 {
			w.step()
		}
		x := trialOf(t, w.gateway(), Options{Files: "/files", SystemCA: "/ca.pem"})
		parts, err := x.Parts()
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(parts); i++ {
			if slices.Contains(parts[:i], parts[i]) {
				t.Errorf("seed %d: %+v stands twice", seed, parts[i])
			}
		}
		for _, some := range [][]Part{nil, parts, pick(w.Rand, parts), pick(w.Rand, parts), pick(w.Rand, parts)} {
			f, err := x.Some(some)
			b := bootstrapOf(t, f, err)
			validThrough(t, b)
			closed(t, b)
			g, err := x.Some(slices.Clone(some))
			if err != nil || !bytes.Equal(f.Data, g.Data) {
				t.Errorf("seed %d: other bytes the second time, %v", seed, err)
			}
		}
		all, err := x.Some(parts)
		if err != nil {
			t.Fatal(err)
		}
		text := string(all.Data)
		for _, p := range parts {
			if name := p.Name; name != "" && !strings.Contains(text, name) || !strings.Contains(text, p.Key.Name) {
				t.Errorf("seed %d: %+v is left out", seed, p)
			}
		}
	}
}

// validThrough applies the API's constraints through every Any.
func validThrough(t *testing.T, m proto.Message) {
	t.Helper()
	if err := validate(m); err != nil {
		t.Errorf("%s: %v", m.ProtoReflect().Descriptor().FullName(), err)
	}
	eachAny(m.ProtoReflect(), func(a *anypb.Any) {
		in, err := unpack(a)
		if err != nil {
			t.Fatal(err)
		}
		validThrough(t, in)
	})
}

func pick(r *rand.Rand, parts []Part) []Part {
	var some []Part
	for _, p := range parts {
		if r.IntN(3) == 0 {
			some = append(some, p)
		}
	}
	return some
}

// closed holds that what is named is there.
func closed(t *testing.T, b *bootstrapv3.Bootstrap) {
	t.Helper()
	there := map[Key]bool{}
	for _, c := range b.StaticResources.Clusters {
		if k := (Key{ClusterType, c.Name}); there[k] {
			t.Errorf("two clusters are %s", c.Name)
		}
		there[Key{ClusterType, c.Name}] = true
	}
	for _, s := range b.StaticResources.Secrets {
		there[Key{SecretType, s.Name}] = true
	}
	if err := refsOf(b.ProtoReflect(), func(k Key) {
		if !there[k] {
			t.Errorf("%v is named, and not there", k)
		}
	}); err != nil {
		t.Error(err)
	}
}

// TestTrialOfASharedScope: APIs that share a scope are taken apart too, each with its own chain.
func TestTrialOfASharedScope(t *testing.T) {
	t.Parallel()
	s := settings()
	u := service(s, "up", "http", "up.internal", 80)
	var apis []*ir.API
	for i, base := range childrenOf("/a/b/c/d", 3) {
		name := string(rune('p' + i))
		apis = append(apis, api(s, name, base, u, bind("inject", "inject-"+name, pair{"x-" + name, "1"}), bind("auth", "auth-"+name, pair{"alice", "x"}, method("POST"))))
	}
	x := trialOf(t, gateway(s, []*ir.Upstream{u}, listen("0.0.0.0:8081", apis...)), Options{})
	parts, err := x.Parts()
	if err != nil {
		t.Fatal(err)
	}
	scopes := map[string]bool{}
	for _, p := range parts {
		if p.TypeURL != ScopeType {
			continue
		}
		scopes[p.Key.Name] = true
		f, err := x.Some([]Part{p})
		b := bootstrapOf(t, f, err)
		validThrough(t, b)
		for _, other := range []string{"default/p", "default/q", "default/r"} {
			if got := strings.Contains(string(f.Data), other+"/"); got != (other == p.API) {
				t.Errorf("%+v: %s is in it: %v", p, other, got)
			}
		}
		want := "ApiInstance " + p.API
		if p.Kind == FilterPart {
			want = "PolicyBinding " + strings.Replace(p.Name, ".", "/", 1)
		}
		if got := x.Blame(p, "no").Object.String(); got != want {
			t.Errorf("%+v: blames %s, want %s", p, got, want)
		}
	}
	if len(scopes) != 1 || len(parts) < 3*4 {
		t.Errorf("%d scopes, %d parts: %v", len(scopes), len(parts), parts)
	}
}

// TestTrialOfAPortWithoutAPIs: when all APIs of a port are in error, Envoy has nothing else to say of the port.
func TestTrialOfAPortWithoutAPIs(t *testing.T) {
	t.Parallel()
	s := settings()
	x := trialOf(t, gateway(s, nil, listen("0.0.0.0:8081")), Options{})
	f, err := x.Whole()
	b := bootstrapOf(t, f, err)
	managers := 0
	for _, l := range b.StaticResources.Listeners {
		for _, chain := range l.FilterChains {
			h := &hcmv3.HttpConnectionManager{}
			if err := chain.Filters[0].GetTypedConfig().UnmarshalTo(h); err != nil {
				t.Fatal(err)
			}
			if h.GetScopedRoutes() == nil {
				continue
			}
			managers++
			if err := h.ValidateAll(); err != nil {
				t.Errorf("listener %s: %v", l.Name, err)
			}
		}
	}
	if managers == 0 {
		t.Error("no listener")
	}
}
