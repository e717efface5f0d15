package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// TestDiagnosticsNameWhatIsDeclared judges all declarations that there are: whatever is said names an object that stands in the
// files, never one that flexgw derives from what stands inline (PolicyBinding orders-cors-flex-1), which nobody finds there.
func TestDiagnosticsNameWhatIsDeclared(t *testing.T) {
	t.Parallel()
	inline := 0
	for _, c := range append(gatewayCases(t), casesOf(t, "../schema/testdata/*.txtar", "../render/testdata/*.txtar")...) {
		set := source.NewSet(c.files)
		declared, derived := map[diag.Object]bool{}, map[string]bool{}
		for _, d := range schema.Documents(set, schema.Options{}, func(string) bool { return true }) {
			declared[d.Object] = true
			if policies := d.Tree.Get("spec", "policies"); policies != nil {
				for i, item := range policies.Items {
					if name := item.Get("policyRef", "name"); name != nil {
						derived[fmt.Sprintf("%s-%s-%d", d.Object.Name, strings.Trim(name.Text, `"`), i+1)] = true
					}
				}
			}
			if services := d.Tree.Get("spec", "services"); services != nil {
				for _, f := range services.Fields {
					derived[d.Object.Name+"-"+f.Name+"-route-"] = true
				}
			}
		}
		for o := range declared {
			delete(derived, o.Name)
		}
		inline += len(derived)
		p := onePass(Env{Getenv: c.getenv})
		for _, d := range p.check(set) {
			if !d.Object.IsZero() && d.Object.Name != "" && !declared[d.Object] {
				t.Errorf("%s: %s is not declared: %s", c.name, d.Object, d)
			}
			for name := range derived {
				if strings.Contains(d.Summary+d.Hint, name) && d.Code != "link/duplicate-object" {
					t.Errorf("%s: %s is not declared: %s (%s)", c.name, name, d, d.Hint)
				}
			}
		}
	}
	if inline < 100 {
		t.Errorf("only %d things stand inline", inline)
	}
}
