package schema

import (
	"fmt"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
)

// repeatsPolicy warns of a policy that stands twice inline in one API, with the same configuration and rules: both run, which is
// allowed (flex-resources.md, 10.4) and of no use. Those that an API should have once in any case are told of when it is linked.
func (d *docDecoder) repeatsPolicy(api *apiDecl, spec *syntax.Node) {
	list := spec.Get("policies")
	if list == nil || len(list.Items) < 2 {
		return
	}
	items := map[string][]int{} // by the policy's name
	again := false
	for i, item := range list.Items {
		if name := text(item.Get("policyRef").Get("name")).Value; name != "" && item.Get("config") != nil {
			items[name] = append(items[name], i)
			again = again || len(items[name]) > 1
		}
	}
	if !again {
		return
	}
	places := map[int]*bindingDecl{}
	for _, b := range api.policies {
		places[int(b.index)-1] = b
	}
	for _, name := range sortedKeys(items) {
		before := map[string]*bindingDecl{}
		for _, i := range items[name] {
			b := places[i]
			if b == nil || b.broken || b.place == ir.First {
				continue
			}
			key := canonical(list.Items[i])
			if other := before[key]; other != nil {
				d.report(diag.Warning, "link/policy-twice", b.at(), fmt.Sprintf("ApiInstance %q has policy %q twice, with the same configuration and rules; both run", d.id.Name, name), "keep one of them").Related =
					[]diag.Related{{Subject: other.at(), Summary: "the other one"}}
				continue
			}
			before[key] = b
		}
	}
}
