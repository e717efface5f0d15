package render

import (
	"slices"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	setfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	bodysizev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/body_size_limit/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	httpsetfilterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Filter state that the marker at the end of every chain sets. flex.guard demands the first; logs read the second,
// because a forwarded request is logged with its rewritten path (scopes.md, row 5).
const (
	chainState = "flexgw.chain"
	pathState  = "flexgw.path"
)

// headroom is what a route may buffer beyond the largest body that its filters accept: a filter that pauses before one
// that reads bodies hangs when a body reaches the buffer's limit, so body_size_limit must refuse it first (chassis.md).
const headroom = 64 << 10

// chain is what the bindings of one API became. It is the only thing that knows slots.
type chain struct {
	entries   map[string]*anypb.Any // typed_per_filter_config: the slots, and entries under inner names
	last      int                   // number of the last pair of slots that is used
	patch     patch
	buffer    uint64 // request_body_buffer_limit; 0: none
	published policy.Published
}

// chainBuilder lays filters into slots: runs of unconditional ones into flex.chain.n, a conditional one alone into
// flex.cond.n. Never the filter_chain action of composite: it skips what follows a filter that pauses (chassis.md).
type chainBuilder struct {
	w   *wire
	c   *chain
	run []*corev3.TypedExtensionConfig
}

func (b *chainBuilder) plain(name string, config *anypb.Any) {
	b.run = append(b.run, &corev3.TypedExtensionConfig{Name: name, TypedConfig: config})
}

func (b *chainBuilder) conditional(when *xdsmatcherv3.Matcher_MatcherList_Predicate, name string, config *anypb.Any) {
	b.flush()
	b.c.last++
	action := b.w.any(&compositev3.ExecuteFilterAction{TypedConfig: &corev3.TypedExtensionConfig{Name: name, TypedConfig: config}})
	b.c.entries[condName(b.c.last)] = b.w.any(&compositev3.CompositePerRoute{Matcher: &xdsmatcherv3.Matcher{
		MatcherType: &xdsmatcherv3.Matcher_MatcherList_{MatcherList: &xdsmatcherv3.Matcher_MatcherList{
			Matchers: []*xdsmatcherv3.Matcher_MatcherList_FieldMatcher{{Predicate: when, OnMatch: &xdsmatcherv3.Matcher_OnMatch{
				OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{Action: &xdscorev3.TypedExtensionConfig{Name: "run", TypedConfig: action}}}}}}}}})
}

func (b *chainBuilder) flush() {
	if len(b.run) == 0 {
		return
	}
	b.c.entries[chainName(b.c.last)] = chainEntry(b.w, b.run)
	b.run = nil
}

func chainEntry(w *wire, fs []*corev3.TypedExtensionConfig) *anypb.Any {
	return w.any(&filterchainv3.FilterChainConfigPerRoute{FilterChain: &filterchainv3.FilterChain{Filters: fs}})
}

// buildChain asks the bindings of an API in the order in which they run, and lays out what they ask for.
func (r *renderer) buildChain(w *wire, api *ir.API, out *bundle) (*chain, diag.List) {
	c := &chain{entries: map[string]*anypb.Any{}}
	asks, l := r.askAll(api, c, out, w.set(0))
	if l.HasErrors() {
		return nil, l
	}
	b := &chainBuilder{w: w, c: c}
	limit, buffer := bodyLimits(asks)
	if buffer > 0 {
		c.buffer = uint64(buffer) + headroom
	}
	if limit > 0 {
		b.plain(limitName, bodyLimit(w, limit))
	}
	for _, a := range asks {
		l = append(l, r.lay(b, api, a, limit)...)
		l = append(l, faults(w, a.binding.Origin)...)
	}
	b.plain(markName, r.marker)
	b.flush()
	for _, a := range asks {
		*a = asked{}
		r.asks.Put(a)
	}
	return c, l
}

// askAll collects the effects of an API's bindings. `First` runs before all. used is an empty set.
func (r *renderer) askAll(api *ir.API, c *chain, out *bundle, used map[string]bool) ([]*asked, diag.List) {
	var l diag.List
	asks := make([]*asked, 0, len(api.Bindings))
	for _, b := range r.ordered(api.Bindings) {
		if unready(b) {
			continue
		}
		a, problems := r.askOnce(b, api, c.published, used)
		l = append(l, problems...)
		if a == nil {
			continue
		}
		l = append(l, r.rulesFit(a)...)
		l = append(l, c.patch.add(b, a.effect.Route)...)
		l = append(l, out.brought(r.walker, a, func(f policy.File) string { return r.path(f.Data, f.Ext) })...)
		c.published = c.published.Merge(a.effect.Publishes)
		asks = append(asks, a)
	}
	return asks, l
}

// ordered puts `First` policies before the others, which keep their order, and leaves out those that are in no chain.
func (r *renderer) ordered(bs []*ir.Binding) []*ir.Binding {
	first := make([]*ir.Binding, 0, len(bs))
	var rest []*ir.Binding
	for _, b := range bs {
		if t, ok := r.typeOf(b); ok && t.Place() == ir.First {
			first = append(first, b)
		} else {
			rest = append(rest, b)
		}
	}
	return append(first, rest...)
}

// askOnce asks one binding under an inner name that no filter of the chain has yet.
func (r *renderer) askOnce(b *ir.Binding, api *ir.API, earlier policy.Published, used map[string]bool) (*asked, diag.List) {
	for id := bindingName(b); ; id += "~" {
		if used[id] {
			continue
		}
		a, l := r.ask(b, policy.Input{API: api, Settings: api.Settings, ID: id, Earlier: earlier})
		if a == nil {
			return nil, l
		}
		if slices.ContainsFunc(a.effect.Filters, func(f policy.Filter) bool { return used[filterName(id, f.Name)] }) {
			continue
		}
		used[id] = true
		for _, f := range a.effect.Filters {
			used[filterName(id, f.Name)] = true
		}
		return a, l
	}
}

// uncomposable filters do not work in a composite slot (chassis.md, T2).
var uncomposable = map[string]bool{"CredentialInjector": true, "Cors": true}

// rulesFit refuses rules that cannot be honoured: a policy is applied always or refused, never skipped.
func (r *renderer) rulesFit(a *asked) diag.List {
	b := a.binding
	if len(b.Rules) == 0 {
		return nil
	}
	switch {
	case a.typ.Place() == ir.First:
		return diag.List{notConditional(b, "it always runs first, before anything looks at the request")}
	case a.typ.Place() == ir.Outside:
		return diag.List{notConditional(b, "it works on connections, not on requests")}
	case a.typ.OwnRules():
		return nil
	case a.effect.Route != nil:
		return diag.List{notConditional(b, "what it sets belongs to all requests of the API")}
	}
	for _, f := range a.effect.Filters {
		if f.Route != nil || f.Config != nil && uncomposable[string(f.Config.ProtoReflect().Descriptor().Name())] {
			return diag.List{notConditional(b, "its filter works for all requests of the API only")}
		}
	}
	return nil
}

// lay puts the filters of one binding into the chain.
func (r *renderer) lay(b *chainBuilder, api *ir.API, a *asked, limit uint32) diag.List {
	if !a.conditional() {
		for _, f := range a.effect.Filters {
			name := filterName(a.id, f.Name)
			b.plain(name, r.inner(b.w, a, f))
			if f.Route != nil {
				b.c.entries[name] = b.w.any(f.Route)
			}
		}
		return nil
	}
	when, l := r.when(api, a.binding.Rules)
	if when == nil {
		if !l.HasErrors() {
			b.w.fault("policy %s: its condition is missing", a.binding.Policy)
		}
		return l
	}
	if n := a.effect.Body.Request; n > 0 && (limit == 0 || n < limit) {
		b.conditional(when, limitName+"."+a.id, bodyLimit(b.w, n))
	}
	for _, f := range a.effect.Filters {
		b.conditional(when, filterName(a.id, f.Name), r.inner(b.w, a, f))
	}
	return l
}

func (r *renderer) inner(w *wire, a *asked, f policy.Filter) *anypb.Any {
	if f.Config == nil {
		w.fault("policy %s: filter %q has no configuration", a.binding.Policy, f.Name)
		return r.marker
	}
	return w.any(f.Config)
}

// bodyLimits says what the chain's first filter must refuse, and how much the API's filters want to buffer at most.
// Every unconditional reader refuses what it cannot read, so the smallest of them decides.
func bodyLimits(asks []*asked) (limit, buffer uint32) {
	for _, a := range asks {
		n := a.effect.Body.Request
		if n == 0 {
			continue
		}
		buffer = max(buffer, n)
		if !a.conditional() && (limit == 0 || n < limit) {
			limit = n
		}
	}
	return limit, buffer
}

func bodyLimit(w *wire, n uint32) *anypb.Any {
	return w.any(&bodysizev3.BodySizeLimit{MaxRequestBytes: wrapperspb.UInt64(uint64(n))})
}

// constants are the parts that never differ.
type constants struct {
	marker *anypb.Any // the last filter of every chain
	dns    *anypb.Any // how names are resolved
}

func newConstants(w *walker) constants {
	x := newWire(w)
	c := constants{marker: x.any(&httpsetfilterstatev3.Config{OnRequestHeaders: []*setfilterstatev3.FilterStateValue{
		stateValue(chainState, "ok"), stateValue(pathState, "%REQ(:PATH)%")}})}
	c.dns = x.any(byName())
	w.shared = []*anypb.Any{c.marker, c.dns}
	return c
}

func stateValue(key, format string) *setfilterstatev3.FilterStateValue {
	return &setfilterstatev3.FilterStateValue{
		Key:        &setfilterstatev3.FilterStateValue_ObjectKey{ObjectKey: key},
		FactoryKey: "envoy.string",
		Value:      &setfilterstatev3.FilterStateValue_FormatString{FormatString: textFormat(format)},
	}
}

func textFormat(s string) *corev3.SubstitutionFormatString {
	return &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_TextFormatSource{
		TextFormatSource: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: s}}}}
}
