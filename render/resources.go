package render

import (
	"cmp"
	"crypto/sha256"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/schema/ir"
)

// Type URLs of the resources that Render makes. There are no others: routes travel inside scopes, endpoints in clusters.
const (
	ListenerType = typePrefix + "envoy.config.listener.v3.Listener"
	ClusterType  = typePrefix + "envoy.config.cluster.v3.Cluster"
	ScopeType    = typePrefix + "envoy.config.route.v3.ScopedRouteConfiguration"
	SecretType   = typePrefix + "envoy.extensions.transport_sockets.tls.v3.Secret"
)

// Types of resources, in the order in which they are made: what is referred to first.
var resourceTypes = [...]string{SecretType, ClusterType, ScopeType, ListenerType}

// Key names one resource.
type Key struct{ TypeURL, Name string }

// Compare orders keys by type, then by name.
func (k Key) Compare(o Key) int {
	return cmp.Or(strings.Compare(k.TypeURL, o.TypeURL), strings.Compare(k.Name, o.Name))
}

// list is what there is of a type.
func (r *Resources) list(typeURL string) []*Resource {
	if i := slices.Index(resourceTypes[:], typeURL); i >= 0 {
		return r.byType[i]
	}
	return nil
}

// Resource is one Envoy resource as it is offered. It is immutable.
type Resource struct {
	Key
	Hash    Hash
	Any     *anypb.Any   // deterministic bytes
	Origins []*ir.Origin // of the model; a listener, a shared cluster, a grouped scope have several
	Refs    []Key        // the clusters and secrets that it names (closure), sorted
}

// Message is the resource as a message of its own; the caller may change it.
func (r *Resource) Message() (proto.Message, error) { return unpack(r.Any) }

// Resources is the whole ordered, validated, hashed set. It is immutable.
type Resources struct {
	revision  string
	byType    [len(resourceTypes)][]*Resource // sorted by name
	bundles   []*bundle
	instances func() map[string]Instance
	files     func() []File
	addresses []string
	sealed    []string // see ir.Gateway
}

// Sealed are texts that were encrypted where they were written: wherever they stand, nobody may be shown them.
func (r *Resources) Sealed() []string { return r.sealed }

// Each calls f for every resource of a type, sorted by name.
func (r *Resources) Each(typeURL string, f func(*Resource)) {
	for _, x := range r.list(typeURL) {
		f(x)
	}
}

// Get finds one resource.
func (r *Resources) Get(k Key) (*Resource, bool) {
	l := r.list(k.TypeURL)
	i, ok := slices.BinarySearchFunc(l, k.Name, func(x *Resource, name string) int { return strings.Compare(x.Name, name) })
	if !ok {
		return nil, false
	}
	return l[i], true
}

// Changed lists what differs from since (nil: everything), removed names included, sorted.
func (r *Resources) Changed(since *Resources) []Key {
	var ks []Key
	for i := range resourceTypes {
		var old []*Resource
		if since != nil {
			old = since.byType[i]
		}
		ks = appendChanged(ks, r.byType[i], old)
	}
	slices.SortFunc(ks, Key.Compare)
	return ks
}

// appendChanged walks two sorted lists side by side.
func appendChanged(ks []Key, now, old []*Resource) []Key {
	for len(now) > 0 || len(old) > 0 {
		switch c := compareFirst(now, old); {
		case c < 0:
			ks, now = append(ks, now[0].Key), now[1:]
		case c > 0:
			ks, old = append(ks, old[0].Key), old[1:]
		default:
			if now[0] != old[0] && now[0].Hash != old[0].Hash {
				ks = append(ks, now[0].Key)
			}
			now, old = now[1:], old[1:]
		}
	}
	return ks
}

func compareFirst(a, b []*Resource) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	case a[0] == b[0]:
		return 0
	}
	return strings.Compare(a[0].Name, b[0].Name)
}

// Instances maps "<uid>@<hash>" to the policy and configuration that the request-time server starts. The caller must
// not change it.
func (r *Resources) Instances() map[string]Instance { return r.instances() }

// Files are the content-addressed files that resources name: full path, content, mode. Sorted by path.
func (r *Resources) Files() []File { return r.files() }

// Revision is that of the source.
func (r *Resources) Revision() string { return r.revision }

// Addresses are the listeners' addresses "host:port", sorted by port, then host.
func (r *Resources) Addresses() []string { return r.addresses }

// bundle is what one element of the model became.
type bundle struct {
	resource  *Resource
	resources []*Resource // the clusters and secrets that its policies brought
	files     []File
	instances []namedInstance
	slots     int     // the highest slot that its chains use
	splits    *splits // of a listener
}

type namedInstance struct {
	name string
	Instance
}

// gatherInstances and gatherFiles are asked for once per revision at most, and never to see what has changed.
func gatherInstances(bs []*bundle) map[string]Instance {
	m := map[string]Instance{}
	for _, b := range bs {
		for _, x := range b.instances {
			m[x.name] = x.Instance
		}
	}
	return m
}

func gatherFiles(bs []*bundle) []File {
	m := map[string]File{}
	for _, b := range bs {
		for _, f := range b.files {
			f.Secret = f.Secret || m[f.Path].Secret
			m[f.Path] = f
		}
	}
	fs := make([]File, 0, len(m))
	for _, p := range slices.Sorted(maps.Keys(m)) {
		fs = append(fs, m[p])
	}
	return fs
}

// newResource validates and marshals one resource. One that is only judged has no hash.
func newResource(w *wire, name string, m proto.Message, origins []*ir.Origin) *Resource {
	a := w.any(m)
	if a == nil {
		return nil
	}
	x := &Resource{Key: Key{a.TypeUrl, name}, Any: a, Origins: origins, Refs: w.refs()}
	if !w.judging {
		x.Hash = sha256.Sum256(a.Value)
	}
	return x
}

// lighten drops what nobody will ask of a bundle that is only judged.
func (r *renderer) lighten(b *bundle) {
	if !r.opts.Judge {
		return
	}
	b.files, b.instances = nil, nil
	for _, x := range append(slices.Clip(b.resources), b.resource) {
		if x != nil {
			x.Any = nil
		}
	}
}

// sortResources orders by name. What is sorted already, as most of it is, costs one look at each.
func sortResources(l []*Resource) {
	slices.SortFunc(l, func(a, b *Resource) int { return strings.Compare(a.Name, b.Name) })
}
