package require

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

// model finds what the linked model makes of an object, as trees whose ranges are the places that it comes from.
type model struct {
	g       *ir.Gateway
	apis    map[diag.Object]linkedAPI
	ups     map[diag.Object]*ir.Upstream
	users   map[*ir.Upstream][]*ir.API
	targets map[diag.Object][]ir.Origin // of bindings
	configs map[diag.Object]config      // of PolicyBindings that are documents

	mu     sync.Mutex
	labels map[diag.Object]*syntax.Node // of ApiInstances, for rules about the Gateway
}

type linkedAPI struct {
	*ir.API
	listener *ir.Listener
}

// config is the configuration of a binding as it was declared.
type config struct {
	node    *syntax.Node
	unknown map[*syntax.Node]bool
}

func newModel(g *ir.Gateway) *model {
	m := &model{g: g, apis: map[diag.Object]linkedAPI{}, ups: map[diag.Object]*ir.Upstream{}, users: map[*ir.Upstream][]*ir.API{},
		targets: map[diag.Object][]ir.Origin{}, configs: map[diag.Object]config{}, labels: map[diag.Object]*syntax.Node{}}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			m.apis[a.Origin.Object] = linkedAPI{a, l}
			for _, b := range policiesOf(a, l) {
				m.targets[b.Origin.Object] = append(m.targets[b.Origin.Object], a.Origin)
			}
			for _, r := range a.Routes {
				m.targets[r.Origin.Object] = append(m.targets[r.Origin.Object], a.Origin)
				for _, s := range r.To {
					if l := m.users[s.Upstream]; len(l) == 0 || l[len(l)-1] != a {
						m.users[s.Upstream] = append(l, a)
					}
				}
			}
		}
	}
	for _, u := range g.Upstreams {
		m.ups[u.Origin.Object] = u
		for _, b := range u.Bindings {
			m.targets[b.Origin.Object] = append(m.targets[b.Origin.Object], u.Origin)
		}
	}
	return m
}

// policiesOf are all policies of an API: that of its port's TLS acts first.
func policiesOf(a *ir.API, l *ir.Listener) []*ir.Binding {
	if l.TLS == nil {
		return a.Bindings
	}
	return append([]*ir.Binding{l.TLS}, a.Bindings...)
}

// documents are the names of the files with PolicyBindings of their own, whose configurations are to be read first.
func (m *model) documents() map[string]bool {
	files := map[string]bool{}
	add := func(bindings []*ir.Binding) {
		for _, b := range bindings {
			if b.Origin.Range != b.PolicyAt() { // else it stands inline
				files[b.Origin.Range.File] = true
			}
		}
	}
	for _, l := range m.g.Listeners {
		for _, a := range l.APIs {
			add(policiesOf(a, l))
		}
	}
	for _, u := range m.g.Upstreams {
		add(u.Bindings)
	}
	return files
}

// remember keeps the configuration of a binding.
func (m *model) remember(d *schema.Declaration) {
	if c := d.Root.Get("spec").Get("config"); d.ID.Kind == "PolicyBinding" && c != nil && !d.Broken {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.configs[d.ID] = config{c, d.Unknown}
	}
}

// tree builds what is linked. What is not known is unknown, not absent.
type tree struct {
	m       *model
	own     map[diag.Object]config // of the bindings that stand inline in the object at hand
	unknown map[*syntax.Node]bool
	also    []map[*syntax.Node]bool // of the configurations in the tree
}

// pair is one field of a mapping.
type pair struct {
	name string
	n    *syntax.Node
}

// fields is a mapping; what has no value is left out.
func fields(at diag.Range, pairs ...pair) *syntax.Node {
	n := &syntax.Node{Kind: syntax.Mapping, Range: at, Fields: make([]syntax.Field, 0, len(pairs))}
	for _, p := range pairs {
		if p.n != nil {
			n.Fields = append(n.Fields, syntax.Field{Name: p.name, Range: at, Value: p.n})
		}
	}
	return n
}

