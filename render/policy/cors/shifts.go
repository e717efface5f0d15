package cors

import (
	"slices"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
)

func shifts(was, now *config) []policy.Shift {
	switch {
	case was == nil && now.opens():
		return []policy.Shift{{Way: policy.Looser, Summary: "pages of other origins may read what it answers"}}
	case now == nil && was.opens():
		return []policy.Shift{{Way: policy.Tighter, Summary: "pages of other origins may not read what it answers any more"}}
	case was == nil || now == nil:
		return nil
	}
	l := policy.Switched(was.Public, now.Public, "publicResource", "the pages of every origin may call it", "only the pages of listed origins may call it")
	l = append(l, policy.Switched(was.Credentials, now.Credentials, "supportCredentials", "pages may send their user's credentials", "pages may not send their user's credentials")...)
	if was.Public || now.Public {
		return l
	}
	return append(l, groupShifts(was, now)...)
}

// groupShifts compares what the pages of each origin may do. Only "*" speaks for an origin that is not named, so it stands for all of
// those.
func groupShifts(was, now *config) []policy.Shift {
	var origins, methods, headers change
	for _, o := range append(append(was.origins(), now.origins()...), "*") {
		a, b := was.grants(o), now.grants(o)
		origins.more = origins.more || a == nil && b != nil
		origins.fewer = origins.fewer || a != nil && b == nil
		if a == nil || b == nil {
			continue
		}
		methods.compare(a.allowed(), b.allowed(), "")
		headers.compare(a.headers(), b.headers(), "*")
	}
	return slices.Concat(
		origins.shifts("pages of more origins may call it", "pages of some origins may not call it any more", "pages of other origins may call it than before"),
		methods.shifts("pages may use methods that they could not", "pages may not use some methods any more", "pages may use other methods than before"),
		headers.shifts("pages may send headers that they could not", "pages may not send some headers any more", "pages may send other headers than before"))
}

// change is what happens to something that is granted.
type change struct{ more, fewer bool }

// compare adds what lists of names say; all is a name that grants every one.
func (c *change) compare(was, now []string, all string) {
	lacks := func(in, of []string) bool {
		return !slices.Contains(in, all) && slices.ContainsFunc(of, func(s string) bool { return !slices.Contains(in, s) })
	}
	c.more = c.more || lacks(was, now)
	c.fewer = c.fewer || lacks(now, was)
}

// shifts is one that goes the way of the change, or neither way when something is granted and something else is not any more.
func (c change) shifts(more, fewer, other string) []policy.Shift {
	path := []string{"originGroups"}
	switch {
	case c.more && c.fewer:
		return []policy.Shift{{Way: policy.Other, Path: path, Summary: other}}
	case c.more:
		return []policy.Shift{{Way: policy.Looser, Path: path, Summary: more}}
	case c.fewer:
		return []policy.Shift{{Way: policy.Tighter, Path: path, Summary: fewer}}
	}
	return nil
}

// opens reports whether the pages of any other origin are let in. Without the policy none are.
func (c *config) opens() bool { return c.Public || len(c.origins()) > 0 }

// origins are those of all groups, in lower case.
func (c *config) origins() []string {
	var all []string
	for _, g := range c.Groups {
		for _, o := range g.Origins {
			all = append(all, strings.ToLower(o))
		}
	}
	return all
}

// grants is the group that says what the pages of an origin may do, as cors.lua finds it; nil: they may do nothing.
func (c *config) grants(origin string) *group {
	for _, name := range []string{origin, "*"} {
		i := slices.IndexFunc(c.Groups, func(g group) bool {
			return slices.ContainsFunc(g.Origins, func(o string) bool { return strings.ToLower(o) == name })
		})
		switch {
		case i < 0:
		case len(c.Groups[i].allowed()) > 0:
			return &c.Groups[i]
		default:
			return nil
		}
	}
	return nil
}

// headers are the names that pages may send, in lower case.
func (g group) headers() []string {
	var l []string
	for _, h := range g.Headers {
		l = append(l, strings.ToLower(h))
	}
	return l
}
