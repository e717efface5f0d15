package schema

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"path"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// side is what one of two sets declares and the other does not declare alike.
type side struct {
	parts     map[diag.Object]*unitResult    // what each object's documents declare
	documents map[diag.Object]int            // how many there are
	unit      map[diag.Object]string         // the key of the unit that declares it
	bad       map[diag.Object]bool           // something is wrong with its document
	broken    map[string]bool                // units with something wrong that is no object's
	owners    map[diag.Object]diag.Object    // of everything that is declared, inline too
	inline    map[diag.Object][]diag.Object  // Services that stand inline in an ApiInstance
	targets   map[diag.Object][]*bindingDecl // bindings by what they name
	selectors []*bindingDecl                 // those that look for APIs
	bindings  map[*bindingDecl]bool          // all of them
}

func newSide() *side {
	return &side{parts: map[diag.Object]*unitResult{}, documents: map[diag.Object]int{}, unit: map[diag.Object]string{}, bad: map[diag.Object]bool{}, broken: map[string]bool{}, owners: map[diag.Object]diag.Object{},
		inline: map[diag.Object][]diag.Object{}, targets: map[diag.Object][]*bindingDecl{}, bindings: map[*bindingDecl]bool{}}
}

func (x *side) part(id diag.Object, key string) *unitResult {
	p := x.parts[id]
	if p == nil {
		p = newUnitResult()
		x.parts[id] = p
	}
	x.documents[id]++
	x.unit[id] = key
	x.owners[id] = id
	return p
}

// add takes in a unit, without the documents whose names stand where skip says so.
func (x *side) add(key string, r *unitResult, skip func(diag.Range) bool) {
	for _, a := range r.apis {
		if skip(a.at()) {
			continue
		}
		p := x.part(a.id, key)
		p.apis = append(p.apis, a)
		for _, v := range a.services {
			if _, twice := x.owners[v.id]; !twice {
				x.owners[v.id] = a.id
			}
			x.inline[a.id] = append(x.inline[a.id], v.id)
		}
	}
	for _, v := range r.services {
		if !skip(v.at()) {
			p := x.part(v.id, key)
			p.services = append(p.services, v)
		}
	}
	for _, b := range r.bindings {
		if skip(b.at()) {
			continue
		}
		p := x.part(b.id, key)
		p.bindings = append(p.bindings, b)
		x.bindings[b] = true
		if b.target != (diag.Object{}) {
			x.targets[b.target] = append(x.targets[b.target], b)
		}
		if b.selecting {
			x.selectors = append(x.selectors, b)
		}
	}
	divide(x, key, r.configs, skip, named[v1alpha1.ConfigurationSpec], func(p *unitResult) *[]*v1alpha1.Object[v1alpha1.ConfigurationSpec] { return &p.configs })
	divide(x, key, r.extensions, skip, named[v1alpha1.ExtensionSpec], func(p *unitResult) *[]*extension { return &p.extensions })
	divide(x, key, r.contracts, skip, named[v1alpha1.ContractSpec], func(p *unitResult) *[]*v1alpha1.Object[v1alpha1.ContractSpec] { return &p.contracts })
	divide(x, key, r.secrets, skip, named[v1alpha1.SecretSpec], func(p *unitResult) *[]*v1alpha1.Object[v1alpha1.SecretSpec] { return &p.secrets })
	divide(x, key, r.probes, skip, func(o *probeDecl) (diag.Object, diag.Range) { return o.ID, o.Name.Range }, func(p *unitResult) *[]*probeDecl { return &p.probes })
	divide(x, key, r.echoes, skip, func(o *echoDecl) (diag.Object, diag.Range) { return o.ID, o.Name.Range }, func(p *unitResult) *[]*echoDecl { return &p.echoes })
	for i := range r.ds {
		switch d := &r.ds[i]; {
		case d.Severity != diag.Error || skip(d.Subject):
		case d.Object.Name == "":
			x.broken[key] = true
		default:
			x.bad[d.Object] = true
		}
	}
}