func list(at diag.Range, items []*syntax.Node) *syntax.Node {
	return &syntax.Node{Kind: syntax.Sequence, Range: at, Items: items}
}

func text(at diag.Range, s string) *syntax.Node {
	return &syntax.Node{Scalar: s, Text: s, Quoted: true, Range: at}
}

func number[N int | uint16 | uint32](at diag.Range, n N) *syntax.Node {
	s := strconv.FormatInt(int64(n), 10)
	return &syntax.Node{Scalar: json.Number(s), Text: s, Range: at}
}

func boolean(at diag.Range, b bool) *syntax.Node {
	return &syntax.Node{Scalar: b, Text: strconv.FormatBool(b), Range: at}
}

// nobody is a value that cannot be told.
func (t *tree) nobody(at diag.Range) *syntax.Node {
	n := &syntax.Node{Range: at}
	t.unknown[n] = true
	return n
}

// of is what is linked of a declared object; nil: nothing ever is of its kind.
func (t *tree) of(d *schema.Declaration) *syntax.Node {
	switch d.ID.Kind {
	case "ApiInstance":
		a, ok := t.m.apis[d.ID]
		if !ok || a.Origin.Range != d.Name { // in error, or the second one of a name
			return t.nobody(d.Name)
		}
		return t.api(a)
	case "Service":
		u := t.m.ups[d.ID]
		if u == nil || u.Origin.Range != d.Name {
			return t.nobody(d.Name)
		}
		return t.service(u, d.Inline)
	case "PolicyBinding":
		targets := t.m.targets[d.ID]
		items := make([]*syntax.Node, len(targets))
		for i, o := range targets {
			items[i] = t.name(o)
		}
		return fields(d.Name, pair{"inline", boolean(d.Name, d.Inline)}, pair{"order", order(d)}, pair{"targets", list(d.Name, items)})
	}
	return nil
}

// order is that of a binding, also when none is declared (flex-resources.md, 4.3).
func order(d *schema.Declaration) *syntax.Node {
	if n := d.Root.Get("spec").Get("order"); n != nil && !n.IsNull() {
		return n
	}
	if d.Inline {
		return number(d.Name, 0)
	}
	return number(d.Name, 50)
}

func (t *tree) name(o ir.Origin) *syntax.Node {
	at := o.Range
	return fields(at, pair{"kind", text(at, o.Object.Kind)}, pair{"name", text(at, o.Object.Name)}, pair{"namespace", text(at, o.Object.Namespace)})
}

func (t *tree) api(a linkedAPI) *syntax.Node {
	at, addr := a.Origin.Range, a.Address
	bindings := policiesOf(a.API, a.listener)
	policies, policy := t.policies(at, bindings)
	guarded := boolean(at, authenticated(bindings))
	routes := make([]*syntax.Node, len(a.Routes))
	for i, r := range a.Routes {
		routes[i] = t.route(r)
	}
	all := list(at, routes)
	if a.Gaps { // something that is in error was bound to it
		if policies, policy, all = t.nobody(at), t.nobody(at), t.nobody(at); guarded.Scalar == false {
			guarded = t.nobody(at)
		}
	}
	return fields(at, pair{"port", number(addr, a.listener.Addr.Port())}, pair{"address", text(addr, a.listener.Addr.Addr().String())},
		pair{"scheme", text(addr, scheme(a.listener))}, pair{"basePath", text(addr, cmp.Or(a.BasePath, "/"))}, pair{"tls", boolean(addr, a.listener.TLS != nil)},
		pair{"authenticated", guarded}, pair{"policies", policies}, pair{"policy", policy}, pair{"routes", all})
}

func scheme(l *ir.Listener) string {
	if l.TLS != nil {
		return "https"
	}
	return "http"
}

// authenticated reports whether nobody reaches the upstreams unknown.
func authenticated(bindings []*ir.Binding) bool {
	return slices.ContainsFunc(bindings, func(b *ir.Binding) bool { return b.Guard == ir.Authenticates && len(b.Rules) == 0 })
}

