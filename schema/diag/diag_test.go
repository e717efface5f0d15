package diag_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
)

func at(file string, line, column int) diag.Range {
	return diag.Range{File: file, Start: diag.Pos{Line: int32(line), Column: int32(column)}, End: diag.Pos{Line: int32(line), Column: int32(column + 1)}}
}

func TestSortDropsRepetitions(t *testing.T) {
	t.Parallel()
	d := func(s diag.Severity, r diag.Range, code diag.Code) diag.Diagnostic {
		return diag.Diagnostic{Severity: s, Code: code, Summary: "x", Subject: r}
	}
	l := diag.List{
		d(diag.Error, at("b", 1, 1), "a/a"), d(diag.Warning, at("a", 2, 1), "a/a"), d(diag.Error, at("a", 2, 1), "a/b"),
		d(diag.Error, at("a", 1, 5), "a/a"), d(diag.Error, at("a", 1, 5), "a/a"),
	}
	var got []string
	for _, d := range l.Sort() {
		got = append(got, d.String())
	}
	want := []string{"a:1:5: error: x [a/a]", "a:2:1: error: x [a/b]", "a:2:1: warning: x [a/a]", "b:1:1: error: x [a/a]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got\n" + diff)
	}
}

func TestErrAndBack(t *testing.T) {
	t.Parallel()
	if err := (diag.List{{Severity: diag.Warning}}).Err(); err != nil {
		t.Errorf("a warning is an error: %v", err)
	}
	l := diag.List{{Severity: diag.Error, Code: "a/b", Summary: "broken", Subject: at("f", 3, 4)}}
	err := fmt.Errorf("load: %w", l.Err())
	if want := "load: f:3:4: error: broken [a/b]"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(diag.Diagnostic{Severity: diag.Error, Code: "a/b", Summary: "s"})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"code":"a/b","severity":"error","summary":"s","hint":"","object":null,"path":"","subject":null,"related":[],"fixes":[]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	b, _ = json.Marshal(diag.Diagnostic{Object: diag.Object{Group: "g", Kind: "Service", Namespace: "n", Name: "x"}, Subject: at("f", 1, 2), Related: []diag.Related{{Subject: at("f", 3, 4), Summary: "there"}}})
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"kind": "Service", "namespace": "n", "name": "x"}, got["object"]); diff != "" {
		t.Error("-want +got\n" + diff)
	}
	rel := got["related"].([]any)[0].(map[string]any)
	if rel["summary"] != "there" || rel["file"] != "f" || rel["start"].(map[string]any)["line"] != 3.0 {
		t.Errorf("related: %v", rel)
	}
}
