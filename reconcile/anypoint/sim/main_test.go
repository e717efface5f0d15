package sim_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
)

// TestMain is a simulator of its own when a test asks for one that it can kill.
func TestMain(m *testing.M) {
	dir := os.Getenv("FLEXGW_SIM_TEST_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := sim.Open(sim.Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Println(s.URL(), s.IngestURL())
	_ = s.Serve(context.Background())
}