func named[S any](o *v1alpha1.Object[S]) (diag.Object, diag.Range) { return o.ID, o.Name.Range }

// divide gives each object its part of a unit's list.
func divide[T any](x *side, key string, l []T, skip func(diag.Range) bool, of func(T) (diag.Object, diag.Range), list func(*unitResult) *[]T) {
	for _, o := range l {
		if id, at := of(o); !skip(at) {
			to := list(x.part(id, key))
			*to = append(*to, o)
		}
	}
}

// place is where the name of an object is declared first.
func (r *unitResult) place() diag.Range {
	var out diag.Range
	see := func(at diag.Range) {
		if out.IsZero() || at.Compare(out) < 0 {
			out = at
		}
	}
	for _, a := range r.apis {
		see(a.at())
	}
	for _, v := range r.services {
		see(v.at())
	}
	for _, b := range r.bindings {
		see(b.at())
	}
	(&state{}).rest(r, func(d *decl) { see(d.at()) })
	return out
}

func nowhere(diag.Range) bool { return false }

// differ finds what the set that was read last (fresh) and the good one (former) do not declare alike: units of other content,
// without those documents of YAML files that are there in both, byte for byte. What it decodes of the good set is kept.
func (s *state) differ(set, good source.Set) (fresh, former *side) {
	var changed []source.File
	for _, f := range good.Files {
		if k, ok := s.units[f.Name]; ok && k.hash == f.Hash {
			k.good = s.load
			continue
		}
		if isCUEFile(f.Name) {
			continue
		}
		changed = append(changed, f)
	}
	units, _ := syntax.Units(source.Set{Files: changed})
	units = append(units, s.goodCUE(good)...)
	keep := map[string]*keptUnit{}
	var todo []syntax.Unit
	var keys []string
	for _, u := range units {
		key, hash := unitKey(u), u.Hash
		if k, ok := s.units[key]; ok && k.hash == hash {
			k.good = s.load
			continue
		}
		keys = append(keys, key)
		if k, ok := s.held.former[key]; ok && k.hash == hash {
			keep[key] = k
			continue
		}
		todo = append(todo, u)
	}
	results := make([]*unitResult, len(todo))
	syntax.InParallel(len(todo), func(i int) { results[i] = s.decoder.unit(todo[i]) })
	for i, u := range todo {
		k := &keptUnit{hash: u.Hash, result: results[i]}
		if unreadable(k.result) {
			k.hash = source.Hash{}
		}
		keep[unitKey(u)] = k
	}
	s.held.former = keep

	fresh, former = newSide(), newSide()
	alike, cuts := map[string]*alikeDocs{}, map[cutKey]cut{}
	for _, key := range keys {
		now, was := s.units[key], keep[key]
		skip := nowhere
		if now != nil && isYAML(key) {
			a, b := cutKey{key, now.hash}, cutKey{key, was.hash}
			cuts[a], cuts[b] = s.cutOf(set, a), s.cutOf(good, b)
			alike[key] = documentsAlike(cuts[a], cuts[b])
			skip = alike[key].former.has
		}
		former.add(key, was.result, skip)
	}
	s.held.alike, s.held.cuts = alike, cuts
	for _, key := range s.keys() {
		k := s.units[key]
		if k.good == s.load {
			continue
		}
		skip := nowhere
		if was := keep[key]; was != nil && isYAML(key) {
			skip = alike[key].fresh.has
		}
		fresh.add(key, k.result, skip)
	}
	return fresh, former
}

