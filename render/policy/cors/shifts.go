package cors

import (
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
	l = append(l, policy.Listed(was.origins(), now.origins(), "originGroups", "pages of more origins may call it", "pages of some origins may not call it any more")...)
	return append(l, policy.Listed(was.methods(), now.methods(), "originGroups", "pages may use methods that they could not", "pages may not use some methods any more")...)
}

// opens reports whether the pages of any other origin are let in. Without the policy none are.
func (c *config) opens() bool { return c.Public || len(c.origins()) > 0 }

func (c *config) origins() []string {
	var all []string
	for _, g := range c.Groups {
		for _, o := range g.Origins {
			all = append(all, strings.ToLower(o))
		}
	}
	return all
}

func (c *config) methods() []string {
	var all []string
	for _, g := range c.Groups {
		all = append(all, g.allowed()...)
	}
	return all
}
