package all_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

const implementation = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: Extension
metadata: {name: guard-impl}
spec:
  extends: [{name: guard}, {name: envoy-filter}, {name: proxy-wasm-filter}]
  properties:
    implementation: {type: string, default: "base64://AGFzbQEAAAA="}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: shop}
spec:
  address: http://0.0.0.0:8081
  services: {main: {address: "http://main.internal:8080"}}
  policies: [{policyRef: {name: guard-impl}, config: {mode: block}}]
`

// definition says what a guard may be configured with.
func definition(labels, extends, properties string) string {
	return fmt.Sprintf("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Extension\nmetadata: {name: guard, labels: {%s}}\nspec:\n  extends: [%s]\n  properties: {%s}\n", labels, extends, properties)
}

func load(m *schema.Memo, definition string) (*ir.Gateway, diag.List) {
	return schema.Load(source.NewSet([]source.File{source.NewFile("definition.yaml", []byte(definition)), source.NewFile("gateway.yaml", []byte(implementation))}),
		schema.Options{Policies: all.Catalog{}, AllowUnenforced: true, Memo: m})
}

const (
	text  = "mode: {type: string}"
	plain = "{name: extension-definition}"
)

func TestCustomPolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, labels, extends string
		want                  ir.Guard
	}{
		{"plain", "", plain, ir.GuardNone},
		{"of the category of authentication", "", plain + ", {name: extension-authentication}", ir.Authenticates},
		{"labelled as security", "category: Security", plain, ir.Restricts},
		{"labelled as logging", "category: Troubleshooting", plain, ir.GuardNone},
	} {
		g, ds := load(nil, definition(c.labels, c.extends, text))
		if ds.Count(diag.Warning) != 1 || ds.HasErrors() {
			t.Errorf("%s: got %v, want one warning, that it is not enforced", c.name, ds)
			continue
		}
		b := g.Listeners[0].APIs[0].Bindings[0]
		if b.Guard != c.want || !b.Unenforced {
			t.Errorf("%s: guard %d, unenforced %v, want %d, true", c.name, b.Guard, b.Unenforced, c.want)
		}
	}
}

// TestShiftsOfCustomPolicies: of a policy that nothing is known of, a change may be one of who gets through.
func TestShiftsOfCustomPolicies(t *testing.T) {
	t.Parallel()
	for labels, want := range map[string]int{"": 1, "category: Security": 1, "category: Troubleshooting": 0} {
		binding := func(mode string) *ir.Binding {
			d := definition(labels, plain, text)
			g, _ := schema.Load(source.NewSet([]source.File{source.NewFile("definition.yaml", []byte(d)), source.NewFile("gateway.yaml", []byte(strings.Replace(implementation, "block", mode, 1)))}),
				schema.Options{Policies: all.Catalog{}, AllowUnenforced: true})
			return g.Listeners[0].APIs[0].Bindings[0]
		}
		typ := binding("block").More().Type.(policy.Type)
		for mode, n := range map[string]int{"block": 0, "log": want} {
			if l, known := typ.Shifts(binding("block").Config(), binding(mode).Config()); !known || len(l) != n {
				t.Errorf("%q, from block to %s: %v, %v", labels, mode, l, known)
			}
		}
		if l, known := typ.Shifts(policy.Absent{}, binding("log").Config()); labels != "category: Security" && (!known || len(l) != want) {
			t.Errorf("%q, bound: %v, %v", labels, l, known)
		}
	}
}

func TestCustomPolicyOfUpstreams(t *testing.T) {
	t.Parallel()
	_, ds := load(nil, definition("metadata/capabilities/injectionPoint: outbound", plain, text))
	if got := fmt.Sprint(ds); !strings.Contains(got, `policy "guard-impl" applies to a Service, found an ApiInstance [link/wrong-target]`) {
		t.Errorf("got %s", got)
	}
}

// TestCustomConfigIsSecret: which of its values are secret only the definition says.
func TestCustomConfigIsSecret(t *testing.T) {
	t.Parallel()
	g, ds := load(nil, definition("", plain, text))
	if g == nil {
		t.Fatal(ds)
	}
	c := g.Listeners[0].APIs[0].Bindings[0].Config()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %s", c, c, c, b); strings.Contains(shown, "block") {
		t.Errorf("the configuration shows: %s", shown)
	}
}

// TestCustomPolicyFollowsItsDefinition: the definition changes in another file than the binding and the implementation.
func TestCustomPolicyFollowsItsDefinition(t *testing.T) {
	t.Parallel()
	m := &schema.Memo{}
	for _, properties := range []string{text, "mode: {type: integer}", text, "mood: {type: string}", text} {
		_, got := load(m, definition("", plain, properties))
		_, want := load(nil, definition("", plain, properties))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", properties, got, want)
		}
	}
	if _, ds := load(m, definition("", plain, "mode: {type: integer}")); !ds.HasErrors() {
		t.Error("a text is taken for a number")
	}
}
