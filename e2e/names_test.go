package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

const byName = `
-- api.yaml --
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: calm}
spec:
  address: http://0.0.0.0:8081/calm
  services: {up: {address: "http://127.0.0.1:9001"}}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: named}
spec:
  address: http://0.0.0.0:8081/named
  services: {up: {address: "http://nobody.example.org:80"}}
`

// A name server that answers nobody costs the APIs that need it, and not the gateway: with Envoy's own patience every port stayed
// closed for 130 seconds at each start. The test runs itself again, in a network where there is no other name server.
func TestSilentNameServer(t *testing.T) {
	t.Parallel()
	if !harness.Inside(t) {
		return
	}
	questions, err := harness.SilentNameServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g := prepare(t, byName)
	served := func(what string) {
		t.Helper()
		began := time.Now()
		harness.Until(t, func() error {
			a, err := g.try("GET", 8081, "/calm", "")
			if err == nil && a.Status != 200 {
				err = fmt.Errorf("status %d", a.Status)
			}
			return err
		})
		t.Logf("%s: the other API is served after %s", what, time.Since(began).Round(10*time.Millisecond))
		if a := g.get(8081, "/named"); a.Status != 503 {
			t.Errorf("%s: the API whose name nobody knows answers %d", what, a.Status)
		}
	}
	g.Run()
	served("the first start")
	if questions.Load() == 0 {
		t.Error("nobody was asked for the name")
	}
	g.WaitReady()
	if err := syscall.Kill(g.EnvoyPID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	served("a restart of Envoy")
}
