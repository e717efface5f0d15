package diff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// asks says how much of what an API gets must say who it comes from.
type asks uint8

const (
	nothing asks = iota
	some
	everything
)

// authentication says what a caller of an API must prove, and which bindings see to it.
func (p placed) authentication() (asks, []*ir.Binding) {
	level := nothing
	var by []*ir.Binding
	bindings := p.api.Bindings
	if p.listener.TLS != nil {
		bindings = append([]*ir.Binding{p.listener.TLS}, bindings...)
	}
	for _, b := range bindings {
		if b.Guard != ir.Authenticates {
			continue
		}
		by = append(by, b)
		if len(b.Rules) == 0 {
			level = everything
		} else {
			level = max(level, some)
		}
	}
	return level, by
}

// apis tells which APIs came and went, and whether what stayed still asks who its callers are.
func (c *comparison) apis() {
	for _, p := range c.added {
		c.add(added(p))
	}
	for _, p := range c.removed {
		gone := "its callers get 404"
		if !slices.ContainsFunc(c.now.Gateway.Listeners, func(l *ir.Listener) bool { return l.Addr.Port() == p.listener.Addr.Port() }) {
			gone = "nothing listens on its port any more"
		}
		c.add(Change{Class: Traffic, Kind: APIRemoved, Object: p.object(), Summary: fmt.Sprintf("API %s is gone from %s", p.name(), p.address()), Reason: gone,
			Fields: described(p, true), Place: Place{true, p.api.Origin.Range}, about: p.parts()})
	}
	for _, p := range c.pairs {
		c.moves(p)
	}
	c.callers()
}

func added(p placed) Change {
	x := Change{Class: Traffic, Kind: APIAdded, Object: p.object(), Summary: fmt.Sprintf("API %s is new at %s", p.name(), p.address()),
		Fields: described(p, false), Place: Place{false, p.api.Origin.Range}, about: p.parts()}
	level, by := p.authentication()
	switch level {
	case nothing:
		x.Class, x.Way, x.Reason = Security, Looser, "it is reachable without authentication: no policy asks who its callers are"
	case some:
		x.Class, x.Way, x.Reason = Security, Looser, fmt.Sprintf("some of its requests need no authentication: %s has rules", names(by))
	default:
		x.Reason = fmt.Sprintf("a new address; %s asks who its callers are", names(by))
	}
	return x
}

func names(bs []*ir.Binding) string {
	var l []string
	for _, b := range bs {
		if !slices.Contains(l, b.Policy) {
			l = append(l, b.Policy)
		}
	}
	return strings.Join(l, ", ")
}

// parts are the API and what belongs to it, each an object of its own.
func (p placed) parts() []diag.Object {
	out := []diag.Object{p.object()}
	for _, b := range p.api.Bindings {
		out = append(out, b.Origin.Object)
	}
	for _, r := range p.api.Routes {
		out = append(out, routeParts(r)...)
	}
	return out
}

// described is an API that is on one side only.
func described(p placed, old bool) []Field {
	var out []Field
	put := func(path, text string, at diag.Range) {
		f := Field{Path: path, New: text, Place: Place{old, at}}
		if old {
			f.Old, f.New = text, ""
		}
		out = append(out, f)
	}
	for _, r := range p.api.Routes {
		put("route", routeText(r), r.Origin.Range)
	}
	for _, b := range p.api.Bindings {
		text := b.Policy
		if len(b.Rules) > 0 {
			text += " for " + rulesText(b.Rules)
		}
		put("policy", text, b.PolicyAt())
	}
	return out
}

