// Package chaos sets a real flexgw with a real Envoy upon hard times: what Envoy refuses, edits without end, and kills.
//
// The short form belongs to every run of the tests; `task chaos` runs the long one (CHAOS=long) and prints its figures.
package chaos

import (
	"os"
	"testing"

	"github.com/flexgw/flexgw/e2e/harness"
)

// long is the form that takes hours.
func long() bool { return os.Getenv("CHAOS") == "long" }

// newDaemon is a daemon that drains for a second.
func newDaemon(t testing.TB, args ...string) *harness.Daemon {
	t.Helper()
	harness.Binary(t) // else left out
	d := harness.NewDaemon(t)
	d.Args = append([]string{"--drain-time", "1s"}, args...)
	return d
}

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
