package diff

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// target is what policies are bound to, on both sides.
type target struct {
	now          *diag.Object // the API or the Service
	was, current []*ir.Binding
}

// bindings compares the policies of what is on both sides. What one binding does to many APIs is told once.
func (c *comparison) bindings() {
	var targets []target
	for _, p := range c.pairs {
		n := p.now.object()
		targets = append(targets, target{&n, p.old.api.Bindings, p.now.api.Bindings})
	}
	was := map[string]*ir.Upstream{}
	for _, u := range c.old.Gateway.Upstreams {
		was[u.Name] = u
	}
	for _, u := range c.now.Gateway.Upstreams {
		if o := was[u.Name]; o != nil && o != u {
			targets = append(targets, target{&u.Origin.Object, o.Bindings, u.Bindings})
		}
	}
	said := told{}
	for _, t := range targets {
		c.target(t, &said)
	}
	for _, x := range said.list {
		c.add(*x)
	}
}

// told are changes that are felt in several targets.
type told struct {
	list  []*Change
	byKey map[any]*Change
}

func (t *told) felt(key any, in diag.Object, make func() Change) {
	x := t.byKey[key]
	if x == nil {
		if t.byKey == nil {
			t.byKey = map[any]*Change{}
		}
		made := make()
		x = &made
		t.byKey[key] = x
		t.list = append(t.list, x)
	}
	x.Affects = append(x.Affects, in)
}

// same is two bindings that are one on both sides.
type same struct{ old, now *ir.Binding }

func (c *comparison) target(t target, said *told) {
	pairs, removed, added := c.matchBindings(t)
	for _, b := range removed {
		said.felt([2]any{PolicyRemoved, b}, *t.now, func() Change { return c.lost(b) })
	}
	for _, b := range added {
		said.felt([2]any{PolicyAdded, b}, *t.now, func() Change { return c.gained(b) })
	}
	for _, p := range pairs {
		if p.old == p.now {
			continue
		}
		if x, differs := c.compareBindings(p.old, p.now); differs {
			said.felt(p, *t.now, func() Change { return x })
		}
	}
	if x, differs := c.reordered(pairs, t.was); differs {
		said.felt(x.Summary+x.Place.String(), *t.now, func() Change { return x })
	}
}

// matchBindings pairs the bindings of one target, in the order of today: by their names, and what stands inline or was renamed by its policy, in
// order: the name of an inline policy has its number in it.
func (c *comparison) matchBindings(t target) (pairs []same, removed, added []*ir.Binding) {
	left := slices.Clone(t.was)
	take := func(n *ir.Binding, fits func(o *ir.Binding) bool) bool {
		i := slices.IndexFunc(left, fits)
		if i >= 0 {
			pairs = append(pairs, same{left[i], n})
			left = slices.Delete(left, i, i+1)
		}
		return i >= 0
	}
	var open []*ir.Binding
	for _, n := range t.current {
		if inline(n) || !take(n, func(o *ir.Binding) bool {
			return o.Origin.Object == n.Origin.Object && o.Policy == n.Policy && !inline(o)
		}) {
			open = append(open, n)
		}
	}
	for _, n := range open {
		// A binding that still is on the other side, only not here, is not another one's new name.
		if !take(n, func(o *ir.Binding) bool {
			return o.Policy == n.Policy && inline(o) == inline(n) && (inline(n) || !c.elsewhere(o, n))
		}) && !take(n, func(o *ir.Binding) bool { return o.Policy == n.Policy && !c.elsewhere(o, n) }) {
			added = append(added, n)
		}
	}
	// Names were asked first; from here on, what counts is when they run.
	now := func(p same) int { return slices.Index(t.current, p.now) }
	slices.SortStableFunc(pairs, func(a, b same) int { return now(a) - now(b) })
	return pairs, left, added
}

// elsewhere reports whether an old binding is still declared, or a new one was before.
func (c *comparison) elsewhere(o, n *ir.Binding) bool {
	return c.bound[1][o.Origin.Object] || c.bound[0][n.Origin.Object]
}

func boundIn(g *ir.Gateway) map[diag.Object]bool {
	m := map[diag.Object]bool{}
	for _, b := range g.Bindings() {
		m[b.Origin.Object] = true
	}
	return m
}

