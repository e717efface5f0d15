package ir

import (
	"cmp"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/regex"
)

// Takes reports whether m surely matches every request that o does. False also when that would take too long to find out, and
// when o matches none.
func (m Match) Takes(o Match) bool {
	for _, p := range []struct{ a, b, first string }{{m.Path.Text, o.Path.Text, "/"}, {m.Method.Text, o.Method.Text, ""}, {m.Host.Text, o.Host.Text, ""}} {
		if p.a != "" && !regex.Covers(p.a, cmp.Or(p.b, ".*"), p.first) {
			return false
		}
	}
	for _, h := range m.Headers {
		i := slices.IndexFunc(o.Headers, func(x HeaderPattern) bool { return x.Name == h.Name })
		if i < 0 || !regex.Covers(h.Text, o.Headers[i].Text, "") {
			return false
		}
	}
	return true
}

// Apart reports whether surely no request is matched by both.
func (m Match) Apart(o Match) bool {
	for _, p := range []struct{ a, b, first string }{{m.Path.Text, o.Path.Text, "/"}, {m.Method.Text, o.Method.Text, ""}} {
		if p.a == "" || p.b == "" {
			continue
		}
		if overlap, known := regex.Overlap(p.a, p.b, p.first); known && !overlap {
			return true
		}
	}
	return false
}

// TakeAll reports whether every request that any of some rules matches is surely matched by one of m. No rules match everything.
func TakeAll(m, all []Match) bool {
	if len(m) == 0 {
		return true
	}
	if len(all) == 0 {
		all = []Match{{}}
	}
	wide := joined(joined(m, Match.sameButPath, joinPaths), Match.sameButMethod, joinMethods)
	wide = joined(wide, Match.sameButPath, joinPaths)
	return !slices.ContainsFunc(all, func(o Match) bool {
		same := func(x Match) bool { return x.text() == o.text() }
		return !slices.ContainsFunc(m, same) && !slices.ContainsFunc(wide, func(x Match) bool { return x.Takes(o) })
	})
}

// joined are rules of which those that differ in one pattern alone are one, with an alternative of theirs: together they take what
// none of them does alone.
func joined(rules []Match, rest func(Match) string, join func(to *Match, from Match)) []Match {
	var out []Match
	at := map[string]int{}
	for _, m := range rules {
		if i, there := at[rest(m)]; there {
			join(&out[i], m)
			continue
		}
		at[rest(m)] = len(out)
		out = append(out, m)
	}
	return out
}

func (m Match) sameButPath() string   { m.Path.Text = ""; return m.text() }
func (m Match) sameButMethod() string { m.Method.Text = ""; return m.text() }

func joinPaths(to *Match, from Match)   { to.Path.Text = either(to.Path.Text, from.Path.Text) }
func joinMethods(to *Match, from Match) { to.Method.Text = either(to.Method.Text, from.Method.Text) }

// either is an expression for what any of two match; "" is everything.
func either(a, b string) string {
	switch {
	case a == "" || b == "":
		return ""
	case a == b:
		return a
	}
	return "(?:" + a + ")|(?:" + b + ")"
}

// text is what a rule says, without where.
func (m Match) text() string {
	parts := []string{m.Path.Text, m.Host.Text, m.Method.Text}
	for _, h := range m.Headers {
		parts = append(parts, h.Name, h.Text)
	}
	return strings.Join(parts, "\x00")
}
