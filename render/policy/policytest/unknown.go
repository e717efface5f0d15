package policytest

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/testkit"
)

// hole is one scalar of a configuration, for which a variable is to stand.
type hole struct {
	files []source.File // in which it does
	env   map[string]string
	at    diag.Range
	path  string // of its property
	value string // that it had
	where string // for people
}

const (
	variable = "FLEXGW_TEST_VALUE"
	most     = 6 // values that are tried in a hole
)

// unknown puts a variable in the place of each scalar of each case.
func (p *policyTest) unknown(t *testing.T) {
	var holes []hole
	values := map[string][]string{} // of a property, in all cases
	for _, c := range testkit.ReadAll(t, "testdata/*.txtar") {
		for _, h := range p.holes(c) {
			holes = append(holes, h)
			if !slices.Contains(values[h.path], h.value) {
				values[h.path] = append(values[h.path], h.value)
			}
		}
	}
	if len(holes) == 0 && len(p.properties) > 0 {
		t.Fatal("no case declares a scalar")
	}
	tried := 0
	for _, h := range holes {
		if p.excuses(t, h, values[h.path]) {
			tried++
		}
	}
	if tried == 0 && len(p.properties) > 0 {
		t.Errorf("a variable fits in none of %d places", len(holes))
	}
}

// excuses holds what is said while a variable is not set against what is said while it has one of the values. It reports
// whether a variable can stand in the hole.
func (p *policyTest) excuses(t *testing.T, h hole, values []string) bool {
	t.Helper()
	with := func(value string) diag.List {
		env := maps.Clone(h.env)
		env[variable] = value
		_, l := p.load(h.files, env, false)
		return l
	}
	_, unset := p.load(h.files, h.env, false)
	if !slices.ContainsFunc(unset, func(d diag.Diagnostic) bool { return d.Code == "link/unset-variable" && d.Subject == h.at }) {
		return false
	}
	meant := with(h.value)
	wrong := slices.ContainsFunc(meant, func(d diag.Diagnostic) bool { return about(d, h.at) })
	for _, d := range unset {
		if d.Code != "link/unset-variable" && !wrong && !slices.ContainsFunc(meant, func(o diag.Diagnostic) bool { return o.Code == d.Code && o.Subject == d.Subject }) {
			t.Errorf("%s: while it is not set, and not while it is %q:\n\t%s", h.where, h.value, d)
		}
	}
	var others, right []diag.List
	for _, v := range values {
		if v == h.value || len(others) == most {
			continue
		}
		l := with(v)
		others = append(others, l)
		if !slices.ContainsFunc(l, func(d diag.Diagnostic) bool { return about(d, h.at) }) {
			right = append(right, l)
		}
	}
	if len(right) > 0 {
		others = right
	}
	name := h.path[strings.LastIndex(h.path, ".")+1:]
	for _, d := range meant {
		if about(d, h.at) || len(others) < 2 || strings.Contains(d.Summary, name) || contains(unset, d) {
			continue // said, or of the value, or of its relation to another one, or too little is known of what it may be
		}
		if !slices.ContainsFunc(others, func(l diag.List) bool { return !contains(l, d) }) {
			t.Errorf("%s: said of it with %q and %d other values, and not while it is not set:\n\t%s", h.where, h.value, len(others), d)
		}
	}
	return true
}

// about reports whether d is about the value at a place.
func about(d diag.Diagnostic, at diag.Range) bool {
	return d.Subject.File == at.File && d.Subject.Start.Offset >= at.Start.Offset && d.Subject.Start.Offset < at.End.Offset
}

func contains(l diag.List, d diag.Diagnostic) bool {
	return slices.ContainsFunc(l, func(o diag.Diagnostic) bool {
		return o.Severity == d.Severity && o.Code == d.Code && o.Subject == d.Subject && o.Summary == d.Summary
	})
}

// holes are the scalars of the policy's configurations in a case.
func (p *policyTest) holes(c *testkit.Case) []hole {
	files, env, _ := question(c)
	docs, _ := syntax.Parse(source.NewSet(files))
	var out []hole
	for _, d := range docs {
		eachConfig(d.Root, p.typ, func(cfg *syntax.Node) {
			eachScalar(cfg, "", func(path string, n *syntax.Node) {
				if h, ok := dig(files, n); ok {
					h.env, h.path, h.where = env, path, c.Name+": "+n.Range.String()
					out = append(out, h)
				}
			})
		})
	}
	return out
}

// dig puts the variable in the place of a scalar.
func dig(files []source.File, n *syntax.Node) (hole, bool) {
	i := slices.IndexFunc(files, func(f source.File) bool { return f.Name == n.Range.File })
	if i < 0 || n.IsNull() || strings.HasPrefix(n.Text, "$") || n.Range.End.Offset <= n.Range.Start.Offset {
		return hole{}, false
	}
	text := "$" + variable
	switch filepath.Ext(files[i].Name) {
	case ".json":
		text = `"` + text + `"`
	case ".cue":
		return hole{}, false // the place of a value may be that of a definition, and others' too
	}
	b, err := files[i].Bytes()
	if err != nil {
		return hole{}, false
	}
	start, end := n.Range.Start.Offset, n.Range.End.Offset
	if strings.HasSuffix(string(b[start:end]), "\n") { // of a block
		text += "\n"
	}
	out := hole{files: slices.Clone(files), value: n.Text, at: n.Range}
	out.files[i] = source.NewFile(files[i].Name, slices.Concat(b[:start], []byte(text), b[end:]))
	out.at.End = out.at.Start
	size := len(strings.TrimSuffix(text, "\n"))
	out.at.End.Column += int32(size)
	out.at.End.Offset += int32(size)
	return out, true
}

func eachScalar(n *syntax.Node, path string, f func(path string, n *syntax.Node)) {
	switch n.Kind {
	case syntax.Mapping:
		for i := range n.Fields {
			here := n.Fields[i].Name
			if path != "" {
				here = path + "." + here
			}
			eachScalar(n.Fields[i].Value, here, f)
		}
	case syntax.Sequence:
		for _, item := range n.Items {
			eachScalar(item, path+"[]", f)
		}
	default:
		f(path, n)
	}
}
