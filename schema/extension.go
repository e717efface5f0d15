package schema

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/gcl"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

type extension = v1alpha1.Object[v1alpha1.ExtensionSpec]

// Definition is a policy that Extension documents define.
type Definition struct {
	Extension *v1alpha1.Object[v1alpha1.ExtensionSpec] // what bindings name
	Config    *gcl.Schema                              // what it and all that it extends say of configurations
	Labels    map[string]string                        // theirs, the nearest first
	Extends   []string                                 // names of all that it extends, directly or not, those of the gateway too; sorted
	Complete  bool                                     // all that it extends is known, so Config is the whole
}

// customType is what Catalog.Custom made of an Extension.
type customType struct {
	typ      PolicyType // nil: nothing can be made of it
	open     []byte     // its schema, but with other fields let through
	judges   [2]*judge  // of both
	complete bool       // the description of configurations is the whole one
	missing  string     // the first name in the chain that no document has
	runs     bool       // it is an implementation, or may be one
	ds       diag.List
}

// custom is a binding of a policy that an Extension defines.
type custom struct {
	ext   *extension
	ir    *ir.Binding // nil: nothing can be made of it
	place ir.Place
	ds    diag.List
}

// builtin parents of Extensions (flex-resources.md, 5).
var builtin = []string{"envoy-filter", "extension-authentication", "extension-definition", "extension-qos", "proxy-wasm-filter"}

// linkExtensions judges Extensions (flex-resources.md, 5.2) and finds those that bindings name.
func (s *state) linkExtensions() diag.List {
	if s.all { // an Extension is new or gone, and any other may extend it
		slices.SortFunc(s.extensions, func(a, b *extension) int { return a.Range.Compare(b.Range) })
		s.namedExtensions = nil
		clear(s.types)
		for b := range s.unlisted {
			s.unlisted[b] = nil
		}
		s.extended = nil
		for _, x := range s.extensions {
			s.extended = append(s.extended, s.judgeExtension(x)...)
		}
	}
	ds := slices.Clone(s.extended)
	for b, c := range s.unlisted { // the order does not matter: diagnostics are sorted
		x := s.findExtension(b.policy, b.policyNS)
		if x == nil {
			s.unlisted[b] = nil
			ds = append(ds, s.unknownPolicy(b))
			continue
		}
		if c == nil || c.ext != x {
			c = s.customBinding(b, x)
			s.unlisted[b] = c
		}
		ds = append(ds, c.ds...)
	}
	for _, x := range s.extensions {
		if t := s.types[x]; t != nil {
			ds = append(ds, t.ds...)
		}
	}
	return ds
}

// parents calls f for x and all that it extends, each once, the nearest first. It returns the first name that no document has, of
// those that are not the gateway's own.
func (s *state) parents(x *extension, f func(*extension)) (missing string) {
	seen := map[*extension]bool{}
	var visit func(*extension)
	visit = func(x *extension) {
		if seen[x] {
			return
		}
		seen[x] = true
		f(x)
		for _, e := range x.Spec.Extends {
			switch p := s.parent(x, e); {
			case p != nil:
				visit(p)
			case missing == "" && !slices.Contains(builtin, e.Name.Value):
				missing = e.Name.Value
			}
		}
	}
	visit(x)
	return missing
}

// parent is the document that an Extension means by a name in its extends; nil for the gateway's own, and where there is none.
func (s *state) parent(x *extension, e v1alpha1.ExtendsRef) *extension {
	if e.Name.Value == "" || slices.Contains(builtin, e.Name.Value) {
		return nil
	}
	if ns := e.Namespace.Value; ns != "" {
		return s.findExtension(e.Name.Value, ns)
	}
	return s.findExtension(e.Name.Value, x.ID.Namespace)
}

// define puts together what an Extension and all that it extends say.
func (s *state) define(x *extension) (d *Definition, missing string) {
	d = &Definition{Extension: x, Labels: map[string]string{}}
	var parts []gcl.Part
	missing = s.parents(x, func(p *extension) {
		parts = append(parts, part(p))
		for _, l := range p.Labels {
			if _, have := d.Labels[l.Name]; !have {
				d.Labels[l.Name] = l.Value.Value
			}
		}
		for _, e := range p.Spec.Extends {
			d.Extends = append(d.Extends, e.Name.Value)
		}
	})
	slices.Sort(d.Extends)
	d.Extends = slices.Compact(d.Extends)
	d.Config, d.Complete = gcl.Merge(parts), missing == ""
	return d, missing
}

