package schema

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

type extension = v1alpha1.Object[v1alpha1.ExtensionSpec]

// customType is what Catalog.Custom made of an Extension.
type customType struct {
	typ   PolicyType
	judge *judge
	ds    diag.List
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
	var ds diag.List
	if len(s.extensions) > 0 {
		slices.SortFunc(s.extensions, func(a, b *extension) int { return a.Range.Compare(b.Range) })
		for _, x := range s.extensions {
			ds = append(ds, s.judgeExtension(x)...)
		}
	}
	for b, c := range s.unlisted { // the order does not matter: diagnostics are sorted
		x := s.findExtension(b.policy.Value, b.policyNS)
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
		if implements(x) {
			s.customType(x)
		}
		if t := s.types[x]; t != nil {
			ds = append(ds, t.ds...)
		}
	}
	return ds
}

// implements reports whether an Extension is an implementation: what a binding can name and Envoy is to run.
func implements(x *extension) bool {
	return slices.ContainsFunc(x.Spec.Extends, func(e v1alpha1.ExtendsRef) bool {
		return e.Name.Value == "proxy-wasm-filter" || e.Name.Value == "envoy-filter"
	})
}

func (s *state) findExtension(name string, namespaces ...string) *extension {
	for _, ns := range append(namespaces, "default") {
		for _, x := range s.extensions {
			if x.ID.Name == name && x.ID.Namespace == ns {
				return x
			}
		}
	}
	return nil
}

func (s *state) unknownPolicy(b *bindingDecl) diag.Diagnostic {
	name := b.policy.Value
	d := diag.Diagnostic{Severity: s.absent(), Code: "link/unknown-policy", Subject: b.policy.Range, Object: b.owner, Path: b.path(), Summary: fmt.Sprintf("unknown policy %q", name)}
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
	switch {
	case name == "tls-inbound":
		d.Hint = didYouMean("tls")
	case slices.Contains(names, name+"-flex"):
		d.Hint = fmt.Sprintf("did you mean %q? %q is the name of its definition", name+"-flex", name)
	case diag.Nearest(name, names) != "":
		d.Hint = didYouMean(diag.Nearest(name, names))
	case alike(name, names) != "":
		d.Hint = didYouMean(alike(name, names))
	case s.partial:
		d.Hint = "it may be declared outside these files"
	default:
		if _, ok := catalog.Known(name + "-flex"); ok {
			return s.unknownPolicy(&bindingDecl{decl: b.decl, policy: syntax.Text{Value: name + "-flex", Range: b.policy.Range}})
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
	if t.typ == nil {
		d := diag.Diagnostic{Severity: diag.Error, Code: "link/policy-not-available", Subject: b.policy.Range, Object: b.owner, Path: b.path(),
			Summary: fmt.Sprintf("policy %q is not available: what its Extension defines cannot be run", b.policy.Value), Related: []diag.Related{{Subject: x.Name.Range, Summary: "the Extension"}}}
		if !t.ds.HasErrors() {
			c.ds = append(c.ds, d)
		}
		return c
	}
	bound := *b
	bound.typ, bound.place = t.typ, t.typ.Place()
	own := *b.ir
	bound.ir = &own
	own.Type = t.typ
	out := &unitResult{}
	dd := &docDecoder{decoder: s.decoder, out: out, id: b.id}
	dd.direction(&bound)
	dd.outOfPlace(&bound)
	dd.configure(&bound, t.typ, b.config, []string{"spec", "config"}, b.configAt)
	for i := range out.ds {
		if out.ds[i].Object.IsZero() {
			out.ds[i].Object = b.owner
		}
	}
	c.ds = out.ds
	if c.place = bound.place; !bound.broken {
		c.ir = &own
	}
	if c.place != ir.Ordered {
		own.Rules = nil
	}
	return c
}

// customType is what the catalogue makes of an Extension, asked once.
func (s *state) customType(x *extension) *customType {
	if t := s.types[x]; t != nil {
		return t
	}
	t := &customType{}
	s.types[x] = t
	if s.decoder.o.Policies == nil {
		return t
	}
	t.typ, t.ds = s.decoder.o.Policies.Custom(x)
	for i := range t.ds {
		if t.ds[i].Object.IsZero() {
			t.ds[i].Object = x.ID
		}
	}
	return t
}

func (s *state) judgeExtension(x *extension) diag.List {
	var ds diag.List
	report := func(sev diag.Severity, code diag.Code, at diag.Range, summary, hint string) {
		ds = append(ds, diag.Diagnostic{Severity: sev, Code: code, Subject: at, Object: x.ID, Summary: summary, Hint: hint})
	}
	name := x.ID.Name
	if _, listed := s.decoder.lookup(name); listed || slices.Contains(builtin, name) || name == routePolicy || name == weightedPolicy {
		report(diag.Error, "link/shadows-policy", x.Name.Range, fmt.Sprintf("Extension %q has the name of a provided one", name), "rename it")
	}
	for _, e := range x.Spec.Extends {
		if e.Name.Value == "" || slices.Contains(builtin, e.Name.Value) {
			continue
		}
		namespaces := []string{x.ID.Namespace}
		if e.Namespace.Value != "" {
			namespaces = []string{e.Namespace.Value}
		}
		parent := s.findExtension(e.Name.Value, namespaces...)
		switch {
		case parent == nil:
			var names []string
			for _, o := range s.extensions {
				names = append(names, o.ID.Name)
			}
			names = append(names, builtin...)
			slices.Sort(names)
			report(s.absent(), "link/unknown-extension", e.Name.Range, fmt.Sprintf("no Extension named %q in namespace %q", e.Name.Value, namespaces[0]), didYouMean(diag.Nearest(e.Name.Value, names)))
		case parent == x:
			report(diag.Error, "link/extends-cycle", e.Name.Range, fmt.Sprintf("Extension %q extends itself", name), "a definition and its implementation have two names")
		case parent.Range.Compare(x.Range) > 0: // a circle is told once, where it goes back
		case s.extends(parent, x, nil):
			report(diag.Error, "link/extends-cycle", e.Name.Range, fmt.Sprintf("Extension %q extends %q, which extends it in turn", name, e.Name.Value), "remove one of them")
		}
	}
	payload(x, report)
	return ds
}

// extends reports whether x extends target, directly or not.
func (s *state) extends(x, target *extension, seen []*extension) bool {
	if slices.Contains(seen, x) {
		return false
	}
	for _, e := range x.Spec.Extends {
		ns := x.ID.Namespace
		if e.Namespace.Value != "" {
			ns = e.Namespace.Value
		}
		if p := s.findExtension(e.Name.Value, ns); p == target || p != nil && s.extends(p, target, append(seen, x)) {
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
	b, err := base64.StdEncoding.DecodeString(data)
	switch {
	case err != nil:
		report(diag.Error, "link/bad-implementation", def.Range, "the implementation is not base64", "write the module in base64, without line breaks")
	case !strings.HasPrefix(string(b), wasmMagic):
		report(diag.Error, "link/bad-implementation", def.Range, "the implementation is not a WebAssembly module", "check which file was encoded")
	}
}
