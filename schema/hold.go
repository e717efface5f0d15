package schema

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// Held is a declared object that is not served as the newest set declares it.
type Held struct {
	Object diag.Object
	// Place is where the name of what is served stands, in the set of Revision: places in the model that belong to the object are
	// places there. Zero: nothing of the object is served, for there is no version of it that can be.
	Place    diag.Range
	Revision string
	// At is where the name stands in the newest set; zero: it does not declare the object, or nothing can be read of it.
	At diag.Range
	// For is the object because of which this one is held; zero: it is wrong itself.
	For diag.Object
	Why string // in words; one line, lower case, no full stop
}

// String is one line for a person.
func (h Held) String() string {
	text := h.Object.String() + " is left out: "
	if !h.Place.IsZero() {
		text = fmt.Sprintf("%s stays as it is at %s in %s: ", h.Object, h.Place, cmp.Or(h.Revision, "the last good revision"))
	}
	return text + h.Why
}

// LoadHeld is Load for a set of which some objects are wrong: those, and what they need, stay as good declares them, and the rest
// of set counts. Of a set that is right it makes what Load makes.
//
// An object is wrong when an error names it, or stands in its document, or when the file that declares it does not parse (all that
// good's file of that name declares, and all that can still be read); or when it is among wrong, which somebody else found fault
// with: Envoy refused it. A wrong object is held: its declaration in good takes the place of that in set. If good has none, or it
// no longer links either, though the Services, Extensions and bindings that it needs are held too, it is left out. What is only
// deleted in set stays deleted, unless a held object needs it. An object of wrong that both sets declare alike stays as it is: who
// wants it left out gives a good set without it.
//
// No API or Service is served with fewer policies than one of the two sets gives it. Served as set declares it, it has every binding
// that set gives it; served as good does, every binding that good gives it, deleted ones too. A binding counts as set declares it
// whenever that is right, also on a held API. So where a binding is held and does not apply any more, or is left out, its target is
// held, or left out with it. Where it cannot be known what a wrong binding applies to, all that it may apply to is held: what the
// text of its document names, and every API where it speaks of a selector; for a name that nothing has, what has lost a binding, and what
// is new or changed and has a similar name, the same file or folder, or the address that good has under that name; and everything for
// a file of which nothing can be read.
//
// Of two objects that clash (a port, a base path, TLS) the one that good does not have as it is, is the wrong one.
//
// The list is what Load says of set, and what new objects do to held ones. It may hold errors while the model is not nil; the model is
// nil when nothing would be left, or an error belongs to no object. Held is sorted by kind, namespace and name. Partial and Salvage
// have no effect. What good declares otherwise than set is kept in the Memo: it is decoded once.
func LoadHeld(set, good source.Set, wrong []diag.Object, o Options) (*ir.Gateway, []Held, diag.List) {
	m := o.Memo
	if m == nil || m.Once {
		m = &Memo{}
	}
	o.Partial = false
	s, read := m.open(set, o)
	if s.held != nil {
		s.held.active = true
	}
	g, more := s.link()
	if !read.HasErrors() && !more.HasErrors() && len(wrong) == 0 {
		s.forgetSpares()
		if s.held != nil {
			s.held.active = false
		}
		m.close(s)
		g.Revision, g.Sealed = set.Revision, s.sealed()
		return g, nil, WithSteps(append(read, more...).Sort()).Hiding(g.Sealed)
	}
	if s.held == nil {
		s.held = &heldState{}
	}
	s.held.active = true
	h := &holding{state: s, set: set, good: good, choice: map[diag.Object]choice{}, cause: map[diag.Object]cause{}, at: map[diag.Object]int{}, both: map[diag.Object]bool{},
		wrong: map[diag.Object]cause{}, faulty: map[diag.Object]bool{}, pulled: map[diag.Object]bool{}, asked: map[*bindingDecl]bool{}}
	h.fresh, h.former = s.differ(set, good)
	s.held.fresh = map[diag.Object]bool{}
	for id := range h.fresh.parts {
		s.held.fresh[id] = true
	}
	order := s.order
	g, list := h.run(read, wrong)
	list = s.withCauses(list)
	for _, undo := range slices.Backward(h.undo) {
		undo()
	}
	sealed := s.sealed() // of what is held too
	s.order, s.held.fresh, s.held.active = order, nil, false
	sealed = append(sealed, s.sealed()...)
	m.close(s)
	list = WithSteps(traced(append(read, list...).Found(set.Bytes)).Sort().WithoutConsequences().Together()).Hiding(sealed)
	if g == nil {
		return nil, nil, list
	}
	g.Revision, g.Sealed = set.Revision, sealed
	return g, h.list(), list
}

