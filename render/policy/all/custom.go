package all

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

// custom is the configuration of a policy that Extension documents define, as its module gets it: JSON, with the defaults of
// required properties. Which of its values are secret only the definition says, so all of it is.
type custom struct {
	json ir.Secret
	node *syntax.Node // until it is checked
}

// DecodeNode takes the configuration as it stands.
func (c *custom) DecodeNode(n *syntax.Node) diag.List {
	c.node = n
	return nil
}

// Custom is a policy that Extension documents define. It is judged by what they say, and not enforced yet.
//
// Source: https://docs.mulesoft.com/gateway/latest/flex-local-deploy-custom-policy
func (Catalog) Custom(d *schema.Definition) (schema.PolicyType, diag.List) {
	return policy.Define(policy.Spec[custom]{
		Name:    d.Extension.ID.Name,
		Schema:  customSchema(d),
		Targets: customTargets(d),
		Since:   "1.0.0",
		Guard:   policy.Always[custom](customGuard(d)),
		Shifts:  customShifts(d),
		Check: func(c *custom, _ policy.Locator) diag.List {
			n := c.node
			c.node = nil
			value := n.Value()
			if d.Complete {
				value = d.Config.Fill(n)
			}
			b, err := json.Marshal(value)
			if err != nil {
				panic("all: " + err.Error()) // texts, numbers and booleans only
			}
			if c.json = ir.NewSecret(string(b)); !d.Complete {
				return nil
			}
			return d.Config.Check(n)
		},
	}), nil
}

// customSchema is what the definition says; where a part of it is not known, anything goes.
func customSchema(d *schema.Definition) []byte {
	if !d.Complete {
		return []byte(`{"type": "object"}`)
	}
	return d.Config.JSON(true)
}

// customTargets go by the label of outbound policies. A definition without it is an inbound one for the platform, but nothing says
// that Local Mode looks at the label, so both targets are taken then.
func customTargets(d *schema.Definition) ir.Target {
	if strings.EqualFold(strings.TrimSpace(d.Labels["metadata/capabilities/injectionPoint"]), "outbound") {
		return ir.TargetUpstream
	}
	return ir.TargetAPI | ir.TargetUpstream
}

// customShifts: what a policy does that nobody of us wrote is not known, and may be to say who gets through, unless its definition
// is of another category.
func customShifts(d *schema.Definition) func(was, now *custom) []policy.Shift {
	why := "nothing says what this policy does: it may decide who gets through"
	switch category := strings.TrimSpace(d.Labels["category"]); {
	case customGuard(d) != ir.GuardNone:
		why = "it guards the API, and what it demands changes"
	case category != "":
		return func(_, _ *custom) []policy.Shift { return nil }
	}
	return func(was, now *custom) []policy.Shift {
		if was != nil && now != nil && was.json.Equal(now.json) {
			return nil
		}
		return []policy.Shift{{Way: policy.Other, Summary: why}}
	}
}

// customGuard goes by the category that a definition extends or names.
func customGuard(d *schema.Definition) ir.Guard {
	switch {
	case slices.Contains(d.Extends, "extension-authentication"):
		return ir.Authenticates
	case strings.EqualFold(d.Labels["category"], "security"):
		return ir.Restricts
	}
	return ir.GuardNone
}
