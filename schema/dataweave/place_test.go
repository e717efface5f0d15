package dataweave_test

import (
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// TestAtFindsTheBytes compares places with the file: what the text has at an offset stands there.
func TestAtFindsTheBytes(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"literal.yaml":  "s: |\n  type A {\n    ä: Int\n  }\n",
		"blanks.yaml":   "s: |\n  a\n\n\n  ä b\n\n  c\nt: 1\n",
		"indented.yaml": "x:\n  - s: |-\n      %dw 2.0\n      \n      ---\n       {}\n",
		"deep.yaml":     "x:\n        s: |-\n             a\n\n               b\n             c",
		"folded.yaml":   "s: >-\n  a\n  b\n\n  c\n",
		"long.yaml":     "s: a\n  b\n",
		"crlf.yaml":     "s: |\r\n  a\r\n  b\r\n",
		"plain.yaml":    "s: a b c\n",
		"single.yaml":   "s: 'it''s ''a'' b'\n",
		"double.yaml":   `s: "a\n\"b\"\tc"` + "\n",
		"text.json":     `{"s": "type A {\n\t\"x\": Int\n}\n"}`,
	} {
		docs, diags := syntax.Parse(source.NewSet([]source.File{source.NewFile(name, []byte(file))}))
		if len(docs) != 1 || diags.HasErrors() {
			t.Fatalf("%s: %v", name, diags)
		}
		n := docs[0].Root
		for _, key := range []string{"x", "0"} {
			if deeper, whole := n.At(key); whole {
				n = deeper
			}
		}
		n = n.Get("s")
		at := dataweave.At(n.Text, n.Range)
		checked := 0
		for i := range n.Text {
			if strings.IndexByte(" \n\r\t\"'", n.Text[i]) >= 0 || n.Text[i] >= 0x80 {
				continue
			}
			r := at(i, i+1).Found([]byte(file)) // lines of CRLF are joined
			if r == n.Range {
				t.Errorf("%s: %q has no place of its own", name, n.Text[i:])
				continue
			}
			checked++
			if got := file[r.Start.Offset]; got != n.Text[i] {
				t.Errorf("%s: offset %d is %q, want %q", name, r.Start.Offset, got, n.Text[i])
			}
			line := strings.Split(file, "\n")[r.Start.Line-1]
			if got := []rune(line)[r.Start.Column-1]; got != rune(n.Text[i]) {
				t.Errorf("%s: %d:%d is %q, want %q", name, r.Start.Line, r.Start.Column, got, n.Text[i])
			}
		}
		if checked == 0 {
			t.Errorf("%s: nothing was compared", name)
		}
	}
}
