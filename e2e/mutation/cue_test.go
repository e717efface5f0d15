package mutation

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// inCUE is the same gateway with each document in a file of its own, in CUE: JSON is CUE as well. ok is false if a document says
// what plain values do not.
func (g gateway) inCUE(t *testing.T) (out gateway, ok bool) {
	t.Helper()
	out = gateway{name: g.name + " in CUE", files: map[string]string{}, env: g.env}
	units, _ := syntax.Units(g.set("", ""))
	for _, u := range units {
		docs, ds := u.Parse()
		if ds.HasErrors() {
			return out, false
		}
		for _, d := range docs {
			b, err := json.MarshalIndent(d.Root.Value(), "", "  ")
			if err != nil || len(d.Root.Fields) == 0 {
				return out, false
			}
			out.files[fmt.Sprintf("f%d/f.cue", len(out.files))] = string(b) + "\n"
		}
	}
	return out, len(out.files) > 0
}

// mutantsInCUE are those of the same texts as JSON.
func (g gateway) mutantsInCUE(t *testing.T, want func(what, field string) bool) []mutant {
	t.Helper()
	asJSON := gateway{name: g.name, files: map[string]string{}, env: g.env}
	for name, text := range g.files {
		asJSON.files[strings.TrimSuffix(name, ".cue")+".json"] = text
	}
	out := asJSON.mutants(t, want)
	for i := range out {
		out[i].file = strings.TrimSuffix(out[i].file, filepath.Ext(out[i].file)) + ".cue"
	}
	return out
}

// TestEveryFieldInCUE: the same of declarations in CUE. Evaluation takes its time, so one kind of change is tried once at a place of
// a schema, and with -short in every 24th gateway.
func TestEveryFieldInCUE(t *testing.T) {
	t.Parallel()
	step := 1
	if testing.Short() {
		step = 24
	}
	var list []gateway
	for i, g := range gateways(t) {
		if c, ok := g.inCUE(t); ok && i%step == 0 {
			list = append(list, c)
		}
	}
	seen := map[string]bool{}
	once := func(what, field string) bool {
		key := what + " " + field
		first := !seen[key]
		seen[key] = true
		return first
	}
	if tried := everyField(t, list, once, func(gateway, mutant, diag.List) {}); tried < 100 {
		t.Errorf("only %d changes were tried", tried)
	}
}