// choice says which declaration of an object counts.
type choice uint8

const (
	asSet choice = iota // the set's; none, if it has none
	asGood
	out
)

// cause is why an object is not as the set declares it.
type cause struct {
	by   diag.Object
	why  string
	self bool // it is wrong itself
}

var itself = cause{why: "it is wrong", self: true}

// maxRounds is how often one thing may lead to another before a set is refused as a whole.
const maxRounds = 1000

// holding is one run of LoadHeld. Each object goes from asSet over asGood to out, never back, so it comes to an end.
type holding struct {
	*state
	set, good     source.Set
	fresh, former *side
	common        *side // what both declare alike; nil: not asked for yet

	choice map[diag.Object]choice
	cause  map[diag.Object]cause
	both   map[diag.Object]bool  // held, and both sets declare it alike
	wrong  map[diag.Object]cause // so far, while documents are judged
	faulty map[diag.Object]bool  // an error of its own document names it
	pulled map[diag.Object]bool
	vague  []vague
	asked  map[*bindingDecl]bool // what they may be bound to is held already
	undo   []func()
	round  int
	at     map[diag.Object]int // the round in which it moved last
	lost   bool                // an error belongs to no object
	moved  bool                // something did, in this round
}

// stuck is an object whose good declaration does not link.
type stuck struct {
	id  diag.Object
	why string
}

func (h *holding) run(read diag.List, wrong []diag.Object) (*ir.Gateway, diag.List) {
	g, list := h.link() // again, for now it is known what is new
	faults := slices.Clone(list)
	h.judge(read)
	for _, id := range wrong {
		if id = h.owner(id); h.declared(id) {
			h.hold(id, cause{why: "it was refused", self: true})
		}
	}
	for h.round = range maxRounds {
		h.moved = false
		bad := h.faults(faults, h.round > 0, &list)
		h.keepPolicies()
		switch {
		case h.lost:
			return nil, list
		case h.round == 0 || h.moved:
		case len(bad) == 0:
			if len(g.Listeners)+len(g.Upstreams)+len(g.Echoes)+len(h.configs)+len(h.extensions) == 0 {
				return nil, list
			}
			return g, list
		default:
			for _, b := range bad {
				h.drop(b.id, cause{why: "its last good version cannot be served: " + b.why})
			}
		}
		h.order = h.counting()
		g, faults = h.link()
	}
	return nil, list
}

// judge holds what is wrong with the documents themselves.
func (h *holding) judge(read diag.List) {
	unclear := map[string]diag.List{} // errors that name no object, by file
	for _, d := range read {
		switch {
		case d.Severity != diag.Error:
		case d.Object.Name != "":
			h.wrong[d.Object], h.faulty[d.Object] = itself, true
		case d.Subject.File == "":
			h.lost = true
			return
		default:
			unclear[d.Subject.File] = append(unclear[d.Subject.File], d)
		}
	}
	for _, file := range sortedKeys(unclear) {
		h.inspect(file, unclear[file])
	}
	for _, id := range sortedObjects(h.wrong) {
		h.hold(id, h.wrong[id])
	}
}

// faults holds what errors are about, and returns what is held already. Errors of later rounds are told if nothing else explains them.
func (h *holding) faults(found diag.List, later bool, list *diag.List) []stuck {
	var bad []stuck
	seen, now := map[diag.Object]bool{}, map[diag.Object]bool{}
	for _, d := range slices.Clone(found).Sort() {
		if d.Severity != diag.Error {
			continue
		}
		id := h.blamed(d)
		if id.IsZero() {
			h.lost = true
			return nil
		}
		if later && (h.choice[id] == asSet || now[id]) { // all errors are told of what is held in this round
			by := diag.Object{}
			if !clashes[d.Code] {
				by = h.leansOn(id)
			}
			if by.IsZero() {
				*list = append(*list, h.marked(d))
				h.hold(id, cause{why: d.Summary, self: true})
			} else {
				h.hold(id, cause{by: by, why: "it needs " + by.String()})
			}
			now[id] = true
			continue
		}
		if at, have := h.at[id]; seen[id] || have && at == h.round {
			continue // it has moved since this was found
		}
		if at, have := h.at[h.owner(d.Absent)]; have && at == h.round && h.choice[h.owner(d.Absent)] == asGood {
			continue // it is there again, as good declares it
		}
		seen[id] = true
		switch h.choice[id] {
		case asSet:
			h.hold(id, itself)
			if !h.shared(id) || h.former.parts[id] != nil {
				continue
			}
			fallthrough // nothing has changed by that
		case asGood:
			if !h.pull(id) {
				bad = append(bad, stuck{id, d.Summary})
			}
		case out:
			h.lost = true
			return nil
		}
	}
	return bad
}

