package syntax_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// edited is the text of a file after the edits; what At of each is, path names: of a key, or of a value.
func edited(t *testing.T, name, text string, make func(root *syntax.Node) []diag.Edit) string {
	t.Helper()
	units, ds := syntax.Units(set(name, text))
	docs, more := units[0].Parse()
	if ds = append(ds, more...); len(docs) == 0 || ds.HasErrors() {
		t.Fatal(ds)
	}
	fixes := syntax.NewEditor(units[0]).Fixes(make(docs[len(docs)-1].Root))
	if fixes == nil {
		return "no"
	}
	var b strings.Builder
	at := 0
	for _, f := range fixes {
		b.WriteString(text[at:f.Range.Start.Offset] + f.Text)
		at = int(f.Range.End.Offset)
	}
	return b.String() + text[at:]
}

// edit makes an edit of a path, "a/b/0/c".
func edit(op diag.Op, path string, more diag.Edit) func(*syntax.Node) []diag.Edit {
	return func(root *syntax.Node) []diag.Edit {
		more.Op = op
		names := strings.Split(path, "/")
		if path == "" {
			names = nil
		}
		n, whole := root.At(names...)
		if !whole {
			panic(path)
		}
		if more.At = n.Range; op == diag.Rename || op == diag.Remove || op == diag.Move {
			more.At = root.KeyRange(names...)
		}
		return []diag.Edit{more}
	}
}

// word makes an edit of a part of a scalar, from and to counted from where it begins.
func word(path string, from, to int, old, text string) func(*syntax.Node) []diag.Edit {
	return func(root *syntax.Node) []diag.Edit {
		n, _ := root.At(strings.Split(path, "/")...)
		at := n.Range
		at.End.Offset = at.Start.Offset + int32(to)
		at.Start.Offset += int32(from)
		return []diag.Edit{{Op: diag.Reword, At: at, Name: old, Value: text}}
	}
}