// policies are bindings in their order, and by the names of their policies.
func (t *tree) policies(at diag.Range, bindings []*ir.Binding) (all, by *syntax.Node) {
	all, by = list(at, nil), fields(at)
	for _, b := range bindings {
		n := t.binding(b)
		all.Items = append(all.Items, n)
		f := by.Field(b.Policy)
		if f == nil {
			by.Fields = append(by.Fields, syntax.Field{Name: b.Policy, Range: b.PolicyAt(), Value: list(b.PolicyAt(), nil)})
			f = &by.Fields[len(by.Fields)-1]
		}
		f.Value.Items = append(f.Value.Items, n)
	}
	return all, by
}

func (t *tree) binding(b *ir.Binding) *syntax.Node {
	at := b.PolicyAt()
	rules := at
	if !b.RulesAt().IsZero() {
		rules = b.RulesAt()
	}
	c, ok := t.own[b.Origin.Object]
	if !ok {
		c = t.m.configs[b.Origin.Object]
	}
	if c.node == nil {
		c.node = fields(at)
	} else {
		t.also = append(t.also, c.unknown)
	}
	return fields(at, pair{"name", text(at, b.Policy)}, pair{"binding", text(at, b.Origin.Object.Name)}, pair{"namespace", text(at, b.Origin.Object.Namespace)},
		pair{"order", number(at, b.Order)}, pair{"automated", boolean(at, b.Automated)}, pair{"conditional", boolean(rules, len(b.Rules) > 0)}, pair{"config", c.node})
}

func (t *tree) route(r *ir.Route) *syntax.Node {
	at := r.Origin.Range
	var rules, services []*syntax.Node
	for _, m := range r.Rules {
		n := fields(at)
		for _, p := range []struct {
			name string
			ir.Pattern
		}{{"path", m.Path}, {"host", m.Host}, {"methods", m.Method}} {
			if !p.IsZero() {
				n.Fields = append(n.Fields, syntax.Field{Name: p.name, Range: p.Range, Value: text(p.Range, p.Text)})
			}
		}
		if len(m.Headers) > 0 {
			headers := fields(at)
			for _, h := range m.Headers {
				headers.Fields = append(headers.Fields, syntax.Field{Name: h.Name, Range: h.Range, Value: text(h.Range, h.Text)})
			}
			n.Fields = append(n.Fields, syntax.Field{Name: "headers", Range: at, Value: headers})
		}
		rules = append(rules, n)
	}
	for _, s := range r.To {
		at, addr := s.Origin.Range, s.Upstream.Address
		services = append(services, fields(at, pair{"name", text(at, s.Upstream.Origin.Object.Name)}, pair{"namespace", text(at, s.Upstream.Origin.Object.Namespace)},
			pair{"weight", number(at, s.Weight)}, pair{"destinationPath", text(at, s.Prefix)}, pair{"address", text(addr, addressOf(s.Upstream))},
			pair{"scheme", text(addr, s.Upstream.Scheme)}, pair{"host", text(addr, s.Upstream.Host)}, pair{"port", number(addr, s.Upstream.Port)}))
	}
	return fields(at, pair{"name", text(at, r.Name)}, pair{"order", number(at, r.Order)}, pair{"rules", list(at, rules)}, pair{"services", list(at, services)})
}

func addressOf(u *ir.Upstream) string {
	host := u.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s://%s:%d", u.Scheme, host, u.Port)
}

func (t *tree) service(u *ir.Upstream, inline bool) *syntax.Node {
	at, addr := u.Origin.Range, u.Address
	policies, policy := t.policies(at, u.Bindings)
	var users []*syntax.Node
	for _, a := range t.m.users[u] {
		users = append(users, t.name(a.Origin))
	}
	return fields(at, pair{"inline", boolean(at, inline)}, pair{"address", text(addr, addressOf(u))}, pair{"scheme", text(addr, u.Scheme)}, pair{"host", text(addr, u.Host)},
		pair{"port", number(addr, u.Port)}, pair{"users", list(at, users)}, pair{"policies", policies}, pair{"policy", policy})
}

