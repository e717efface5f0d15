package render

import (
	"fmt"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	fileloggerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
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
		x.files = contents(r)
	}
	return b, x.all(b.StaticResources, r)
}

// contents are the files that resources name, by path.
func contents(r *Resources) map[string][]byte {
	files := map[string][]byte{}
	for _, f := range r.Files() {
		files[f.Path] = f.Data
	}
	return files
}

// statics turns resources that were made for a stream into static ones.
type statics struct {
	scopes  map[string][]*routev3.ScopedRouteConfiguration // by the first fragment of their key: the port
	files   map[string][]byte                              // to be made inline
	offline bool                                           // nothing of the world is to be needed (Trial)
}

// trialCA stands for the host's CA bundle, which the host that validates may not have. Nobody holds its key.
const trialCA = `-----BEGIN CERTIFICATE-----
MIIBjzCCATWgAwIBAgIBATAKBggqhkjOPQQDAjAuMSwwKgYDVQQDEyNmbGV4Z3cg
dHJpYWw6IG5vYm9keSBob2xkcyB0aGlzIGtleTAgFw0yNjAxMDEwMDAwMDBaGA85
OTk5MTIzMTIzNTk1OVowLjEsMCoGA1UEAxMjZmxleGd3IHRyaWFsOiBub2JvZHkg
aG9sZHMgdGhpcyBrZXkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQWzXyNwLnQ
U3SS7FhBJzVe4z6SyguiqUUUxJma+FPCyMOpePbF5FsHjLW8IUjDCz73itjl4bDV
2a0oDnbR74dJo0IwQDAOBgNVHQ8BAf8EBAMCAgQwDwYDVR0TAQH/BAUwAwEB/zAd
BgNVHQ4EFgQUJgIqN0wCAUx2aQreQqoxcoQhSTIwCgYIKoZIzj0EAwIDSAAwRQIh
AKXFKXcAHTD6+FppECSflwzsamdEm+8rQjh3sOKY9tPVAiAz1h9g8qcu+YL+n7yt
p1hx3mGhLaQOSMBj6fh4jgfYVg==
-----END CERTIFICATE-----
`

// trialLog is where access logs go: validation opens them. The path is relative to wherever Envoy is started.
const trialLog = "access.log"

// all adds everything there is: what is referred to first.
func (x *statics) all(to *bootstrapv3.Bootstrap_StaticResources, r *Resources) error {
	for _, t := range resourceTypes {
		for _, res := range r.list(t) {
			if err := x.add(to, res); err != nil {
				return fmt.Errorf("static form of %s %s: %w", shortType(t), res.Name, err)
			}
		}
	}
	return nil
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
		if x.offline && m.GetName() == systemCA {
			m.GetValidationContext().TrustedCa = &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: trialCA}}
		}
		to.Secrets = append(to.Secrets, m)
	case *clusterv3.Cluster:
		to.Clusters = append(to.Clusters, m)
	case *routev3.ScopedRouteConfiguration:
		if len(m.GetKey().GetFragments()) == 0 {
			return fmt.Errorf("scope %s has no key", m.GetName())
		}
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
		case *clusterv3.Cluster:
			if x.offline {
				stayHome(t)
			}
		case *fileloggerv3.FileAccessLog:
			if x.offline {
				t.Path = trialLog
			}
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

// inlineScopes gives a connection manager the scopes of its port. Listeners come last, so all scopes are known. Of a port whose
// APIs are all in error there is none, and Envoy takes no empty list (ScopedRouteConfigurationsList): then one that no request
// falls into stands for them.
func (x *statics) inlineScopes(h *hcmv3.HttpConnectionManager) {
	s := h.GetScopedRoutes()
	if s == nil {
		return
	}
	port := h.GetStatPrefix()[len(listenerPrefix):]
	scopes := x.scopes[port]
	if len(scopes) == 0 {
		scopes = noScope()
	}
	setScopes(s, scopes)
}

// noScope is a scope of no request: its key is not that of a port.
func noScope() []*routev3.ScopedRouteConfiguration {
	return []*routev3.ScopedRouteConfiguration{{Name: "none", Key: scopeKey([]string{"none"}), RouteConfiguration: &routev3.RouteConfiguration{Name: "none"}}}
}

func setScopes(s *hcmv3.ScopedRoutes, scopes []*routev3.ScopedRouteConfiguration) {
	s.RdsConfigSource = nil
	s.ConfigSpecifier = &hcmv3.ScopedRoutes_ScopedRouteConfigurationsList{
		ScopedRouteConfigurationsList: &hcmv3.ScopedRouteConfigurationsList{ScopedRouteConfigurations: scopes}}
}

// stayHome gives a cluster whose addresses are names the address of nobody.
func stayHome(c *clusterv3.Cluster) {
	if c.GetType() == clusterv3.Cluster_STATIC && c.GetClusterType() == nil {
		return
	}
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	for _, l := range c.GetLoadAssignment().GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			if a := e.GetEndpoint().GetAddress().GetSocketAddress(); a != nil {
				a.Address, a.ResolverName = "127.0.0.1", ""
			}
		}
	}
}

func (x *statics) inlineFile(d *corev3.DataSource) {
	if data, ok := x.files[d.GetFilename()]; ok {
		inline(d, data)
	}
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
