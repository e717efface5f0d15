package render

import (
	"fmt"
	"unicode/utf8"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Static is one Envoy file with all resources in it, for `--mode validate` and for hosts without a daemon. With inline,
// files are part of it (a self-contained file); else files are named by path. Secrets are part of it either way.
func Static(r *Resources, o BootstrapOptions, inline bool) (*bootstrapv3.Bootstrap, error) {
	w := newWire(newWalker())
	b := base(w, o)
	x := &statics{scopes: map[string][]*routev3.ScopedRouteConfiguration{}}
	if inline {
		x.files = map[string][]byte{}
		for _, f := range r.Files() {
			x.files[f.Path] = f.Data
		}
	}
	for _, t := range resourceTypes {
		for _, res := range r.list(t) {
			if err := x.add(b.StaticResources, res); err != nil {
				return nil, fmt.Errorf("static form of %s %s: %w", shortType(t), res.Name, err)
			}
		}
	}
	return b, nil
}

// statics turns resources that were made for a stream into static ones.
type statics struct {
	scopes map[string][]*routev3.ScopedRouteConfiguration // by the first fragment of their key: the port
	files  map[string][]byte                              // to be made inline
}

func (x *statics) add(to *bootstrapv3.Bootstrap_StaticResources, res *Resource) error {
	m, err := res.Message()
	if err != nil {
		return err
	}
	if err := x.rewrite(m.ProtoReflect()); err != nil {
		return err
	}
	switch m := m.(type) {
	case *tlsv3.Secret:
		to.Secrets = append(to.Secrets, m)
	case *clusterv3.Cluster:
		to.Clusters = append(to.Clusters, m)
	case *routev3.ScopedRouteConfiguration:
		port := m.GetKey().GetFragments()[0].GetStringKey()
		x.scopes[port] = append(x.scopes[port], m)
	case *listenerv3.Listener:
		to.Listeners = append(to.Listeners, m)
	default:
		return fmt.Errorf("unexpected %T", m)
	}
	return nil
}

// rewrite changes m and whatever it holds, through every Any.
func (x *statics) rewrite(m protoreflect.Message) error {
	var err error
	eachMessage(m, func(in protoreflect.Message) bool {
		switch t := in.Interface().(type) {
		case *anypb.Any:
			err = firstOf(err, x.rewriteAny(t))
			return false
		case *tlsv3.SdsSecretConfig:
			// A cluster with a secret over ADS segfaults `--mode validate`; by its name alone it is a static one.
			t.SdsConfig = nil
		case *hcmv3.HttpConnectionManager:
			x.inlineScopes(t)
		case *corev3.DataSource:
			x.inlineFile(t)
		}
		return true
	})
	return err
}

func (x *statics) rewriteAny(a *anypb.Any) error {
	m, err := unpack(a)
	if err != nil {
		return err
	}
	if err := x.rewrite(m.ProtoReflect()); err != nil {
		return err
	}
	a.Value, err = marshal(m)
	return err
}

// inlineScopes gives a connection manager the scopes of its port. Listeners come last, so all scopes are known.
func (x *statics) inlineScopes(h *hcmv3.HttpConnectionManager) {
	s := h.GetScopedRoutes()
	if s == nil {
		return
	}
	port := h.GetStatPrefix()[len(listenerPrefix):]
	s.RdsConfigSource = nil
	s.ConfigSpecifier = &hcmv3.ScopedRoutes_ScopedRouteConfigurationsList{
		ScopedRouteConfigurationsList: &hcmv3.ScopedRouteConfigurationsList{ScopedRouteConfigurations: x.scopes[port]}}
}

func (x *statics) inlineFile(d *corev3.DataSource) {
	data, ok := x.files[d.GetFilename()]
	switch {
	case !ok:
	case utf8.Valid(data):
		d.Specifier = &corev3.DataSource_InlineString{InlineString: string(data)}
	default:
		d.Specifier = &corev3.DataSource_InlineBytes{InlineBytes: data}
	}
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
