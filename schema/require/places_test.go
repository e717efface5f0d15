package require_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/testkit"
)

// constraint is one of CUE that holds for everything but the value at path, and one that demands a field beside it.
func constraint(n *syntax.Node, path []string, leaf string) string {
	if len(path) == 0 {
		return leaf
	}
	if n.Kind == syntax.Mapping {
		return "{" + strconv.Quote(path[0]) + ": " + constraint(n.Get(path[0]), path[1:], leaf) + "}"
	}
	i, err := strconv.Atoi(path[0])
	if err != nil {
		panic(err)
	}
	return "[" + strings.Repeat("_, ", i) + constraint(n.Items[i], path[1:], leaf) + ", ...]"
}

// each calls f for every node below n with its path.
func each(n *syntax.Node, path []string, f func(*syntax.Node, []string)) {
	f(n, path)
	for i := range n.Fields {
		each(n.Fields[i].Value, append(path[:len(path):len(path)], n.Fields[i].Name), f)
	}
	for i, item := range n.Items {
		each(item, append(path[:len(path):len(path)], strconv.Itoa(i)), f)
	}
}

// TestEveryPlaceIsExact forbids each value of each declaration in turn, in YAML, JSON and CUE, in block and flow style and in
// files of several documents, and demands a field that each mapping lacks: the complaint is at that very value, or at the key
// of that very mapping.
func TestEveryPlaceIsExact(t *testing.T) {
	t.Parallel()
	c := testkit.Read(t, filepath.Join("testdata", "err-places.txtar"))
	var files []testkit.File
	var set []source.File
	for _, f := range c.Files {
		if !strings.HasPrefix(f.Name, "rules/") {
			files, set = append(files, f), append(set, source.NewFile(f.Name, f.Data))
		}
	}
	docs, ds := syntax.Parse(source.NewSet(set))
	if len(ds) > 0 || len(docs) != 6 {
		t.Fatal(len(docs), ds)
	}
	type wanted struct {
		what string
		at   diag.Range
	}
	var rules strings.Builder
	want := map[diag.Code]wanted{}
	for d, doc := range docs {
		kind, name := doc.Root.Get("kind").Text, doc.Root.Get("metadata").Get("name").Text
		each(doc.Root, nil, func(n *syntax.Node, path []string) {
			leaf, at := "{absent: string}", doc.Root.KeyRange(path...)
			if n.Kind == syntax.Scalar {
				b, err := json.Marshal(n.Scalar)
				if err != nil {
					t.Fatal(err)
				}
				leaf, at = "!="+string(b), n.Range
			}
			known := len(path) == 0 || path[0] == "kind" || path[0] == "apiVersion" // no object of the kind can lack them
			closed := n.Kind == syntax.Mapping && !(strings.HasSuffix(strings.Join(path, "/"), "annotations") || strings.HasSuffix(strings.Join(path, "/"), "config"))
			if known || n.Kind == syntax.Sequence || closed {
				return
			}
			code := diag.Code(fmt.Sprintf("place/d%d-%d", d, len(want)))
			want[code] = wanted{name + "/" + strings.Join(path, "/"), at}
			fmt.Fprintf(&rules, "require: %q: {kind: %q, message: \"x\", where: metadata: name: %q, that: %s}\n", code, kind, name, constraint(doc.Root, path, leaf))
		})
	}
	wrong, found, _ := judged(append(files, testkit.File{Name: "rules/all.cue", Data: []byte(rules.String())}), 0, false)
	if len(wrong) > 0 {
		t.Fatal(shown(wrong))
	}
	for _, d := range found {
		w, ok := want[d.Code]
		if !ok {
			t.Errorf("reported twice, or not asked for: %s", d)
			continue
		}
		if d.Subject != w.at {
			t.Errorf("%s: reported at %+v, want %+v", w.what, d.Subject, w.at)
		}
		delete(want, d.Code)
	}
	for code, w := range want {
		t.Errorf("%s: nothing reported of %s", code, w.what)
	}
	if len(found) < 30 {
		t.Errorf("%d places only", len(found))
	}
}
