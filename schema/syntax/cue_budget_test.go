package syntax

import (
	"testing"
	"time"

	"github.com/flexgw/flexgw/schema/source"
)

func TestEndlessCUEIsGivenUp(t *testing.T) {
	t.Parallel()
	f := source.NewFile("a.cue", []byte("package a\n\nimport \"list\"\n\nx: [for i in list.Range(0, 300000, 1) {n: i}]\n"))
	units, ds := Units(source.NewSet([]source.File{f}))
	if len(units) != 1 || ds != nil {
		t.Fatalf("%d units, %v", len(units), ds)
	}
	if _, ds := parseCUEWithin(units[0], time.Millisecond); len(ds) != 1 || ds[0].Code != "cue/too-long" {
		t.Errorf("got %v", ds)
	}
}
