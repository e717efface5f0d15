package diag_test

import (
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
)

// TestWithin marks the word "bad" in texts that stand on several lines, and finds it in their source.
func TestWithin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, source, value, want string }{
		"folded":          {"a.yaml", "k: >-\n  one\n  two bad\n\n  three\n", ">-\n  one\n  two bad\n\n  three", "3:7-3:10"},
		"folded, indent":  {"a.yaml", "k: >2\n    one\n   two\n  bad\n", ">2\n    one\n   two\n  bad\n", "4:3-4:6"},
		"plain":           {"a.yaml", "k: one\n  é bad\n", "one\n  é bad", "2:5-2:8"},
		"double quotes":   {"a.yaml", "k: \"one\n  bad\"\n", "\"one\n  bad\"", "2:3-2:6"},
		"escapes":         {"a.yaml", "k: \"one\\t\n  bad\"\n", "\"one\\t\n  bad\"", "1:4-2:7"},
		"single quotes":   {"a.yaml", "k: '\"one\n\n  bad'\n", "'\"one\n\n  bad'", "3:3-3:6"},
		"doubled quotes":  {"a.yaml", "k: 'on''e\n  bad'\n", "'on''e\n  bad'", "1:4-2:7"},
		"cue":             {"a.cue", "k: #\"\"\"\n\tone\n\tbad\n\t\"\"\"#\n", "#\"\"\"\n\tone\n\tbad\n\t\"\"\"#", "3:2-3:5"},
		"cue, computed":   {"a.cue", "k: \"on\" +\n\t\"e bad\"\n", "\"on\" +\n\t\"e bad\"", "1:4-2:9"},
		"cue, one quoted": {"a.cue", "k: x +\n\t\"e bad\"\n", "x +\n\t\"e bad\"", "1:4-2:9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := strings.Index(c.source, c.value)
			column := int32(from + 1)
			r := diag.Range{File: c.file, Start: diag.Pos{Line: 1, Column: column, Offset: int32(from)}, End: diag.Pos{Line: 9, Column: 9, Offset: int32(from + len(c.value))}}
			if got := r.Found([]byte(c.source)); got != r {
				t.Errorf("a range that is not marked becomes %v", got)
			}
			text := "one two bad three" // as it is read, more or less
			signs := func(s string) int32 { return int32(len(strings.ReplaceAll(s, " ", ""))) }
			before, _, _ := strings.Cut(text, "bad")
			if !strings.Contains(c.source, "two") {
				before = "one "
			}
			if strings.Contains(c.source, "é") {
				before += "é"
			}
			if strings.Contains(c.source, "'\"") {
				before += "-"
			}
			marked := r.Within(signs(before), signs(before)+3)
			got := diag.List{{Subject: marked, Related: []diag.Related{{Subject: marked}}}}.Found(func(string) ([]byte, error) { return []byte(c.source), nil })[0]
			show := func(r diag.Range) string {
				return strings.TrimPrefix(r.String(), c.file+":") + "-" + strings.TrimPrefix(diag.Range{File: c.file, Start: r.End}.String(), c.file+":")
			}
			if show(got.Subject) != c.want || got.Related[0].Subject != got.Subject {
				t.Errorf("found %s, want %s", show(got.Subject), c.want)
			}
			if lost := marked.Found(nil); lost.Start != r.Start || lost.End != r.Start {
				t.Errorf("without its source it is %v", lost)
			}
			if at := c.source[got.Subject.Start.Offset:got.Subject.End.Offset]; at != "bad" && at != c.value {
				t.Errorf("the offsets are those of %q", at)
			}
		})
	}
}
