package schema

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// tape is a unitResult of a YAML or JSON file without errors, in bytes, but for its diagnostics. The same methods write and read it: each
// writes what it points to, or reads into it. A text is not written but where it stands in the file, so that no secret is on a tape;
// names of objects are, for many are put together. What cannot be on a tape, and what no tape can hold, makes it bad.
type tape struct {
	d       *decoder
	b       []byte // what is written, or is still to be read
	reading bool
	bad     bool

	buffer []byte // for b, while it is written
	src    string // of the file
	file   string // its name
	holder *diag.Object
	last   diag.Object // that was written or read before
	late   *late       // of what is read

	apis      slab[apiDecl]
	services  slab[serviceDecl]
	routes    slab[routeDecl]
	splits    slab[splitDecl]
	policies  slab[bindingDecl]
	bindings  slab[ir.Binding]
	matches   slab[ir.Match]
	headers   slab[ir.HeaderPattern]
	labels    slab[v1alpha1.Label]
	names     slab[string]
	pServices slab[*serviceDecl]
	pRoutes   slab[*routeDecl]
	pPolicies slab[*bindingDecl]
}

// slab is memory for many values, of which most live equally long.
type slab[T any] struct{ rest []T }

func (s *slab[T]) take(n int) []T {
	const many = 64
	if n > len(s.rest) {
		s.rest = make([]T, max(n, many))
	}
	l := s.rest[:n:n]
	s.rest = s.rest[n:]
	return l
}

// tapes are kept for their slabs.
var tapes = sync.Pool{New: func() any { return &tape{} }}

func (d *decoder) tape(file string, src, b []byte) *tape {
	t := tapes.Get().(*tape)
	t.d, t.b, t.reading, t.bad, t.file, t.holder, t.last, t.late = d, b, b != nil, false, file, nil, diag.Object{}, nil
	t.src = unsafe.String(unsafe.SliceData(src), len(src)) // nobody writes to what a file holds (source.File)
	return t
}

func (t *tape) release() {
	t.d, t.b, t.file, t.src, t.holder, t.last, t.late = nil, nil, "", "", nil, diag.Object{}, nil
	tapes.Put(t)
}

// taped calls f with the tape of what became of a file, for as long as f runs, unless it cannot be on one.
func (d *decoder) taped(file string, src []byte, r *unitResult, f func(tape []byte)) {
	t := d.tape(file, src, nil)
	defer t.release()
	t.b = t.buffer[:0]
	if t.unit(r); !t.bad {
		f(t.b)
	}
	t.buffer = t.b
}

// played is what became of a unit, by its tape; nil: it is not the tape of this unit.
func (d *decoder) played(u syntax.Unit, src, b []byte) *unitResult {
	t := d.tape(u.Files[0].Name, src, b)
	defer t.release()
	t.late = &late{d: d, unit: u}
	r := &unitResult{others: noOthers}
	t.unit(r)
	if t.bad || len(t.b) > 0 {
		return nil
	}
	return r
}

func (t *tape) unit(r *unitResult) {
	t.count(&r.documents)
	t.count(&r.declared)
	many(t, &r.apis, nil, &t.apis, t.api)
	many(t, &r.services, nil, &t.services, t.service)
	many(t, &r.bindings, nil, &t.policies, t.binding)
}

func (t *tape) uint(n uint64) uint64 {
	if !t.reading {
		t.b = binary.AppendUvarint(t.b, n)
		return n
	}
	if len(t.b) > 0 && t.b[0] < 0x80 { // nearly always
		n, t.b = uint64(t.b[0]), t.b[1:]
		return n
	}
	n, size := binary.Uvarint(t.b)
	if size <= 0 {
		t.bad, t.b = true, nil
		return 0
	}
	t.b = t.b[size:]
	return n
}

func (t *tape) count(n *int) {
	x := t.uint(uint64(*n))
	t.bad = t.bad || x > 1<<30
	*n = int(x)
}