// clashes are errors that two objects have with each other, whatever each of them needs.
var clashes = map[diag.Code]bool{"link/base-path-clash": true, "link/bind-host-differs": true, "link/scheme-differs": true, "link/tls-twice": true, "link/https-without-tls": true,
	"link/duplicate-object": true, "link/duplicate-setting": true, "link/port-clash": true, "link/probe-port-clash": true}

// blamed is the object that an error is about: of two bindings that exclude each other, the fresh one.
func (h *holding) blamed(d diag.Diagnostic) diag.Object {
	id := h.owner(d.Object)
	if id.Name == "" || h.held.fresh[id] || d.Code != "link/tls-twice" {
		if id.Name == "" {
			return diag.Object{}
		}
		return id
	}
	for _, r := range d.Related {
		for b := range h.fresh.bindings {
			if b.at() == r.Subject && h.held.fresh[b.owner()] {
				return b.owner()
			}
		}
		for _, a := range h.fresh.parts {
			for _, a := range a.apis {
				for _, b := range a.policies {
					if b.at() == r.Subject && h.held.fresh[a.id] {
						return a.id
					}
				}
			}
		}
	}
	return id
}

// marked says of places in the good set that they are.
func (h *holding) marked(d diag.Diagnostic) diag.Diagnostic {
	d.Related = slices.Clone(d.Related)
	for i := range d.Related {
		r := &d.Related[i]
		for id, c := range h.choice {
			if p := h.former.parts[id]; c == asGood && p != nil && p.says(r.Subject) {
				r.Summary += ", in the last good revision"
				break
			}
		}
	}
	return d
}

// says reports whether a place is the name or the address of what was declared.
func (r *unitResult) says(at diag.Range) bool {
	for _, a := range r.apis {
		if a.at() == at || a.address.Range == at {
			return true
		}
	}
	for _, o := range r.echoes {
		if o.Spec.Address.Range == at {
			return true
		}
	}
	for _, o := range r.configs {
		if o.Spec.Probe != nil && o.Spec.Probe.Port.Range == at {
			return true
		}
		for _, k := range o.Spec.Keys {
			if k.Range == at {
				return true
			}
		}
	}
	return r.place() == at
}

// owner is the declared object that an object belongs to: the ApiInstance, of what stands inline in one.
func (h *holding) owner(id diag.Object) diag.Object {
	if h.fresh.parts[id] != nil || h.former.parts[id] != nil {
		return id
	}
	if o, ok := h.fresh.owners[id]; ok {
		return o
	}
	if e := h.objects[id]; e != nil && len(e.decls) > 0 {
		for _, d := range e.decls {
			if d.of == nil {
				return id
			}
		}
		return e.decls[0].owner()
	}
	if d := h.bareDecl(id); d != nil {
		return d.owner()
	}
	if o, ok := h.former.owners[id]; ok {
		return o
	}
	return id
}

func (h *holding) bareDecl(id diag.Object) *decl {
	if d := h.bare.alone[maphash.Comparable(h.bare.seed, id)]; d != nil && d.id == id {
		return d
	}
	return nil
}

// declared reports whether one of the sets declares an object.
func (h *holding) declared(id diag.Object) bool {
	e := h.objects[id]
	return e != nil && len(e.decls) > 0 || h.bareDecl(id) != nil || h.fresh.parts[id] != nil || h.former.parts[id] != nil
}

// shared reports whether both sets declare an object alike. It is asked while the set's declarations of it count.
func (h *holding) shared(id diag.Object) bool {
	n := 0
	if e := h.objects[id]; e != nil {
		for _, d := range e.decls {
			if d.of == nil {
				n++
			}
		}
	}
	if d := h.bareDecl(id); d != nil && d.of == nil {
		n++
	}
	return n > h.fresh.documents[id]
}

