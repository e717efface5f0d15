package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
)

// TestTwoGatewaysOnAPort: the kernel gives both the port. The second one names the first; neither takes its own Envoy for somebody else, one
// that it adopted too.
func TestTwoGatewaysOnAPort(t *testing.T) {
	t.Parallel()
	harness.Binary(t) // else left out
	port := harness.FreePort(t)
	declared := fmt.Sprintf("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: shop\nspec:\n  address: http://127.0.0.1:%d/\n  services:\n    up:\n      address: http://127.0.0.1:%d\n", port, harness.Answering(t))
	const words = "listens on a port of this gateway too"
	first, second := harness.NewDaemon(t), harness.NewDaemon(t)
	programmed := func(d *harness.Daemon) string {
		t.Helper()
		r, err := api.Client{Socket: filepath.Join(d.State, "flexgw.sock")}.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Conditions {
			if c.Type == status.Programmed {
				return c.Message
			}
		}
		t.Fatalf("no condition Programmed: %+v", r.Conditions)
		return ""
	}
	for _, d := range []*harness.Daemon{first, second} {
		d.Args = []string{"--drain-time", "1s"}
		d.Put("api.yaml", declared)
	}
	first.Run()
	first.WaitReady()
	first.Kill() // its Envoy stays, and is adopted
	first.Run()
	first.WaitLog("envoy adopted")
	first.WaitReady()
	pid := first.EnvoyPID()
	if said := programmed(first); strings.Contains(said, "others listen") || strings.Contains(first.Log(), words) {
		t.Errorf("it takes its own Envoy for somebody else: %q\n%s", said, first.Log())
	}
	second.Run()
	second.WaitReady()
	second.WaitLog(fmt.Sprintf(`%s.*address=127.0.0.1:%d process="[^"]+ \(process %d\)"`, words, port, pid))
	if said := programmed(second); !strings.Contains(said, fmt.Sprintf("127.0.0.1:%d: ", port)) || !strings.Contains(said, fmt.Sprintf("(process %d)", pid)) || strings.Contains(said, fmt.Sprintf("(process %d)", second.EnvoyPID())) {
		t.Errorf("got %q", said)
	}
	first.Stop()
	for end := time.Now().Add(time.Minute); strings.Contains(programmed(second), "others listen"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the first one is gone: %q", programmed(second))
		}
	}
	second.Stop()
}
