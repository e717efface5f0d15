package cli

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// ownOf are the documents of a gateway that are of flexgw's own kinds, which Flex Gateway does not know.
func ownOf(g *ir.Gateway) []ir.Origin {
	var out []ir.Origin
	for _, p := range g.Probes {
		out = append(out, p.Origin)
	}
	for _, e := range g.Echoes {
		out = append(out, e.Origin)
	}
	return out
}

// leaveOut is a set of declarations without those documents, and the objects that were left out. What stands below them keeps its
// lines, so that places in the gateway's log are those of the declarations; a file with nothing else is left out. The revision stays:
// it is that of what was declared.
func leaveOut(set source.Set, own []ir.Origin) (source.Set, []diag.Object, error) {
	at := map[string][]ir.Origin{}
	for _, o := range own {
		at[o.Range.File] = append(at[o.Range.File], o)
	}
	var left []diag.Object
	var files []source.File
	for _, f := range set.Files {
		here := at[f.Name]
		if len(here) == 0 {
			files = append(files, f)
			continue
		}
		text, err := f.Bytes()
		if err != nil {
			return set, nil, err
		}
		rest, ok := cutDocuments(text, here)
		if !ok {
			return set, nil, usage("%s has a %s beside other declarations in one JSON text; Flex Gateway does not know it: give it a file of its own", here[0].Range.String(), here[0].Object.Kind)
		}
		for _, o := range here {
			left = append(left, o.Object)
		}
		if rest != nil {
			files = append(files, source.NewFile(f.Name, rest))
		}
	}
	slices.SortFunc(left, func(a, b diag.Object) int { return bytes.Compare([]byte(a.String()), []byte(b.String())) })
	set.Files = files
	return set, slices.Compact(left), nil
}

// cutDocuments leaves out the YAML documents in which objects are; nil: nothing else is there. It is false when one of them is a part
// of something larger.
func cutDocuments(text []byte, objects []ir.Origin) (rest []byte, ok bool) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	cut := make([]bool, len(lines))
	for _, o := range objects {
		from, to := document(lines, int(o.Range.Start.Line)-1)
		if first := bytes.TrimSpace(bytes.TrimPrefix(bytes.Join(lines[from:to], nil), []byte("---"))); len(first) > 0 && first[0] == '[' {
			return nil, false
		}
		for i := from; i < to; i++ {
			cut[i] = true
		}
	}
	for i, line := range lines {
		if !cut[i] {
			rest = append(rest, line...)
			if bare := bytes.TrimSpace(line); len(bare) > 0 && bare[0] != '#' && !bytes.Equal(bare, []byte("---")) && !bytes.Equal(bare, []byte("...")) {
				ok = true
			}
			continue
		}
		if i == 0 || !cut[i-1] {
			rest = append(rest, "# left out: Flex Gateway does not know this kind"...) // and no marker: an empty document is not for everybody
		}
		if bytes.HasSuffix(line, []byte("\n")) {
			rest = append(rest, '\n')
		}
	}
	if !ok {
		return nil, true
	}
	return rest, true
}

// document is the range of lines of the YAML document that a line is in, with the marker before it. A marker stands at the beginning of
// a line, where no text of a document can have it (YAML 1.2.2, 9.1.2).
func document(lines [][]byte, line int) (from, to int) {
	marks := func(l []byte, mark string) bool {
		return bytes.HasPrefix(l, []byte(mark)) && (len(l) == len(mark) || bytes.ContainsRune([]byte(" \t\r\n"), rune(l[len(mark)])))
	}
	for from = line; from > 0 && !marks(lines[from], "---") && !marks(lines[from-1], "..."); from-- {
	}
	for to = line + 1; to < len(lines) && !marks(lines[to], "---") && !marks(lines[to], "..."); to++ {
	}
	return from, to
}

// leftOut says so, for people.
func leftOut(objects []diag.Object) string {
	var text bytes.Buffer
	for _, o := range objects {
		why := "Flex Gateway does not know this kind"
		if o.Kind == "Echo" {
			why += ", and nothing answers there"
		}
		fmt.Fprintf(&text, "left out  %s: %s\n", o, why)
	}
	return text.String()
}
