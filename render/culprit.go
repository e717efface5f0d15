package render

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Culprit says whose fault it is that a running Envoy refuses one resource of r, as far as its words tell: they name an inner
// filter, the index of a route, or repeat a value. false: they do not, and the resource's first origin is all that is known.
func Culprit(g *ir.Gateway, t Types, r *Resources, k Key, words string) (Blame, bool) {
	res, ok := r.Get(k)
	if !ok {
		return Blame{}, false
	}
	one := &Resources{revision: r.revision, instances: r.instances, files: r.files, sealed: r.sealed}
	one.byType[slices.Index(resourceTypes[:], k.TypeURL)] = []*Resource{res}
	x := NewTrial(g, t, one)
	parts, err := x.Parts() // also finds the APIs; of a resource that cannot be taken apart there are none
	if b := x.namedBinding(res, words); b != nil {
		return blameBinding(b), true
	}
	for _, w := range []string{words, constraintOf(res)} { // Envoy cuts its own after 4 KB, which a dump of the resource fills
		if p, ok := indexedRoute(res, w); ok {
			return x.Blame(p, words), true
		}
	}
	if err != nil || len(parts) == 0 {
		whole := k.TypeURL == ClusterType || k.TypeURL == ListenerType
		return x.Blame(Part{Key: k}, words), whole
	}
	// What a listener or a cluster is without the others holds their values too: it is to blame when none of them is.
	others := slices.DeleteFunc(slices.Clone(parts), func(p Part) bool { return p.Kind == BasePart })
	if i := x.Guess(others, words); i >= 0 {
		return x.Blame(others[i], words), true
	}
	if len(others) < len(parts) {
		return x.Blame(parts[0], words), true
	}
	return Blame{}, false
}

// namedBinding is the binding of a resource whose name, the longest, is in the words.
func (t *Trial) namedBinding(res *Resource, words string) *ir.Binding {
	var found *ir.Binding
	longest := 0
	look := func(bs []*ir.Binding) {
		for _, b := range bs {
			own := slices.ContainsFunc(res.Origins, func(o *ir.Origin) bool { return o.Object == b.Origin.Object })
			if name := bindingName(b); own && len(name) > longest && quotesName(words, name) {
				found, longest = b, len(name)
			}
		}
	}
	for _, l := range t.gateway.Listeners {
		for _, a := range l.APIs {
			look(a.Bindings)
		}
	}
	for _, u := range t.gateway.Upstreams {
		look(u.Bindings)
	}
	return found
}

// quotesName reports whether a binding's name, or that of one of its filters, stands in words by itself.
func quotesName(words, name string) bool {
	for rest := words; ; {
		i := strings.Index(rest, name)
		if i < 0 {
			return false
		}
		before, after := byte(' '), byte(' ')
		if i > 0 {
			before = rest[i-1]
		}
		if i+len(name) < len(rest) {
			after = rest[i+len(name)]
		}
		if !inName(before) && (!inName(after) || after == '.' || after == '~') {
			return true
		}
		rest = rest[i+len(name):]
	}
}

func inName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0
}

// routeIndex is how protoc-gen-validate names a route of a scope.
var routeIndex = regexp.MustCompile(`\.VirtualHosts\[(\d+)\].*?\.Routes\[(\d+)\]`)

// indexedRoute is the route that the words give the number of.
func indexedRoute(res *Resource, words string) (Part, bool) {
	m := routeIndex.FindStringSubmatch(words)
	if m == nil || res.TypeURL != ScopeType {
		return Part{}, false
	}
	msg, err := res.Message()
	if err != nil {
		return Part{}, false
	}
	host, _ := strconv.Atoi(m[1])
	route, _ := strconv.Atoi(m[2])
	hosts := msg.(*routev3.ScopedRouteConfiguration).GetRouteConfiguration().GetVirtualHosts()
	if host >= len(hosts) || route >= len(hosts[host].GetRoutes()) {
		return Part{}, false
	}
	name := hosts[host].GetRoutes()[route].GetName()
	return Part{Key: res.Key, Kind: RoutePart, API: apiOf(name), Name: name}, true
}

// constraintOf is what protoc-gen-validate says of a resource; "": nothing.
func constraintOf(res *Resource) string {
	m, err := res.Message()
	if err != nil {
		return ""
	}
	if v, ok := m.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return err.Error()
		}
	}
	return ""
}

// Place is where a Blame stands; false: nowhere.
func (b Blame) Place() (diag.Object, diag.Range, bool) {
	return b.Object, b.Subject, !b.Subject.IsZero()
}
