package syntax_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// adress is a document of n mistakes in one list, every eighth of which has no fix when bad.
func adress(n int, json, bad bool) string {
	var b strings.Builder
	b.WriteString(map[bool]string{true: `{"a": [`, false: "base: &base {adress: 0}\na:\n"}[json])
	for i := range n {
		switch {
		case json && i > 0:
			fmt.Fprintf(&b, `, {"adress": %d}`, i)
		case json:
			b.WriteString(`{"adress": 0}`)
		case bad && i%8 == 7:
			fmt.Fprintf(&b, "- &b%d {adress: %d}\n- *b%d\n", i, i, i)
		default:
			fmt.Fprintf(&b, "- adress: %d # %d\n", i, i)
		}
	}
	if json {
		b.WriteString("]}")
	}
	return b.String()
}

// resolved finds the fixes of all keys "adress" below a, and counts those that have one, and allocations.
func resolved(t *testing.T, name, text string) (fixed, all int, allocs float64) {
	t.Helper()
	units, _ := syntax.Units(set(name, text))
	docs, ds := units[0].Parse()
	if len(docs) != 1 || ds.HasErrors() {
		t.Fatal(ds)
	}
	var lists [][]diag.Edit
	for _, item := range docs[0].Root.Get("a").Items {
		if f := item.Field("adress"); f != nil {
			lists = append(lists, []diag.Edit{{Op: diag.Rename, At: f.Range, Name: "address"}})
		}
	}
	allocs = testing.AllocsPerRun(1, func() {
		fixed = 0
		for _, f := range syntax.NewEditor(units[0]).EachFixes(lists) {
			if len(f) > 0 {
				fixed++
			}
		}
	})
	return fixed, len(lists), allocs
}

// TestFixesOfOneDocumentGrowWithIt must not run beside other tests: it counts allocations.
func TestFixesOfOneDocumentGrowWithIt(t *testing.T) {
	for _, name := range []string{"a.yaml", "a.json"} {
		few, all, small := resolved(t, name, adress(100, name == "a.json", false))
		many, more, big := resolved(t, name, adress(800, name == "a.json", false))
		if few != all || many != more {
			t.Errorf("%s: %d of %d and %d of %d have fixes", name, few, all, many, more)
		}
		if big > 12*small {
			t.Errorf("%s: 100 mistakes take %.0f allocations, and 800 take %.0f", name, small, big)
		}
	}
}

// TestFixesThatHoldAreFoundAmongOthers: what a text that was tried as a whole does not bear is found, and left out alone.
func TestFixesThatHoldAreFoundAmongOthers(t *testing.T) {
	if fixed, all, _ := resolved(t, "a.yaml", adress(40, false, true)); fixed != 35 || all != 45 {
		t.Errorf("%d of %d have fixes, want 35 of 45", fixed, all)
	}
}
