package require

import (
	"sync/atomic"
	"testing"

	"github.com/flexgw/flexgw/schema/source"
)

// TestAPanicCostsTheEngine: what asked when the CUE library panicked is not asked again.
func TestAPanicCostsTheEngine(t *testing.T) {
	t.Parallel()
	rules, ds := Load([]source.File{source.NewFile("r.cue", []byte("require: \"acme/a\": {kind: \"Service\", message: \"m\", that: metadata: name: \"a\"}\n"))},
		LoadOptions{Reserved: func(string) bool { return false }})
	if len(rules.rules) != 1 || len(ds) > 0 {
		t.Fatal(ds)
	}
	old := newEngine(rules)
	c := &check{Rules: rules, kinds: map[string][]*rule{"Service": rules.rules}, engines: []*engine{old},
		ticks: make([]atomic.Int64, 1), late: make([]atomic.Bool, 1), failed: make([]atomic.Bool, 1), answers: make([]answers, 1)}
	var at atomic.Int64
	c.run([]*object{{kind: "Service"}}, &at) // without a tree: it panics
	if !c.failed[0].Load() {
		t.Fatal("nothing panicked")
	}
	if len(c.engines) != 1 || c.engines[0] == old {
		t.Errorf("the engine is kept")
	}
}