func part(x *extension) gcl.Part {
	return gcl.Part{Properties: x.Spec.Properties, Required: x.Spec.Required}
}

type extensionName struct{ namespace, name string }

func (s *state) findExtension(name string, namespaces ...string) *extension {
	if s.namedExtensions == nil {
		s.namedExtensions = map[extensionName]*extension{}
		for _, x := range slices.Backward(s.extensions) { // the first of a name stays
			s.namedExtensions[extensionName{x.ID.Namespace, x.ID.Name}] = x
		}
	}
	for _, ns := range append(namespaces, "default") {
		if x := s.namedExtensions[extensionName{ns, name}]; x != nil {
			return x
		}
	}
	return nil
}

func (s *state) unknownPolicy(b *bindingDecl) diag.Diagnostic {
	name := b.policy
	d := diag.Diagnostic{Severity: s.absent(), Code: "link/unknown-policy", Subject: b.policyAt(), Object: b.owner(), Path: b.path(), Summary: fmt.Sprintf("unknown policy %q", name),
		Absent: diag.Object{Group: v1alpha1.Group, Kind: v1alpha1.Extension, Name: name}}
	catalog := s.decoder.o.Policies
	if catalog == nil {
		return d
	}
	if reason, ok := catalog.Known(name); ok {
		d.Severity, d.Code = diag.Error, "link/policy-not-available"
		d.Summary = fmt.Sprintf("policy %q %s", name, isReason(reason))
		return d
	}
	for _, x := range s.extensions {
		if x.ID.Name == name {
			d.Hint = fmt.Sprintf("there is an Extension of this name in namespace %q: write namespace: %s", x.ID.Namespace, x.ID.Namespace)
			return d
		}
	}
	names := append([]string{routePolicy, weightedPolicy}, catalog.Names()...)
	for _, x := range s.extensions {
		names = append(names, x.ID.Name)
	}
	slices.Sort(names)
	meant := func(to string) {
		d.Edits = []diag.Edit{{Op: diag.Set, At: b.policyAt(), Value: to}}
	}
	switch near := diag.Nearest(name, names); {
	case name == "tls-inbound":
		d.Hint = didYouMean("tls")
		meant("tls")
	case slices.Contains(names, name+"-flex"):
		d.Hint = fmt.Sprintf("did you mean %q? %q is the name of its definition", name+"-flex", name)
		meant(name + "-flex")
	case near != "":
		d.Hint = didYouMean(near)
		if !s.partial && slices.Contains(catalog.Names(), near) && diag.Unmistakable(name, near, names) {
			meant(near)
		}
	case alike(name, names) != "":
		d.Hint = didYouMean(alike(name, names))
	case s.partial:
		d.Hint = "it may be declared outside these files"
	default:
		if _, ok := catalog.Known(name + "-flex"); ok {
			return s.unknownPolicy(&bindingDecl{decl: b.decl, policy: name + "-flex", details: &details{named: b.policyAt()}})
		}
		d.Hint = "declare an Extension of this name, or see flexgw policy list"
	}
	return d
}

// isReason makes a sentence of a reason: many begin as what follows "is".
func isReason(reason string) string {
	for _, w := range []string{"not ", "a ", "an "} {
		if strings.HasPrefix(reason, w) {
			return "is " + reason
		}
	}
	return "is not available: " + reason
}

// otherWords are words that names of policies are written with, and the product's own.
var otherWords = map[string]string{"auth": "authentication", "authn": "authentication", "whitelist": "allowlist", "blacklist": "blocklist", "throttling": "limiting",
	"limit": "limiting", "ratelimit": "limiting", "limiter": "limiting", "headers": "header", "inject": "injection", "remove": "removal", "validate": "validation", "verification": "validation"}