// inline reports whether a binding stands in its API.
func inline(b *ir.Binding) bool { return b.Origin.Of != nil }

func (c *comparison) lost(b *ir.Binding) Change {
	x := Change{Class: Traffic, Kind: PolicyRemoved, Object: b.Origin.Object, Summary: fmt.Sprintf("policy %s does not apply any more", b.Policy), Reason: "what it did to requests or responses is gone",
		Place: Place{true, b.PolicyAt()}, about: []diag.Object{b.Origin.Object}, keep: c.hidden(b)}
	if c.bound[1][b.Origin.Object] {
		x.Reason = "the binding is still there, for others"
	}
	c.matters(&x, b, configOf(b), policy.Absent{}, Looser, map[ir.Guard]string{
		ir.Authenticates: "it asked who the callers are", ir.Restricts: "it refused some requests"})
	return x
}

func (c *comparison) gained(b *ir.Binding) Change {
	x := Change{Class: Traffic, Kind: PolicyAdded, Object: b.Origin.Object, Summary: fmt.Sprintf("policy %s applies", b.Policy), Reason: "requests or responses pass through it",
		Place: Place{false, b.PolicyAt()}, about: []diag.Object{b.Origin.Object}, keep: c.hidden(b)}
	if len(b.Rules) > 0 {
		x.Summary += " to " + rulesText(b.Rules)
	}
	c.matters(&x, b, policy.Absent{}, configOf(b), Tighter, map[ir.Guard]string{
		ir.Authenticates: "it asks who the callers are", ir.Restricts: "it refuses some requests"})
	return x
}

// matters makes a change one of security when the policy guards something, or opens something.
func (c *comparison) matters(x *Change, b *ir.Binding, was, now any, guards Way, words map[ir.Guard]string) {
	if why := words[b.Guard]; why != "" {
		x.Class, x.Way, x.Reason = Security, guards, why
		return
	}
	if shifts, known := c.shifts(b, was, now); known && len(shifts) > 0 {
		x.Class, x.Way, x.Reason = Security, way(shifts), summaries(shifts)
	}
}

// compareBindings says what is different between two bindings of one policy.
func (c *comparison) compareBindings(o, n *ir.Binding) (Change, bool) {
	x := Change{Class: Traffic, Kind: PolicyChanged, Object: n.Origin.Object, Summary: fmt.Sprintf("policy %s is configured in another way", n.Policy), Reason: "what it does to requests or responses changes",
		Place: Place{false, n.PolicyAt()}, about: []diag.Object{o.Origin.Object, n.Origin.Object}, files: []string{o.Origin.Range.File}, keep: c.hidden(o) || c.hidden(n)}
	guard := max(o.Guard, n.Guard)
	config := c.config(o, n)
	if len(config) > 0 {
		x.Fields, x.Place = config, config[max(0, slices.IndexFunc(config, func(f Field) bool { return !f.Place.Old }))].Place
		c.reconfigured(&x, o, n, guard)
	}
	if old, now := rulesText(o.Rules), rulesText(n.Rules); old != now {
		x.Fields = append(x.Fields, Field{Path: "rules", Old: old, New: now, Place: Place{false, orRange(n.RulesAt(), n.PolicyAt())}})
		if len(config) == 0 {
			x.Summary, x.Reason = fmt.Sprintf("policy %s applies to other requests", n.Policy), "other requests pass through it"
			x.Place = Place{false, orRange(n.RulesAt(), n.PolicyAt())}
		}
		c.appliesTo(&x, o, n, len(config) > 0)
	}
	if named := o.Origin.Object.Name != n.Origin.Object.Name && !(inline(o) && inline(n)); named && len(x.Fields) == 0 {
		x.Summary, x.Reason = fmt.Sprintf("the binding of policy %s is now called %q", n.Policy, n.Origin.Object.Name), "statistics are counted under its new name"
		x.Fields = append(x.Fields, Field{Path: "metadata.name", Old: o.Origin.Object.Name, New: n.Origin.Object.Name, Place: Place{false, n.Origin.Range}})
	}
	return x, len(x.Fields) > 0
}

