package lint

import (
	"time"

	"github.com/flexgw/flexgw/schema/ir"
)

// Holds is the period around o.Today in which Check says the same of g: from included, until not. A zero time is no bound. What
// is kept of a check for a later one is of use within it.
func Holds(g *ir.Gateway, o Options) (from, until time.Time) {
	bound := func(t time.Time) {
		switch {
		case t.After(o.Today):
			if until.IsZero() || t.Before(until) {
				until = t
			}
		case from.IsZero() || t.After(from):
			from = t
		}
	}
	for _, b := range g.Bindings() {
		for _, v := range b.More().Validity {
			bound(v.From)
			bound(v.Until.Add(1)) // the end itself is still valid
			bound(v.Until.Add(1 - soon))
		}
	}
	return from, until
}
