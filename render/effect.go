package render

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/render/match"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// asked is what one binding asks of Envoy, beside what it is asked under.
type asked struct {
	binding  *ir.Binding
	typ      policy.Type
	id       string
	instance string
	effect   policy.Effect
}

// conditional reports whether the binding needs a slot of its own for its rules.
func (a *asked) conditional() bool { return !match.Always(a.binding.Rules) && !a.typ.OwnRules() }

// typeOf finds the policy type of a binding.
func (r *renderer) typeOf(b *ir.Binding) (policy.Type, bool) {
	if t, ok := b.More().Type.(policy.Type); ok && t.Name() != "" {
		return t, true
	}
	return r.types.Type(b.Policy)
}

// ask asks a policy type for the effect of one binding. in names the target; the rest is filled in here.
func (r *renderer) ask(b *ir.Binding, in policy.Input) (*asked, diag.List) {
	t, ok := r.typeOf(b)
	if !ok {
		at := b.PolicyAt()
		if at.IsZero() {
			at = b.Origin.Range
		}
		return nil, diag.List{{Severity: diag.Error, Code: "render/unknown-policy", Object: b.Origin.Declared(), Subject: at,
			Summary: "no policy type is named " + quote(b.Policy), Hint: "this is a bug of flexgw, not of the declaration; please report it"}}
	}
	in.Binding, in.Got, in.Path = b, r.gets, r.names
	a, _ := r.asks.Get().(*asked)
	if a == nil {
		a = &asked{}
	}
	a.binding, a.typ, a.id = b, t, in.ID
	var err error
	if a.effect, err = t.Effect(b.Config(), in); err != nil {
		return nil, diag.List{internal(b.Origin, "policy %s: %v", b.Policy, err)}
	}
	if a.effect.Enforce == nil {
		return a, nil
	}
	// The instance is named by its configuration, which only the first answer tells.
	hash, err := policy.InstanceHash(a.effect.Enforce)
	if err != nil {
		return nil, diag.List{internal(b.Origin, "policy %s: %v", b.Policy, err)}
	}
	a.instance = in.ID + "@" + hash
	in.Instance = a.instance
	if a.effect, err = t.Effect(b.Config(), in); err != nil {
		return nil, diag.List{internal(b.Origin, "policy %s: %v", b.Policy, err)}
	}
	return a, nil
}

// path names the file of some content.
func (r *renderer) path(data []byte, ext string) string {
	sum := sha256.Sum256(data)
	return r.opts.Files + "/" + hex.EncodeToString(sum[:16]) + ext
}

// got asks for one thing at a time: scopes are rendered in parallel, and nobody promised that Options.Got may be.
func (r *renderer) got(n policy.Need) ([]byte, bool) {
	if r.opts.Got == nil {
		return nil, false
	}
	r.asking.Lock()
	defer r.asking.Unlock()
	return r.opts.Got(n)
}

// unready reports whether nothing can be made of a binding, which only validate lets pass: an unset $VARIABLE in its
// config, or a policy that is not enforced yet.
func unready(b *ir.Binding) bool {
	return b == nil || len(b.Unresolved()) > 0 || b.Unenforced || b.Made == nil
}

// brought adds what an effect brings beside filters: clusters, secrets, files, an instance.
func (o *bundle) brought(w *walker, a *asked, files func(policy.File) string) diag.List {
	var l diag.List
	if len(a.effect.Clusters)+len(a.effect.Secrets) > 0 {
		origins := []*ir.Origin{&a.binding.Origin}
		for _, c := range a.effect.Clusters {
			l = append(l, o.add(newWire(w), c.GetName(), c, origins)...)
		}
		for _, s := range a.effect.Secrets {
			l = append(l, o.add(newWire(w), s.GetName(), s, origins)...)
		}
	}
	for _, f := range a.effect.Files {
		o.files = append(o.files, File{Path: files(f), Data: f.Data, Secret: f.Secret})
	}
	if a.instance != "" {
		o.instances = append(o.instances, namedInstance{a.instance, Instance{Policy: a.typ.Name(), ID: a.id, Config: a.effect.Enforce}})
	}
	return l
}

func (o *bundle) add(w *wire, name string, m proto.Message, origins []*ir.Origin) diag.List {
	x := newResource(w, name, m, origins)
	if l := faults(w, *origins[0]); len(l) > 0 {
		return l
	}
	o.resources = append(o.resources, x)
	return nil
}

// Want is a Need, and a binding that has it.
type Want struct {
	policy.Need
	Binding *ir.Binding
}

// Wanted lists what must be fetched before g can be rendered, with the bindings that need it, in the order of the model. A selector's
// binding comes once, with one of its APIs.
func Wanted(g *ir.Gateway, t Types) []Want {
	r := renderer{types: t}
	type once struct {
		need policy.Need
		at   diag.Range
	}
	seen := map[once]bool{}
	var out []Want
	for _, b := range g.Bindings() {
		for _, n := range r.needs(b) {
			if k := (once{n, b.Origin.Range}); !seen[k] {
				seen[k] = true
				out = append(out, Want{n, b})
			}
		}
	}
	return out
}

// Needy lists what gateways need. It remembers what the last one's APIs need, so that an edit costs one API: an unchanged
// element is the same pointer. The zero Needy remembers nothing. Not safe for concurrent use.
type Needy struct {
	apis  []*ir.API
	needs [][]policy.Need
}

// Needs lists what must be fetched before g can be rendered, sorted and without repetitions.
func (n *Needy) Needs(g *ir.Gateway, t Types) []policy.Need {
	r := renderer{types: t}
	seen := map[policy.Need]bool{}
	needy := map[string]bool{} // most policies need nothing, and there are very many bindings
	for _, x := range t.All() {
		needy[x.Name()] = x.HasNeeds()
	}
	of := func(bindings ...*ir.Binding) (needs []policy.Need) {
		for _, b := range bindings {
			if b != nil && (b.More().Type != nil || needy[b.Policy]) {
				needs = append(needs, r.needs(b)...)
			}
		}
		return needs
	}
	add := func(needs []policy.Need) {
		for _, x := range needs {
			seen[x] = true
		}
	}
	i := 0
	for _, l := range g.Listeners {
		add(of(l.TLS))
		for _, a := range l.APIs {
			switch {
			case i == len(n.apis):
				n.apis, n.needs = append(n.apis, a), append(n.needs, of(a.Bindings...))
			case n.apis[i] != a:
				n.apis[i], n.needs[i] = a, of(a.Bindings...)
			}
			add(n.needs[i])
			i++
		}
	}
	clear(n.apis[i:])
	n.apis, n.needs = n.apis[:i], n.needs[:i]
	for _, u := range g.Upstreams {
		if len(u.Bindings) > 0 {
			add(of(u.Bindings...))
		}
	}
	return sortedNeeds(seen)
}

func (r *renderer) needs(b *ir.Binding) []policy.Need {
	if unready(b) {
		return nil
	}
	t, ok := r.typeOf(b)
	if !ok {
		return nil
	}
	return t.Needs(b.Config())
}
