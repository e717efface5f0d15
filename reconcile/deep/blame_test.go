package deep_test

import (
	"slices"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/reconcile/deep"
	"github.com/flexgw/flexgw/reconcile/envoy"
)

// blamed has one of everything that Envoy may not take.
var blamed = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: api}
spec:
  address: https://127.0.0.1:8443/base
  services:
    up:
      address: http://up.example.org:80
      routes: [{rules: [{path: "/plain"}, {path: "/odd/.*", methods: GET, headers: {x-a: "value.*"}}]}]
  policies:
    - policyRef: {name: tls}
      config: {value: CRT, other: KEY}
    - policyRef: {name: header}
      rules: [{path: "/when/.*"}]
      config: {value: fine}
    - policyRef: {name: lua}
      config: {value: "function envoy_on_request(h) end"}
` + serviceOut("https://out.example.org:443") + boundOut("tls", "tls-outbound", `{list: [AES]}`) + boundOut("lua", "lua-out", `{value: "function envoy_on_response(h) end"}`)

// TestWhoIsToBlame: each piece that is refused leads to what the user wrote of it.
func TestWhoIsToBlame(t *testing.T) {
	t.Parallel()
	cluster := func(name string, bad func(*clusterv3.Cluster) bool) func(*bootstrapv3.Bootstrap) bool {
		return func(b *bootstrapv3.Bootstrap) bool {
			return slices.ContainsFunc(b.StaticResources.Clusters, func(c *clusterv3.Cluster) bool { return c.Name == name && bad(c) })
		}
	}
	listener := func(bad func(*listenerv3.Listener) bool) func(*bootstrapv3.Bootstrap) bool {
		return func(b *bootstrapv3.Bootstrap) bool {
			return slices.ContainsFunc(b.StaticResources.Listeners, func(l *listenerv3.Listener) bool { return l.Name == "port-8443" && bad(l) })
		}
	}
	has := func(text string) func(*bootstrapv3.Bootstrap) bool {
		return func(b *bootstrapv3.Bootstrap) bool {
			data, err := proto.Marshal(b)
			return err != nil || strings.Contains(string(data), text)
		}
	}
	for _, c := range []struct {
		name, words string
		bad         func(*bootstrapv3.Bootstrap) bool
		want        string
	}{
		{"a path", "bad: /odd/.*", has("/odd"), "9:50: error: Envoy refuses a route of ApiInstance default/api: bad: /odd/.*"},
		{"a header", "bad: value.*", has("value."), "9:90: error: Envoy refuses a route of ApiInstance default/api: bad: value.*"},
		{"a route, but not what in it", "no", has("/odd"), "9:17: error: Envoy refuses a route of ApiInstance default/api: no"},
		{"a condition", "bad: /when/.*", has("/when"), "14:22: error: Envoy refuses policy \"header\": bad: /when/.*"},
		{"a policy, but not what in it", "no", has("/when"), "13:25: error: Envoy refuses policy \"header\": no"},
		{"a value", "cannot read [string \"function envoy_on_request(h) end\"]: no", has("envoy_on_request"), "17:23: error: Envoy refuses policy \"lua\": cannot read"},
		{"a port", "no", listener(func(l *listenerv3.Listener) bool { return l.PerConnectionBufferLimitBytes != nil }), "5:12: error: Envoy refuses port 8443: no"},
		{"the TLS of a port", "no", listener(func(l *listenerv3.Listener) bool { return l.FilterChains[0].TransportSocket != nil }), "11:25: error: Envoy refuses policy \"tls\": no"},
		{"a service of an API", "no", cluster("http:up.example.org:80", func(c *clusterv3.Cluster) bool { return c.ConnectTimeout != nil }), `8:16: error: Envoy refuses service "up" of ApiInstance default/api: no`},
		{"a service", "no", cluster("out.default.svc", func(c *clusterv3.Cluster) bool { return c.ConnectTimeout != nil }), "22:17: error: Envoy refuses Service default/out: no"},
		{"the TLS of a service", "no", cluster("out.default.svc", func(c *clusterv3.Cluster) bool { return c.TransportSocket != nil }), "29:21: error: Envoy refuses policy \"tls-outbound\": no"},
		{"a policy of a service", "no", has("envoy_on_response"), "37:21: error: Envoy refuses policy \"lua-out\": no"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x, set := trial(t, blamed)
			k := &critic{words: func(data []byte) error {
				b := &bootstrapv3.Bootstrap{}
				if err := proto.Unmarshal(data, b); err != nil {
					return err
				}
				if c.bad(b) {
					return &envoy.RefusedError{Message: c.words}
				}
				return nil
			}}
			v, err := deep.Judge(t.Context(), x, deep.Options{Ask: k.ask})
			if got := said(v, x, set); err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "gateway.yaml:"+c.want) {
				t.Errorf("%v, got %q, want gateway.yaml:%s", err, got, c.want)
			}
		})
	}
}
