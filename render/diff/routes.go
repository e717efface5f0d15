package diff

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// routes compares the routes of the APIs that are on both sides.
func (c *comparison) routes() {
	for _, p := range c.pairs {
		if p.old.api != p.now.api {
			c.routesOf(p)
		}
	}
}

type routePair struct{ old, now *ir.Route }

func (c *comparison) routesOf(p pair) {
	pairs, removed, added := matchRoutes(p.old.api.Routes, p.now.api.Routes)
	owners := []diag.Object{p.old.object(), p.now.object()}
	about := func(rs ...*ir.Route) []diag.Object {
		out := owners
		for _, r := range rs {
			out = append(slices.Clip(out), routeParts(r)...)
		}
		return out
	}
	file := p.old.api.Origin.Range.File
	old, now := p.old.api.Routes, p.now.api.Routes
	for _, r := range removed {
		c.add(reach(old, now, r, nil, Change{Class: Traffic, Kind: RouteRemoved, Object: p.now.object(), Summary: "a route is gone: " + routeText(r), Reason: "its requests take a later route, or get 404",
			Place: Place{true, r.Origin.Range}, about: about(r), files: []string{file}}))
	}
	for _, r := range added {
		c.add(reach(old, now, nil, r, Change{Class: Traffic, Kind: RouteAdded, Object: p.now.object(), Summary: "a route is new: " + routeText(r), Reason: "requests that it matches take it, unless an earlier one does",
			Place: Place{false, r.Origin.Range}, about: about(r), files: []string{file}}))
	}
	for _, r := range pairs {
		if fields := compareRoutes(r.old, r.now); len(fields) > 0 {
			x := Change{Class: Traffic, Kind: RouteChanged, Object: p.now.object(), Summary: fmt.Sprintf("the route %s changes", labelOf(r.now)), Reason: routeReason(fields), Fields: fields,
				Place: Place{false, r.now.Origin.Range}, about: about(r.old, r.now), files: []string{file, r.old.Origin.Range.File}}
			if fields[0].Path == "rules" { // where else its requests go is told as that
				x = reach(old, now, r.old, r.now, x)
			}
			if other := routeReason(fields); x.Class == Security && fields[len(fields)-1].Path != "rules" {
				x.Reason += "; " + other
			}
			c.add(x)
		}
	}
	before := func(r routePair) int { return slices.Index(p.old.api.Routes, r.old) }
	for i, r := range pairs {
		if j := slices.IndexFunc(pairs[i+1:], func(later routePair) bool { return before(r) > before(later) }); j >= 0 {
			later := pairs[i+1+j]
			c.add(Change{Class: Traffic, Kind: RouteOrder, Object: p.now.object(), Summary: "routes are tried in another order",
				Reason: fmt.Sprintf("the route %s is tried before the one %s now, and takes what both match", labelOf(r.now), labelOf(later.now)), Place: Place{false, r.now.Origin.Range}, about: about(r.now, later.now), files: []string{file}})
			return
		}
	}
}

// reach makes the change from one route of an API to another (nil: it is new, or gone) one of security when other requests reach an
// upstream. Which way it goes is told where it is sure: what any route takes reaches an upstream, and what none takes gets 404.
func reach(old, now []*ir.Route, o, n *ir.Route, x Change) Change {
	lacks := func(all []*ir.Route, r *ir.Route) (any, upstream bool) {
		if r == nil {
			return false, false
		}
		same := func(a *ir.Route) bool { return leadsTo(a, r) }
		return !taken(all, r, func(*ir.Route) bool { return true }), !taken(all, r, same)
	}
	more, moreOfIt := lacks(old, n)
	fewer, fewerOfIt := lacks(now, o)
	switch {
	case more && fewer:
		x.Class, x.Reason = Security, "other requests reach an upstream than before"
	case more:
		x.Class, x.Way, x.Reason = Security, Looser, "requests reach an upstream that got 404"
	case fewer:
		x.Class, x.Way, x.Reason = Security, Tighter, "requests get 404 that reached an upstream"
	case moreOfIt || fewerOfIt:
		x.Class, x.Reason = Security, "requests reach another upstream than before"
	}
	return x
}