func (t *tape) int32(n *int32) { *n = int32(t.uint(uint64(uint32(*n)))) }

// flags are up to eight bits.
func (t *tape) flags(l ...*bool) {
	var n uint64
	for i, f := range l {
		if *f {
			n |= 1 << i
		}
	}
	n = t.uint(n)
	for i, f := range l {
		*f = n&(1<<i) != 0
	}
}

// only says that something is not on a tape unless it is so.
func (t *tape) only(ok bool) { t.bad = t.bad || !t.reading && !ok }

// length of a list: each item takes a byte at least.
func (t *tape) length(n int) int {
	t.count(&n)
	if t.bad || t.reading && n > len(t.b) {
		t.bad = true
		return 0
	}
	return n
}

// many are a list of pointers.
func many[T any](t *tape, l *[]*T, pointers *slab[*T], values *slab[T], one func(*T)) {
	n := t.length(len(*l))
	if t.reading && n > 0 {
		items := values.take(n)
		if pointers == nil {
			*l = make([]*T, n)
		} else {
			*l = pointers.take(n)
		}
		for i := range items {
			(*l)[i] = &items[i]
		}
	}
	for _, x := range *l {
		one(x)
	}
}

// some are a list of values.
func some[T any](t *tape, l *[]T, values *slab[T], one func(*T)) {
	n := t.length(len(*l))
	if t.reading && n > 0 {
		*l = values.take(n)
	}
	for i := range *l {
		one(&(*l)[i])
	}
}

// wellKnown are texts that are on a tape by their number.
var wellKnown = []string{"", v1alpha1.Group, "default", v1alpha1.ApiInstance, v1alpha1.Service, v1alpha1.PolicyBinding, routePolicy, weightedPolicy, "http", "https", "h2", "/"}

// What a text is, in the two lowest bits of its first number.
const (
	textKnown = iota
	textInFile
	textName
)

// text is one that stands in the file, near a place if it is there more than once.
func (t *tape) text(s *string, near int32) { t.write(s, near, false) }

// name is a text that may be no text of the file: one of an object, or a part of an address.
func (t *tape) name(s *string) { t.write(s, 0, true) }

func (t *tape) write(s *string, near int32, name bool) {
	if t.reading {
		t.read(s)
		return
	}
	if i := slices.Index(wellKnown, *s); i >= 0 {
		t.uint(uint64(i)<<2 | textKnown)
		return
	}
	at := -1
	for _, i := range []int{int(near), int(near) + 1} { // as it is, or in quotes
		if i <= len(t.src) && strings.HasPrefix(t.src[i:], *s) {
			at = i
			break
		}
	}
	if at < 0 {
		at = strings.Index(t.src, *s)
	}
	switch {
	case at >= 0:
		t.uint(uint64(at)<<2 | textInFile)
		t.uint(uint64(len(*s)))
	case name:
		t.uint(uint64(len(*s))<<2 | textName)
		t.b = append(t.b, *s...)
	default:
		t.bad = true
	}
}

func (t *tape) read(s *string) {
	n := t.uint(0)
	what, n := n&3, n>>2
	switch {
	case what == textKnown && n < uint64(len(wellKnown)):
		*s = wellKnown[n]
	case what == textInFile && n <= uint64(len(t.src)):
		size := t.uint(0)
		if size > uint64(len(t.src))-n {
			t.bad = true
			return
		}
		*s = t.src[n : n+size]
	case what == textName && n <= uint64(len(t.b)):
		*s, t.b = string(t.b[:n]), t.b[n:]
	default:
		t.bad = true
	}
}