// alike is the one name that shares the most words with a name that nobody declared, or "".
func alike(name string, names []string) string {
	words := func(s string) []string {
		var out []string
		for _, w := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == '-' || r == '_' || r == '.' || r == ' ' }) {
			if to := otherWords[w]; to != "" {
				w = to
			}
			if w != "flex" && w != "policy" && w != "http" && w != "native" {
				out = append(out, w)
			}
		}
		return out
	}
	mine := words(name)
	best, most, ties := "", 0, 0
	for _, n := range names {
		shared := 0
		for _, w := range words(n) {
			if slices.Contains(mine, w) {
				shared++
			}
		}
		switch {
		case shared > most:
			best, most, ties = n, shared, 0
		case shared == most && shared > 0:
			ties++
		}
	}
	if ties > 0 {
		return ""
	}
	return best
}

func (s *state) customBinding(b *bindingDecl, x *extension) *custom {
	c := &custom{ext: x}
	t := s.customType(x)
	report := func(sev diag.Severity, code diag.Code, summary, hint string, edits ...diag.Edit) {
		c.ds = append(c.ds, diag.Diagnostic{Severity: sev, Code: code, Subject: b.policyAt(), Object: b.owner(), Path: b.path(), Summary: summary, Hint: hint, Edits: edits,
			Related: []diag.Related{{Subject: x.Name.Range, Summary: "the Extension"}}})
	}
	switch {
	case t.typ == nil:
		if !t.ds.HasErrors() {
			report(diag.Error, "link/policy-not-available", fmt.Sprintf("policy %q is not available: what its Extension defines cannot be run", b.policy), "")
		}
		return c
	case !t.runs:
		report(diag.Error, "link/binds-definition", fmt.Sprintf("policy %q is a definition, which says what may be configured and runs nothing", b.policy), s.implementation(x), s.implementedBy(x, b.policyAt())...)
	case !t.complete:
		report(diag.Note, "link/unchecked-config", fmt.Sprintf("the configuration of policy %q is not checked: it extends %q, which is not declared here", b.policy, t.missing), "check it together with that Extension")
	}
	if x.ID.Namespace != b.policyNS {
		report(diag.Note, "link/policy-namespace", fmt.Sprintf("policy %q is in namespace %q, not in %q", b.policy, x.ID.Namespace, b.policyNS), "write namespace: "+x.ID.Namespace)
		d := &c.ds[len(c.ds)-1]
		if at := b.policyRef.Namespace; at.Value != "" {
			d.Subject, d.Edits = at.Range, []diag.Edit{{Op: diag.Set, At: at.Range, Value: x.ID.Namespace}}
		} else {
			d.Edits = []diag.Edit{{Op: diag.Insert, At: b.policyRef.Range, To: []string{"namespace"}, Value: x.ID.Namespace}}
		}
	}
	bound := *b
	bound.typ, bound.place = t.typ, t.typ.Place()
	own, more := *b.ir, *b.details
	bound.ir, bound.details = &own, &more
	rare := own.More()
	rare.Type = t.typ
	own.Rare = &rare
	out := newUnitResult()
	dd := &docDecoder{decoder: s.decoder, out: out, id: b.id}
	path := []string{"spec", "config"}
	if b.index > 0 {
		path = []string{"spec", "policies", strconv.Itoa(int(b.index) - 1), "config"}
	}
	if dd.direction(&bound) {
		dd.outOfPlace(&bound)
		dd.configure(&bound, t.typ, b.config, func() (checked, error) { return t.check(b.config, path, b.configAt, dd.getenv, dd.o.RequireEnv) })
	}
	for i := range out.ds {
		if out.ds[i].Object.IsZero() {
			out.ds[i].Object = b.owner()
		}
	}
	c.ds = append(c.ds, out.ds...)
	if c.place = bound.place; !bound.broken && t.runs {
		c.ir = &own
	}
	if c.place != ir.Ordered {
		own.Rules = nil
	}
	return c
}

// implementation is a hint for who bound a definition.
func (s *state) implementation(definition *extension) string {
	for _, x := range s.extensions {
		if x != definition && s.runs(x) && s.extends(x, definition, nil) {
			if x.ID.Namespace != definition.ID.Namespace {
				return fmt.Sprintf("bind its implementation %q in namespace %q", x.ID.Name, x.ID.Namespace)
			}
			return fmt.Sprintf("bind its implementation %q", x.ID.Name)
		}
	}
	return "declare an implementation, which extends it and proxy-wasm-filter, and bind that"
}