// taken reports whether those of some routes that are wanted surely take every request that r does, in whatever order.
func taken(routes []*ir.Route, r *ir.Route, wanted func(*ir.Route) bool) bool {
	var rules []ir.Match
	for _, a := range routes {
		if !wanted(a) {
			continue
		}
		if len(a.Rules) == 0 {
			return true
		}
		rules = append(rules, a.Rules...)
	}
	return len(rules) > 0 && ir.TakeAll(rules, r.Rules) // to TakeAll, no rules are all requests
}

// leadsTo reports whether a route leads to every upstream that another one does.
func leadsTo(a, r *ir.Route) bool {
	return !slices.ContainsFunc(r.To, func(s ir.Split) bool {
		return !slices.ContainsFunc(a.To, func(t ir.Split) bool { return sameService(s, t) })
	})
}

// matchRoutes pairs routes: what is the same, then what has the same name, then what leads to the same Service. They are in
// the order of the new ones.
func matchRoutes(old, now []*ir.Route) (pairs []routePair, removed, added []*ir.Route) {
	left := slices.Clone(old)
	found := make([]*ir.Route, len(now))
	for _, fits := range []func(o, n *ir.Route) bool{
		func(o, n *ir.Route) bool { return o == n || routeText(o) == routeText(n) },
		func(o, n *ir.Route) bool { return o.Name == n.Name },
		func(o, n *ir.Route) bool { return target0(o) == target0(n) },
	} {
		for i, n := range now {
			if found[i] != nil {
				continue
			}
			if j := slices.IndexFunc(left, func(o *ir.Route) bool { return fits(o, n) }); j >= 0 {
				found[i] = left[j]
				left = slices.Delete(left, j, j+1)
			}
		}
	}
	for i, n := range now {
		if found[i] == nil {
			added = append(added, n)
		} else {
			pairs = append(pairs, routePair{found[i], n})
		}
	}
	return pairs, left, added
}

// routeParts are the objects that make up a route: its binding, and the Services that it leads to.
func routeParts(r *ir.Route) []diag.Object {
	out := []diag.Object{r.Origin.Object}
	for _, s := range r.To {
		if s.Upstream != nil {
			out = append(out, s.Upstream.Origin.Object)
		}
	}
	return out
}

// target0 is where a route leads first.
func target0(r *ir.Route) string {
	if len(r.To) == 0 || r.To[0].Upstream == nil {
		return ""
	}
	return r.To[0].Upstream.Name
}

// labelOf is what tells a route from the others of its API.
func labelOf(r *ir.Route) string { return "for " + rulesText(r.Rules) }

func compareRoutes(o, n *ir.Route) []Field {
	var out []Field
	put := func(path, old, now string, at diag.Range) {
		if old != now {
			out = append(out, Field{Path: path, Old: old, New: now, Place: Place{false, at}})
		}
	}
	put("rules", rulesText(o.Rules), rulesText(n.Rules), n.Origin.Range)
	if len(o.To) == 1 && len(n.To) == 1 {
		a, b := o.To[0].Upstream, n.To[0].Upstream
		if target0(o) != target0(n) { // another address of the same Service is told of there
			put("destination", upstreamText(a), upstreamText(b), orRange(n.To[0].Origin.Range, n.Origin.Range))
		}
		if len(out) == 0 && a != nil && b != nil && len(a.Bindings)+len(b.Bindings) > 0 { // the same address, with policies of its own
			put("service", serviceName(a), serviceName(b), orRange(n.To[0].Origin.Range, n.Origin.Range))
		}
		put("destinationPath", prefix(o.To[0]), prefix(n.To[0]), orRange(n.To[0].Origin.Range, n.Origin.Range))
		return out
	}
	return append(out, compareSplits(o, n)...)
}

