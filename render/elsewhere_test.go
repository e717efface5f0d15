package render

import (
	"bytes"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// Another host has none of our files: they are inline, however deep, and nothing else changes.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	files := []File{{Path: "/state/files/a.lua", Data: []byte("-- a")}, {Path: "/state/files/b.bin", Data: []byte{0xff, 0}}}
	r := &Resources{files: func() []File { return files }}
	scope := func(sources ...*corev3.DataSource) *Resource {
		m := &routev3.ScopedRouteConfiguration{Name: "s", RouteConfiguration: &routev3.RouteConfiguration{TypedPerFilterConfig: map[string]*anypb.Any{}}}
		for i, s := range sources {
			a, err := anyOf(&luav3.Lua{DefaultSourceCode: s})
			if err != nil {
				t.Fatal(err)
			}
			m.RouteConfiguration.TypedPerFilterConfig[string(rune('a'+i))] = a
		}
		a, err := anyOf(m)
		if err != nil {
			t.Fatal(err)
		}
		return &Resource{Key: Key{ScopeType, "s"}, Any: a}
	}
	file := func(name string) *corev3.DataSource {
		return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: name}}
	}
	elsewhere := func(x *Resource, ca string) *anypb.Any {
		t.Helper()
		before := bytes.Clone(x.Any.Value)
		a, err := r.Elsewhere(x, ca)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, x.Any.Value) {
			t.Error("the resource itself was changed")
		}
		return a
	}
	named := scope(file("/state/files/a.lua"), file("/state/files/b.bin"), file("/etc/other.lua"))
	want := scope(&corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "-- a"}},
		&corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte{0xff, 0}}}, file("/etc/other.lua"))
	if got := elsewhere(named, ""); !bytes.Equal(got.Value, want.Any.Value) {
		t.Errorf("got %s", got.Value)
	}
	plain := scope(file("/etc/other.lua"))
	if got := elsewhere(plain, ""); got != plain.Any {
		t.Error("what names none of our files was made again")
	}
	a, err := anyOf(systemCASecret("/here.pem"))
	if err != nil {
		t.Fatal(err)
	}
	ca := &Resource{Key: Key{SecretType, systemCA}, Any: a}
	if got := elsewhere(ca, ""); got != a {
		t.Error("an Envoy that does not say where its authorities are gets another path")
	}
	s := &tlsv3.Secret{}
	if err := elsewhere(ca, "/there.pem").UnmarshalTo(s); err != nil || s.GetName() != systemCA || s.GetValidationContext().GetTrustedCa().GetFilename() != "/there.pem" {
		t.Errorf("%v %v", s, err)
	}
}

// TestElsewhereCountsNothing: an Envoy on another host could not open the metering log, and would refuse the listener. But for that, the
// listener is the one of a gateway that counts nothing.
func TestElsewhereCountsNothing(t *testing.T) {
	t.Parallel()
	g := many(3)
	listener := func(usage string) (*Resources, *Resource) {
		t.Helper()
		r, l := Render(g, fakes(), Options{Files: "/files", UsageLog: usage}, nil)
		if l.HasErrors() {
			t.Fatal(l)
		}
		var x *Resource
		r.Each(ListenerType, func(y *Resource) { x = y })
		return r, x
	}
	r, counts := listener("/state/usage/access.log")
	_, plain := listener("")
	a, err := r.Elsewhere(counts, "")
	if err != nil || !bytes.Equal(a.Value, plain.Any.Value) {
		t.Errorf("%v, or it is another listener: %d and %d bytes", err, len(a.Value), len(plain.Any.Value))
	}
	if counts.Hash == plain.Hash {
		t.Error("the log changes nothing")
	}
}
