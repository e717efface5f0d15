package diag_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
)

func TestFingerprintsStayWhenLinesMove(t *testing.T) {
	t.Parallel()
	d := func(summary, path string, line int) diag.Diagnostic {
		return diag.Diagnostic{Severity: diag.Error, Code: "yaml/syntax", Summary: summary, Path: path, Subject: at("a.yaml", line, 3)}
	}
	before := diag.List{d("the text ends at line 3 column 7", "", 2), d("unknown (b.yaml:3:9)", "/a", 4), d("twice", "/b", 6), d("twice", "/b", 7), d("port 8081", "", 9)}
	after := diag.List{d("new", "", 1), d("the text ends at line 13 column 17", "", 12), d("unknown (b.yaml:13:19)", "/a", 14), d("twice", "/b", 16), d("twice", "/b", 17), d("port 8081", "", 19)}
	if a, b := before.Fingerprints(nil), after.Fingerprints(nil); !slices.Equal(a, b[1:]) {
		t.Errorf("before %q, after %q", a, b)
	}
}

func TestFingerprintsTellApart(t *testing.T) {
	t.Parallel()
	base := diag.Diagnostic{Code: "a/b", Summary: "s", Path: "/p", Object: diag.Object{Group: "g", Kind: "k", Namespace: "n", Name: "x"}, Subject: at("f", 1, 1)}
	l := diag.List{base, base}
	for _, change := range []func(d *diag.Diagnostic){
		func(d *diag.Diagnostic) { d.Code = "a/c" }, func(d *diag.Diagnostic) { d.Summary = "port 8082" }, func(d *diag.Diagnostic) { d.Summary = "port 8081" },
		func(d *diag.Diagnostic) { d.Path = "/q" }, func(d *diag.Diagnostic) { d.Subject.File = "g" }, func(d *diag.Diagnostic) { d.Object.Kind = "l" },
		func(d *diag.Diagnostic) { d.Object.Namespace = "m" }, func(d *diag.Diagnostic) { d.Object.Name = "y" }, func(d *diag.Diagnostic) { d.Object.Group = "h" },
		func(d *diag.Diagnostic) { d.Object.Namespace, d.Object.Name = "nx", "" },
	} {
		d := base
		change(&d)
		l = append(l, d)
	}
	got := l.Fingerprints(strings.ToUpper)
	for i, p := range got {
		if !regexp.MustCompile("^[0-9a-f]{32}$").MatchString(p) || slices.Index(got, p) != i {
			t.Errorf("%d is %q of %q", i, p, got)
		}
	}
	base.Subject.File = "F"
	if up := (diag.List{base}).Fingerprints(nil); up[0] != got[0] {
		t.Errorf("the name does not count: %s and %s", up[0], got[0])
	}
}

func TestSecretInText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": false, "name: x": false, "password: hunter2": true, "a:\n  config:\n    password: hunter2\n": true, "a: 1\nb: https://user:pass@host\n": true,
		"password: $PASSWORD": false, "password:\n  hunter2\n": true, strings.Repeat("x", 70_000) + " token: abcdefgh1234": true, strings.Repeat("x", 200_000): false,
	} {
		if got := diag.Secret([]byte(text)); got != want {
			t.Errorf("%.60q: got %v", text, got)
		}
	}
}