func TestEditor(t *testing.T) {
	t.Parallel()
	to := func(path string) diag.Edit { return diag.Edit{To: strings.Split(path, "/")} }
	name := func(s string) diag.Edit { return diag.Edit{Name: s} }
	value := func(v any) diag.Edit { return diag.Edit{Value: v} }
	with := func(path string, v any) diag.Edit { return diag.Edit{To: strings.Split(path, "/"), Value: v} }
	for i, c := range []struct {
		file, text string
		edit       func(*syntax.Node) []diag.Edit
		want       string
	}{
		// renames
		{"a.yaml", "a:\n  user: x # c\n  b: 1\n", edit(diag.Rename, "a/user", name("username")), "a:\n  username: x # c\n  b: 1\n"},
		{"a.yaml", "{\"user\": x}\n", edit(diag.Rename, "user", name("username")), "{\"username\": x}\n"},
		{"a.yaml", "'user': x\n", edit(diag.Rename, "user", name("username")), "'username': x\n"},
		{"a.yaml", "user: x\nusername: y\n", edit(diag.Rename, "user", name("username")), "no"},
		{"a.json", `{"a": [{"user":1}]}`, edit(diag.Rename, "a/0/user", name("username")), `{"a": [{"username":1}]}`},
		{"a.cue", "user: 1\nb: \"x\" // c\n", edit(diag.Rename, "user", name("x-y")), "\"x-y\": 1\nb: \"x\" // c\n"},
		{"a.cue", "b: user\nuser: 1\n", edit(diag.Rename, "user", name("z")), "no"},
		{"a.yaml", "a: &x\n  user: 1\nb: *x\n", edit(diag.Rename, "a/user", name("username")), "no"},
		{"a.yaml", "a: &x\n  user: 1\nb:\n  <<: *x\n  c: 1\n", edit(diag.Rename, "b/user", name("username")), "no"},
		// values
		{"a.yaml", "a: yes # c\r\nb: 1\r\n", edit(diag.Set, "a", value("yes")), "a: \"yes\" # c\r\nb: 1\r\n"},
		{"a.yaml", "a: 'get'\n", edit(diag.Set, "a", value("GET")), "a: 'GET'\n"},
		{"a.yaml", "a: [get, b]\n", edit(diag.Set, "a/0", value("G,E")), "a: [\"G,E\", b]\n"},
		{"a.yaml", "a:\n- GET\n- POST # c\nb: 1\n", edit(diag.Set, "a", value("GET|POST")), "a: GET|POST # c\nb: 1\n"},
		{"a.yaml", "a:\n- GET # c\n- POST\nb: 1\n", edit(diag.Set, "a", value("GET|POST")), "no"},
		{"a.yaml", "a: [GET, POST]\n", edit(diag.Set, "a", value("GET|POST")), "a: GET|POST\n"},
		{"a.yaml", "a: s3cret\n", edit(diag.Quote, "a", diag.Edit{}), "a: \"s3cret\"\n"},
		{"a.yaml", "a: |\n  x\n", edit(diag.Set, "a", value("z")), "a: z\n"},
		{"a.json", `{"a": "yes"}`, edit(diag.Set, "a", value(true)), `{"a": true}`},
		{"a.cue", "#x: \"get\"\na: #x\nb: #x\n", edit(diag.Set, "a", value("GET")), "no"},
		{"a.cue", "a: \"get\"\n", edit(diag.Set, "a", value("GET")), "a: \"GET\"\n"},
		{"a.cue", "n: \"e\"\na: \"g\\(n)t\"\n", edit(diag.Set, "a", value("GET")), "n: \"e\"\na: \"GET\"\n"},
		{"a.yaml", "p: cors-flex # c\nq: 1\n", edit(diag.Set, "p", value(map[string]any{"name": "cors-flex"})), "p:\n  name: cors-flex # c\nq: 1\n"},
		{"a.yaml", "l:\n- p: cors-flex\n", edit(diag.Set, "l/0/p", value(map[string]any{"name": "cors-flex"})), "l:\n- p:\n    name: cors-flex\n"},
		{"a.yaml", "ips: 10.0.0.1\n", edit(diag.Set, "ips", value([]any{"10.0.0.1"})), "ips: [\"10.0.0.1\"]\n"},
		{"a.json", `{"p": "x"}`, edit(diag.Set, "p", value(map[string]any{"name": "x"})), `{"p": {"name": "x"}}`},
		{"a.yaml", "a: \"#[attributes.ip ++ attributes.ip]\" # attributes.ip\n", word("a", 14, 16, "ip", "remoteAddress"), "a: \"#[attributes.remoteAddress ++ attributes.ip]\" # attributes.ip\n"},
		{"a.yaml", "a: \"#[attributes.ip ++ attributes.ip]\"\n", word("a", 0, 34, "ip", "x"), "no"},
		{"a.yaml", "a: >-\n  #[x &&\n  y]\n", word("a", 2, 13, "&&", "and"), "a: >-\n  #[x and\n  y]\n"},
		{"a.yaml", "a: &x \"#[ip]\"\nb: *x\n", word("a", 1, 5, "ip", "x"), "no"},
		{"a.json", `{"a": "#[ip == \"ip\"]"}`, word("a", 1, 5, "ip", "x"), `{"a": "#[x == \"ip\"]"}`},
		// removals
		{"a.yaml", "a: 1\n# b's\nb: 2 # c\n# c's\nc: 3\n", edit(diag.Remove, "b", diag.Edit{}), "a: 1\n# c's\nc: 3\n"},
		{"a.yaml", "a: 1\nb: 2", edit(diag.Remove, "b", diag.Edit{}), "a: 1"},
		{"a.yaml", "- a: 1\n  b: 2\n", edit(diag.Remove, "0/a", diag.Edit{}), "- b: 2\n"},
		{"a.yaml", "x:\n- a: 1 # c\n  # b\n  b: 2\n", edit(diag.Remove, "x/0/a", diag.Edit{}), "x:\n- # b\n  b: 2\n"},
		{"a.yaml", "x:\n  a: 1\ny: 2\n", edit(diag.Remove, "x/a", diag.Edit{}), "x: {}\ny: 2\n"},
		{"a.yaml", "x:\n  a: |\n    z\n\n    y\n  b: 1\n", edit(diag.Remove, "x/a", diag.Edit{}), "x:\n  b: 1\n"},
		{"a.json", "{\n  \"a\": 1,\n  \"b\": 2\n}\n", edit(diag.Remove, "b", diag.Edit{}), "{\n  \"a\": 1\n}\n"},
		{"a.json", "{\n  \"a\": 1,\n  \"b\": 2\n}\n", edit(diag.Remove, "a", diag.Edit{}), "{\n  \"b\": 2\n}\n"},
		{"a.cue", "x: {\n\ta: 1\n\tb: 2\n}\n", edit(diag.Remove, "x/a", diag.Edit{}), "x: {\n\tb: 2\n}\n"},
		// insertions
		{"a.yaml", "p:\n  name: x # c\n  # more\nq: 1\n", edit(diag.Insert, "p", with("namespace", "default")), "p:\n  name: x # c\n  namespace: default\n  # more\nq: 1\n"},
		{"a.yaml", "- name: x\n", edit(diag.Insert, "0", with("namespace", "default")), "- name: x\n  namespace: default\n"},
		{"a.yaml", "p: {name: x}\n", edit(diag.Insert, "p", with("namespace", "default")), "p: {name: x, namespace: default}\n"},
		{"a.yaml", "p: {}\n", edit(diag.Insert, "p", with("namespace", "default")), "p: {namespace: default}\n"},
		{"a.yaml", "# top\nkind: x\n", edit(diag.Insert, "", with("apiVersion", "g/v1")), "# top\napiVersion: g/v1\nkind: x\n"},
		{"a.yaml", "a: 1", edit(diag.Insert, "", with("b/c", []any{"x", map[string]any{"y": true, "z": nil}})), "a: 1\nb:\n  c:\n    - x\n    - \"y\": true\n      z: null"},
		{"a.json", `{"name": "x"}`, edit(diag.Insert, "", with("namespace", "default")), `{"name": "x", "namespace": "default"}`},
		{"a.json", "{\n    \"name\": \"x\"\n}", edit(diag.Insert, "", with("a/b", "default")), "{\n    \"name\": \"x\",\n    \"a\": {\"b\": \"default\"}\n}"},
		{"a.cue", "p: {\n\tname: \"x\" // c\n}\n", edit(diag.Insert, "p", with("namespace", "default")), "p: {\n\tname: \"x\" // c\n\tnamespace: \"default\"\n}\n"},
		{"a.cue", "p: name: \"x\"\n", edit(diag.Insert, "p", with("namespace", "default")), "no"},
		{"a.cue", "p: {name: \"x\"}\n", edit(diag.Insert, "p", with("namespace", "default")), "p: {name: \"x\", namespace: \"default\"}\n"},
		// moves
		{"a.yaml", "config:\n  rateLimits:\n    - max: 3\n      # why\n      keySelector: \"#[x]\" # c\n      time: 1\n  z: 1\n# end\n", edit(diag.Move, "config/rateLimits/0/keySelector", to("../../keySelector")),
			"config:\n  rateLimits:\n    - max: 3\n      time: 1\n  z: 1\n  # why\n  keySelector: \"#[x]\" # c\n# end\n"},
		{"a.yaml", "config:\n  rateLimits:\n    - max: 3\n      keySelector: x", edit(diag.Move, "config/rateLimits/0/keySelector", to("../../keySelector")), "config:\n  rateLimits:\n    - max: 3\n  keySelector: x"},
		{"a.yaml", "config:\n  rateLimits:\n    - keySelector: x # c\n      max: 3\n", edit(diag.Move, "config/rateLimits/0/keySelector", to("../../keySelector")), "config:\n  rateLimits:\n    - max: 3\n  keySelector: x # c\n"},
		{"a.yaml", "config:\n  rateLimits:\n    - keySelector: x # c\n", edit(diag.Move, "config/rateLimits/0/keySelector", to("../../keySelector")), "config:\n  rateLimits:\n    - {}\n  keySelector: x # c\n"},
		{"a.yaml", "items:\n- message: |\n    a\n      b\n  # two\n  level: x\n", edit(diag.Move, "items/0/message", to("itemData/message")), "items:\n- itemData:\n    message: |\n      a\n        b\n  # two\n  level: x\n"},
		{"a.yaml", "items:\n- message: x\n  itemData:\n    a: 1\n", edit(diag.Move, "items/0/message", to("itemData/message")), "items:\n- itemData:\n    a: 1\n    message: x\n"},
		{"a.yaml", "s:\n  # r\n  redis: # a\n    address: x # b\n", edit(diag.Move, "s/redis", to("store/redis")), "s:\n  # r\n  store:\n    redis: # a\n      address: x # b\n"},
		{"a.json", "{\n  \"redis\": {\n    \"a\": 1\n  }\n}", edit(diag.Move, "redis", to("store/redis")), "{\n  \"store\": {\"redis\": {\n    \"a\": 1\n  }}\n}"},
		{"a.cue", "s: redis: {a: 1}\n", edit(diag.Move, "s/redis", to("store/redis")), "s: store: {redis: {a: 1}}\n"},
		{"a.yaml", "p:\n  basicAuth:\n    # u\n    user: x\n  https:\n    address: y\n", edit(diag.Move, "p/basicAuth", to("https/basicAuth")), "p:\n  https:\n    address: y\n    basicAuth:\n      # u\n      user: x\n"},
		{"a.yaml", "c:\n  origins:\n  - a\n  x: 1\n", edit(diag.Move, "c/origins", to("groups/0/origins")), "c:\n  groups:\n    - origins:\n      - a\n  x: 1\n"},
		{"a.yaml", "c: {k: [1, 2], l: [{s: 1, t: 2}]}\n", edit(diag.Move, "c/l/0/s", to("../../s")), "c: {k: [1, 2], l: [{t: 2}], s: 1}\n"},
		{"a.yaml", "c:\n  l: [{s: 1, t: 2}]\n", edit(diag.Move, "c/l/0/s", to("../../s")), "c:\n  l: [{t: 2}]\n  s: 1\n"},
		{"a.yaml", "c:\n  d: &x\n    s: 1\n    t: 2\n  e: *x\n", edit(diag.Move, "c/d/s", to("../s")), "no"},
		{"a.json", "{\n  \"c\": {\n    \"l\": [\n      {\n        \"s\": {\n          \"a\": 1\n        },\n        \"t\": 2\n      }\n    ]\n  }\n}\n", edit(diag.Move, "c/l/0/s", to("../../s")),
			"{\n  \"c\": {\n    \"l\": [\n      {\n        \"t\": 2\n      }\n    ],\n    \"s\": {\n      \"a\": 1\n    }\n  }\n}\n"},
		{"a.json", `{"c":{"l":[{"s":1}]}}`, edit(diag.Move, "c/l/0/s", to("../../s")), `{"c":{"l":[{}], "s":1}}`},
		{"a.cue", "c: {\n\tl: [{\n\t\t// why\n\t\ts: \"x\"\n\t\tt: 2\n\t}]\n}\n", edit(diag.Move, "c/l/0/s", to("../../s")), "c: {\n\tl: [{\n\t\tt: 2\n\t}]\n\t// why\n\ts: \"x\"\n}\n"},
		{"a.yaml", "s: 1\nl:\n- s: 2\n  t: 1\n", edit(diag.Move, "l/0/s", to("../../s")), "no"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			if c.file == "a.cue" {
				c.text, c.want = "apiVersion: \"v\"\nkind: \"k\"\n"+c.text, strings.Replace("apiVersion: \"v\"\nkind: \"k\"\n"+c.want, "apiVersion: \"v\"\nkind: \"k\"\nno", "no", 1)
			}
			if diff := cmp.Diff(c.want, edited(t, c.file, c.text, c.edit)); diff != "" {
				t.Errorf("%s\n-want +got\n%s", c.text, diff)
			}
		})
	}
}

