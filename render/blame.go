package render

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Blame is what the user wrote of a Part that Envoy does not take.
type Blame struct {
	Object  diag.Object
	Subject diag.Range
	What    string // `policy "cors-flex"`, `a route of ApiInstance default/orders`
	Config  bool   // Subject names a policy, and the value at fault is likely one of its configuration
	// Maybe are policies that had a part in it. It is theirs when their configuration holds what Envoy's words repeat.
	Maybe []Blame
}

// Blame says whose fault a part is. words are Envoy's: they may tell which of several values it is.
func (t *Trial) Blame(p Part, words string) Blame {
	switch p.TypeURL {
	case ScopeType:
		return t.blameScope(p, words)
	case ListenerType:
		return t.blameListener(p)
	}
	return t.blameCluster(p)
}

func (t *Trial) blameScope(p Part, words string) Blame {
	api := t.apis[p.API]
	if api == nil {
		return t.blameResource(p)
	}
	what := "a route of " + api.Origin.Object.String()
	if p.Kind == FilterPart {
		if b := bindingOf(api.Bindings, p.Name); b != nil {
			x := blameBinding(b)
			if at := patternAt(b.Rules, words); !at.IsZero() {
				x.Subject, x.Config = at, false
			}
			return x
		}
		return Blame{Object: api.Origin.Object, Subject: api.Origin.Range, What: api.Origin.Object.String()}
	}
	name := strings.TrimPrefix(p.Name, p.API+"/")
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[:i]
	}
	for _, r := range api.Routes {
		if r.Name != name {
			continue
		}
		x := Blame{Object: r.Origin.Declared(), Subject: patternAt(r.Rules, words), What: what}
		if x.Subject.IsZero() {
			x.Subject = r.Origin.Range
			for _, b := range api.Bindings { // they set fields of the routes
				x.Maybe = append(x.Maybe, blameBinding(b))
			}
		}
		return x
	}
	return Blame{Object: api.Origin.Object, Subject: api.Address, What: what}
}

func blameBinding(b *ir.Binding) Blame {
	at := b.PolicyAt()
	if at.IsZero() {
		at = b.Origin.Range
	}
	return Blame{Object: b.Origin.Declared(), Subject: at, What: "policy " + quote(b.Policy), Config: true}
}

func (t *Trial) blameListener(p Part) Blame {
	for _, l := range t.gateway.Listeners {
		if listenerName(l.Addr.Port()) != p.Key.Name {
			continue
		}
		if p.Kind == SocketPart && l.TLS != nil {
			return blameBinding(l.TLS)
		}
		o := listenerOrigin(l)
		return Blame{Object: o.Object, Subject: o.Range, What: "port " + strconv.Itoa(int(l.Addr.Port()))}
	}
	return t.blameResource(p)
}

func (t *Trial) blameCluster(p Part) Blame {
	i := slices.IndexFunc(t.gateway.Upstreams, func(u *ir.Upstream) bool { return clusterName(u) == p.Key.Name })
	if i < 0 {
		return t.blameResource(p)
	}
	u := t.gateway.Upstreams[i]
	switch p.Kind {
	case FilterPart:
		if b := bindingOf(u.Bindings, p.Name); b != nil {
			return blameBinding(b)
		}
	case SocketPart:
		for _, b := range u.Bindings {
			if typ, ok := t.types.Type(b.Policy); ok && typ.Place() == ir.Outside {
				return blameBinding(b)
			}
		}
	}
	return Blame{Object: u.Origin.Declared(), Subject: u.Address, What: said(u.Origin)}
}

// blameResource knows only what the resource came from: what a policy brought, the policy.
func (t *Trial) blameResource(p Part) Blame {
	res, _ := t.res.Get(p.Key)
	if res == nil || len(res.Origins) == 0 {
		return Blame{What: fmt.Sprintf("%s %s", shortType(p.TypeURL), quote(p.Key.Name))}
	}
	o := *res.Origins[0]
	return Blame{Object: o.Declared(), Subject: o.Range, What: said(o), Config: o.Object.Kind == "PolicyBinding"}
}

