package schema

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// decl is what every declared object has, written as a document or inline. Decls never change once their unit is
// decoded: link compares their pointers to see what is new.
type decl struct {
	id     diag.Object
	of     *diag.Object // of what stands inline: the ApiInstance that declares it; else nil
	named  diag.Range   // where the name was written: metadata.name, or what stands for it inline
	broken bool         // its shape is wrong, so what is absent may have been meant
}

// path is the JSON Pointer of the policy of a binding in the object that declares it.
func (b *bindingDecl) path() string {
	if b.index == 0 {
		return "/spec/policyRef/name"
	}
	return "/spec/policies/" + strconv.Itoa(int(b.index)-1) + "/policyRef/name"
}

// policyAt is where the policy was named.
func (b *bindingDecl) policyAt() diag.Range {
	if b.details.named.IsZero() {
		return b.decl.named
	}
	return b.details.named
}

// owner is the declared object: the ApiInstance, of what stands inline.
func (d *decl) owner() diag.Object {
	if d.of != nil {
		return *d.of
	}
	return d.id
}

func (d *decl) origin() ir.Origin { return ir.Origin{Object: d.id, Range: d.named, Of: d.of} }

// apiDecl is one ApiInstance with what it holds inline, expanded as the product does (flex-resources.md, 2.1).
type apiDecl struct {
	decl
	labels   []v1alpha1.Label
	address  syntax.Text
	listen   listen
	services []*serviceDecl
	routes   []*routeDecl   // of inline services, in the order of the file
	emptied  bool           // services has no value, which has been said
	policies []*bindingDecl // inline, in list order; route policies are in routes
}

// serviceDecl is one Service.
type serviceDecl struct {
	decl
	address  syntax.Text
	endpoint endpoint
	inline   bool
}

// routeDecl is one inline route, or what a route or route-weighted binding says.
type routeDecl struct {
	decl
	policy   string
	at       diag.Range // what to underline: the rules, or the name
	order    int
	explicit diag.Range // of the order; zero: the default
	rules    []ir.Match
	to       []splitDecl
	inline   bool
	unclear  bool // a condition of its rules is wrong and not in them
}

// splitDecl is one alternative of a route.
type splitDecl struct {
	service diag.Object
	ref     syntax.Text // the name as written
	weight  uint32
	prefix  string
}

// bindingDecl is one policy bound to something, inline or as a PolicyBinding.
type bindingDecl struct {
	decl
	policy    string
	typ       PolicyType // nil: route policies, and names that the catalogue does not list
	ir        *ir.Binding
	route     *routeDecl // of a route policy
	order     int32
	index     int32 // 1-based in the list of inline policies; 0: a PolicyBinding
	place     ir.Place
	automated bool
	*details
}

// details are what most bindings do not have. Those of inline policies are few and very many have the same ones: see settle.
type details struct {
	named     diag.Range  // the policy; zero: it names the binding too, as it does inline
	target    diag.Object // ApiInstance or Service; zero for a selector, and when it is not known
	targetAt  diag.Range
	kindless  bool                   // targetRef has no kind
	selecting bool                   // automated, and the selector is right
	labels    map[string]syntax.Text // of the selector; none: every ApiInstance
	explicit  diag.Range             // of the order; zero: the default
	content   string                 // of a policy that is Outside: equal for equal configurations, wherever they stand

	// Only for policies that the catalogue does not list: an Extension of the set may define them.
	config    *syntax.Node
	configAt  diag.Range
	policyNS  string
	policyRef v1alpha1.PolicyRef
	hasRules  diag.Range
	forTarget ir.Target
}

// noDetails is what settled inline policies share. Nobody writes to it.
var noDetails = &details{}

// settle parts a decoded inline policy from what only decoding needed. Policies that the catalogue does not list are not
// settled before everything is linked, and those Outside are compared with each other.
func (b *bindingDecl) settle() {
	if b.typ != nil && b.content == "" {
		b.details = noDetails
		return
	}
	own := *b.details
	b.details = &own
}

const (
	defaultOrder = 50
	inlineOrder  = 0
)

