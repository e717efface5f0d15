package render_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/source"
)

const discovered = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: one}
spec:
  address: http://0.0.0.0:8081/one
  services: {up: {address: "https://example.org"}}
  policies:
    - policyRef: {name: http-basic-authentication-flex}
      config: {username: u, password: p}
`

// What names a daemon's stream must name a file, through every Any; and the same resources give the same bytes.
func TestDiscoveryNamesFilesOnly(t *testing.T) {
	t.Parallel()
	make := func() *render.Discovery {
		g, list := schema.Load(source.NewSet([]source.File{source.NewFile("a.yaml", []byte(discovered))}), schema.Options{Policies: all.Catalog{}})
		if list.HasErrors() {
			t.Fatal(list)
		}
		r, list := render.Render(g, all.Catalog{}, render.Options{Files: "/x/files", SystemCA: "/ca.pem"}, nil)
		if list.HasErrors() {
			t.Fatal(list)
		}
		d, err := render.Discover(r, render.BootstrapOptions{NodeID: "n", AdminSocket: "/x/admin.sock"}, "/x")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := make()
	if diff := cmp.Diff(d, make()); diff != "" {
		t.Error("made twice, and different:\n" + diff)
	}
	all := bytes.Clone(d.Bootstrap)
	for _, l := range d.Lists {
		b, err := l.JSON()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	for _, word := range []string{`"ads"`, "flexgw-xds", "ads_config"} {
		if strings.Contains(string(all), word) {
			t.Errorf("%s is left", word)
		}
	}
	for _, word := range []string{"/x/clusters.json", "/x/scopes.json", "/x/listeners.json", "/x/secrets/"} {
		if !strings.Contains(string(all), word) {
			t.Errorf("nothing names %s", word)
		}
	}
	if len(d.Secrets) == 0 || len(d.Lists[render.ScopesFile].Names) != 1 {
		t.Errorf("%d secrets, scopes %v", len(d.Secrets), d.Lists[render.ScopesFile].Names)
	}
}