// FuzzEditor holds that no change of any text panics, and that what is changed can be changed back by name.
func FuzzEditor(f *testing.F) {
	for _, text := range []string{
		"a: 1 # c\nb:\n  - c: |\n      x\n    d: {e: [1, 'x'], f: \"y\"}\n---\n? g\n: h\n", "{\"a\": {\"b\": [1, {\"c\": null}]}}", "a: &x {b: 1}\nc: *x\n<<: *x\n",
		"- a:\n  b: 2\n- - c: 1\n", "\"é\": 1\r\n? - x\n: y\r\nz: >-\r\n  a\r\n\r\n", "a: {b: 1, # c\n  d: 2}\n", "a:\n# c\n  b: 1\n # d\n  c: !!str 2\n",
	} {
		f.Add("a.yaml", text)
		f.Add("a.json", text)
	}
	f.Add("a.cue", "apiVersion: \"v\", kind: \"k\"\na: b: c: 1\n#x: {d: 2}\ne: #x & {f: [1, {g: 2}]} // h\n")
	f.Fuzz(func(t *testing.T, name, text string) {
		if name != "a.json" && name != "a.cue" {
			name = "a.yaml"
		}
		if len(text) > 4<<10 {
			return
		}
		units, _ := syntax.Units(set(name, text))
		docs, _ := units[0].Parse()
		e := syntax.NewEditor(units[0])
		budget := 60
		if name == "a.cue" {
			budget = 6
		}
		try := func(x diag.Edit) {
			budget--
			at := 0
			for _, f := range e.Fixes([]diag.Edit{x}) {
				if int(f.Range.Start.Offset) < at || f.Range.End.Offset < f.Range.Start.Offset || int(f.Range.End.Offset) > len(text) {
					t.Fatalf("%+v: a fix at %d to %d of %d bytes, after %d", x, f.Range.Start.Offset, f.Range.End.Offset, len(text), at)
				}
				at = int(f.Range.End.Offset)
			}
		}
		var walk func(n *syntax.Node)
		walk = func(n *syntax.Node) {
			if budget < 0 {
				return
			}
			switch n.Kind {
			case syntax.Mapping:
				try(diag.Edit{Op: diag.Insert, At: n.Range, To: []string{"new", "0", "x"}, Value: map[string]any{"a": []any{true, "no"}}})
			default:
				try(diag.Edit{Op: diag.Set, At: n.Range, Value: "a: b"})
				try(diag.Edit{Op: diag.Quote, At: n.Range})
				try(diag.Edit{Op: diag.Set, At: n.Range, Value: map[string]any{"name": "x"}})
			}
			for _, f := range n.Fields {
				try(diag.Edit{Op: diag.Rename, At: f.Range, Name: "re named"})
				try(diag.Edit{Op: diag.Remove, At: f.Range})
				try(diag.Edit{Op: diag.Move, At: f.Range, To: []string{"..", "new"}})
				try(diag.Edit{Op: diag.Move, At: f.Range, To: []string{"other", "new"}})
				walk(f.Value)
			}
			for _, item := range n.Items {
				walk(item)
			}
		}
		for _, d := range docs {
			walk(d.Root)
		}
	})
}