func (d *docDecoder) apiInstance(spec *syntax.Node) {
	s := d.apiInstanceSpec(spec)
	api := &apiDecl{decl: decl{id: d.id, named: d.name.Range, broken: d.broken}, labels: d.labels, address: s.Address}
	if s.Address.Value != "" {
		var ds diag.List
		api.listen, ds = parseListen(s.Address, d.o.Target, d.o.AllowReserved)
		d.out.ds = append(d.out.ds, ds...)
	}
	if f := d.doc.Root.Get("spec").Field("services"); f != nil {
		api.emptied = f.Value.IsNull()
	}
	if len(s.Services)+len(s.Policies) > 0 {
		holder := d.id // a copy: the model keeps it, and not the rest of the apiDecl
		d.holder = &holder
	}
	for _, in := range s.Services {
		d.inlineService(api, in)
	}
	for i, in := range s.Policies {
		d.inlinePolicy(api, in, i)
	}
	d.repeatsBase(api)
	d.repeatsPolicy(api, spec)
	d.out.apis = append(d.out.apis, api)
}

func (d *docDecoder) inlineService(api *apiDecl, in v1alpha1.InlineService) {
	id := d.id
	id.Kind, id.Name = v1alpha1.Service, d.id.Name+"-"+in.Key.Value
	s := &serviceDecl{decl: decl{id: id, of: d.holder, named: in.Key.Range, broken: d.broken}, address: in.Address, inline: true}
	d.endpoint(s, "/spec/services/"+escapePointer(in.Key.Value)+"/address")
	api.services = append(api.services, s)
	d.checkName("name of a service", in.Key)
	routes := in.Routes
	if len(routes) == 0 {
		routes = []v1alpha1.InlineRoute{{Range: in.Key.Range}}
	}
	for i, r := range routes {
		d.destinationPath(r.DestinationPath)
		rid := id
		rid.Kind, rid.Name = v1alpha1.PolicyBinding, id.Name+"-route-"+strconv.Itoa(i+1)
		at := r.Range
		if !r.RulesAt.IsZero() {
			at = r.RulesAt
		}
		rules, unclear := d.routeRules(r.Rules)
		api.routes = append(api.routes, &routeDecl{decl: decl{id: rid, of: d.holder, named: r.Range, broken: d.broken}, policy: routePolicy,
			at: at, order: defaultOrder, rules: rules, unclear: unclear, inline: true,
			to: []splitDecl{{service: id, ref: in.Key, weight: 1, prefix: r.DestinationPath.Value}}})
	}
}

// destinationPath judges the prefix of forwarded paths.
func (d *docDecoder) destinationPath(t syntax.Text) {
	bad := func(what, hint string) {
		d.report(diag.Error, "link/bad-destination-path", t.Range, fmt.Sprintf("destinationPath %s %s", quoteShort(t.Value), what), hint)
	}
	switch i := strings.IndexFunc(t.Value, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '?' || r == '#' }); {
	case t.Value == "" || variable.MatchString(t.Value):
	case !strings.HasPrefix(t.Value, "/"):
		hint := "write /" + t.Value
		if strings.Contains(t.Value, "://") {
			hint = "write a path alone: the protocol and the host belong into the address of a Service"
		}
		bad(`does not start with "/"`, hint)
		if i < 0 && !strings.Contains(t.Value, ":") {
			d.out.ds[len(d.out.ds)-1].Edits = []diag.Edit{{Op: diag.Set, At: t.Range, Value: "/" + t.Value}}
		}
	case i >= 0:
		bad(fmt.Sprintf("holds %q, which no path has", t.Value[i]), "write the path alone; queries are carried over untouched")
	}
}

func (d *docDecoder) inlinePolicy(api *apiDecl, in v1alpha1.InlinePolicy, i int) {
	name := in.PolicyRef.Name
	if name.Value == "" {
		return
	}
	id := d.id
	id.Kind, id.Name = v1alpha1.PolicyBinding, d.id.Name+"-"+name.Value+"-"+strconv.Itoa(i+1)
	b := &bindingDecl{decl: decl{id: id, of: d.holder, named: name.Range, broken: d.broken},
		policy: name.Value, order: inlineOrder, index: int32(i + 1), details: &d.details}
	d.details = details{target: d.id, targetAt: d.name.Range, policyNS: d.id.Namespace, hasRules: in.RulesAt}
	b.policyRef = in.PolicyRef
	if in.PolicyRef.Namespace.Value != "" {
		b.policyNS = in.PolicyRef.Namespace.Value
	}
	d.path = append(d.path[:0], "spec", "policies", strconv.Itoa(i), "config")
	d.bind(b, in.PolicyRef, in.Config, in.Rules, d.path, in.Range)
	if b.route != nil {
		b.route.order, b.route.inline = inlineOrder, true
		api.routes = append(api.routes, b.route)
		return
	}
	b.settle()
	api.policies = append(api.policies, b)
}

