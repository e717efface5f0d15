package schema

import (
	"hash/maphash"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// Memo keeps what Load made of unchanged files, so that the cost of a call follows the change. It belongs to one Policies
// catalogue and one environment: a process has one of each. It is not safe for concurrent use. The zero Memo is empty.
type Memo struct {
	Once bool // there is no next call: nothing is kept but the number of documents

	documents int
	state     *state
}

// Documents is how many documents the last Load read, also those that are not ours.
func (m *Memo) Documents() int { return m.documents }

// state is what is known after a load. The next load takes away what the removed units declared, adds what the new ones
// do, and links again whatever those touch.
type state struct {
	once bool // see Memo.Once

	requireEnv, partial, unenforced bool
	target                          ir.Release

	decoder *decoder
	load    uint64 // number of this load
	units   map[string]*keptUnit
	order   []*keptUnit // of this load, in the order of the set

	objects         map[diag.Object]*entry
	bare            identities // of bindings, which nothing refers to
	apis            []*entry   // entries with an ApiInstance, sorted by listener, longest base path first
	services        []*entry   // entries with a Service, sorted by the upstream's name
	dirty           map[*entry]bool
	orphans         map[*entry]bool // bound to, but not declared
	twins           map[*entry]bool // declared more than once
	selectors       []*bindingDecl  // sorted by place
	talking         map[*entry]bool // linked, with something to say
	unlisted        map[*bindingDecl]*custom
	configs         []*v1alpha1.Object[v1alpha1.ConfigurationSpec]
	extensions      []*v1alpha1.Object[v1alpha1.ExtensionSpec]
	namedExtensions map[extensionName]*extension // of extensions, made when it is asked for; nil: not yet
	contracts       []*v1alpha1.Object[v1alpha1.ContractSpec]
	probes          []*probeDecl
	echoes          []*echoDecl
	extended        diag.List // what is wrong with the Extensions themselves
	types           map[*v1alpha1.Object[v1alpha1.ExtensionSpec]]*customType

	doubts []*doubt          // of this load
	named  map[string]*names // of this load, by kind
	lost   int               // references that dangle, of this load

	settings  *ir.Settings
	proxy     *ir.ForwardProxy
	readiness *ir.Readiness
	logs      []ir.LogOutput
	listeners map[uint16]*port
	resort    bool // an ApiInstance or its address is new
	reserv    bool // a Service is new
	all       bool // everything must be linked again
	selecting bool // a selector is new

	held *heldState // of LoadHeld; nil: it was not needed yet
}

// keptUnit is one unit, by the content it was made of.
type keptUnit struct {
	hash   source.Hash
	result *unitResult
	load   uint64 // the last load that had it
	good   uint64 // the last load whose good set had it too
}

// entry is one identity: what is declared under it, and what refers to it.
type entry struct {
	id       diag.Object
	decls    []*decl
	apis     []*apiDecl
	services []*serviceDecl
	bindings []*bindingDecl // whose targetRef names it
	users    []*entry       // APIs whose routes name it
	name     string         // see upstreamName

	port   *port // only while ports are sorted
	listed bool  // is in state.apis or state.services
	api    *linkedAPI
	up     *linkedUpstream
	spare  *spare // what it was before, for LoadHeld; nil: not kept
}

// dropDecoded lets go of what linking has made into a part of the model.
func (s *state) dropDecoded(l []apiLinker) {
	if !s.once {
		return
	}
	for _, l := range l {
		l.decl.policies, l.decl.routes = nil, nil
	}
}

// gaps say what may have been meant by something that is wrong, so that its absence is not reported too.
type gaps struct{ route, tls bool }

// linkedAPI is an ApiInstance as it was linked, and all that it was linked from.
type linkedAPI struct {
	inputs  []any
	deps    []*entry
	api     *ir.API // nil: it cannot be placed
	listen  listen
	auto    []*bindingDecl // selectors that found it
	tls     []*bindingDecl
	gaps    gaps
	missing []missingRef
	ds      diag.List
}

// missingRef is a reference that dangles. What it was meant to be is found out anew in each load.
type missingRef struct {
	id diag.Object
	at diag.Range
	by diag.Object
}

// linkedUpstream is a Service as it was linked.
type linkedUpstream struct {
	inputs []any
	up     *ir.Upstream
	ds     diag.List
}

func newState(o Options) *state {
	return &state{requireEnv: o.RequireEnv, partial: o.Partial, unenforced: o.AllowUnenforced, target: o.Target, decoder: &decoder{o: o, patterns: &patterns{}},
		units: map[string]*keptUnit{}, bare: newIdentities(), objects: map[diag.Object]*entry{}, dirty: map[*entry]bool{}, orphans: map[*entry]bool{},
		twins: map[*entry]bool{}, talking: map[*entry]bool{}, unlisted: map[*bindingDecl]*custom{}, types: map[*v1alpha1.Object[v1alpha1.ExtensionSpec]]*customType{},
		listeners: map[uint16]*port{}, all: true}
}

// entry is the entry of an identity, made when it is new.
func (s *state) entry(id diag.Object) *entry {
	e, ok := s.objects[id]
	if !ok {
		e = &entry{id: id}
		s.objects[id] = e
	}
	s.dirty[e] = true
	return e
}

func (s *state) declare(d *decl) *entry {
	e := s.entry(d.id)
	e.decls = append(e.decls, d)
	return e
}

func (s *state) undeclare(d *decl) *entry {
	e := s.entry(d.id)
	e.decls = without(e.decls, d)
	return e
}

// declareBare declares what matters for its identity alone: a binding. While it is the only one, there is no entry for it.
func (s *state) declareBare(d *decl) {
	if other, alone := s.bare.put(d); !alone {
		if other != nil {
			s.declare(other)
		}
		s.declare(d)
	}
}

func (s *state) undeclareBare(d *decl) {
	if !s.bare.take(d) {
		s.undeclare(d)
	}
}

// identities are the declarations that are the only ones of theirs, by hash: most bindings stand inline, and there are
// several to an API. Where two meet, both move to entries, as does whatever comes there later.
type identities struct {
	seed    maphash.Seed
	alone   map[uint64]*decl
	crowded map[uint64]bool
}

func newIdentities() identities {
	return identities{seed: maphash.MakeSeed(), alone: map[uint64]*decl{}, crowded: map[uint64]bool{}}
}

// put keeps d if it is alone. Else the caller has to keep it, together with the other one that was alone until now.
func (m *identities) put(d *decl) (other *decl, alone bool) {
	h := maphash.Comparable(m.seed, d.id)
	if m.crowded[h] {
		return nil, false
	}
	if other = m.alone[h]; other == nil {
		m.alone[h] = d
		return nil, true
	}
	delete(m.alone, h)
	m.crowded[h] = true
	return other, false
}

// take drops d; false: it is not here.
func (m *identities) take(d *decl) bool {
	h := maphash.Comparable(m.seed, d.id)
	if m.alone[h] != d {
		return false
	}
	delete(m.alone, h)
	return true
}

// add takes in what a new unit declares.
func (s *state) add(r *unitResult) {
	for _, a := range r.apis {
		e := s.declare(&a.decl)
		e.apis = append(e.apis, a)
		for _, v := range a.services {
			e := s.declare(&v.decl)
			e.services = append(e.services, v)
		}
		for _, b := range a.policies {
			s.declareBare(&b.decl)
			s.custom(b)
		}
		for _, b := range a.routes {
			s.declareBare(&b.decl)
		}
	}
	for _, v := range r.services {
		e := s.declare(&v.decl)
		e.services = append(e.services, v)
	}
	for _, b := range r.bindings {
		s.declareBare(&b.decl)
		s.custom(b)
		if b.target != (diag.Object{}) {
			e := s.entry(b.target)
			e.bindings = append(e.bindings, b)
		}
		if b.automated {
			s.selectors, s.selecting = append(s.selectors, b), true
		}
	}
	s.rest(r, func(d *decl) { s.declare(d) })
	s.configs = append(s.configs, r.configs...)
	s.extensions = append(s.extensions, r.extensions...)
	s.contracts = append(s.contracts, r.contracts...)
	s.probes = append(s.probes, r.probes...)
	s.echoes = append(s.echoes, r.echoes...)
	if len(r.extensions) > 0 {
		s.all, s.namedExtensions = true, nil
	}
}

// remove takes away what a unit declared that is no longer there.
func (s *state) remove(r *unitResult) {
	for _, a := range r.apis {
		e := s.undeclare(&a.decl)
		e.apis = without(e.apis, a)
		for _, v := range a.services {
			e := s.undeclare(&v.decl)
			e.services = without(e.services, v)
		}
		for _, b := range a.policies {
			s.undeclareBare(&b.decl)
			delete(s.unlisted, b)
		}
		for _, b := range a.routes {
			s.undeclareBare(&b.decl)
		}
	}
	for _, v := range r.services {
		e := s.undeclare(&v.decl)
		e.services = without(e.services, v)
	}
	for _, b := range r.bindings {
		s.undeclareBare(&b.decl)
		delete(s.unlisted, b)
		if b.target != (diag.Object{}) {
			e := s.entry(b.target)
			e.bindings = without(e.bindings, b)
		}
		if b.automated {
			s.selectors, s.selecting = without(s.selectors, b), true
		}
	}
	for _, x := range r.extensions {
		s.extensions, s.all, s.namedExtensions = without(s.extensions, x), true, nil
		delete(s.types, x)
	}
	for _, x := range r.configs {
		s.configs = without(s.configs, x)
	}
	for _, x := range r.contracts {
		s.contracts = without(s.contracts, x)
	}
	for _, x := range r.probes {
		s.probes = without(s.probes, x)
	}
	for _, x := range r.echoes {
		s.echoes = without(s.echoes, x)
	}
	s.rest(r, func(d *decl) {
		e := s.entry(d.id)
		for i, x := range e.decls {
			if x.named == d.named {
				e.decls = append(e.decls[:i:i], e.decls[i+1:]...)
				break
			}
		}
	})
}

// custom remembers a binding whose policy the catalogue does not list.
func (s *state) custom(b *bindingDecl) {
	if b.typ == nil && b.route == nil && b.policy != "" {
		s.unlisted[b] = nil
	}
}

// rest calls f for the objects that matter for their identity alone.
func (s *state) rest(r *unitResult, f func(*decl)) {
	for _, o := range r.configs {
		f(&decl{id: o.ID, named: o.Name.Range})
	}
	for _, o := range r.extensions {
		f(&decl{id: o.ID, named: o.Name.Range})
	}
	for _, o := range r.contracts {
		f(&decl{id: o.ID, named: o.Name.Range})
	}
	for _, o := range r.secrets {
		f(&decl{id: o.ID, named: o.Name.Range})
	}
	for _, o := range r.probes {
		f(&decl{id: o.ID, named: o.Name.Range})
	}
	for _, o := range r.echoes {
		f(&decl{id: o.ID, named: o.Name.Range})
	}
}

func without[T comparable](l []T, x T) []T {
	for i := range l {
		if l[i] == x {
			return append(l[:i:i], l[i+1:]...)
		}
	}
	return l
}
