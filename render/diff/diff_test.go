package diff_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/cli/review"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/diff"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/testkit"
)

// texts are files by their names below the root of a side.
type texts map[string]string

// sideOf makes a side of files; they are read below root.
func sideOf(t *testing.T, root string, files texts, getenv func(string) (string, bool)) diff.Side {
	t.Helper()
	s, ds := load(root, files, getenv)
	if ds.HasErrors() {
		t.Fatalf("%s: %v", root, ds)
	}
	return s
}

func load(root string, files texts, getenv func(string) (string, bool)) (diff.Side, diag.List) {
	var list []source.File
	for name, text := range files {
		list = append(list, source.NewFile(root+"/"+name, []byte(text)))
	}
	set := source.NewSet(list)
	o := schema.Options{Policies: all.Catalog{}, Getenv: getenv, AllowUnenforced: true}
	g, ds := schema.Load(set, o)
	if g == nil {
		return diff.Side{}, ds
	}
	r, more := render.Render(g, all.Catalog{}, render.Options{Files: "/files"}, nil)
	s := diff.Side{Gateway: g, Resources: r, Documents: func(wanted func(string) bool) []ir.Document { return schema.Documents(set, o, wanted) }}
	for _, f := range set.Files {
		s.Files = append(s.Files, diff.File{Name: f.Name, Path: strings.TrimPrefix(f.Name, root+"/"), Hash: f.Hash})
	}
	return s, append(ds, more...)
}

// sides are the files of a case: old/ and new/ are of one side, the others of both.
func sides(c *testkit.Case) (old, now texts) {
	old, now = texts{}, texts{}
	for _, f := range c.Files {
		name, text := f.Name, string(f.Data)
		switch side, rest, _ := strings.Cut(name, "/"); side {
		case "old":
			old[rest] = text
		case "new":
			now[rest] = text
		default:
			old[name], now[name] = text, text
		}
	}
	return old, now
}