func (d *docDecoder) policyBinding(spec *syntax.Node) {
	s := v1alpha1.PolicyBindingSpec{TargetRef: targetRef(spec), PolicyRef: policyRef(spec), Config: policyConfig(spec)}
	s.Rules, s.RulesAt = d.rulesOf(spec)
	b := &bindingDecl{decl: decl{id: d.id, named: d.name.Range, broken: d.broken}, policy: s.PolicyRef.Name.Value, order: defaultOrder,
		details: &details{named: s.PolicyRef.Name.Range, policyNS: d.id.Namespace, hasRules: s.RulesAt}}
	if o := spec.Get("order"); o != nil && !o.IsNull() && o.Kind == syntax.Scalar {
		var n int64
		if ds := o.Decode(&n); !ds.HasErrors() && n >= math.MinInt32 && n < math.MaxInt32 {
			b.order, b.explicit = int32(n), o.Range
			d.since(o.Range, "order", "", "1.3")
		}
	}
	b.policyRef = s.PolicyRef
	if ns := s.PolicyRef.Namespace.Value; ns != "" {
		b.policyNS = ns
	}
	d.target(b, s.TargetRef, spec)
	d.out.bindings = append(d.out.bindings, b)
	if b.policy == "" {
		return
	}
	key := b.policyAt()
	if f := d.doc.Root.Get("spec").Field("config"); f != nil { // also when it has no value
		key = f.Range
	}
	d.bind(b, s.PolicyRef, s.Config, s.Rules, []string{"spec", "config"}, key)
	if b.route != nil {
		b.route.order, b.route.explicit = int(b.order), b.explicit
	}
}

// target reads targetRef (flex-resources.md, 4.1 to 4.3).
func (d *docDecoder) target(b *bindingDecl, t v1alpha1.TargetRef, spec *syntax.Node) {
	ns := d.id.Namespace
	if t.Namespace.Value != "" {
		ns = t.Namespace.Value
	}
	b.kindless = t.Kind.IsZero()
	kind := t.Kind.Value
	if kind == "" {
		kind = v1alpha1.ApiInstance
	}
	bad := func(at diag.Range, summary, hint string, edits ...diag.Edit) {
		b.broken = true
		d.report(diag.Error, "link/bad-selector", at, summary, hint).Edits = edits
	}
	addKind := func(to diag.Range, kind string) diag.Edit {
		return diag.Edit{Op: diag.Insert, At: to, To: []string{"kind"}, Value: kind}
	}
	b.targetAt = t.Name.Range
	if kind != "Selector" {
		switch {
		case t.Selector != nil && b.kindless && t.Name.Value != "":
			bad(t.Selector.Range, fmt.Sprintf("targetRef has a selector beside the name %q, expected one of them", t.Name.Value), "remove the selector; or the name, and add kind: Selector")
		case t.Selector != nil && b.kindless:
			bad(t.Selector.Range, "targetRef has a selector but no kind", "add kind: Selector", addKind(t.Range, "Selector"))
		case t.Selector != nil:
			bad(t.Selector.Range, fmt.Sprintf("targetRef has a selector, but its kind is %q", kind), "write kind: Selector, or remove the selector")
		case t.Name.Value == "" && !d.broken:
			b.broken = true
			d.report(diag.Error, "shape/missing-field", t.Range, `"targetRef" lacks the field "name"`, `add "name", or kind: Selector with a selector`)
		case t.Name.Value != "" && (kind == v1alpha1.ApiInstance || kind == v1alpha1.Service):
			b.target = diag.Object{Group: v1alpha1.Group, Kind: kind, Namespace: ns, Name: t.Name.Value}
		}
		return
	}
	b.automated, b.targetAt = true, t.Range
	switch {
	case t.Name.Value != "":
		bad(t.Name.Range, fmt.Sprintf("targetRef is a Selector, so it has no name, found %q", t.Name.Value), "select by labels, or write kind: ApiInstance")
	case t.Selector == nil && !d.broken:
		bad(t.Range, `"targetRef" is a Selector but lacks the field "selector"`, "add selector with kind: ApiInstance and labels")
	case t.Selector == nil:
	case t.Selector.Kind.Value == "" && !d.broken:
		bad(t.Selector.Range, `"selector" lacks the field "kind"`, "add kind: ApiInstance", addKind(t.Selector.Range, v1alpha1.ApiInstance))
	default:
		b.selecting, b.labels, b.targetAt = true, t.Selector.Labels, t.Selector.Range
	}
	if t.Namespace.Value != "" {
		d.report(diag.Warning, "link/ignored-field", t.Namespace.Range, "a Selector looks in every namespace; its namespace is ignored", "remove it, or select by a label")
	}
}

