package schema

import (
	"fmt"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/testkit"
)

func TestManyMistakesOfOneObject(t *testing.T) {
	testkit.Growth(t, 1000, func(size int) func() {
		x := &explainer{}
		for i := range size {
			x.ds = append(x.ds, diag.Diagnostic{Code: "shape/unknown-field", Summary: fmt.Sprint("unknown field ", i), Subject: diag.Range{File: "a", Start: diag.Pos{Offset: int32(i)}}})
		}
		x.ds = append(x.ds, x.ds[:10]...)
		return func() {
			if got := len(x.distinct()); got != size {
				t.Errorf("%d are left of %d", got, size)
			}
		}
	})
}

func TestManyExtensions(t *testing.T) {
	testkit.Growth(t, 500, func(size int) func() {
		s := &state{}
		for i := range size {
			x := &extension{}
			x.ID = diag.Object{Kind: "Extension", Namespace: "default", Name: fmt.Sprint("e", i)}
			s.extensions = append(s.extensions, x, &extension{ID: x.ID}) // the second of a name
		}
		return func() {
			for i := range size {
				if got := s.findExtension(fmt.Sprint("e", i), "other"); got != s.extensions[2*i] {
					t.Fatalf("another is found for e%d", i)
				}
			}
		}
	})
}