func written(t *testing.T, r *diff.Report, format string) string {
	t.Helper()
	var b bytes.Buffer
	d := review.Diff{Old: review.Side{Label: "old"}, New: review.Side{Label: "new"}, Found: r}
	if err := d.Write(&b, format); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// environment is that of the cases.
func environment(name string) (string, bool) {
	v, ok := map[string]string{"SET": "from-the-environment"}[name]
	return v, ok
}

func TestCases(t *testing.T) {
	t.Parallel()
	testkit.Run(t, "testdata/*.txtar", func(t *testing.T, c *testkit.Case) {
		old, now := sides(c)
		a, b := sideOf(t, "old", old, environment), sideOf(t, "new", now, environment)
		r := diff.Compare(a, b, all.Catalog{})
		text := written(t, r, "text")
		c.Want(t, "want/diff.txt", []byte(text))
		for _, format := range review.Formats() {
			got := written(t, r, format)
			for _, secret := range []string{"s3cr3t", "from-the-environment", "PRIVATE KEY"} {
				if strings.Contains(got, secret) {
					t.Errorf("%s shows %q:\n%s", format, secret, got)
				}
			}
			if again := written(t, diff.Compare(sideOf(t, "old", old, environment), sideOf(t, "new", now, environment), all.Catalog{}), format); again != got {
				t.Errorf("%s differs from run to run: %s", format, cmp.Diff(got, again))
			}
		}
		mirrors(t, r, diff.Compare(b, a, all.Catalog{}))
		for _, s := range []texts{old, now} {
			same := diff.Compare(sideOf(t, "old", s, environment), sideOf(t, "new", s, environment), all.Catalog{})
			if len(same.Changes)+len(same.Ports)+len(same.Added)+len(same.Changed)+len(same.Removed) > 0 {
				t.Errorf("compared with itself:\n%s", written(t, same, "text"))
			}
		}
	})
}

// opposite is what a kind is when the sides are swapped.
var opposite = map[diff.Kind]diff.Kind{
	diff.APIAdded: diff.APIRemoved, diff.PolicyAdded: diff.PolicyRemoved, diff.RouteAdded: diff.RouteRemoved, diff.ServiceAdded: diff.ServiceRemoved,
	diff.PortOpened: diff.PortClosed, diff.TLSAdded: diff.TLSRemoved, diff.AuthenticationGained: diff.AuthenticationLost,
}

// mirrors holds a comparison against that of the swapped sides: the same things differ, the other way round.
func mirrors(t *testing.T, r, swapped *diff.Report) {
	t.Helper()
	turn := func(k diff.Kind) diff.Kind {
		for a, b := range opposite {
			switch k {
			case a:
				return b
			case b:
				return a
			}
		}
		return k
	}
	lines := func(k diff.Kind, c diff.Change) []string {
		if k == diff.AuthenticationLost || k == diff.AuthenticationGained { // these are told together by their reasons
			return slices.Repeat([]string{c.Class.String() + " " + string(k)}, len(c.Affects))
		}
		// Coming is a risk, going is not: of these the class is not the same.
		coming := k == diff.APIAdded || k == diff.APIRemoved || k == diff.PortOpened || k == diff.PortClosed
		class := c.Class.String()
		if coming {
			class = ""
		}
		return []string{fmt.Sprintf("%s %s (%d fields)", class, k, len(c.Fields))}
	}
	var want, got []string
	for _, c := range r.Changes {
		want = append(want, lines(c.Kind, c)...)
	}
	for _, c := range swapped.Changes {
		got = append(got, lines(turn(c.Kind), c)...)
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the swapped sides are no mirror (-want +got):\n%s", d)
	}
	if d := cmp.Diff(r.Added, swapped.Removed) + cmp.Diff(r.Removed, swapped.Added) + cmp.Diff(r.Changed, swapped.Changed); d != "" {
		t.Errorf("resources: %s", d)
	}
	for _, c := range r.Changes {
		if c.Way != diff.Looser || c.Kind == diff.APIAdded || c.Kind == diff.PortOpened {
			continue
		}
		if !slices.ContainsFunc(swapped.Changes, func(x diff.Change) bool { return turn(x.Kind) == c.Kind && (x.Way != "" || undirected(c, x)) }) {
			t.Errorf("%s is looser, and nothing gets tighter the other way round:\n%s\n%s", c.Summary, written(t, r, "text"), written(t, swapped, "text"))
		}
	}
}

// undirected reports whether two changes share a reason: that something is only other than before is said alike both ways, and
// then what is looser one way need not be tighter the other.
func undirected(a, b diff.Change) bool {
	reasons := strings.Split(a.Reason, "; ")
	return slices.ContainsFunc(strings.Split(b.Reason, "; "), func(s string) bool { return slices.Contains(reasons, s) })
}

// example is the YAML files of one of the examples; none: it has none.
func example(t *testing.T, dir string) texts {
	t.Helper()
	names, _ := filepath.Glob("../../examples/" + dir + "/*.yaml")
	files := texts{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = string(b)
	}
	return files
}

// TestWhatIsWrittenInAnotherWayIsCosmetic writes the examples in another way: documents and keys in another order, in other files,
// with comments.
func TestWhatIsWrittenInAnotherWayIsCosmetic(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("../../examples/*")
	if err != nil || len(dirs) < 8 {
		t.Fatal(dirs, err)
	}
	found := 0
	for _, dir := range dirs {
		files := example(t, filepath.Base(dir))
		if len(files) == 0 {
			continue
		}
		found++
		a := sideOf(t, "old", files, nil)
		for name, other := range map[string]texts{"commented": commented(files), "one file": oneFile(files), "moved": movedFiles(files), "as JSON": asJSON(t, files)} {
			r := diff.Compare(a, sideOf(t, "new", other, nil), all.Catalog{})
			if worst, _ := r.Worst(); worst != diff.Cosmetic || len(r.Changes) == 0 {
				t.Errorf("%s, %s:\n%s", dir, name, written(t, r, "text"))
			}
		}
	}
	if found < 7 {
		t.Errorf("only %d examples were compared", found)
	}
}

func commented(files texts) texts {
	out := texts{}
	for name, text := range files {
		out[name] = "# a comment\n\n" + strings.ReplaceAll(text, "\n---\n", "\n# another\n---\n\n")
	}
	return out
}

// oneFile puts all documents into one file, the last one first.
func oneFile(files texts) texts {
	var docs []string
	for _, name := range slices.Sorted(keys(files)) {
		docs = append(docs, strings.Split(strings.TrimSpace(files[name]), "\n---\n")...)
	}
	slices.Reverse(docs)
	return texts{"all.yaml": strings.Join(docs, "\n---\n") + "\n"}
}

// asJSON writes every file as a list of its documents, with keys in the order of the alphabet.
func asJSON(t *testing.T, files texts) texts {
	t.Helper()
	out := texts{}
	for name, text := range files {
		docs, ds := syntax.Parse(source.NewSet([]source.File{source.NewFile(name, []byte(text))}))
		if ds.HasErrors() {
			t.Fatal(ds)
		}
		var list []any
		for _, d := range docs {
			list = append(list, d.Root.Value())
		}
		b, err := json.MarshalIndent(list, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(name, ".yaml")+".json"] = string(b)
	}
	return out
}

func movedFiles(files texts) texts {
	out := texts{}
	for name, text := range files {
		out["deeper/"+name] = text
	}
	return out
}

func keys(m texts) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestEveryResourceIsExplained edits the examples value by value: whatever changes what Envoy gets is told as more than cosmetic.
func TestEveryResourceIsExplained(t *testing.T) {
	t.Parallel()
	edits := 0
	for _, dir := range []string{"policy-chain", "canary", "port-sharing", "selector", "basic-auth"} {
		files := example(t, dir)
		a := sideOf(t, "same", files, nil)
		for name, text := range files {
			for i, line := range strings.Split(text, "\n") {
				for _, edit := range edited(line) {
					lines := strings.Split(text, "\n")
					lines[i] = edit
					other := texts{}
					for k, v := range files {
						other[k] = v
					}
					other[name] = strings.Join(lines, "\n")
					b, ds := load("same", other, nil)
					if ds.HasErrors() {
						continue
					}
					edits++
					r := diff.Compare(a, b, all.Catalog{})
					worst, any := r.Worst()
					differs := len(r.Added)+len(r.Changed)+len(r.Removed) > 0
					if differs && (!any || worst == diff.Cosmetic) || !any {
						t.Errorf("%s/%s:%d: %q became %q:\n%s", dir, name, i+1, line, edit, written(t, r, "text"))
					}
				}
			}
		}
	}
	if edits < 100 {
		t.Errorf("only %d edits were valid", edits)
	}
}

// edited are other values of a line, and no line.
func edited(line string) []string {
	trimmed := strings.TrimSpace(line)
	if trimmed == "" || strings.HasPrefix(trimmed, "#") || trimmed == "---" {
		return nil
	}
	out := []string{""}
	for _, x := range []struct{ from, to string }{{"8081", "8083"}, {"true", "false"}, {"false", "true"}, {"80", "81"}, {"v1", "v2"}, {"10", "20"}, {"/", "/x/"}, {"GET", "PUT"}, {"0.0.0.0", "127.0.0.1"}} {
		if strings.Contains(line, x.from) {
			out = append(out, strings.Replace(line, x.from, x.to, 1))
		}
	}
	return append(out, line+"x", line+"1")
}

func TestKindsAreAll(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("kind.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), " Kind = \""); n != len(diff.Kinds()) {
		t.Errorf("%d kinds are declared, %d are listed", n, len(diff.Kinds()))
	}
	for i, k := range diff.Kinds() {
		if slices.Index(diff.Kinds(), k) != i {
			t.Errorf("%s is listed twice", k)
		}
	}
}

// TestJSONFitsItsSchema holds the JSON of every case against docs/schemas/diff.schema.json, which must describe every field.
func TestJSONFitsItsSchema(t *testing.T) {
	t.Parallel()
	c := jsonschema.NewCompiler()
	for _, name := range []string{"diff", "validate"} {
		b, err := os.ReadFile("../../docs/schemas/" + name + ".schema.json")
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(doc.(map[string]any)["$id"].(string), closed(doc)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile("https://github.com/flexgw/flexgw/blob/main/docs/schemas/diff.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	fits := func(name, text string) {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err == nil {
			err = s.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	for _, c := range testkit.ReadAll(t, "testdata/*.txtar") {
		old, now := sides(c)
		fits(c.Name, written(t, diff.Compare(sideOf(t, "old", old, environment), sideOf(t, "new", now, environment), all.Catalog{}), "json"))
	}
	_, ds := load("new", texts{"a.yaml": "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Service\nmetadata: {name: x}\nspec: {address: x}\n"}, nil)
	var b bytes.Buffer
	d := review.Diff{Old: review.Side{Label: "old"}, New: review.Side{Label: "new", Revision: "abc", Invalid: &report.Report{Diagnostics: ds}}}
	if err := d.Write(&b, "json"); err != nil {
		t.Fatal(err)
	}
	fits("an invalid side", b.String())
	if !ds.HasErrors() || s.Validate(map[string]any{}) == nil {
		t.Error("the schema takes everything")
	}
}

// closed is a schema that takes no field that it does not name.
func closed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		_, ref := v["$ref"]
		out := map[string]any{}
		for k, x := range v {
			out[k] = closed(x)
		}
		if _, ok := v["properties"]; ok && !ref && v["type"] != nil {
			out["additionalProperties"] = false
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = closed(x)
		}
		return out
	}
	return v
}

// TestAnyTwoAreCompared compares gateways that have little in common: whatever Envoy gets otherwise is told, and the other way round
// it is told the other way round.
func TestAnyTwoAreCompared(t *testing.T) {
	t.Parallel()
	var all []diff.Side
	for _, c := range testkit.ReadAll(t, "testdata/*.txtar") {
		old, now := sides(c)
		all = append(all, sideOf(t, "same", old, environment), sideOf(t, "same", now, environment))
	}
	for i, a := range all {
		for j, b := range all[i+1:] {
			if testing.Short() && (i+j)%20 > 0 {
				continue
			}
			r := compare(a, b)
			mirrors(t, r, compare(b, a))
			worst, _ := r.Worst()
			if differs := len(r.Added)+len(r.Changed)+len(r.Removed) > 0; differs && worst == diff.Cosmetic {
				t.Errorf("Envoy gets something else, and it is called cosmetic:\n%s", written(t, r, "text"))
			}
			if slices.ContainsFunc(r.Changes, func(c diff.Change) bool { return c.Kind == diff.ResourceChanged }) {
				t.Errorf("nothing explains a resource:\n%s", written(t, r, "text"))
			}
		}
	}
}

func compare(a, b diff.Side) *diff.Report { return diff.Compare(a, b, all.Catalog{}) }
