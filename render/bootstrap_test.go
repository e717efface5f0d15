package render

import (
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/schema/ir"
)

// valid checks every message of m against the constraints of the Envoy API, through every Any.
func valid(t *testing.T, m proto.Message) {
	t.Helper()
	if err := validate(m); err != nil {
		t.Errorf("%s: %v", m.ProtoReflect().Descriptor().FullName(), err)
	}
	w := newWire(newWalker())
	b, err := marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	w.scan(b, w.plan(m.ProtoReflect().Descriptor()))
	for _, f := range w.faults {
		t.Error(f)
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	o := BootstrapOptions{NodeID: "n", XDSSocket: "/run/x", EnforceSocket: "/run/e", AdminSocket: "/run/a", MaxHeapBytes: 1 << 30}
	b := Bootstrap(o)
	valid(t, b)
	one, _ := marshal(b)
	two, _ := marshal(Bootstrap(o))
	if string(one) != string(two) {
		t.Error("other bytes")
	}
	j, err := JSON(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"/reopen_logs"`, `"/certs"`, `"/logging"`, `"mode": 432`, `"re2.max_program_size.error_level": 4294967295`, `"max_interval": "1s"`,
		`"enable_deferred_creation_stats": true`, `"bind_to_port": false`, `"max_heap_size_bytes": "1073741824"`, `"path": "/run/x"`, `"path": "/run/e"`} {
		if !strings.Contains(string(j), want) {
			t.Errorf("no %s", want)
		}
	}
}

// TestAnchorSharesTheSubscription: a listener whose scoped_rds has other bytes than the anchor's never gets a scope.
func TestAnchorSharesTheSubscription(t *testing.T) {
	t.Parallel()
	s := settings()
	u := service(s, "u", "http", "10.0.0.1", 80)
	res, l := Render(gateway(s, []*ir.Upstream{u}, listen("0.0.0.0:8081", api(s, "a", "/a", u)), listen("0.0.0.0:8082", api(s, "b", "", u))), fakes(), Options{}, nil)
	if res == nil {
		t.Fatal(l)
	}
	texts := map[string]bool{}
	note := func(x *listenerv3.Listener) {
		m, err := unpack(x.FilterChains[0].Filters[0].GetTypedConfig())
		if err != nil {
			t.Fatal(err)
		}
		b, err := marshal(m.(*hcmv3.HttpConnectionManager).GetScopedRoutes())
		if err != nil {
			t.Fatal(err)
		}
		texts[string(b)] = true
	}
	note(Bootstrap(BootstrapOptions{}).StaticResources.Listeners[0])
	res.Each(ListenerType, func(x *Resource) {
		m, err := x.Message()
		if err != nil {
			t.Fatal(err)
		}
		note(m.(*listenerv3.Listener))
	})
	if len(texts) != 1 {
		t.Errorf("%d different texts", len(texts))
	}
}

// TestValid looks at everything that is rendered once more, as a reader who trusts nothing.
func TestValid(t *testing.T) {
	t.Parallel()
	res, l := Render(many(20), fakes(), Options{Files: "/files", UsageLog: "/usage"}, nil)
	if res == nil {
		t.Fatal(l)
	}
	for _, typ := range resourceTypes {
		res.Each(typ, func(x *Resource) {
			m, err := x.Message()
			if err != nil {
				t.Fatal(err)
			}
			valid(t, m)
		})
	}
	m, err := Static(res, BootstrapOptions{NodeID: "n", EnforceSocket: "/e", AdminSocket: "/a"}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(m); err != nil {
		t.Error(err)
	}
}
