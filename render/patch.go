package render

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// patch gathers what the effects of one API set on its routes: fields that no filter owns, timeouts for example.
type patch struct {
	route routev3.Route
	by    map[string]ir.Origin // who set which field
}

// ownFields are the fields of a route that belong to the renderer.
var ownFields = map[protoreflect.FullName]bool{
	"envoy.config.route.v3.Route.name":                                  true,
	"envoy.config.route.v3.Route.match":                                 true,
	"envoy.config.route.v3.Route.redirect":                              true,
	"envoy.config.route.v3.Route.direct_response":                       true,
	"envoy.config.route.v3.Route.filter_action":                         true,
	"envoy.config.route.v3.Route.non_forwarding_action":                 true,
	"envoy.config.route.v3.RouteAction.cluster":                         true,
	"envoy.config.route.v3.RouteAction.cluster_header":                  true,
	"envoy.config.route.v3.RouteAction.weighted_clusters":               true,
	"envoy.config.route.v3.RouteAction.cluster_specifier_plugin":        true,
	"envoy.config.route.v3.RouteAction.inline_cluster_specifier_plugin": true,
}

// add takes the fields of one effect.
func (p *patch) add(b *ir.Binding, m *routev3.Route) diag.List {
	if m == nil {
		return nil
	}
	if p.by == nil {
		p.by = map[string]ir.Origin{}
	}
	var l diag.List
	overlay(p.route.ProtoReflect(), m.ProtoReflect(), "", func(fd protoreflect.FieldDescriptor, path string, old, now protoreflect.Value) {
		if ownFields[fd.FullName()] {
			l = append(l, internal(b.Origin, "policy %s sets %s of routes", b.Policy, path))
		}
		if first, ok := p.by[path]; ok && old.IsValid() && !old.Equal(now) {
			l = append(l, conflict(path+" of the API's routes", first, b.Origin))
			return
		}
		p.by[path] = b.Origin
	})
	return l
}

// apply sets the gathered fields on a route. Those of a RouteAction are left out where the route has none.
func (p *patch) apply(r *routev3.Route) {
	if p.by == nil {
		return
	}
	src := p.route.ProtoReflect()
	if p.route.GetRoute() != nil && r.GetRoute() == nil {
		bare := routev3.Route{}
		overlay(bare.ProtoReflect(), src, "", ignoreField)
		bare.Action = nil
		src = bare.ProtoReflect()
	}
	overlay(r.ProtoReflect(), src, "", ignoreField)
}

// overlay sets on dst what src has: lists grow, maps and a few messages are merged, everything else is replaced. f is
// called for every value that is set; old is invalid where there was none.
func overlay(dst, src protoreflect.Message, path string, f func(fd protoreflect.FieldDescriptor, path string, old, now protoreflect.Value)) {
	src.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		p := path + string(fd.Name())
		switch {
		case fd.IsList():
			for i := range v.List().Len() {
				dst.Mutable(fd).List().Append(v.List().Get(i))
			}
			f(fd, p, protoreflect.Value{}, v)
		case fd.IsMap():
			overlayMap(dst.Mutable(fd).Map(), v.Map(), fd, p, f)
		case mergeable(fd):
			overlay(dst.Mutable(fd).Message(), v.Message(), p+".", f)
		default:
			var old protoreflect.Value
			if dst.Has(fd) {
				old = dst.Get(fd)
			}
			f(fd, p, old, v)
			dst.Set(fd, v)
		}
		return true
	})
}

func overlayMap(dst, src protoreflect.Map, fd protoreflect.FieldDescriptor, path string, f func(fd protoreflect.FieldDescriptor, path string, old, now protoreflect.Value)) {
	src.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		p := path + "[" + k.String() + "]"
		if d := fd.MapValue().Message(); d != nil && d.FullName() == "google.protobuf.Struct" {
			overlay(dst.Mutable(k).Message(), v.Message(), p+".", f)
			return true
		}
		f(fd, p, dst.Get(k), v)
		dst.Set(k, v)
		return true
	})
}

// mergeable fields are those of a route whose own fields are set one by one.
func mergeable(fd protoreflect.FieldDescriptor) bool {
	switch fd.FullName() {
	case "envoy.config.route.v3.Route.route", "envoy.config.route.v3.Route.metadata":
		return true
	}
	return false
}

func ignoreField(protoreflect.FieldDescriptor, string, protoreflect.Value, protoreflect.Value) {}