// implementedBy is the edit that names, in the place of a definition, the only implementation that it has.
func (s *state) implementedBy(definition *extension, at diag.Range) []diag.Edit {
	var names []string
	for _, x := range s.extensions {
		if x != definition && s.runs(x) && s.extends(x, definition, nil) {
			if x.ID.Namespace != definition.ID.Namespace {
				return nil
			}
			names = append(names, x.ID.Name)
		}
	}
	if len(names) != 1 || s.partial {
		return nil
	}
	return []diag.Edit{{Op: diag.Set, At: at, Value: names[0]}}
}

// runs reports whether an Extension is something that Envoy is to run, or may be: a part of what it extends is not known.
func (s *state) runs(x *extension) bool {
	found := false
	missing := s.parents(x, func(p *extension) {
		found = found || slices.ContainsFunc(p.Spec.Extends, func(e v1alpha1.ExtendsRef) bool {
			return e.Name.Value == "proxy-wasm-filter" || e.Name.Value == "envoy-filter"
		})
	})
	return found || missing != ""
}

// customType is what the catalogue makes of an Extension, asked once.
func (s *state) customType(x *extension) *customType {
	if t := s.types[x]; t != nil {
		return t
	}
	t := &customType{runs: s.runs(x)}
	s.types[x] = t
	if s.decoder.o.Policies == nil {
		return t
	}
	var d *Definition
	d, t.missing = s.define(x)
	t.complete, t.open = d.Complete, d.Config.JSON(false)
	t.typ, t.ds = s.decoder.o.Policies.Custom(d)
	for i := range t.ds {
		if t.ds[i].Object.IsZero() {
			t.ds[i].Object = x.ID
		}
	}
	return t
}

// check judges a configuration. A field that the description lacks is a warning: the product lets it through (flex-resources.md,
// 5.2). It stays an error where it stands for a field that is missing.
func (t *customType) check(config *syntax.Node, path []string, key diag.Range, getenv func(string) (string, bool), require bool) (checked, error) {
	for i, text := range [][]byte{t.typ.ConfigSchema(), t.open} {
		if t.judges[i] != nil {
			continue
		}
		var err error
		if t.judges[i], err = newJudge(text); err != nil {
			return checked{}, err
		}
	}
	c := t.judges[0].check(config, path, key, getenv, require)
	if c.ok {
		return c, nil
	}
	free := t.judges[1].check(config, path, key, getenv, require)
	others := slices.ContainsFunc(c.ds, func(d diag.Diagnostic) bool { return d.Severity == diag.Error && d.Code != "shape/unknown-field" })
	if !free.ok && !others {
		return c, nil
	}
	for i := range c.ds {
		if c.ds[i].Code == "shape/unknown-field" {
			c.ds[i].Severity = diag.Warning
		}
	}
	c.ok = free.ok
	return c, nil
}