// gateway is the whole model as one object, and the place that stands for it.
func (t *tree) gateway() (*syntax.Node, diag.Range) {
	var apis, services, ports []*syntax.Node
	all := make([]linkedAPI, 0, len(t.m.apis))
	for _, a := range t.m.apis {
		all = append(all, a)
	}
	byName := func(a, b diag.Object) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	}
	slices.SortFunc(all, func(a, b linkedAPI) int { return byName(a.Origin.Object, b.Origin.Object) })
	var first diag.Range
	for _, a := range all {
		at := a.Origin.Range
		if first.IsZero() || at.Compare(first) < 0 {
			first = at
		}
		var names []*syntax.Node
		bindings := policiesOf(a.API, a.listener)
		for _, b := range bindings {
			names = append(names, text(b.PolicyAt(), b.Policy))
		}
		labels, policies, guarded := t.m.labels[a.Origin.Object], list(at, names), boolean(at, authenticated(bindings))
		if labels == nil {
			labels = fields(at)
		}
		if a.Gaps {
			policies, guarded = t.nobody(at), t.nobody(at)
		}
		apis = append(apis, fields(at, pair{"name", text(at, a.Origin.Object.Name)}, pair{"namespace", text(at, a.Origin.Object.Namespace)}, pair{"labels", labels},
			pair{"port", number(a.Address, a.listener.Addr.Port())}, pair{"scheme", text(a.Address, scheme(a.listener))}, pair{"basePath", text(a.Address, cmp.Or(a.BasePath, "/"))},
			pair{"tls", boolean(a.Address, a.listener.TLS != nil)}, pair{"authenticated", guarded}, pair{"policies", policies}))
	}
	ups := slices.Clone(t.m.g.Upstreams)
	slices.SortFunc(ups, func(a, b *ir.Upstream) int { return byName(a.Origin.Object, b.Origin.Object) })
	for _, u := range ups {
		at, addr := u.Origin.Range, u.Address
		services = append(services, fields(at, pair{"name", text(at, u.Origin.Object.Name)}, pair{"namespace", text(at, u.Origin.Object.Namespace)},
			pair{"scheme", text(addr, u.Scheme)}, pair{"host", text(addr, u.Host)}, pair{"port", number(addr, u.Port)}, pair{"users", number(at, len(t.m.users[u]))}))
	}
	for _, l := range t.m.g.Listeners {
		at := l.APIs[0].Address
		var names []*syntax.Node
		for _, a := range l.APIs {
			if names = append(names, t.name(a.Origin)); a.Address.Compare(at) < 0 {
				at = a.Address
			}
		}
		ports = append(ports, fields(at, pair{"port", number(at, l.Addr.Port())}, pair{"address", text(at, l.Addr.Addr().String())}, pair{"scheme", text(at, scheme(l))},
			pair{"tls", boolean(at, l.TLS != nil)}, pair{"apis", list(at, names)}))
	}
	return fields(first, pair{"kind", text(first, gatewayKind)}, pair{"apis", list(first, apis)}, pair{"services", list(first, services)}, pair{"ports", list(first, ports)}), first
}

// inline are the configurations of the bindings that stand inline in an ApiInstance.
func inline(d *schema.Declaration) map[diag.Object]config {
	policies := d.Root.Get("spec").Get("policies")
	if d.ID.Kind != "ApiInstance" || policies == nil {
		return nil
	}
	out := map[diag.Object]config{}
	for i, item := range policies.Items {
		name := item.Get("policyRef").Get("name")
		if c := item.Get("config"); name != nil && c != nil && c.Kind == syntax.Mapping {
			id := d.ID
			id.Kind, id.Name = "PolicyBinding", fmt.Sprintf("%s-%s-%d", d.ID.Name, name.Text, i+1)
			out[id] = config{c, d.Unknown}
		}
	}
	return out
}