// at is a place in the file, or none.
func (t *tape) at(r *diag.Range) {
	if !t.reading && r.IsZero() {
		t.only(*r == diag.Range{})
		t.uint(0)
		return
	}
	t.only(r.File == t.file)
	chars, bytes := r.End.Column-r.Start.Column, r.End.Offset-r.Start.Offset
	short := r.Start.Line == r.End.Line && chars == bytes
	n := uint64(uint32(r.Start.Offset))<<2 | 1
	if short {
		n |= 2
	}
	if n = t.uint(n); n == 0 {
		return // none
	}
	short = n&2 != 0
	r.File, r.Start.Offset = t.file, int32(n>>2)
	t.int32(&r.Start.Line)
	t.int32(&r.Start.Column)
	if t.int32(&bytes); short {
		chars = bytes
	}
	r.End = diag.Pos{Line: r.End.Line, Column: r.Start.Column + chars, Offset: r.Start.Offset + bytes}
	if short {
		r.End.Line = r.Start.Line
		return
	}
	t.int32(&r.End.Line)
	t.int32(&chars)
	r.End.Column = r.Start.Column + chars
}

func (t *tape) value(x *syntax.Text) {
	t.at(&x.Range)
	t.text(&x.Value, x.Range.Start.Offset)
}

func (t *tape) object(o *diag.Object) {
	group, space, named := o.Group == t.last.Group, o.Namespace == t.last.Namespace, o.Name == t.last.Name
	t.flags(&group, &space, &named)
	o.Group, o.Namespace, o.Name = either(group, t.last.Group, o.Group), either(space, t.last.Namespace, o.Namespace), either(named, t.last.Name, o.Name)
	if !group {
		t.name(&o.Group)
	}
	t.name(&o.Kind)
	if !space {
		t.name(&o.Namespace)
	}
	if !named {
		t.name(&o.Name)
	}
	t.last = *o
}

func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

func (t *tape) decl(d *decl) {
	t.object(&d.id)
	t.at(&d.named)
	inline := d.of != nil
	t.only(!inline || t.holder != nil && *d.of == *t.holder)
	if t.flags(&inline, &d.broken); inline && t.reading {
		d.of = t.holder
	}
}

func (t *tape) api(a *apiDecl) {
	t.decl(&a.decl)
	holder := a.id // a copy, as of apiInstance
	t.holder = &holder
	some(t, &a.labels, &t.labels, func(l *v1alpha1.Label) {
		t.value(&l.Value)
		t.text(&l.Name, 0)
	})
	t.value(&a.address)
	t.listen(&a.listen)
	many(t, &a.services, &t.pServices, &t.services, t.service)
	many(t, &a.routes, &t.pRoutes, &t.routes, t.route)
	t.flags(&a.emptied)
	many(t, &a.policies, &t.pPolicies, &t.policies, t.binding)
	t.holder = nil
}

func (t *tape) listen(l *listen) {
	t.name(&l.scheme)
	t.name(&l.base)
	if t.flags(&l.ok); !l.ok {
		t.only(*l == listen{})
		return
	}
	var b []byte
	if !t.reading {
		b, _ = l.addr.MarshalBinary()
	}
	n := t.length(len(b))
	if !t.reading {
		t.b = append(t.b, b...)
		return
	}
	if t.bad || l.addr.UnmarshalBinary(t.b[:n]) != nil {
		t.bad = true
		return
	}
	t.b = t.b[n:]
}

func (t *tape) service(s *serviceDecl) {
	t.decl(&s.decl)
	t.value(&s.address)
	t.name(&s.endpoint.scheme)
	t.name(&s.endpoint.host)
	port := int(s.endpoint.port)
	t.count(&port)
	s.endpoint.port = uint16(port)
	t.flags(&s.endpoint.ok, &s.inline)
}

func (t *tape) route(r *routeDecl) {
	t.decl(&r.decl)
	t.name(&r.policy)
	t.at(&r.at)
	order := int32(r.order)
	t.int32(&order)
	r.order = int(order)
	t.at(&r.explicit)
	some(t, &r.rules, &t.matches, t.match)
	some(t, &r.to, &t.splits, func(s *splitDecl) {
		t.object(&s.service)
		t.value(&s.ref)
		weight := int32(s.weight)
		t.int32(&weight)
		s.weight = uint32(weight)
		t.text(&s.prefix, 0)
	})
	t.flags(&r.inline)
}

