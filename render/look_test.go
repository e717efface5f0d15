package render

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/schema/ir"
)

// found is what a wire notes of a message.
type found struct {
	Refs          []Key
	Files, Faults []string
}

func findIn(w *wire) found {
	slices.Sort(w.files)
	slices.Sort(w.faults)
	return found{w.refs(), slices.Compact(slices.Clone(w.files)), slices.Clone(w.faults)}
}

// TestLookIsScan: a message says of itself what its bytes say.
func TestLookIsScan(t *testing.T) {
	t.Parallel()
	w := &world{Rand: rand.New(rand.NewPCG(7, 7)), settings: settings(), ports: map[uint16][]*ir.API{}}
	w.ups = []*ir.Upstream{w.upstream(), w.upstream()}
	for range 40 {
		w.step()
	}
	models := map[string]*ir.Gateway{"random": w.gateway()}
	for name, q := range goldens {
		models[name] = q.model()
	}
	var messages []proto.Message
	for name, g := range models {
		res, l := Render(g, fakes(), Options{Files: "/files"}, nil)
		if l.HasErrors() {
			t.Fatal(name, l)
		}
		for _, typ := range resourceTypes {
			res.Each(typ, func(x *Resource) {
				m, err := x.Message()
				if err != nil {
					t.Fatal(err)
				}
				messages = append(messages, m)
			})
		}
		static, err := Static(res, trialOptions, false)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, static)
	}
	secret := &tlsv3.SdsSecretConfig{Name: "s"}
	messages = append(messages,
		secret, &tlsv3.SdsSecretConfig{}, &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: "/f"}}, &corev3.DataSource{},
		&corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{"a": mustAny(secret), "b": mustAny(&routev3.RouteAction_RequestMirrorPolicy{Cluster: "c"}), "c": {TypeUrl: "no.Such"}}},
		&routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_WeightedClusters{WeightedClusters: &routev3.WeightedCluster{Clusters: []*routev3.WeightedCluster_ClusterWeight{{Name: "w"}, {}}}}},
		&listenerv3.FilterChain{TransportSocket: &corev3.TransportSocket{Name: "t", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: mustAny(&tlsv3.DownstreamTlsContext{
			CommonTlsContext: &tlsv3.CommonTlsContext{ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				ValidationContextSdsSecretConfig: secret}}}})}}},
		&bootstrapv3.Bootstrap{})
	seen := found{}
	for _, m := range messages {
		bytes, live := newWire(newWalker()), newWire(newWalker())
		live.judging = true
		bytes.any(m)
		if live.shapeOf(m) == nil {
			t.Errorf("%T has no shape", m)
		}
		if a := live.any(m); !live.isUnwritten(a) {
			t.Errorf("%T was written", m)
		}
		want, got := findIn(bytes), findIn(live)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%T:\ngot  %+v\nwant %+v", m, got, want)
		}
		seen.Refs, seen.Files, seen.Faults = append(seen.Refs, want.Refs...), append(seen.Files, want.Files...), append(seen.Faults, want.Faults...)
	}
	if len(seen.Refs) < 50 || len(seen.Files) == 0 || len(seen.Faults) < 3 {
		t.Errorf("too little to compare: %+v", seen)
	}
}

// TestJudgeSaysTheSame: who only judges says what who renders says.
func TestJudgeSaysTheSame(t *testing.T) {
	t.Parallel()
	for name, q := range goldens {
		_, want := Render(q.model(), fakes(), Options{Files: "/files"}, nil)
		res, got := Render(q.model(), fakes(), Options{Files: "/files", Judge: true}, nil)
		if res != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	w := &world{Rand: rand.New(rand.NewPCG(3, 3)), settings: settings(), ports: map[uint16][]*ir.API{}}
	w.ups = []*ir.Upstream{w.upstream(), w.upstream()}
	for range 60 {
		w.step()
		g := w.gateway()
		_, want := Render(g, fakes(), Options{Files: "/files"}, nil)
		if _, got := Render(g, fakes(), Options{Files: "/files", Judge: true}, nil); !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}
