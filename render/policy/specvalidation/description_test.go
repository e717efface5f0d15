package specvalidation

import (
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// FuzzDescription never panics, and stays within the block that the description stands in.
func FuzzDescription(f *testing.F) {
	for _, seed := range []string{
		"openapi: 3.0.0\npaths:\n  /a/{b}:\n    get:\n      parameters: [{$ref: '#/x'}, {name: b, in: path}]\n", "{\"openapi\": \"3.0.0\", \"paths\": {\"/\": null}}", "swagger: '2.0'", "- a", "#%RAML 1.0\n",
		"openapi: 3.0.0\npaths:\n  x:\n    $ref: '#/paths/x'\n", "openapi: 3.0.0\npaths: &a\n  /b: *a\n", "openapi: 3.0.0\npaths: {/a: {gett: 1, parameters: 2}}\npattern: '('\n", "a: [\n", "---\n---\n", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(strings.TrimRight(text, "\n"), "\n") + 1
		r := diag.Range{File: "a.yaml", Start: diag.Pos{Line: 10, Column: 5, Offset: 100}, End: diag.Pos{Line: int32(10 + lines), Column: 80, Offset: int32(100 + 2*len(text) + 10)}}
		for _, d := range description(syntax.Text{Value: text, Range: r}) {
			if s := d.Subject; s.File != r.File || s.Start.Line < r.Start.Line || s.End.Line > r.End.Line || d.Summary == "" || d.Code == "" {
				t.Errorf("%v stands outside %s", d, r)
			}
		}
	})
}

// TestPlacesInABlock: the reference stands on the third line of the block, behind its indentation.
func TestPlacesInABlock(t *testing.T) {
	t.Parallel()
	text := "openapi: 3.0.0\ninfo: {}\npaths: {/a: {$ref: other.yaml}}\n"
	// spec: | at 7:11, and four blanks before each line.
	r := diag.Range{File: "a.yaml", Start: diag.Pos{Line: 7, Column: 11, Offset: 60}, End: diag.Pos{Line: 10, Column: 36, Offset: int32(60 + 2 + len(text) - 1 + 3*4)}}
	l := description(syntax.Text{Value: text, Range: r})
	if len(l) != 1 || l[0].Subject.String() != "a.yaml:10:24" {
		t.Errorf("got %v, want one at a.yaml:10:24", l)
	}
}