// moves tells of an API that has another name or another address.
func (c *comparison) moves(p pair) {
	about := []diag.Object{p.old.object(), p.now.object()}
	if p.old.object() != p.now.object() {
		c.add(Change{Class: Traffic, Kind: APIRenamed, Object: p.now.object(), Summary: fmt.Sprintf("API %s is now called %s", p.old.name(), p.now.name()),
			Reason: "metering, logs and statistics know it by its new name", Fields: []Field{{Path: "metadata.name", Old: p.old.name(), New: p.now.name(), Place: Place{false, p.now.api.Origin.Range}}},
			Place: Place{false, p.now.api.Origin.Range}, about: about, files: []string{p.old.api.Origin.Range.File}})
	}
	if p.old.listener.Addr.Port() == p.now.listener.Addr.Port() && p.old.api.BasePath == p.now.api.BasePath {
		return
	}
	reason := fmt.Sprintf("clients of the old address get 404 on port %d", p.old.listener.Addr.Port())
	if !slices.ContainsFunc(c.now.Gateway.Listeners, func(l *ir.Listener) bool { return l.Addr.Port() == p.old.listener.Addr.Port() }) {
		reason = fmt.Sprintf("clients of the old address cannot connect: nothing listens on port %d any more", p.old.listener.Addr.Port())
	}
	x := Change{Class: Traffic, Kind: APIMoved, Object: p.now.object(), Summary: fmt.Sprintf("API %s moves from %s to %s", p.now.name(), p.old.address(), p.now.address()), Reason: reason,
		Fields: []Field{{Path: "spec.address", Old: p.old.address(), New: p.now.address(), Place: Place{false, p.now.api.Address}}},
		Place:  Place{false, p.now.api.Address}, about: about, files: []string{p.old.api.Origin.Range.File}}
	switch was, now := p.old.listener.TLS != nil, p.now.listener.TLS != nil; {
	case was && !now:
		x.Class, x.Way, x.Reason = Security, Looser, "its clients speak plain text on the new port; "+reason
	case now && !was:
		x.Class, x.Way, x.Reason = Security, Tighter, "its clients speak TLS on the new port; "+reason
	}
	c.add(x)
}

// callers tells of APIs that ask more or less of their callers than before. Those for which one and the same policy is the
// reason are told together.
func (c *comparison) callers() {
	type group struct {
		change Change
		by     string
	}
	var groups []*group
	for _, p := range c.pairs {
		was, before := p.old.authentication()
		now, after := p.now.authentication()
		if was == now {
			continue
		}
		x := Change{Class: Security, Way: Looser, Kind: AuthenticationLost, Place: Place{false, p.now.api.Origin.Range}, keep: true}
		cause := before
		switch {
		case now > was:
			x.Way, x.Kind, cause = Tighter, AuthenticationGained, after
		case now == some:
			cause = after
		}
		x.Summary, x.Reason = callersText(now, cause)
		var by []string
		for _, b := range cause {
			by = append(by, b.Origin.Range.String())
			x.files = append(x.files, b.Origin.Range.File)
		}
		for _, b := range slices.Concat(before, after) { // the same, whichever side is the old one
			x.about = append(x.about, b.Origin.Object)
			if b.Origin.Of != nil {
				x.about = append(x.about, *b.Origin.Of)
			}
		}
		for _, b := range after {
			if slices.ContainsFunc(before, func(o *ir.Binding) bool { return o.Origin.Object == b.Origin.Object }) {
				x.cause = append(x.cause, b.Origin.Object)
			}
		}
		if len(cause) > 0 {
			x.Place = Place{now == nothing, cause[0].PolicyAt()}
			if now == some {
				x.Place.Range = orRange(cause[0].RulesAt(), cause[0].PolicyAt())
			}
		}
		key := fmt.Sprint(x.Kind, x.Summary, x.Reason, by)
		i := slices.IndexFunc(groups, func(g *group) bool { return g.by == key })
		if i < 0 {
			groups, i = append(groups, &group{x, key}), len(groups)
		}
		groups[i].change.Affects = append(groups[i].change.Affects, p.now.object())
		groups[i].change.files = append(groups[i].change.files, p.now.api.Origin.Range.File, p.old.api.Origin.Range.File)
	}
	for _, g := range groups {
		c.add(g.change)
	}
}

// foldRules tells once of a binding whose other rules make an API ask more or less of its callers: with what that means.
func (c *comparison) foldRules() {
	told := map[int]bool{}
	for i := range c.changes {
		x := &c.changes[i]
		var same []int
		for j, y := range c.changes {
			if y.Kind == PolicyChanged && slices.Contains(x.cause, y.Object) && len(y.Fields) == 1 && y.Fields[0].Path == "rules" && slices.Equal(y.Affects, x.Affects) {
				same = append(same, j)
			}
		}
		if len(same) == 1 && !told[same[0]] {
			y := c.changes[same[0]]
			x.Fields, x.Place, x.files = y.Fields, y.Place, append(x.files, y.files...)
			told[same[0]] = true
		}
	}
	left := c.changes[:0]
	for i, x := range c.changes {
		if !told[i] {
			left = append(left, x)
		}
	}
	c.changes = left
}

func callersText(now asks, cause []*ir.Binding) (summary, reason string) {
	switch now {
	case nothing:
		return "reachable without authentication", fmt.Sprintf("%s asked who its callers are, and nothing does any more", names(cause))
	case some:
		return "some requests need no authentication", fmt.Sprintf("%s asks only those that its rules match", names(cause))
	}
	return "every request must be authenticated", fmt.Sprintf("%s asks who its callers are", names(cause))
}