// appliesTo classifies a change of the rules of a binding: what it guards, or opens, other requests may get it now. A direction is
// told where it is sure; one that the configuration has already, and that goes the other way, is looser if either is.
func (c *comparison) appliesTo(x *Change, o, n *ir.Binding, configured bool) {
	guard, opens := max(o.Guard, n.Guard) != ir.GuardNone, c.opens(o, n)
	wider, narrower := ir.TakeAll(n.Rules, o.Rules), ir.TakeAll(o.Rules, n.Rules)
	before := x.Way
	say := func(w Way, guards, opened string) {
		if !guard && !opens {
			return
		}
		why := guards
		if !guard {
			why, w = opened, map[Way]Way{Looser: Tighter, Tighter: Looser}[w]
		}
		if x.Class == Security {
			why = x.Reason + "; " + why
		}
		switch {
		case x.Class != Security:
			x.Way = w
		case before == Looser || w == Looser:
			x.Way = Looser
		case before != w:
			x.Way = ""
		}
		x.Class, x.Reason = Security, why
	}
	switch {
	case wider && narrower && sameRules(o.Rules, n.Rules):
		if !configured {
			x.Summary, x.Reason = fmt.Sprintf("the rules of policy %s stand in another order", n.Policy), "it applies to what any of them matches"
		}
	case wider && narrower: // as far as patterns are compared: not beyond ASCII
		if !configured {
			x.Summary = fmt.Sprintf("the rules of policy %s are written in another way", n.Policy)
		}
		say("", "its rules are written in another way, for what seem to be the same requests", "its rules are written in another way, for what seem to be the same requests")
	case narrower && len(o.Rules) == 0:
		say(Looser, "requests that its rules do not match are not guarded any more", "only requests that its rules match are opened by it")
	case narrower:
		say(Looser, "requests that only the rules before match are not guarded any more", "it opens fewer requests")
	case wider && len(n.Rules) == 0:
		say(Tighter, "it guards every request", "it opens every request")
	case wider:
		say(Tighter, "it guards what the new rules match too", "it opens what the new rules match too")
	case slices.ContainsFunc(o.Rules, func(r ir.Match) bool { return apart(r, n.Rules) }):
		say(Looser, "requests that only the rules before match are not guarded any more; others are now", "it opens other requests than before")
	default:
		say("", "it guards other requests than before", "it opens other requests than before")
	}
}

// sameRules reports whether two lists of rules say the same, in another order.
func sameRules(was, now []ir.Match) bool {
	sorted := func(rules []ir.Match) []string {
		var l []string
		for _, r := range rules {
			l = append(l, rulesText([]ir.Match{r}))
		}
		slices.Sort(l)
		return slices.Compact(l)
	}
	return slices.Equal(sorted(was), sorted(now))
}

// apart reports whether surely none of some rules matches what a rule does.
func apart(r ir.Match, rules []ir.Match) bool {
	return !slices.ContainsFunc(rules, func(m ir.Match) bool { return !m.Apart(r) })
}

// opens reports whether a policy that guards nothing lets in who would stay outside without it.
func (c *comparison) opens(o, n *ir.Binding) bool {
	lets := func(b *ir.Binding) bool {
		shifts, known := c.shifts(b, policy.Absent{}, configOf(b))
		return known && way(shifts) == Looser
	}
	return lets(o) && lets(n)
}

// reconfigured classifies a change of a configuration by what the policy type says of it.
func (c *comparison) reconfigured(x *Change, o, n *ir.Binding, guard ir.Guard) {
	shifts, known := c.shifts(n, configOf(o), configOf(n))
	switch {
	case n.Guard < o.Guard:
		x.Class, x.Way, x.Reason = Security, Looser, "it guards less than before"
	case n.Guard > o.Guard:
		x.Class, x.Way, x.Reason = Security, Tighter, "it guards more than before"
	case known && len(shifts) > 0:
		x.Class, x.Way, x.Reason = Security, way(shifts), summaries(shifts)
	case !known && guard != ir.GuardNone:
		x.Class, x.Reason = Security, "it guards the API, and what it demands changes"
	case known && guard != ir.GuardNone:
		x.Reason = "who gets through stays the same"
	}
	if known && len(shifts) > 0 && n.Guard != o.Guard {
		x.Reason = summaries(shifts)
	}
}