// usable reports whether good has a declaration of an object, and nothing was wrong with it when it was decoded.
func (h *holding) usable(id diag.Object) bool {
	if h.former.parts[id] != nil {
		return !h.former.bad[id] && !h.former.broken[h.former.unit[id]]
	}
	return h.shared(id) && (!h.faulty[id] || h.fresh.bad[id])
}

// hold makes the good declaration of an object count, or none.
func (h *holding) hold(id diag.Object, why cause) bool {
	if h.choice[id] != asSet {
		return false
	}
	usable, shared := h.usable(id), h.shared(id)
	h.moved, h.cause[id], h.at[id] = true, why, h.round
	h.take(h.fresh.parts[id])
	delete(h.held.fresh, id)
	if usable {
		h.choice[id], h.both[id] = asGood, shared
		h.put(h.former.parts[id])
		return true
	}
	h.choice[id] = out
	if shared {
		h.take(h.alike().parts[id])
	}
	return true
}

// drop makes no declaration of an object count.
func (h *holding) drop(id diag.Object, why cause) {
	if h.hold(id, why); h.choice[id] == out {
		return
	}
	h.moved, h.choice[id], h.at[id] = true, out, h.round
	if c := h.cause[id]; c.self {
		why.why, why.self = c.why+", and "+why.why, true
	}
	h.cause[id] = why
	h.take(h.former.parts[id])
	if h.both[id] {
		h.take(h.alike().parts[id])
	}
}

func (h *holding) take(p *unitResult) {
	if p != nil {
		h.remove(p)
		h.undo = append(h.undo, func() { h.add(p) })
	}
}

func (h *holding) put(p *unitResult) {
	if p != nil {
		h.add(p)
		h.undo = append(h.undo, func() { h.remove(p) })
	}
}

func (h *holding) alike() *side {
	if h.common == nil {
		h.common = h.everywhere()
	}
	return h.common
}

// counting are the units as they count: those who look for bindings of the policy tls must not find one that does not.
func (h *holding) counting() []*keptUnit {
	var all []*keptUnit
	for _, key := range h.keys() {
		all = append(all, &keptUnit{result: h.without(h.units[key].result)})
	}
	anyOut := false
	for id, c := range h.choice {
		if p := h.former.parts[id]; c == asGood && p != nil {
			all = append(all, &keptUnit{result: p})
		}
		anyOut = anyOut || c == out
	}
	for _, k := range h.units {
		if k.good != h.load {
			continue
		}
		if anyOut {
			k = &keptUnit{result: h.without(k.result)}
		}
		all = append(all, k)
	}
	return all
}

func (h *holding) without(r *unitResult) *unitResult {
	return &unitResult{others: noOthers, bindings: slices.DeleteFunc(slices.Clone(r.bindings), func(b *bindingDecl) bool {
		c := h.choice[b.id]
		return c == out || c == asGood && h.fresh.bindings[b]
	})}
}

// versions are an object's declarations by which policies count: the set's while it is asSet, else those of good.
func (h *holding) versions(id diag.Object, c choice) []*unitResult {
	var l []*unitResult
	p := h.fresh.parts[id]
	if c != asSet {
		p = h.former.parts[id]
	}
	if p != nil {
		l = append(l, p)
	}
	if p == nil {
		if p := h.alike().parts[id]; p != nil {
			l = append(l, p)
		}
	}
	return l
}

// needs are the objects without which a declaration does not link.
func (h *holding) needs(r *unitResult) []diag.Object {
	var ids []diag.Object
	route := func(r *routeDecl) {
		if r != nil {
			for _, t := range r.to {
				ids = append(ids, t.service)
			}
		}
	}
	policy := func(b *bindingDecl) {
		if b.typ == nil && b.route == nil && b.policy != "" {
			ids = append(ids, h.extensionIDs(b.policy, b.policyNS)...)
		}
	}
	for _, a := range r.apis {
		for _, x := range a.routes {
			route(x)
		}
		for _, b := range a.policies {
			policy(b)
		}
	}
	for _, b := range r.bindings {
		route(b.route)
		policy(b)
	}
	for _, x := range r.extensions {
		for _, e := range x.Spec.Extends {
			ids = append(ids, h.extensionIDs(e.Name.Value, cmp.Or(e.Namespace.Value, x.ID.Namespace))...)
		}
	}
	return ids
}