// bindingOf finds the binding that an inner name belongs to: the longest name that it starts with.
func bindingOf(bs []*ir.Binding, inner string) *ir.Binding {
	inner = strings.TrimPrefix(inner, limitName+".")
	var found *ir.Binding
	longest := -1
	for _, b := range bs {
		id := bindingName(b)
		rest, ok := strings.CutPrefix(inner, id)
		if ok && len(id) > longest && (rest == "" || rest[0] == '.' || rest[0] == '~') {
			found, longest = b, len(id)
		}
	}
	return found
}

// patternAt is the pattern of some rules that Envoy's words are about.
func patternAt(rules []ir.Match, words string) diag.Range {
	var all []ir.Pattern
	for _, m := range rules {
		for _, p := range []ir.Pattern{m.Path, m.Host, m.Method} {
			all = append(all, p)
		}
		for _, h := range m.Headers {
			all = append(all, h.Pattern)
		}
	}
	all = slices.DeleteFunc(all, func(p ir.Pattern) bool { return p.IsZero() || p.Range.IsZero() })
	best, at := 0, diag.Range{}
	for _, p := range all {
		if n := diag.Quotes(words, p.Text); n > best {
			best, at = n, p.Range
		}
	}
	return at
}

// Guess is the part, among some, that Envoy's words are most likely about; -1: they do not tell.
func (t *Trial) Guess(parts []Part, words string) int {
	best, at, rivals := 0, -1, 0
	for i, p := range parts {
		n := 0
		if p.Kind == FilterPart {
			n = diag.Quotes(words, p.Name)
		}
		for _, m := range t.messages(p) {
			eachText(m.ProtoReflect(), func(s string) { n = max(n, diag.Quotes(words, s)) })
		}
		switch {
		case n == 0 || n < best:
		case n == best:
			rivals++
		default:
			best, at, rivals = n, i, 0
		}
	}
	if rivals > 0 {
		return -1
	}
	return at
}

// messages is what a part consists of.
func (t *Trial) messages(p Part) []proto.Message {
	if p.TypeURL == ScopeType {
		sc := t.scopes[p.Key.Name]
		var ms []proto.Message
		if p.Kind == FilterPart {
			for _, e := range sc.chains[p.API] {
				if e.filter != p.Name {
					continue
				}
				for _, a := range []*anypb.Any{e.config.GetTypedConfig(), e.whole, e.inner} {
					if a != nil {
						ms = append(ms, a)
					}
				}
			}
			return ms
		}
		for _, h := range sc.message.GetRouteConfiguration().GetVirtualHosts() {
			for _, r := range h.GetRoutes() {
				if r.GetName() == p.Name {
					return []proto.Message{r.GetMatch(), r.GetRoute()}
				}
			}
		}
		return nil
	}
	res, _ := t.res.Get(p.Key)
	m, err := res.Message()
	if err != nil {
		return nil
	}
	switch m := m.(type) {
	case *clusterv3.Cluster:
		if p.Kind == SocketPart {
			return []proto.Message{m.GetTransportSocket()}
		}
	case *listenerv3.Listener:
		if p.Kind == SocketPart {
			return []proto.Message{m.GetFilterChains()[0].GetTransportSocket()}
		}
	}
	return []proto.Message{m}
}

// eachText calls f for every text in m, through every Any.
func eachText(m protoreflect.Message, f func(string)) {
	eachMessage(m, func(in protoreflect.Message) bool {
		if a, ok := in.Interface().(*anypb.Any); ok {
			if x, err := unpack(a); err == nil {
				eachText(x.ProtoReflect(), f)
			}
			return false
		}
		in.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case fd.Kind() != protoreflect.StringKind || fd.IsMap():
			case fd.IsList():
				for i := range v.List().Len() {
					f(v.List().Get(i).String())
				}
			default:
				f(v.String())
			}
			return true
		})
		return true
	})
}
