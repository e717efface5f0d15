package render

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/testkit"
)

// golden is the question of one case: a model, and which types its answer shows.
type golden struct {
	model func() *ir.Gateway
	types []string
}

var goldens = map[string]golden{
	"one-api": {types: []string{ListenerType, ScopeType, ClusterType}, model: func() *ir.Gateway {
		s := settings()
		u := service(s, "orders", "http", "orders.internal", 8080)
		return gateway(s, []*ir.Upstream{u}, listen("0.0.0.0:8081", api(s, "orders", "/orders", u)))
	}},
	"chain-order": {types: []string{ScopeType}, model: func() *ir.Gateway {
		return oneAPI(bind("inject", "first", pair{"x-a", "1"}), bind("inject", "second", pair{"x-b", "2"}),
			bind("auth", "maybe", pair{"alice", aliceHash}, method("POST|PUT")), bind("inject", "last", pair{"x-c", "3"}))
	}},
	"answers": {types: []string{ScopeType}, model: func() *ir.Gateway { return oneAPI(bind("answer", "asked", pair{})) }},
	"body": {types: []string{ScopeType}, model: func() *ir.Gateway {
		return oneAPI(bind("inject", "before", pair{"x-a", "1"}), bind("body", "reader", pair{}))
	}},
	"route-fields": {types: []string{ScopeType}, model: func() *ir.Gateway { return oneAPI(bind("timeout", "slow", pair{"", "2m"})) }},
	"shared-cluster": {types: []string{ClusterType}, model: func() *ir.Gateway {
		s := settings()
		return gateway(s, []*ir.Upstream{service(s, "a", "http", "10.1.2.3", 80), service(s, "b", "http", "10.1.2.3", 80), service(s, "c", "h2", "::1", 9090),
			service(s, "d", "http", "10.1.2.3", 80, bind("tls-out", "d-tls", pair{"", ""}))})
	}},
	"upstream-tls": {types: []string{ClusterType, SecretType}, model: func() *ir.Gateway {
		s := settings()
		return gateway(s, []*ir.Upstream{service(s, "default", "https", "a.internal", 443), service(s, "ip", "https", "10.0.0.7", 8443),
			service(s, "alpn", "https", "b.internal", 443, bind("tls-out", "b-tls", pair{"", "h2 http/1.1"})),
			service(s, "skip", "https", "c.internal", 443, bind("tls-out", "c-tls", pair{"skip", "http/1.1"}))})
	}},
	"outbound-filters": {types: []string{ClusterType, SecretType}, model: func() *ir.Gateway {
		s := settings()
		s.MaxConnections, s.MaxRequests = 5, 6
		return gateway(s, []*ir.Upstream{service(s, "keyed", "http", "keyed.internal", 80, bind("credential", "key", pair{"", "s3cr3t"}))})
	}},
	"downstream-tls": {types: []string{SecretType}, model: func() *ir.Gateway {
		g := oneAPI()
		g.Listeners[0].TLS = bind("tls", "port", pair{"CERT", "KEY"})
		return g
	}},
	"settings": {types: []string{ScopeType}, model: func() *ir.Gateway {
		g := oneAPI()
		*g.Settings = ir.Settings{StreamIdle: time.Second, UpstreamIdle: 2 * time.Second, UpstreamResponse: 3 * time.Second, ConnectionIdle: 4 * time.Second,
			EnvoyHeaders: true, RemoveServerHeader: true, ForwardClientCert: "APPEND_FORWARD", ProxyProtocol: true}
		return g
	}},
	"instances": {types: []string{ScopeType}, model: func() *ir.Gateway { return oneAPI(bind("limit", "limit", pair{"n", "5"}, method("GET"))) }},
	"unresolved": {types: []string{ScopeType}, model: func() *ir.Gateway {
		b := bind("auth", "secret", pair{})
		b.Made, b.Own().Unresolved = nil, []string{"PASSWORD"}
		return oneAPI(b)
	}},
}

func oneAPI(bs ...*ir.Binding) *ir.Gateway {
	s := settings()
	u := service(s, "orders", "http", "10.0.0.1", 8080)
	return gateway(s, []*ir.Upstream{u}, listen("127.0.0.1:8081", api(s, "orders", "/orders", u, bs...)))
}

var answerNames = map[string]string{ListenerType: "want/listeners.yaml", ScopeType: "want/scopes.yaml", ClusterType: "want/clusters.yaml", SecretType: "want/secrets.yaml"}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name := range goldens {
		if _, err := os.Stat("testdata/" + name + ".txtar"); err != nil {
			t.Error(err)
		}
	}
	testkit.Run(t, "testdata/*.txtar", func(t *testing.T, c *testkit.Case) {
		q, ok := goldens[c.Name]
		if !ok {
			t.Fatal("no model of this name")
		}
		g := q.model()
		res, l := Render(g, fakes(), Options{Files: "/files"}, nil)
		for _, d := range l {
			t.Error(d)
		}
		again, _ := Render(g, fakes(), Options{Files: "/files"}, nil)
		if ks := again.Changed(res); len(ks) > 0 {
			t.Errorf("rendered twice, different bytes: %v", ks)
		}
		for _, typ := range q.types {
			c.Want(t, answerNames[typ], printAll(t, res, typ))
		}
		if n := len(res.Instances()); n > 0 {
			var names []string
			for k, x := range res.Instances() {
				names = append(names, fmt.Sprintf("%s: %s %s %v\n", k, x.Policy, x.ID, x.Config))
			}
			slices.Sort(names)
			c.Want(t, "want/instances", []byte(strings.Join(names, "")))
		}
	})
}

func printAll(t *testing.T, res *Resources, typ string) []byte {
	t.Helper()
	var b bytes.Buffer
	res.Each(typ, func(x *Resource) {
		m, err := x.Message()
		if err != nil {
			t.Fatal(err)
		}
		y := yamlText(t, Redact(m))
		if b.Len() > 0 {
			b.WriteString("---\n")
		}
		b.Write(y)
	})
	return b.Bytes()
}

func yamlText(t *testing.T, m proto.Message) []byte {
	t.Helper()
	j, err := JSON(m)
	if err != nil {
		t.Fatal(err)
	}
	y, err := Text(j).YAML()
	if err != nil {
		t.Fatal(err)
	}
	return y
}
