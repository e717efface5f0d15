package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/status"
)

// api is an ApiInstance that answers with its version in a header.
func heldAPI(name, version string) string {
	return fmt.Sprintf(`apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: %[1]s
spec:
  address: http://0.0.0.0:8081/%[1]s
  services: {up: {address: "http://127.0.0.1:9001"}}
  policies:
    - policyRef: {name: header-injection-flex}
      config: {outboundHeaders: [{key: x-version, value: "%[2]s"}]}
`, name, version)
}

func (g *gateway) wantVersion(path, want string) {
	g.t.Helper()
	harness.Until(g.t, func() error {
		if a := g.get(8081, path); a.Status != 200 || a.Header.Get("x-version") != want {
			return fmt.Errorf("%s answers %d, version %q, want %q", path, a.Status, a.Header.Get("x-version"), want)
		}
		return nil
	})
}

// With hold, what is wrong stays as it was and the rest goes on, whoever finds the fault: the parser, the linker or Envoy.
func TestHold(t *testing.T) {
	t.Parallel()
	busy, free := harness.BusyPort(t)
	g := start(t, "-- one.yaml --\n"+heldAPI("one", "1")+"-- two.yaml --\n"+heldAPI("two", "1")+"-- three.yaml --\n"+heldAPI("three", "1"), withArgs("--on-invalid", "hold"))
	x, y := harness.KeepAlive(t, 1, g.url(8081, "/one")), harness.KeepAlive(t, 1, g.url(8081, "/two"))
	held := func(name, file string) {
		t.Helper()
		harness.Until(t, func() error {
			r := g.report()
			for _, o := range r.Objects {
				if o.Kind != "ApiInstance" || o.Name != name {
					continue
				}
				accepted, programmed := o.Conditions[1], o.Conditions[2]
				if accepted.Status == status.False && accepted.Reason == "Held" && accepted.Place != nil && accepted.Place.File == file && programmed.Status == status.True {
					return nil
				}
				return fmt.Errorf("%s: %+v", name, o.Conditions)
			}
			return fmt.Errorf("no ApiInstance %s in %+v", name, r.Objects)
		})
	}

	g.write("two.yaml", heldAPI("two", "2")+"  nonsense: [") // does not parse
	g.write("one.yaml", heldAPI("one", "2"))
	g.wantVersion("/one", "2")
	g.wantVersion("/two", "1")
	if c, _ := g.report().Condition(status.Accepted); c.Status != status.False || c.Reason != "Held" || c.Place == nil || c.Place.File != "two.yaml" {
		t.Errorf("accepted: %+v", c)
	}

	g.write("two.yaml", heldAPI("two", "3"))
	g.wantVersion("/two", "3")
	g.write("one.yaml", strings.Replace(heldAPI("one", "4"), "header-injection-flex", "header-injektion-flex", 1))
	g.write("two.yaml", heldAPI("two", "4"))
	g.wantVersion("/two", "4")
	g.wantVersion("/one", "2")
	held("one", "one.yaml")

	g.write("one.yaml", heldAPI("one", "5"))
	g.wantVersion("/one", "5")
	g.Put("three.yaml", strings.Replace(g.rewrite(heldAPI("three", "5")), g.url(8081, "/three"), "http://"+busy+"/three", 1)) // Envoy cannot have that port
	held("three", "three.yaml")
	g.wantVersion("/three", "1")
	g.write("two.yaml", heldAPI("two", "5"))
	g.wantVersion("/two", "5")
	g.wantVersion("/three", "1")
	x.End(t, 1)
	y.End(t, 1)

	g.Kill() // and a daemon that starts now serves the same
	g.Run()
	g.WaitReady()
	g.wantVersion("/one", "5")
	g.wantVersion("/two", "5")
	g.wantVersion("/three", "1")

	free() // whoever had the port goes
	if out, errs, code := harness.Command(t, "sync", "--state-dir", g.State); code != 0 || strings.Contains(out, "held") {
		t.Errorf("sync ended with %d: %s%s", code, out, errs)
	}
	res, err := http.Get("http://" + busy + "/three")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if v := res.Header.Get("x-version"); v != "5" {
		t.Errorf("on the port that is free by now: version %q", v)
	}
}