// bind judges what policy a binding is of and what it says, as far as one document shows. key is what to underline
// when the configuration lacks something.
func (d *docDecoder) bind(b *bindingDecl, ref v1alpha1.PolicyRef, config *syntax.Node, rules []v1alpha1.Rule, path []string, key diag.Range) {
	b.forTarget = ir.TargetAPI
	if b.target.Kind == v1alpha1.Service {
		b.forTarget = ir.TargetUpstream
	}
	misnamed := config == nil && d.misnamed(path)
	if config == nil {
		if key.IsZero() {
			key = b.policyAt()
		}
		config = &syntax.Node{Kind: syntax.Mapping, Range: b.policyAt()}
		if b.details != nil && len(path) == 2 {
			config.Range = key // of the field without a value, if there is one
		}
	}
	switch name := b.policy; name {
	case routePolicy, weightedPolicy:
		d.policyNamespace(b, ref)
		d.bindRoute(b, config, misnamed, rules, path, key)
		return
	}
	b.ir = &ir.Binding{Origin: b.origin(), Policy: b.policy, Order: int(b.order), Automated: b.automated}
	if b.policyAt() != b.decl.named || !b.hasRules.IsZero() {
		b.ir.Rare = &ir.Rare{PolicyAt: b.policyAt(), RulesAt: b.hasRules}
	}
	typ, listed := d.lookup(b.policy)
	if !listed {
		b.config, b.configAt, d.out.trees = config, key, true
		b.ir.Rules = d.match(rules, false)
		return
	}
	b.typ, b.place = typ, typ.Place()
	d.policyNamespace(b, ref)
	if !d.direction(b) {
		return // the policy is the mistake, or the target: what is said about the rest would be guesswork
	}
	d.outOfPlace(b)
	if b.place == ir.Ordered {
		b.ir.Rules = d.match(rules, false)
	}
	if misnamed {
		b.broken = true // it is there, under a name that has been refused
		return
	}
	d.configure(b, typ, config, func() (checked, error) {
		j, err := d.policy(typ)
		if err != nil {
			return checked{}, err
		}
		return j.check(config, path, key, d.getenv, d.o.RequireEnv), nil
	})
}

// outward are the policies that do for a Service what their namesakes do for an ApiInstance. The vendor's pages mix some of them up.
var outward = map[string]string{
	"http-basic-authentication-flex": "credential-injection-basic-auth-flex", "jwt-validation-flex": "jwt-generation-flex",
	"message-logging-flex": "message-logging-outbound-flex", "tls": "tls-outbound",
}

// policyNamespace notes that a policy which comes with the gateway is looked for where it is not (flex-resources.md, 4.2).
func (d *docDecoder) policyNamespace(b *bindingDecl, ref v1alpha1.PolicyRef) {
	switch ns := ref.Namespace; {
	case ns.Value == "" && d.id.Namespace != "default":
		d.report(diag.Note, "link/policy-namespace", ref.Name.Range, fmt.Sprintf("policy %q is in namespace \"default\", and without a namespace it is looked for in %q first", b.policy, d.id.Namespace), "write namespace: default").Edits =
			[]diag.Edit{{Op: diag.Insert, At: ref.Range, To: []string{"namespace"}, Value: "default"}}
	case ns.Value != "" && ns.Value != "default":
		d.report(diag.Note, "link/policy-namespace", ns.Range, fmt.Sprintf("policy %q is in namespace \"default\", not in %q", b.policy, ns.Value), "write namespace: default").Edits =
			[]diag.Edit{{Op: diag.Set, At: ns.Range, Value: "default"}}
	}
}