// compareSplits compares the alternatives of a route, each with the one to the same Service.
func compareSplits(o, n *ir.Route) []Field {
	var out []Field
	left := slices.Clone(o.To)
	for _, s := range n.To {
		name := upstreamText(s.Upstream)
		f := Field{Path: "destination " + name, New: shareText(s, n.To), Place: Place{false, orRange(s.Origin.Range, n.Origin.Range)}}
		if i := slices.IndexFunc(left, func(x ir.Split) bool { return sameService(x, s) }); i >= 0 {
			f.Old = shareText(left[i], o.To)
			left = slices.Delete(left, i, i+1)
		}
		if f.Old != f.New {
			out = append(out, f)
		}
	}
	for _, s := range left {
		out = append(out, Field{Path: "destination " + upstreamText(s.Upstream), Old: shareText(s, o.To), Place: Place{true, orRange(s.Origin.Range, o.Origin.Range)}})
	}
	return out
}

func sameService(a, b ir.Split) bool {
	return a.Upstream == b.Upstream || a.Upstream != nil && b.Upstream != nil && a.Upstream.Name == b.Upstream.Name
}

// shareText is how much of a route's requests an alternative gets: "90 of 100".
func shareText(s ir.Split, all []ir.Split) string {
	text := "all"
	if len(all) > 1 {
		sum := uint32(0)
		for _, x := range all {
			sum += x.Weight
		}
		text = fmt.Sprintf("%d of %d", s.Weight, sum)
	}
	if p := prefix(s); p != "/" {
		text += " below " + p
	}
	return text
}

func prefix(s ir.Split) string {
	if s.Prefix == "" {
		return "/"
	}
	return s.Prefix
}

func routeReason(fields []Field) string {
	switch last := fields[len(fields)-1].Path; {
	case last == "rules":
		return "other requests take it"
	case last == "destinationPath":
		return "the upstream sees other paths"
	case strings.HasPrefix(last, "destination "):
		return "requests are shared among upstreams in another way"
	}
	return "its requests go elsewhere"
}

// routeText is a route in words: "GET /v2/(.*) → http://orders:8080".
func routeText(r *ir.Route) string { return rulesText(r.Rules) + " → " + splitsText(r.To) }

func splitsText(to []ir.Split) string {
	var l []string
	for _, s := range to {
		text := upstreamText(s.Upstream)
		switch p := prefix(s); {
		case len(to) > 1:
			text += " (" + shareText(s, to) + ")"
		case p != "/":
			text += " below " + p
		}
		l = append(l, text)
	}
	return strings.Join(l, ", ")
}

func upstreamText(u *ir.Upstream) string {
	if u == nil {
		return "nowhere"
	}
	host := u.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s://%s:%d", u.Scheme, host, u.Port)
}

// rulesText is rules in words: "GET|POST /a/.*, host b; or /c".
func rulesText(rules []ir.Match) string {
	var l []string
	for _, m := range rules {
		var parts []string
		if m.Method.Text != "" {
			parts = append(parts, m.Method.Text)
		}
		if m.Path.Text != "" {
			parts = append(parts, m.Path.Text)
		}
		if m.Host.Text != "" {
			parts = append(parts, "host "+m.Host.Text)
		}
		for _, h := range m.Headers {
			if diag.SecretName(h.Name) || h.Name == "authorization" || h.Name == "cookie" {
				parts = append(parts, "header "+h.Name)
				continue
			}
			parts = append(parts, "header "+h.Name+" "+h.Text)
		}
		if len(parts) == 0 {
			return "all requests"
		}
		l = append(l, strings.Join(parts, " "))
	}
	if len(l) == 0 {
		return "all requests"
	}
	return cut(strings.Join(l, " or "))
}
