package specvalidation

import (
	"fmt"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// TestManyReferencesToNothing: the names that may have been meant are looked through for the first of them.
func TestManyReferencesToNothing(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("openapi: 3.0.3\ninfo: {title: a, version: b}\npaths: {}\ncomponents:\n  schemas:\n    Order: {}\n  x:\n")
	for i := range 3 * maxMeant {
		fmt.Fprintf(&b, "    - $ref: '#/components/schemas/Ordr%03d'\n", i)
	}
	text := strings.ReplaceAll(b.String(), "Ordr000", "Ordr")
	l := description(syntax.Text{Value: text, Range: diag.Range{File: "a"}})
	meant := 0
	for _, d := range l {
		if strings.Contains(d.Hint, "schemas/Order") {
			meant++
		}
	}
	if len(l) < 3*maxMeant || meant == 0 || meant > maxMeant {
		t.Errorf("%d references lead to nothing, and %d of them have a hint", len(l), meant)
	}
}