// direction refuses a policy on a target that it does not apply to, and forgets the target: one mistake, said once.
func (d *docDecoder) direction(b *bindingDecl) bool {
	if b.typ.Targets()&b.forTarget != 0 || b.target == (diag.Object{}) && !b.automated {
		return true
	}
	hint := ""
	switch {
	case b.forTarget == ir.TargetUpstream && outward[b.policy] != "":
		hint = fmt.Sprintf("bind it to the ApiInstance, or bind %q to the Service", outward[b.policy])
	case b.forTarget == ir.TargetUpstream:
		hint = "bind it to an ApiInstance"
	case b.kindless && b.index == 0 && !b.automated:
		hint = fmt.Sprintf("add kind: Service to targetRef if %q is a Service", b.target.Name)
	case b.index > 0:
		hint = "write a PolicyBinding with targetRef kind: Service"
	default:
		hint = "bind it to a Service"
	}
	want, found := "an ApiInstance", "a Service"
	if b.forTarget == ir.TargetAPI {
		want, found = "a Service", "an ApiInstance"
	}
	if b.automated {
		found = "a Selector of ApiInstances"
	}
	d.report(diag.Error, "link/wrong-target", b.policyAt(), fmt.Sprintf("policy %q applies to %s, found %s", b.policy, want, found), hint)
	b.broken, b.target, b.automated, b.selecting = true, diag.Object{}, false, false
	return false
}

// outOfPlace warns of what has no effect on policies that are in no chain, or always first (flex-resources.md, 4.3).
func (d *docDecoder) outOfPlace(b *bindingDecl) {
	if b.place == ir.Ordered {
		return
	}
	why := "always runs first"
	if b.place == ir.Outside {
		why = "acts below HTTP"
	}
	if !b.explicit.IsZero() {
		d.report(diag.Warning, "link/order-ignored", b.explicit, fmt.Sprintf("order %d has no effect: policy %q %s", b.order, b.policy, why), "remove it").Edits =
			[]diag.Edit{{Op: diag.Remove, At: b.explicit}}
	}
	if !b.hasRules.IsZero() {
		what := "they are ignored"
		if b.place == ir.First {
			what = "it applies to every request"
		}
		d.report(diag.Warning, "link/rules-ignored", b.hasRules, fmt.Sprintf("rules have no effect on policy %q: %s", b.policy, what), "remove them")
	}
}

// misnamed reports whether a field beside path was said to be meant as the one that path ends with.
func (d *docDecoder) misnamed(path []string) bool {
	if len(path) == 0 {
		return false
	}
	name, beside := path[len(path)-1], pointer(path[:len(path)-1])+"/"
	if len(path) == 4 && d.dashed(path[2]) {
		return true
	}
	return slices.ContainsFunc(d.out.ds, func(x diag.Diagnostic) bool {
		return x.Code == "shape/unknown-field" && strings.HasPrefix(x.Path, beside) && !strings.Contains(x.Path[len(beside):], "/") && x.Hint == fmt.Sprintf("did you mean %q?", name)
	})
}

// dashed reports whether the config of an inline policy stands in an item of its own, the next one.
func (d *docDecoder) dashed(index string) bool {
	i, err := strconv.Atoi(index)
	policies, whole := d.doc.Root.At("spec", "policies")
	if err != nil || !whole || i+1 >= len(policies.Items) {
		return false
	}
	next := policies.Items[i+1]
	return next.Fold("config") != nil && next.Fold("policyRef") == nil
}

// configure checks and decodes the configuration of a binding. Check judges its shape.
func (d *docDecoder) configure(b *bindingDecl, typ PolicyType, config *syntax.Node, check func() (checked, error)) {
	if config.Kind != syntax.Mapping {
		b.broken = true // the kind's own schema has said so
		return
	}
	c, err := check()
	if err != nil {
		d.report(diag.Error, "shape/internal", b.policyAt(), fmt.Sprintf("the schema of policy %q cannot be used: %v", b.policy, err), "this is a mistake in the gateway, not in the declaration")
		b.broken = true
		return
	}
	d.since(b.policyAt(), "policy", b.policy, typ.Since())
	if !typ.Enforced() {
		sev := diag.Error
		if d.o.AllowUnenforced {
			sev = diag.Warning
		}
		d.report(sev, "link/not-supported-yet", b.policyAt(), fmt.Sprintf("policy %q is checked, but not enforced by flexgw yet", b.policy),
			"flexgw run refuses it, so that no API is served without its policy; flexgw policy list has those that are enforced")
		b.ir.Unenforced = true
	}
	d.out.ds = append(d.out.ds, c.ds...)
	if !c.ok {
		b.broken = true
		d.out.ds = append(d.out.ds, c.mended.every(func(n *syntax.Node) diag.List {
			_, ds := typ.Decode(n)
			return ds
		})...)
		return
	}
	if len(c.unresolved) > 0 {
		b.ir.Own().Unresolved = c.unresolved
		ds := c.unknown.every(c.node, func(n *syntax.Node) diag.List {
			_, ds := typ.Decode(n)
			return ds
		})
		d.out.ds = append(d.out.ds, ds...)
		if ds.HasErrors() {
			b.broken = true
			return
		}
		draft, _ := typ.Decode(c.node) // what is wrong with it is the variable's
		b.ir.Guard, b.ir.Own().Drafted = typ.Guard(draft), draft
		b.ir.Own().Validity = typ.Validity(draft, c.node) // a certificate ends, whatever its key is
		return
	}
	cfg, ds := typ.Decode(c.node)
	d.out.ds = append(d.out.ds, ds...)
	if ds.HasErrors() {
		b.broken = true
		return
	}
	b.ir.Made, b.ir.Guard, b.ir.Shares = cfg, typ.Guard(cfg), typ.Shares(cfg)
	_, b.ir.Sets = cfg.(ir.Setter)
	if v := typ.Validity(cfg, c.node); len(v) > 0 {
		b.ir.Own().Validity = v
	}
	if b.place == ir.Outside {
		h := sha256.Sum256([]byte(canonical(c.node)))
		b.content = string(h[:])
	}
}