// keys are those of the units of this load that the good set does not have, sorted.
func (s *state) keys() []string {
	var out []string
	for key, k := range s.units {
		if k.good != s.load {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// goodCUE are the CUE packages of the good set. Its files are read again only when they are others.
func (s *state) goodCUE(good source.Set) []syntax.Unit {
	var files []source.File
	for _, f := range good.Files {
		if isCUEFile(f.Name) {
			files = append(files, f)
		}
	}
	if !slices.EqualFunc(files, s.held.cue, func(a, b source.File) bool { return a.Name == b.Name && a.Hash == b.Hash }) {
		s.held.cue = files
		s.held.cueUnits, _ = syntax.Units(source.Set{Files: files})
	}
	return s.held.cueUnits
}

func isYAML(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext == ".yaml" || ext == ".yml"
}

// cutKey is one content of a YAML file.
type cutKey struct {
	file string
	hash source.Hash
}

// cut is a YAML file, cut into its documents.
type cut struct {
	from []int // offsets, in order; nil: it cannot be cut
	sums []source.Hash
}

// cutOf cuts a file of a set, once.
func (s *state) cutOf(set source.Set, k cutKey) cut {
	if c, ok := s.held.cuts[k]; ok {
		return c
	}
	text, err := set.Bytes(k.file)
	if err != nil {
		return cut{}
	}
	c := cut{from: cutYAML(text)}
	for i := range c.from {
		c.sums = append(c.sums, sha256.Sum256(stretch(text, c.from, i)))
	}
	return c
}

// alikeDocs are the documents of one YAML file that are the same in both sets.
type alikeDocs struct{ fresh, former stretches }

// stretches are the parts of a file that hold one document each.
type stretches struct {
	from []int // offsets, in order
	same []bool
}

func (s stretches) has(at diag.Range) bool {
	return len(s.from) > 0 && s.same[s.index(int(at.Start.Offset))]
}

func (s stretches) index(offset int) int {
	i, found := slices.BinarySearch(s.from, offset)
	if !found {
		i--
	}
	return max(i, 0)
}

// documentsAlike compares the texts of a file's documents. Each document of one set stands for one of the other at most.
func documentsAlike(now, was cut) *alikeDocs {
	if now.from == nil || was.from == nil {
		return &alikeDocs{}
	}
	out := &alikeDocs{stretches{now.from, make([]bool, len(now.from))}, stretches{was.from, make([]bool, len(was.from))}}
	texts := map[source.Hash][]int{}
	for i, h := range was.sums {
		texts[h] = append(texts[h], i)
	}
	for i, h := range now.sums {
		if l := texts[h]; len(l) > 0 {
			out.fresh.same[i], out.former.same[l[0]] = true, true
			texts[h] = l[1:]
		}
	}
	return out
}

func stretch(text []byte, from []int, i int) []byte {
	if i+1 < len(from) {
		return text[from[i]:from[i+1]]
	}
	return text[from[i]:]
}

// cutYAML cuts a stream before each "---" at the beginning of a line, which ends a document whatever stands before it
// (https://yaml.org/spec/1.2.2/#rule-c-forbidden). Nil: there is something in it that makes that uncertain.
func cutYAML(text []byte) []int {
	from := []int{0}
	for at := 0; at < len(text); {
		line, _, _ := bytes.Cut(text[at:], []byte("\n"))
		if bytes.HasPrefix(line, []byte("%")) || bytes.IndexByte(bytes.TrimSuffix(line, []byte("\r")), '\r') >= 0 {
			return nil
		}
		if at > 0 && bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || strings.ContainsRune(" \t\r", rune(line[3]))) {
			from = append(from, at)
		}
		at += len(line) + 1
	}
	return from
}

// everywhere is a side of all documents that both sets declare alike.
func (s *state) everywhere() *side {
	out := newSide()
	for key, k := range s.units {
		skip := nowhere
		if k.good != s.load {
			was := s.held.former[key]
			if was == nil || !isYAML(key) {
				continue
			}
			d := s.held.alike[key]
			skip = func(at diag.Range) bool { return !d.fresh.has(at) }
		}
		out.add(key, k.result, skip)
	}
	return out
}

func byObject(a, b diag.Object) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Group, b.Group))
}

func sortedObjects[V any](m map[diag.Object]V) []diag.Object {
	out := make([]diag.Object, 0, len(m))
	for o := range m {
		out = append(out, o)
	}
	slices.SortFunc(out, byObject)
	return out
}

// isTarget reports whether policies are bound to objects of this kind.
func isTarget(o diag.Object) bool {
	return o.Kind == v1alpha1.ApiInstance || o.Kind == v1alpha1.Service
}