func (t *tape) match(m *ir.Match) {
	t.pattern(&m.Path)
	t.pattern(&m.Host)
	t.pattern(&m.Method)
	some(t, &m.Headers, &t.headers, func(h *ir.HeaderPattern) {
		t.name(&h.Name)
		t.pattern(&h.Pattern)
	})
}

func (t *tape) pattern(p *ir.Pattern) {
	t.at(&p.Range)
	t.text(&p.Text, p.Range.Start.Offset)
}

func (t *tape) binding(b *bindingDecl) {
	t.decl(&b.decl)
	t.name(&b.policy)
	listed, routed, plain := b.typ != nil, b.route != nil, b.details == noDetails
	t.flags(&listed, &routed, &b.automated, &plain)
	if t.reading && listed {
		if b.typ, listed = t.d.lookup(b.policy); !listed {
			t.bad = true
			return
		}
		b.place = b.typ.Place()
	}
	t.int32(&b.order)
	t.int32(&b.index)
	switch {
	case plain:
		b.details = noDetails
	case t.reading:
		b.details = &details{}
		fallthrough
	default:
		t.details(b.details)
	}
	if routed {
		if t.reading {
			b.route = &t.routes.take(1)[0]
		}
		t.route(b.route)
	}
	if !listed {
		t.only(b.ir == nil)
		return
	}
	t.only(b.ir != nil && b.place != ir.Outside) // what is Outside is compared by its content
	if t.bad {
		return
	}
	if t.reading {
		b.ir = &t.bindings.take(1)[0]
	}
	t.bound(b)
}

// bound is what stands in the model for a binding, but for its configuration.
func (t *tape) bound(b *bindingDecl) {
	x := b.ir
	t.only(x.Origin == b.origin() && x.Policy == b.policy && x.Order == int(b.order) && x.Automated == b.automated)
	guard := int(x.Guard)
	t.count(&guard)
	made, rare := x.Made != nil, x.Rare != nil
	t.flags(&x.Shares, &x.Sets, &x.Unenforced, &made, &rare)
	some(t, &x.Rules, &t.matches, t.match)
	if t.reading {
		x.Origin, x.Policy, x.Order, x.Automated, x.Guard, x.Made = b.origin(), b.policy, int(b.order), b.automated, ir.Guard(guard), nil
		if made {
			x.Made = t.late
		}
	}
	if !rare {
		return
	}
	r := x.Own()
	t.at(&r.PolicyAt)
	t.at(&r.RulesAt)
	some(t, &r.Unresolved, &t.names, func(name *string) { t.text(name, 0) })
	drafted := r.Drafted != nil
	if t.flags(&drafted); t.reading && drafted {
		r.Drafted = t.late
	}
	t.only(len(r.Validity) == 0 && r.Type == nil)
}

func (t *tape) details(d *details) {
	t.only(d.content == "" && d.config == nil)
	t.at(&d.named)
	t.object(&d.target)
	t.at(&d.targetAt)
	t.flags(&d.kindless, &d.selecting)
	names := sortedKeys(d.labels)
	n := t.length(len(names))
	if t.reading && n > 0 {
		names, d.labels = make([]string, n), make(map[string]syntax.Text, n)
	}
	for _, name := range names {
		x := d.labels[name]
		t.value(&x)
		t.text(&name, 0)
		d.labels[name] = x
	}
	t.at(&d.explicit)
	t.at(&d.configAt)
	t.text(&d.policyNS, 0)
	t.at(&d.policyRef.Range)
	t.value(&d.policyRef.Name)
	t.value(&d.policyRef.Namespace)
	t.at(&d.hasRules)
	target := int(d.forTarget)
	t.count(&target)
	d.forTarget = ir.Target(target)
}