func (s *state) judgeExtension(x *extension) diag.List {
	var ds diag.List
	report := func(sev diag.Severity, code diag.Code, at diag.Range, summary, hint string) {
		ds = append(ds, diag.Diagnostic{Severity: sev, Code: code, Subject: at, Object: x.ID, Summary: summary, Hint: hint})
	}
	name := x.ID.Name
	if _, listed := s.decoder.lookup(name); listed || slices.Contains(builtin, name) || name == routePolicy || name == weightedPolicy {
		report(diag.Error, "link/shadows-policy", x.Name.Range, fmt.Sprintf("Extension %q has the name of one that comes with the gateway", name), "rename it, and bind it by its new name")
	}
	if len(x.Spec.Extends) == 0 {
		report(diag.Warning, "link/extends-nothing", x.Name.Range, fmt.Sprintf("Extension %q extends nothing, so it is neither a definition nor an implementation", name), "add extends: a definition has extension-definition in it, an implementation the definition and proxy-wasm-filter")
	}
	for _, e := range x.Spec.Extends {
		if slices.Contains(builtin, e.Name.Value) {
			if ns := e.Namespace; ns.Value != "" && ns.Value != "default" {
				report(diag.Note, "link/policy-namespace", ns.Range, fmt.Sprintf("Extension %q is the gateway's own, in namespace \"default\", not in %q", e.Name.Value, ns.Value), "write namespace: default")
				ds[len(ds)-1].Edits = []diag.Edit{{Op: diag.Set, At: ns.Range, Value: "default"}}
			}
			continue
		}
		if e.Name.Value == "" {
			continue
		}
		ns := x.ID.Namespace
		if e.Namespace.Value != "" {
			ns = e.Namespace.Value
		}
		parent := s.parent(x, e)
		switch {
		case parent == nil:
			var names []string
			for _, o := range s.extensions {
				if o != x {
					names = append(names, o.ID.Name)
				}
			}
			names = append(names, builtin...)
			slices.Sort(names)
			absent := diag.Object{Group: v1alpha1.Group, Kind: v1alpha1.Extension, Namespace: ns, Name: e.Name.Value}
			report(s.absent(), "link/unknown-extension", e.Name.Range, noSuchSummary(absent), didYouMean(diag.Nearest(e.Name.Value, names)))
			ds[len(ds)-1].Absent = absent
		case parent == x:
			report(diag.Error, "link/extends-cycle", e.Name.Range, fmt.Sprintf("Extension %q extends itself", name), "a definition and its implementation have two names")
		case parent.Range.Compare(x.Range) > 0: // a circle is told once, where it goes back
		case s.extends(parent, x, nil):
			report(diag.Error, "link/extends-cycle", e.Name.Range, fmt.Sprintf("Extension %q extends %q, which extends it in turn", name, e.Name.Value), "remove one of them")
		}
	}
	payload(x, report)
	var whole *gcl.Schema
	if d, _ := s.define(x); d.Complete {
		whole = d.Config
	}
	for _, d := range gcl.Lint(part(x), whole) {
		d.Object = x.ID
		ds = append(ds, d)
	}
	return ds
}

// extends reports whether x extends target, directly or not.
func (s *state) extends(x, target *extension, seen []*extension) bool {
	if slices.Contains(seen, x) {
		return false
	}
	for _, e := range x.Spec.Extends {
		if p := s.parent(x, e); p == target || p != nil && s.extends(p, target, append(seen, x)) {
			return true
		}
	}
	return false
}

// wasmMagic starts every WebAssembly module (https://webassembly.github.io/spec/core/binary/modules.html).
const wasmMagic = "\x00asm"

// payload judges the module of an implementation.
func payload(x *extension, report func(diag.Severity, diag.Code, diag.Range, string, string)) {
	implements := slices.ContainsFunc(x.Spec.Extends, func(e v1alpha1.ExtendsRef) bool { return e.Name.Value == "proxy-wasm-filter" })
	p := x.Spec.Properties["implementation"]
	if p == nil {
		if implements {
			report(diag.Error, "link/no-implementation", x.Name.Range, fmt.Sprintf("Extension %q extends proxy-wasm-filter but has no property \"implementation\"", x.ID.Name), `add it, with the default "base64://…"`)
		}
		return
	}
	def := p.Get("default")
	if def == nil || def.Kind != syntax.Scalar {
		if implements {
			report(diag.Error, "link/no-implementation", p.Locate(), `property "implementation" has no default`, `write default: "base64://…"`)
		}
		return
	}
	if !implements {
		return
	}
	data, ok := strings.CutPrefix(def.Text, "base64://")
	if !ok {
		report(diag.Error, "link/bad-implementation", def.Range, `the implementation does not start with "base64://"`, "write the module in base64, without line breaks")
		return
	}
	if strings.ContainsAny(strings.TrimRight(data, "\r\n"), "\r\n") {
		report(diag.Warning, "link/bad-implementation", def.Range, "the implementation has line breaks, which the product's documentation rules out", "write the module in base64 on one line")
	}
	b, err := base64.StdEncoding.DecodeString(data)
	switch {
	case err != nil:
		report(diag.Error, "link/bad-implementation", def.Range, "the implementation is not base64", "write the module in base64, without line breaks")
	case !strings.HasPrefix(string(b), wasmMagic):
		report(diag.Error, "link/bad-implementation", def.Range, "the implementation is not a WebAssembly module", "check which file was encoded")
	}
}