func (d *docDecoder) bindRoute(b *bindingDecl, config *syntax.Node, misnamed bool, rules []v1alpha1.Rule, path []string, key diag.Range) {
	matches, unclear := d.routeRules(rules)
	r := &routeDecl{decl: b.decl, policy: b.policy, at: b.at(), order: int(b.order), explicit: b.explicit, rules: matches, unclear: unclear}
	b.route = r
	if b.forTarget == ir.TargetUpstream {
		d.report(diag.Error, "link/wrong-target", b.policyAt(), fmt.Sprintf("policy %q applies to an ApiInstance, found a Service", b.policy), "name the Service in config.destinationRef, and the ApiInstance in targetRef")
		b.broken, b.target = true, diag.Object{}
	}
	if !b.hasRules.IsZero() {
		r.at = b.hasRules
	}
	if config.Kind != syntax.Mapping || misnamed || d.otherRoute(b, config, path, key) {
		b.broken, r.broken = true, true
		return
	}
	if b.policy == weightedPolicy {
		d.since(b.policyAt(), "policy", b.policy, "1.5")
	}
	c := kindJudges()[b.policy].check(config, path, key, d.getenv, d.o.RequireEnv)
	d.out.ds = append(d.out.ds, c.ds...)
	if !c.ok || len(c.unresolved) > 0 {
		r.broken = true
	}
	if b.policy == routePolicy {
		d.split(b, c.node, 1)
		return
	}
	if routes := c.node.Get("routes"); routes != nil {
		for _, item := range routes.Items {
			var weight uint32
			if w := item.Get("weight"); w != nil {
				w.Decode(&weight)
			}
			d.split(b, item, weight)
		}
		if len(routes.Items) > maxSplits {
			d.report(diag.Warning, "link/over-limit", routes.Range, fmt.Sprintf("this route has %d upstreams; the product takes %d", len(routes.Items), maxSplits), "")
		}
	}
}

// otherRoute reports a configuration that is right for the other one of the two policies that route.
func (d *docDecoder) otherRoute(b *bindingDecl, config *syntax.Node, path []string, key diag.Range) bool {
	own, other := "destinationRef", "routes"
	to := weightedPolicy
	if b.policy == weightedPolicy {
		own, other, to = other, own, routePolicy
	}
	f := config.Fold(other)
	if f == nil || config.Fold(own) != nil || !kindJudges()[to].check(config, path, key, d.getenv, d.o.RequireEnv).ok {
		return false
	}
	d.report(diag.Error, "shape/unknown-field", f.Range, fmt.Sprintf("unknown field %q in the config of policy %q", f.Name, b.policy), fmt.Sprintf("did you mean policy %q?", to)).Edits =
		[]diag.Edit{{Op: diag.Set, At: b.policyAt(), Value: to}}
	return true
}

func (d *docDecoder) split(b *bindingDecl, n *syntax.Node, weight uint32) {
	ref := n.Get("destinationRef")
	name := text(ref.Get("name"))
	if name.Value == "" || variable.MatchString(name.Value) {
		b.route.broken = true
		return
	}
	ns := b.id.Namespace
	if t := text(ref.Get("namespace")); t.Value != "" {
		ns = t.Value
	}
	path := text(n.Get("destinationPath"))
	d.destinationPath(path)
	b.route.to = append(b.route.to, splitDecl{service: diag.Object{Group: v1alpha1.Group, Kind: v1alpha1.Service, Namespace: ns, Name: name.Value},
		ref: name, weight: weight, prefix: path.Value})
}
