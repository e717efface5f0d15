package diag

import (
	"fmt"
	"testing"
)

func TestGather(t *testing.T) {
	t.Parallel()
	at := func(line int) Range { return Range{File: "a.yaml", Start: Pos{Line: int32(line), Column: 1}} }
	l := List{{Code: "a/b", Summary: "x is not set", Subject: at(1)}, {Code: "a/c", Summary: "x is not set", Subject: at(2)}, {Severity: Error, Code: "a/b", Summary: "x is not set", Subject: at(3)}}
	for i := range 9 {
		l = append(l, Diagnostic{Code: "a/b", Summary: "x is not set", Subject: at(10 + i)})
	}
	l = append(l, Diagnostic{Code: "a/b", Summary: "y is not set", Subject: at(30)}, Diagnostic{Code: "a/b", Summary: "y is not set", Subject: at(31)})
	got := ""
	for _, d := range l.Gather("a/b") {
		got += fmt.Sprintf("%s\n", d)
		for _, r := range d.Related {
			got += fmt.Sprintf("  %s %s\n", r.Subject, r.Summary)
		}
	}
	want := `a.yaml:1:1: note: x is not set [a/b]
  a.yaml:10:1 here too
  a.yaml:11:1 here too
  a.yaml:12:1 here too
  a.yaml:13:1 here too
  a.yaml:14:1 here too, and in 4 more places
a.yaml:2:1: note: x is not set [a/c]
a.yaml:3:1: error: x is not set [a/b]
a.yaml:30:1: note: y is not set [a/b]
  a.yaml:31:1 here too
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if len(l[0].Related) > 0 {
		t.Error("the list that was given is changed")
	}
}

func TestTogether(t *testing.T) {
	t.Parallel()
	at := Range{File: "a.cue", Start: Pos{Line: 1, Column: 1}}
	of := func(name string) Object { return Object{Kind: "Service", Namespace: "default", Name: name} }
	l := List{{Code: "a/b", Summary: "x is wrong", Subject: at, Object: of("b")}, {Code: "a/b", Summary: "x is wrong", Subject: at, Object: of("a")}, {Code: "a/b", Summary: "x is wrong", Subject: at},
		{Code: "a/b", Summary: "y is wrong", Subject: at, Object: of("a")}, {Code: "a/b", Summary: "z is wrong", Object: of("a")}, {Code: "a/b", Summary: "z is wrong", Object: of("b")}}
	got := ""
	for _, d := range l.Together() {
		got += fmt.Sprintf("%s\n", d)
	}
	want := `a.cue:1:1: note: x is wrong, in Service default/a and Service default/b [a/b]
a.cue:1:1: note: x is wrong [a/b]
a.cue:1:1: note: y is wrong [a/b]
note: z is wrong [a/b]
note: z is wrong [a/b]
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if all := l.Together()[0].Objects; len(all) != 2 || all[0] != of("a") || all[1] != of("b") {
		t.Errorf("told of %v", all)
	}
	if l[0].Summary != "x is wrong" || l[0].Objects != nil {
		t.Error("the list that was given is changed")
	}
}