// configOf is what is known of a configuration.
func configOf(b *ir.Binding) any {
	if b.Made == nil {
		return b.Draft()
	}
	return b.Config()
}

func orRange(a, b diag.Range) diag.Range {
	if a.IsZero() {
		return b
	}
	return a
}

// config compares what two bindings declare. Files that are the same on both sides declare the same.
func (c *comparison) config(o, n *ir.Binding) []Field {
	was, before := declaredOf(c.docs.old, o)
	now, after := declaredOf(c.docs.now, n)
	if !before || !after {
		return nil
	}
	empty := &ir.Declared{Kind: ir.Mapping, Range: n.PolicyAt()} // an absent config is an empty one
	if was == nil {
		was = empty
	}
	if now == nil {
		now = empty
	}
	return compareDeclared("", was, now)
}

// declaredOf is the configuration of a binding; ok is false when its document is not among those that were read.
func declaredOf(docs map[diag.Object][]ir.Document, b *ir.Binding) (config *ir.Declared, ok bool) {
	for _, d := range docs[b.Origin.Object] {
		if d.Name == b.Origin.Range {
			return d.Tree.Get("spec", "config"), true
		}
	}
	if !inline(b) {
		return nil, false
	}
	name := b.Origin.Object.Name // "<api>-<policy>-<n>"
	number, err := strconv.Atoi(name[strings.LastIndexByte(name, '-')+1:])
	for _, d := range docs[*b.Origin.Of] {
		policies := d.Tree.Get("spec", "policies")
		if err != nil || policies == nil || number < 1 || number > len(policies.Items) {
			continue
		}
		if name := policies.Items[number-1].Get("policyRef", "name"); name != nil && name.Range == b.PolicyAt() {
			return policies.Items[number-1].Get("config"), true
		}
	}
	return nil, false
}

// reordered says whether policies that are on both sides run in another order.
func (c *comparison) reordered(pairs []same, was []*ir.Binding) (Change, bool) {
	places := make(map[*ir.Binding]int, len(was))
	for i, b := range was {
		places[b] = i
	}
	before := func(p same) int { return places[p.old] }
	first := make([]int, len(pairs)+1) // of those from here on, the place of what was first
	first[len(pairs)] = len(was)
	for i, p := range slices.Backward(pairs) {
		first[i] = min(first[i+1], before(p))
	}
	for i, p := range pairs {
		if first[i+1] >= before(p) {
			continue
		}
		later := slices.IndexFunc(pairs[i+1:], func(l same) bool { return before(l) < before(p) })
		return c.orderChange(pairs, p, pairs[i+1+later], before), true
	}
	return Change{}, false
}

func (c *comparison) orderChange(pairs []same, p, later same, before func(same) int) Change {
	x := Change{Class: Traffic, Kind: PolicyOrder, Object: p.now.Origin.Object, Summary: "policies run in another order", Place: Place{false, p.now.PolicyAt()}}
	sorted := slices.Clone(pairs)
	slices.SortStableFunc(sorted, func(a, b same) int { return before(a) - before(b) })
	text := func(l []same) string {
		var names []string
		for _, s := range l {
			names = append(names, s.now.Policy)
		}
		return strings.Join(names, ", ")
	}
	x.Fields = []Field{{Path: "order", Old: text(sorted), New: text(pairs), Place: x.Place}}
	x.Reason = fmt.Sprintf("%s runs before %s now", p.now.Policy, later.now.Policy)
	for i, a := range pairs {
		for _, b := range pairs[i+1:] {
			if before(a) > before(b) {
				x.about = append(x.about, a.now.Origin.Object, b.now.Origin.Object)
				x.keep = x.keep || c.hidden(a.now) || c.hidden(b.now)
				if x.Class == Traffic && max(a.now.Guard, b.now.Guard) != ir.GuardNone {
					x.Class, x.Reason = Security, fmt.Sprintf("%s runs before %s now, and one of them guards the API", a.now.Policy, b.now.Policy)
				}
			}
		}
	}
	return x
}
