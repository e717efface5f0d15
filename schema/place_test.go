package schema_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// TestDiagnosticsNameObjectAndPath expects the declared object, never an expanded one, and where in it the mistake is.
func TestDiagnosticsNameObjectAndPath(t *testing.T) {
	t.Parallel()
	api := func(rest string) string {
		return doc("ApiInstance", "a", "spec:\n  address: http://0.0.0.0:8081\n  services: {s: {address: http://s:80}}\n"+rest)
	}
	bind := func(target, policy, rest string) string {
		return doc("PolicyBinding", "b", "spec:\n  targetRef: "+target+"\n  policyRef: {name: "+policy+"}\n"+rest)
	}
	object := func(kind, name string) diag.Object {
		return diag.Object{Group: "gateway.mulesoft.com", Kind: kind, Namespace: "default", Name: name}
	}
	for _, c := range []struct {
		name, text string
		code       diag.Code
		object     diag.Object
		path       string
	}{
		{"unknown field", api("  polices: []\n"), "shape/unknown-field", object("ApiInstance", "a"), "/spec/polices"},
		{"inline config", api("  policies: [{policyRef: {name: ip-allowlist-flex}, config: {ips: [x]}}]\n"), "shape/pattern", object("ApiInstance", "a"), "/spec/policies/0/config/ips/0"},
		{"inline policy", api("  policies: [{policyRef: {name: nothing}}]\n"), "link/unknown-policy", object("ApiInstance", "a"), "/spec/policies/0/policyRef/name"},
		{"inline regex", api("  policies: [{policyRef: {name: header-injection-flex}, rules: [{path: '('}]}]\n"), "link/bad-regex", object("ApiInstance", "a"), "/spec/policies/0/rules/0/path"},
		{"inline address", doc("ApiInstance", "a", "spec:\n  address: http://0.0.0.0:8081\n  services: {s/t: {address: 's:80'}}\n"), "link/bad-address", object("ApiInstance", "a"), "/spec/services/s~1t/address"},
		{"target", bind("{name: x}", "header-injection-flex", ""), "link/unknown-api", object("PolicyBinding", "b"), "/spec/targetRef/name"},
		{"config of a binding", api("") + bind("{name: a}", "ip-allowlist-flex", "  config: {ips: [x]}\n"), "shape/pattern", object("PolicyBinding", "b"), "/spec/config/ips/0"},
		{"variable", api("") + bind("{name: a}", "ip-allowlist-flex", "  config: {ips: [$X]}\n"), "link/unset-variable", object("PolicyBinding", "b"), "/spec/config/ips/0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, ds := schema.Load(source.NewSet([]source.File{source.NewFile("a.yaml", []byte(c.text))}), schema.Options{Policies: newCatalog()})
			for _, d := range ds {
				if d.Code != c.code {
					continue
				}
				if diff := cmp.Diff([]any{c.object, c.path}, []any{d.Object, d.Path}); diff != "" {
					t.Errorf("%v (-want +got):\n%s", d, diff)
				}
				return
			}
			t.Errorf("no %s in:\n%s", c.code, lines(ds))
		})
	}
}