// extensionIDs are where an Extension is looked for.
func (h *holding) extensionIDs(name, namespace string) []diag.Object {
	id := diag.Object{Group: v1alpha1.Group, Kind: v1alpha1.Extension, Namespace: namespace, Name: name}
	own := id
	id.Namespace = "default"
	return []diag.Object{own, id}
}

// leansOn is something that an object needs as the set declares it, and that is not as the set declares it; zero: there is nothing.
func (h *holding) leansOn(id diag.Object) diag.Object {
	for _, p := range h.versions(id, asSet) {
		needs := h.needs(p)
		for _, b := range p.bindings {
			if b.target != (diag.Object{}) {
				needs = append(needs, b.target)
			}
		}
		for _, o := range p.probes {
			needs = append(needs, apiID(cmp.Or(o.Spec.TargetRef.Namespace.Value, o.ID.Namespace), o.Spec.TargetRef.Name.Value))
		}
		for _, o := range p.contracts {
			needs = append(needs, apiID(o.ID.Namespace, o.Spec.APIID.Value))
		}
		if id.Kind == v1alpha1.ApiInstance {
			for _, b := range h.boundTo(id) {
				if b.route != nil {
					for _, t := range b.route.to {
						needs = append(needs, t.service)
					}
				}
			}
		}
		held := diag.Object{}
		for _, n := range needs {
			o := h.owner(n)
			if o == id || h.choice[o] == asSet {
				continue
			}
			if e := h.objects[n]; e == nil || len(e.decls) == 0 {
				return o
			}
			held = o
		}
		for _, n := range needs {
			x := h.extension(n)
			if x == nil {
				continue
			}
			h.parents(x, func(p *extension) {
				if h.choice[p.ID] != asSet {
					held = p.ID
				}
			})
		}
		if !held.IsZero() {
			return held
		}
	}
	return diag.Object{}
}

// extension is the Extension of an identity, as it counts; nil: there is none.
func (h *holding) extension(id diag.Object) *extension {
	if id.Kind != v1alpha1.Extension {
		return nil
	}
	i := slices.IndexFunc(h.extensions, func(x *extension) bool { return x.ID == id })
	if i < 0 {
		return nil
	}
	return h.extensions[i]
}

func apiID(namespace, name string) diag.Object {
	return diag.Object{Group: v1alpha1.Group, Kind: v1alpha1.ApiInstance, Namespace: namespace, Name: name}
}

func (h *holding) boundTo(id diag.Object) []*bindingDecl {
	if e := h.objects[id]; e != nil {
		return e.bindings
	}
	return nil
}

// pull holds what a held object needs, once.
func (h *holding) pull(id diag.Object) bool {
	if h.pulled[id] {
		return false
	}
	h.pulled[id] = true
	var ids []diag.Object
	for _, p := range h.versions(id, asGood) {
		ids = append(ids, h.needs(p)...)
		for _, a := range p.apis {
			for _, to := range h.within(a.id) {
				for _, b := range h.former.targets[to] {
					ids = append(ids, b.id)
				}
			}
			for _, b := range h.former.selectors {
				if b.selects(a) {
					ids = append(ids, b.id)
				}
			}
			for _, b := range h.boundTo(a.id) { // what they need is needed too
				ids = append(ids, h.needs(&unitResult{others: noOthers, bindings: []*bindingDecl{b}})...)
			}
		}
		for _, v := range p.services {
			for _, b := range h.former.targets[v.id] {
				ids = append(ids, b.id)
			}
		}
	}
	any := false
	for _, n := range ids {
		o, ok := h.former.owners[n]
		if ok && o != id && h.usable(o) && h.hold(o, cause{by: id, why: id.String() + " needs it"}) {
			any = true
		}
	}
	return any
}

// keepPolicies holds what would otherwise be served with fewer policies than one of the sets gives it.
func (h *holding) keepPolicies() {
	for _, v := range h.vague {
		h.suspect(v)
	}
	h.vague = nil
	for _, id := range sortedObjects(h.choice) {
		switch c := h.choice[id]; {
		case c == asSet:
		case id.Kind == v1alpha1.PolicyBinding:
			h.keepTargets(id, c)
		case c == asGood && isTarget(id):
			h.keepBindings(id)
		}
	}
}

// keepTargets holds what a binding applies to in the set, if it does not apply to it as it counts; if it is left out, what it applies to
// in good goes with it.
func (h *holding) keepTargets(id diag.Object, c choice) {
	for _, p := range h.versions(id, asSet) {
		for _, b := range p.bindings {
			targets, known := h.targets(b)
			if !known && !h.asked[b] {
				h.asked[b] = true
				h.suspect(h.vagueBinding(b))
			}
			for _, to := range targets {
				if o := h.owner(to); h.choice[o] == asSet && !h.reaches(id, to) {
					h.hold(o, cause{by: id, why: "it is not to be served without " + id.String()})
				}
			}
		}
	}
	if c != out {
		return
	}
	for _, p := range h.versions(id, out) {
		for _, b := range p.bindings {
			targets, _ := h.targets(b)
			for _, to := range targets {
				if o := h.owner(to); h.choice[o] == asGood && !h.reaches(id, to) {
					h.drop(o, cause{by: id, why: "its last good version is not to be served without " + id.String()})
				}
			}
		}
	}
}

// targets are what a declaration of a binding applies to, of all that counts. Not known: nobody can say.
func (h *holding) targets(b *bindingDecl) (ids []diag.Object, known bool) {
	switch {
	case b.target != (diag.Object{}):
		if e := h.objects[b.target]; e != nil && len(e.decls) > 0 {
			return []diag.Object{b.target}, true
		}
		return nil, h.fresh.owners[b.target] != diag.Object{} || h.choice[b.target] != asSet
	case b.selecting:
		for _, e := range h.apis {
			if len(e.apis) > 0 && b.selects(first(e.apis)) {
				ids = append(ids, e.id)
			}
		}
		return ids, true
	}
	return nil, false
}

// reaches reports whether a binding applies to something, both as they count.
func (h *holding) reaches(binding, to diag.Object) bool {
	e := h.objects[to]
	if e == nil {
		return false
	}
	is := func(b *bindingDecl) bool { return b.id == binding }
	if slices.ContainsFunc(e.bindings, is) {
		return true
	}
	return len(e.apis) > 0 && slices.ContainsFunc(h.selectors, func(b *bindingDecl) bool { return is(b) && b.selects(first(e.apis)) })
}

// within are an object and the Services that stand inline in it, in any declaration that counts or did.
func (h *holding) within(id diag.Object) []diag.Object {
	ids := []diag.Object{id}
	if id.Kind != v1alpha1.ApiInstance {
		return ids
	}
	ids = append(append(ids, h.fresh.inline[id]...), h.former.inline[id]...)
	if e := h.objects[id]; e != nil {
		for _, a := range e.apis {
			for _, v := range a.services {
				ids = append(ids, v.id)
			}
		}
	}
	slices.SortFunc(ids, byObject)
	return slices.Compact(ids)
}

// keepBindings holds the bindings that a held target has in good.
func (h *holding) keepBindings(id diag.Object) {
	need := func(b *bindingDecl, to diag.Object) {
		if h.choice[id] != asGood || h.reaches(b.id, to) {
			return
		}
		if h.choice[b.id] == asSet && h.usable(b.id) {
			h.hold(b.id, cause{by: id, why: id.String() + " is not to be served without it"})
		}
		if h.choice[b.id] != asGood {
			h.drop(id, cause{by: b.id, why: "its last good version is not to be served without " + b.id.String()})
		}
	}
	for _, to := range h.within(id) {
		for _, b := range h.former.targets[to] {
			need(b, to)
		}
	}
	e := h.objects[id]
	if e == nil || len(e.apis) == 0 {
		return
	}
	for _, b := range h.former.selectors {
		if b.selects(first(e.apis)) {
			need(b, id)
		}
	}
}

// list is what is not served as the set declares it.
func (h *holding) list() []Held {
	var l []Held
	for _, id := range sortedObjects(h.choice) {
		c, why := h.choice[id], h.cause[id]
		now, was := h.fresh.parts[id], h.former.parts[id]
		x := Held{Object: id, For: why.by, Why: why.why}
		if now != nil {
			x.At = now.place()
		}
		switch {
		case c == out && !why.self && now == nil && (h.common == nil || h.common.parts[id] == nil):
			continue // it is deleted, after all
		case c == out:
		case was != nil:
			x.Place, x.Revision = was.place(), h.good.Revision
		case now == nil && !why.self:
			continue // both have it alike
		default:
			if p := h.alike().parts[id]; p != nil {
				x.Place, x.Revision, x.At = p.place(), h.set.Revision, p.place()
			}
		}
		l = append(l, x)
	}
	return l
}
