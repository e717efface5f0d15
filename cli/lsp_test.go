package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/e2e/workload"
)

const (
	editorAPI = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: orders
  labels: {team: shop}
spec:
  address: http://0.0.0.0:8081/orders
`
	editorService = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: Service
metadata:
  name: backend
spec:
  address: http://orders.example.org:8080
`
	editorRoute = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata:
  name: orders-route
spec:
  targetRef:
    name: orders
  policyRef:
    name: route
  config:
    destinationRef:
      name: backend
`
)

// ownRule is one of an organisation.
const ownRule = `package own

require: "own/team": {
	kind:    "ApiInstance"
	message: "this API is not of our team"
	page:    "https://wiki.example.org/team"
	that: metadata: labels: team: "another"
}
`

func inFolder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		put(t, filepath.Join(dir, name), text)
	}
	return dir
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func ordersFolder(t testing.TB) (dir, api, service, route string) {
	dir = inFolder(t, map[string]string{"api.yaml": editorAPI, "a b%/service.yaml": editorService, "route.yaml": editorRoute})
	return dir, filepath.Join(dir, "api.yaml"), filepath.Join(dir, "a b%", "service.yaml"), filepath.Join(dir, "route.yaml")
}

// escaped is a path as editors write it in a URI.
func escaped(path string) string {
	return strings.NewReplacer("%", "%25", " ", "%20").Replace(path)
}

func TestEditorLifecycle(t *testing.T) {
	t.Parallel()
	code := func(e *editor) int {
		err := e.cmd.Wait()
		if err == nil {
			return 0
		}
		return err.(*exec.ExitError).ExitCode()
	}
	e := startEditor(t)
	if a := e.call("textDocument/hover", map[string]any{}); a.Error == nil || a.Error.Code != -32002 {
		t.Errorf("before initialize: %+v", a)
	}
	var r struct {
		Capabilities struct {
			PositionEncoding string
			TextDocumentSync struct {
				OpenClose bool
				Change    int
			}
			HoverProvider, DefinitionProvider, DocumentSymbolProvider, DocumentFormattingProvider bool
		}
		ServerInfo struct{ Name, Version string }
	}
	e.must("initialize", map[string]any{"capabilities": map[string]any{}}, &r)
	c := r.Capabilities
	if c.PositionEncoding != "utf-16" || c.TextDocumentSync.Change != 2 || !c.TextDocumentSync.OpenClose || !c.HoverProvider || !c.DefinitionProvider || !c.DocumentSymbolProvider || !c.DocumentFormattingProvider || r.ServerInfo.Name != "flexgw" {
		t.Errorf("initialize: %+v", r)
	}
	if a := e.call("initialize", map[string]any{"capabilities": map[string]any{}}); a.Error == nil || a.Error.Code != -32600 {
		t.Errorf("a second initialize: %+v", a)
	}
	if a := e.call("no/such", map[string]any{}); a.Error == nil || a.Error.Code != -32601 {
		t.Errorf("an unknown method: %+v", a)
	}
	e.must("shutdown", nil, nil)
	if a := e.call("textDocument/hover", map[string]any{}); a.Error == nil || a.Error.Code != -32600 {
		t.Errorf("after shutdown: %+v", a)
	}
	e.notify("exit", nil)
	<-e.ended
	if got := code(e); got != 0 {
		t.Errorf("exit after shutdown: code %d\n%s", got, e.stderr.String())
	}
	e = openFolder(t, likeVSCode(), nil)
	e.notify("exit", nil)
	<-e.ended
	if got := code(e); got != 1 {
		t.Errorf("exit without shutdown: code %d", got)
	}
}

// TestEditorFolder goes through what a folder with several files needs.
func TestEditorFolder(t *testing.T) {
	t.Parallel()
	dir, api, service, route := ordersFolder(t)
	e := openFolder(t, likeVSCode(), []string{escaped(dir)})
	e.until("the request to watch files", func() bool { return slices.Contains(e.asked, "client/registerCapability") })
	e.opens(route, editorRoute)
	if l := e.at(route, 1); len(l) > 0 {
		t.Fatalf("the Service is in another file, and yet: %+v", l)
	}

	// A buffer counts instead of its file, and what is wrong shows where it is used.
	e.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": fileURI(escaped(service)), "languageId": "yaml", "version": 1, "text": strings.Replace(editorService, "backend", "other", 1)}})
	got := e.shows(route, "12 link/unknown-service")
	d := got[0]
	if want := (stretch{place{11, 12}, place{11, 19}}); d.Range != want || d.Severity != 1 || d.Source != "flexgw" || d.CodeDescription == nil || !strings.HasSuffix(d.CodeDescription.Href, "docs/diagnostics/link/unknown-service.md") || !strings.Contains(d.Message, `"backend"`) {
		t.Errorf("%+v", d)
	}
	if strings.Contains(d.Message, dir) {
		t.Errorf("names are to be seen from the folder: %s", d.Message)
	}
	e.notify("textDocument/didClose", map[string]any{"textDocument": map[string]any{"uri": fileURI(escaped(service))}})
	e.shows(route)

	// Files that change outside: the editor says so, or the disk does.
	put(t, api, strings.Replace(editorAPI, "name: orders", "name: other", 1))
	e.notify("workspace/didChangeWatchedFiles", map[string]any{"changes": []any{map[string]any{"uri": fileURI(api), "type": 2}}})
	e.shows(route, "7 link/unknown-api")
	put(t, api, editorAPI)
	e.notify("textDocument/didSave", map[string]any{"textDocument": map[string]any{"uri": fileURI(route)}})
	e.shows(route)

	// What has no buffer is reported too, and taken back.
	extra := filepath.Join(dir, "extra.yaml")
	put(t, extra, strings.Replace(editorAPI, "address:", "adress:", 1))
	e.notify("workspace/didChangeWatchedFiles", map[string]any{"changes": []any{map[string]any{"uri": fileURI(extra), "type": 1}}})
	e.until("problems of extra.yaml", func() bool { p, ok := e.last(extra); return ok && len(p.Diagnostics) > 0 })
	if err := os.Remove(extra); err != nil {
		t.Fatal(err)
	}
	e.notify("workspace/didChangeWatchedFiles", map[string]any{"changes": []any{map[string]any{"uri": fileURI(extra), "type": 3}}})
	e.shows(extra)
}

// TestEditorTellsMore: second places, tags, and what becomes of them in an editor that does not know them.
func TestEditorTellsMore(t *testing.T) {
	t.Parallel()
	dir := inFolder(t, map[string]string{"a.yaml": editorService, "b.yaml": editorService})
	path := filepath.Join(dir, "b.yaml")
	find := func(l []problem, code string) problem {
		t.Helper()
		for _, d := range l {
			if d.Code == code {
				return d
			}
		}
		t.Fatalf("no %s in %+v", code, l)
		return problem{}
	}
	e := openFolder(t, likeVSCode(), []string{dir})
	e.opens(path, editorService)
	d := find(e.at(path, 1), "link/duplicate-object")
	if len(d.Related) != 1 || d.Related[0].Location.URI != fileURI(filepath.Join(dir, "a.yaml")) || d.Related[0].Location.Range.Start != (place{3, 8}) || d.Related[0].Message == "" {
		t.Errorf("%+v", d)
	}
	e.changes(path, 2, whole(strings.Replace(editorService, "backend", "other", 1)))
	if d := find(e.at(path, 2), "link/unused-service"); !slices.Equal(d.Tags, []int{1}) {
		t.Errorf("%+v", d)
	}
	ruled := inFolder(t, map[string]string{"a.yaml": editorAPI, "own.cue": ownRule})
	api := filepath.Join(ruled, "a.yaml")
	strict := openFolder(t, likeVSCode(), []string{ruled}, "--rules", "own.cue", "--severity=own/team=warning", "--stdio")
	strict.opens(api, editorAPI)
	if d := find(strict.at(api, 1), "own/team"); d.Severity != 2 || d.CodeDescription == nil || d.CodeDescription.Href != "https://wiki.example.org/team" {
		t.Errorf("%+v", d)
	}
	plain := openFolder(t, map[string]any{}, []string{dir})
	plain.opens(path, editorService)
	if d := find(plain.at(path, 1), "link/duplicate-object"); len(d.Related) > 0 || !strings.Contains(d.Message, filepath.Join(dir, "a.yaml")+":4:9") || d.CodeDescription != nil {
		t.Errorf("%+v", d)
	}
	plain.changes(path, 2, whole(strings.Replace(editorService, "backend", "other", 1)))
	if d := find(plain.at(path, 2), "link/unused-service"); d.Tags != nil {
		t.Errorf("%+v", d)
	}
}

// TestEditorReadsCUE: a package in several files, one of which is open and another one never saved.
func TestEditorReadsCUE(t *testing.T) {
	t.Parallel()
	dir := inFolder(t, map[string]string{"p/a.cue": "package p\n\nhost: \"orders.example.org\"\n", "p/b.cue": "package p\n"})
	a, b := filepath.Join(dir, "p", "a.cue"), filepath.Join(dir, "p", "b.cue")
	text := "package p\n\ns: {\n\tapiVersion: \"gateway.mulesoft.com/v1alpha1\"\n\tkind: \"Service\"\n\tmetadata: name: \"orders\"\n\tspec: address: \"http://\\(host):8080\"\n}\n"
	e := openFolder(t, likeVSCode(), []string{dir})
	e.opens(b, text)
	if l := e.at(b, 1); slices.ContainsFunc(l, func(d problem) bool { return d.Severity == 1 }) {
		t.Fatalf("%+v", l)
	}
	e.opens(a, "package p\n\nhost: \"a b\"\n")
	e.until("a bad address", func() bool {
		p, _ := e.last(b)
		return slices.ContainsFunc(p.Diagnostics, func(d problem) bool { return d.Code == "link/bad-address" && d.Range.Start.Line == 6 })
	})
	e.closes(a)
	e.until("the file on the disk again", func() bool {
		p, _ := e.last(b)
		return !slices.ContainsFunc(p.Diagnostics, func(d problem) bool { return d.Severity == 1 })
	})
	var h struct{ Contents struct{ Value string } }
	e.must("textDocument/hover", over(b, text, "address", 1), &h)
	if !strings.Contains(h.Contents.Value, "Service.spec.address") {
		t.Errorf("%+v", h)
	}
	var l []struct{ Name string }
	e.must("textDocument/documentSymbol", map[string]any{"textDocument": map[string]any{"uri": fileURI(b)}}, &l)
	if len(l) != 1 || l[0].Name != "orders" {
		t.Errorf("%+v", l)
	}
	// Alone, outside of the folder, it still has its package.
	alone := openFolder(t, likeVSCode(), nil)
	alone.opens(b, text)
	if l := alone.at(b, 1); slices.ContainsFunc(l, func(d problem) bool { return d.Severity == 1 }) {
		t.Errorf("%+v", l)
	}
}

// TestEditorNeedsNobodyToWatch: a file that changes on the disk is noticed although the editor says nothing.
func TestEditorNeedsNobodyToWatch(t *testing.T) {
	t.Parallel()
	dir, api, _, route := ordersFolder(t)
	e := openFolder(t, map[string]any{}, []string{escaped(dir)})
	e.opens(route, editorRoute)
	e.at(route, 1)
	put(t, api, strings.Replace(editorAPI, "name: orders", "name: other", 1))
	e.shows(route, "7 link/unknown-api")
}

// TestEditorWorkspaceFolders: folders come and go, and what was said of them too.
func TestEditorWorkspaceFolders(t *testing.T) {
	t.Parallel()
	bad := strings.Replace(editorAPI, "address:", "adress:", 1)
	one, two := inFolder(t, map[string]string{"a.yaml": bad}), inFolder(t, map[string]string{"b.yaml": bad})
	e := openFolder(t, likeVSCode(), []string{one})
	marked := func(path string, some bool) {
		t.Helper()
		e.until(path, func() bool { p, ok := e.last(path); return ok && (len(p.Diagnostics) > 0) == some })
	}
	marked(filepath.Join(one, "a.yaml"), true)
	e.notify("workspace/didChangeWorkspaceFolders", map[string]any{"event": map[string]any{
		"added": []any{map[string]any{"uri": fileURI(two), "name": "two"}}, "removed": []any{map[string]any{"uri": fileURI(one), "name": "one"}}}})
	marked(filepath.Join(one, "a.yaml"), false)
	marked(filepath.Join(two, "b.yaml"), true)
}

// TestEditorAlone: a file that is in no folder is a part of a gateway; one that was never saved too.
func TestEditorAlone(t *testing.T) {
	t.Parallel()
	dir := inFolder(t, map[string]string{"route.yaml": editorRoute})
	e := openFolder(t, likeVSCode(), []string{inFolder(t, nil)})
	path := filepath.Join(dir, "route.yaml")
	e.opens(path, editorRoute)
	for _, d := range e.at(path, 1) {
		if d.Severity != 3 {
			t.Errorf("a reference out of the file is a note, not %+v", d)
		}
	}
	e.closes(path)
	e.shows(path)
	untitled := "untitled:Untitled-1"
	e.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": untitled, "languageId": "yaml", "version": 1, "text": strings.Replace(editorAPI, "address", "adress", 1)}})
	e.until("problems of what was never saved", func() bool { return len(e.published[untitled]) > 0 && len(e.published[untitled][0].Diagnostics) > 0 })
}

// TestEditorCountsAsTheEditorDoes: columns are in what was agreed, and changes are understood in it.
func TestEditorCountsAsTheEditorDoes(t *testing.T) {
	t.Parallel()
	text := "apiVersion: gateway.mulesoft.com/v1alpha1\r\nkind: ApiInstance\r\nmetadata: {name: orders, annotations: {note: \"ä😀\"}, lables: {}}\r\nspec:\r\n  address: http://0.0.0.0:8081/orders\r\n"
	line := strings.Split(text, "\r\n")[2]
	i := strings.Index(line, "lables")
	for _, c := range []struct {
		encodings []string
		column    int
	}{
		{[]string{"utf-16"}, i - 3}, // 2 bytes are one unit, 4 are two
		{nil, i - 3},
		{[]string{"utf-32", "utf-8", "utf-16"}, i},
	} {
		can := likeVSCode()
		can["general"] = map[string]any{"positionEncodings": c.encodings}
		path := filepath.Join(inFolder(t, nil), "a.yaml")
		e := openFolder(t, can, []string{filepath.Dir(path)})
		e.opens(path, text)
		var at *problem
		for _, d := range e.at(path, 1) {
			if d.Code == "shape/unknown-field" {
				at = &d
			}
		}
		if at == nil || at.Range != (stretch{place{2, c.column}, place{2, c.column + 6}}) {
			t.Errorf("%v: %+v, want column %d", c.encodings, at, c.column)
			continue
		}
		e.changes(path, 2, part(at.Range, "labels"), part(stretch{place{3, 0}, place{3, 0}}, "# a comment\r\n"))
		if l := e.at(path, 2); slices.ContainsFunc(l, func(d problem) bool { return d.Code == "shape/unknown-field" }) {
			t.Errorf("%v: after the change: %+v", c.encodings, l)
		}
	}
}

// TestEditorSaysWhatValidateSays holds both to the same problems at the same lines, with settings, suppressions, a baseline and rules.
func TestEditorSaysWhatValidateSays(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Glob("../examples/*")
	if err != nil || len(examples) < 3 {
		t.Fatal(examples, err)
	}
	var dirs []string
	for _, x := range examples {
		if info, err := os.Stat(x); err != nil || !info.IsDir() {
			continue
		}
		dir := inFolder(t, nil)
		if err := os.CopyFS(dir, os.DirFS(x)); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	bad := strings.Replace(editorAPI, "address:", "adress:", 1)
	policies := editorAPI + "  policies:\n    - policyRef: {name: cors}\n    - policyRef: {name: ip-allowlist-flex}\n      config: {ips: [nowhere]}\n"
	known := inFolder(t, map[string]string{"a.yaml": bad, "b.yaml": policies + "# flexgw:ignore-file link/unknown-policy until 2099-12-31: not yet\n",
		"own.cue": ownRule, ".flexgw.yaml": "rules: [own.cue]\n"})
	cmd := exec.Command("flexgw", "validate", "--write-baseline", "base.json", "a.yaml")
	cmd.Dir = known
	if out, _ := cmd.CombinedOutput(); !strings.Contains(string(out), "adress") {
		t.Fatalf("%s", out)
	}
	put(t, filepath.Join(known, ".flexgw.yaml"), "rules: [own.cue]\nbaseline: base.json\n")
	dirs = append(dirs,
		inFolder(t, map[string]string{"a.yaml": bad, "b.yaml": policies, "c.json": `{"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}}`,
			"d.cue": "apiVersion: \"gateway.mulesoft.com/v1alpha1\"\nkind: \"Service\"\nmetadata: name: \"t\"\nspec: adress: \"http://h:1\"\n", "e.yaml": "a: [\n", "f.yaml": "apiVersion: v1\nkind: Pod\n"}),
		inFolder(t, map[string]string{"a.yaml": bad, "old/b.yaml": bad, "c.yaml": policies,
			".flexgw.yaml": "exclude: [old]\nseverity: {link/unknown-policy: warning, shape/missing-field: \"off\", no/such: error}\nsuppress:\n  - {code: shape/unknown-field, file: a.yaml, reason: it is so, until: 2099-01-01}\n"}),
		known,
		inFolder(t, map[string]string{"a.yaml": policies, "rules/own.cue": "x: 1\n", ".flexgw.yaml": "rules: [rules/own.cue]\npartial: true\nbaseline: none.json\n"}),
	)
	for _, dir := range dirs {
		cmd := exec.Command("flexgw", "validate", "--output", "json", ".")
		cmd.Dir = dir
		out, _ := cmd.Output()
		var r struct {
			Diagnostics []struct {
				Code, Severity, Summary string
				Subject                 *struct {
					File  string
					Start struct{ Line int }
				}
				Related []struct {
					File  string
					Start struct{ Line int }
				}
			}
		}
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatalf("validate: %v in %s", err, out)
		}
		var want []string
		for _, d := range r.Diagnostics {
			if d.Subject == nil || d.Subject.File == "" {
				continue
			}
			want = append(want, fmt.Sprintf("%s:%d %s %s", d.Subject.File, max(1, d.Subject.Start.Line), d.Severity, d.Code))
			if d.Code == "link/unset-variable" { // validate gathers them: one for each variable
				for _, x := range d.Related {
					want = append(want, fmt.Sprintf("%s:%d %s %s", x.File, x.Start.Line, d.Severity, d.Code))
				}
			}
		}
		slices.Sort(want)
		want = slices.Compact(want)
		if dir == known && !strings.Contains(string(out), "own/team") {
			t.Fatalf("no rule is asked: %s", out)
		}
		e := openFolder(t, likeVSCode(), []string{dir})
		var got []string
		probe := filepath.Join(dir, "zz-probe.yaml")
		e.opens(probe, "# nothing\n")
		e.at(probe, 1)
		e.mu.Lock()
		for uri := range e.published {
			path := strings.TrimPrefix(uri, "file://")
			p, _ := e.last(path)
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range p.Diagnostics {
				got = append(got, fmt.Sprintf("%s:%d %s %s", filepath.ToSlash(rel), d.Range.Start.Line+1, []string{"", "error", "warning", "note"}[d.Severity], d.Code))
			}
		}
		e.mu.Unlock()
		slices.Sort(got)
		if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
			t.Errorf("%s (-validate +editor):\n%s", dir, diff)
		}
	}
}

// TestEditorReadsSettingsAnew: the project file counts as it is in the editor.
func TestEditorReadsSettingsAnew(t *testing.T) {
	t.Parallel()
	dir := inFolder(t, map[string]string{"a.yaml": editorAPI + "  policies:\n    - policyRef: {name: cors}\n", ".flexgw.yaml": "severity: {}\n"})
	api, settings := filepath.Join(dir, "a.yaml"), filepath.Join(dir, ".flexgw.yaml")
	e := openFolder(t, likeVSCode(), []string{dir})
	has := func(severity int) {
		t.Helper()
		e.until(fmt.Sprintf("severity %d", severity), func() bool {
			p, _ := e.last(api)
			return slices.ContainsFunc(p.Diagnostics, func(d problem) bool { return d.Code == "link/unknown-policy" && d.Severity == severity })
		})
	}
	has(1)
	e.opens(settings, "severity: {link/unknown-policy: warning}\n")
	has(2)
	e.changes(settings, 2, whole("severity: {link/unknown-polic: warning}\n"))
	has(1)
	e.until("what is wrong with the settings", func() bool {
		p, _ := e.last(settings)
		return len(p.Diagnostics) == 1 && p.Diagnostics[0].Code == "project/bad-setting"
	})
	e.closes(settings)
	e.shows(settings)
	has(1)
}

func TestEditorHovers(t *testing.T) {
	t.Parallel()
	dir, _, _, route := ordersFolder(t)
	e := openFolder(t, likeVSCode(), []string{escaped(dir)})
	text := editorRoute + "# flexgw:ignore link/unknown-service -- not yet\n"
	e.opens(route, text)
	for _, c := range []struct {
		word string
		more int
		want []string
	}{
		{"targetRef", 3, []string{"`PolicyBinding.spec.targetRef`", "Fields:", "- `name`"}},
		{"kind: PolicyBinding", 8, []string{"`PolicyBinding`", "- `spec`"}},
		{"name: route\n", 7, []string{"`route`", "destinationRef"}},
		{"destinationRef", 2, []string{"`route.destinationRef`"}},
		{"link/unknown-service", 6, []string{"`link/unknown-service`", "**Why.**", "```yaml"}},
	} {
		var h struct {
			Contents struct{ Kind, Value string }
			Range    *stretch
		}
		e.must("textDocument/hover", over(route, text, c.word, c.more), &h)
		for _, want := range c.want {
			if !strings.Contains(h.Contents.Value, want) || h.Contents.Kind != "markdown" || h.Range == nil {
				t.Errorf("over %q: %+v has no %q", c.word, h, want)
			}
		}
	}
	if a := e.call("textDocument/hover", over(route, text, "-- not yet", 1)); string(a.Result) != "null" {
		t.Errorf("over nothing: %s", a.Result)
	}
}

func TestEditorGoesToDefinitions(t *testing.T) {
	t.Parallel()
	dir, api, service, route := ordersFolder(t)
	selector := filepath.Join(dir, "selector.yaml")
	text := "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata: {name: all}\nspec:\n  targetRef:\n    kind: Selector\n    selector: {kind: ApiInstance, labels: {team: shop}}\n  policyRef: {name: own-policy}\n"
	extension := filepath.Join(dir, "extension.json")
	put(t, selector, text)
	put(t, extension, `{"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": "Extension", "metadata": {"name": "own-policy"}, "spec": {"extends": [{"name": "extension-definition"}], "properties": {}}}`)
	inline := filepath.Join(dir, "inline.yaml")
	echo := filepath.Join(dir, "echo.yaml")
	put(t, echo, "apiVersion: flexgw/v1alpha1\nkind: Echo\nmetadata:\n  name: stand-in\nspec:\n  address: http://127.0.0.1:9123\n")
	stood := filepath.Join(dir, "stood.yaml")
	standing := strings.NewReplacer("backend", "stood", "orders.example.org:8080", "localhost:9123/x").Replace(editorService)
	put(t, inline, strings.NewReplacer("orders", "inline", "shop", "own").Replace(editorAPI)+"  services:\n    up: {address: http://h:80}\n")
	e := openFolder(t, likeVSCode(), []string{escaped(dir)})
	e.opens(route, editorRoute)
	e.opens(selector, text)
	e.opens(stood, standing)
	second := strings.Replace(strings.Replace(editorRoute, "backend", "inline-up", 1), "orders-route", "second", 1)
	other := filepath.Join(dir, "second.yaml")
	e.opens(other, second)
	for _, c := range []struct {
		path, text, word string
		more             int
		want             string
	}{
		{route, editorRoute, "name: orders\n", 8, api + ":3"},
		{route, editorRoute, "backend", 7, service + ":3"},
		{route, editorRoute, "destinationRef", 2, service + ":3"},
		{route, editorRoute, "name: route\n", 8, ""},
		{selector, text, "team", 1, api + ":3"},
		{stood, standing, "http://localhost", 9, echo + ":3"},
		{selector, text, "own-policy", 1, extension + ":0"},
		{other, second, "inline-up", 1, inline + ":8"},
	} {
		var l []struct {
			URI   string
			Range stretch
		}
		e.must("textDocument/definition", over(c.path, c.text, c.word, c.more), &l)
		got := ""
		for _, x := range l {
			got += fmt.Sprintf("%s:%d", strings.NewReplacer("%25", "%", "%20", " ").Replace(strings.TrimPrefix(x.URI, "file://")), x.Range.Start.Line)
		}
		if got != c.want {
			t.Errorf("from %q: %q, want %q", c.word, got, c.want)
		}
	}
}

func TestEditorListsObjects(t *testing.T) {
	t.Parallel()
	dir := inFolder(t, nil)
	path := filepath.Join(dir, "a.yaml")
	text := editorAPI + "  services:\n    up: {address: http://h:80}\n  policies:\n    - policyRef: {name: cors-flex}\n---\n" + editorService
	type symbol struct {
		Name, Detail          string
		Range, SelectionRange stretch
		Children              []struct{ Name, Detail string }
	}
	e := openFolder(t, likeVSCode(), []string{dir})
	e.opens(path, text)
	var l []symbol
	e.must("textDocument/documentSymbol", map[string]any{"textDocument": map[string]any{"uri": fileURI(path)}}, &l)
	var got []string
	for _, x := range l {
		got = append(got, x.Detail+" "+x.Name)
		for _, c := range x.Children {
			got = append(got, "  "+c.Name)
		}
	}
	if diff := cmp.Diff([]string{"ApiInstance orders", "  up", "  cors-flex", "Service backend"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(l) == 2 && l[1].SelectionRange.Start.Line != strings.Count(text[:strings.Index(text, "backend")], "\n") {
		t.Errorf("%+v", l[1])
	}
	// An editor that knows no trees gets a list.
	plain := openFolder(t, map[string]any{}, []string{dir})
	plain.opens(path, text)
	var flat []struct {
		Name, ContainerName string
		Location            struct{ URI string }
	}
	plain.must("textDocument/documentSymbol", map[string]any{"textDocument": map[string]any{"uri": fileURI(path)}}, &flat)
	if len(flat) != 4 || flat[1].ContainerName != "orders" || flat[1].Location.URI != fileURI(path) {
		t.Errorf("%+v", flat)
	}
}

// applied is a text after the edits of an editor.
func applied(text string, edits []edit) string {
	offset := func(p place) int {
		at := 0
		for range p.Line {
			at += strings.IndexByte(text[at:], '\n') + 1
		}
		return at + p.Character
	}
	slices.SortFunc(edits, func(a, b edit) int { return offset(b.Range.Start) - offset(a.Range.Start) })
	for _, x := range edits {
		text = text[:offset(x.Range.Start)] + x.NewText + text[offset(x.Range.End):]
	}
	return text
}

type edit struct {
	Range   stretch
	NewText string
}

type action struct {
	Title, Kind string
	IsPreferred bool
	Diagnostics []problem
	Edit        struct {
		Changes         map[string][]edit
		DocumentChanges []struct {
			TextDocument struct {
				URI     string
				Version *int
			}
			Edits []edit
		}
	}
}

func TestEditorFixes(t *testing.T) {
	t.Parallel()
	bad := strings.Replace(editorAPI, "  address:", "  Adress:", 1) + "  policies:\n    - policyRef: {name: cors}\n"
	dir := inFolder(t, map[string]string{"a.yaml": bad})
	path := filepath.Join(dir, "a.yaml")
	e := openFolder(t, likeVSCode(), []string{dir})
	e.opens(path, bad)
	e.changes(path, 2, whole(bad+"# end\n"))
	bad += "# end\n"
	ask := func(r stretch, only ...string) (l []action) {
		t.Helper()
		context := map[string]any{"diagnostics": []any{}}
		if only != nil {
			context["only"] = only
		}
		e.must("textDocument/codeAction", map[string]any{"textDocument": map[string]any{"uri": fileURI(path)}, "range": r, "context": context}, &l)
		return l
	}
	l := ask(stretch{place{6, 3}, place{6, 3}}, "quickfix")
	if len(l) != 1 || l[0].Kind != "quickfix" || !l[0].IsPreferred || len(l[0].Diagnostics) != 1 || l[0].Diagnostics[0].Code != "shape/unknown-field" {
		t.Fatalf("%+v", l)
	}
	c := l[0].Edit.DocumentChanges
	if len(c) != 1 || c[0].TextDocument.URI != fileURI(path) || c[0].TextDocument.Version == nil || *c[0].TextDocument.Version != 2 {
		t.Fatalf("%+v", c)
	}
	if got, want := applied(bad, c[0].Edits), strings.Replace(bad, "Adress", "address", 1); got != want {
		t.Errorf("fixed: %s", cmp.Diff(want, got))
	}
	if l := ask(stretch{place{0, 0}, place{0, 0}}); slices.ContainsFunc(l, func(a action) bool { return a.Kind == "quickfix" }) {
		t.Errorf("where nothing is wrong: %+v", l)
	}
	l = ask(stretch{place{0, 0}, place{99, 0}}, "source.fixAll")
	if len(l) != 1 || l[0].Kind != "source.fixAll.flexgw" {
		t.Fatalf("%+v", l)
	}
	fixed := applied(bad, l[0].Edit.DocumentChanges[0].Edits)
	put(t, path, bad)
	out, err := exec.Command("flexgw", "validate", "--fix", path).CombinedOutput()
	if want, _ := os.ReadFile(path); string(want) != fixed || string(want) == bad {
		t.Errorf("all fixes differ from those of validate --fix (%v %s):\n%s", err, out, cmp.Diff(string(want), fixed))
	}
}

func TestEditorFormats(t *testing.T) {
	t.Parallel()
	messy := "kind: ApiInstance # first\napiVersion: gateway.mulesoft.com/v1alpha1\nmetadata:\n    name: orders\nspec:\n    address:   http://0.0.0.0:8081/orders\n    services:\n        up:\n            address: http://h:80   \n"
	dir := inFolder(t, map[string]string{"a.yaml": messy})
	path := filepath.Join(dir, "a.yaml")
	e := openFolder(t, likeVSCode(), []string{dir})
	e.opens(path, messy)
	var l []edit
	e.must("textDocument/formatting", map[string]any{"textDocument": map[string]any{"uri": fileURI(path)}, "options": map[string]any{"tabSize": 8}}, &l)
	got := applied(messy, l)
	if out, err := exec.Command("flexgw", "fmt", path).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) == messy {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("(-fmt +editor):\n%s", diff)
	}
	e.changes(path, 2, whole(got))
	e.must("textDocument/formatting", map[string]any{"textDocument": map[string]any{"uri": fileURI(path)}, "options": map[string]any{}}, &l)
	if len(l) != 0 {
		t.Errorf("formatted again: %+v", l)
	}
	e.changes(path, 3, whole("a: [\n"))
	e.must("textDocument/formatting", map[string]any{"textDocument": map[string]any{"uri": fileURI(path)}, "options": map[string]any{}}, &l)
	if len(l) != 0 {
		t.Errorf("of what cannot be read: %+v", l)
	}
}

func TestEditorCompletes(t *testing.T) {
	t.Parallel()
	dir, _, _, _ := ordersFolder(t)
	path := filepath.Join(dir, "new.yaml")
	e := openFolder(t, likeVSCode(), []string{escaped(dir)})
	e.opens(path, "")
	const head = "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata:\n  name: new\nspec:\n"
	version := 1
	for _, c := range []struct {
		text      string // the cursor is at |
		has, lack []string
	}{
		{"|", []string{"apiVersion", "kind", "metadata", "spec"}, nil},
		{"apiVersion: gateway.mulesoft.com/v1alpha1\nki|", []string{"kind"}, []string{"apiVersion"}},
		{"apiVersion: gateway.mulesoft.com/v1alpha1\nkind: |", []string{"ApiInstance", "PolicyBinding", "Service", "Probe"}, nil},
		{head + "  |", []string{"targetRef", "policyRef", "config", "rules"}, nil},
		{head + "  targetRef:\n    name: orders\n  pol|\n", []string{"policyRef"}, []string{"targetRef"}},
		{head + "  targetRef:\n    name: |\n", []string{"orders"}, []string{"backend"}},
		{head + "  targetRef:\n    kind: |\n    name: orders\n", []string{"ApiInstance", "Service", "Selector"}, nil},
		{head + "  policyRef:\n    name: rate|\n", []string{"rate-limiting-flex", "route", "cors-flex"}, []string{"orders"}},
		{head + "  policyRef:\n    name: route\n  config:\n    destinationRef:\n      name: |\n", []string{"backend"}, []string{"orders"}},
		{head + "  policyRef:\n    name: rate-limiting-flex\n  config:\n    |\n", []string{"rateLimits"}, []string{"targetRef"}},
		{head + "  policyRef:\n    name: rate-limiting-flex\n  config:\n    exposeHeaders: |\n", []string{"true", "false"}, nil},
		{"# a comment |", nil, []string{"kind"}},
	} {
		at := strings.IndexByte(c.text, '|')
		text := c.text[:at] + c.text[at+1:]
		version++
		e.changes(path, version, whole(text))
		before := text[:at]
		var l struct {
			Items []struct {
				Label    string
				TextEdit edit
			}
		}
		e.must("textDocument/completion", map[string]any{"textDocument": map[string]any{"uri": fileURI(path)},
			"position": place{strings.Count(before, "\n"), len(before) - strings.LastIndexByte(before, '\n') - 1}}, &l)
		var labels []string
		for _, i := range l.Items {
			labels = append(labels, i.Label)
			if after := applied(text, []edit{i.TextEdit}); !strings.Contains(after, i.Label) || strings.Contains(after, "flexgwStandIn") {
				t.Errorf("%q with %q becomes %q", c.text, i.Label, after)
			}
		}
		for _, want := range c.has {
			if !slices.Contains(labels, want) {
				t.Errorf("%q: no %q in %q", c.text, want, labels)
			}
		}
		for _, no := range c.lack {
			if slices.Contains(labels, no) {
				t.Errorf("%q: %q is offered in %q", c.text, no, labels)
			}
		}
	}
}

// TestEditorSpeaksNonsense: nothing that an editor sends ends the server, or makes it say anything but protocol.
func TestEditorSpeaksNonsense(t *testing.T) {
	t.Parallel()
	dir, _, _, route := ordersFolder(t)
	e := openFolder(t, likeVSCode(), []string{escaped(dir)})
	e.opens(route, editorRoute)
	e.at(route, 1)
	answer := make(chan answered, 64)
	e.mu.Lock()
	e.waiting["null"] = answer
	e.mu.Unlock()
	nonsense := func(raw string, code int) {
		t.Helper()
		e.raw(raw)
		if a := e.await(answer, raw[:min(60, len(raw))]); a.Error == nil || a.Error.Code != code {
			t.Errorf("%.60q: %+v, want %d", raw, a, code)
		}
		e.must("textDocument/hover", over(route, editorRoute, "targetRef", 1), nil)
	}
	framed := func(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }
	nonsense(framed("{"), -32700)
	nonsense(framed(""), -32700)
	nonsense(framed("[]"), -32600)
	nonsense(framed(`[{"jsonrpc":"2.0","method":"x"}]`), -32600)
	nonsense(framed(`{"jsonrpc":"1.0","method":"x"}`), -32600)
	nonsense(framed(`{"jsonrpc":"2.0"}`), -32600)
	nonsense(framed(`7`), -32600)
	nonsense("Content-Length: x\r\n\r\n", -32700)
	nonsense("Content-Length: -5\r\n\r\n", -32700)
	nonsense("some words\r\n\r\n", -32700)
	nonsense(strings.Repeat("x", 100_000)+"\r\n\r\n", -32700)
	nonsense("content-length: 1\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{", -32700)
	for _, n := range []struct {
		method string
		params any
	}{
		{"textDocument/didOpen", nil}, {"textDocument/didOpen", 7}, {"textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": 7}}},
		{"textDocument/didChange", map[string]any{"textDocument": map[string]any{"uri": "file:///never/opened", "version": 1}}},
		{"textDocument/didChange", map[string]any{"textDocument": map[string]any{"uri": fileURI(route), "version": 2}, "contentChanges": []any{map[string]any{"range": map[string]any{"start": place{-1, 0}}, "text": "x"}}}},
		{"textDocument/didClose", map[string]any{"textDocument": map[string]any{"uri": "file:///never/opened"}}},
		{"textDocument/didSave", map[string]any{"textDocument": map[string]any{"uri": "://"}}},
		{"workspace/didChangeWorkspaceFolders", map[string]any{"event": map[string]any{"added": []any{map[string]any{"uri": "http://example.org/x"}, map[string]any{"uri": "file:///no/such/folder"}}}}},
		{"$/cancelRequest", map[string]any{"id": 12345}}, {"$/cancelRequest", map[string]any{"id": map[string]any{}}}, {"$/setTrace", map[string]any{"value": "off"}},
		{"no/such", nil}, {"initialized", nil},
	} {
		e.notify(n.method, n.params)
	}
	for _, uri := range []string{"", "%", "file:", "file://", "file:///%zz", "file:///c%3A/Users/x/a%20b.yaml", "file://server/share/a.yaml", "untitled:Untitled-1", "vscode-notebook-cell:/x.yaml#1", "file:///a/../../../etc/passwd.yaml", "file:///x\x00y.yaml"} {
		e.notify("textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": uri, "languageId": "yaml", "version": 1, "text": editorAPI}})
		for _, method := range []string{"hover", "definition", "documentSymbol", "formatting", "completion"} {
			e.call("textDocument/"+method, map[string]any{"textDocument": map[string]any{"uri": uri}, "position": place{5, 5}})
		}
		e.call("textDocument/codeAction", map[string]any{"textDocument": map[string]any{"uri": uri}, "range": stretch{}, "context": map[string]any{"diagnostics": []any{}}})
		e.notify("textDocument/didClose", map[string]any{"textDocument": map[string]any{"uri": uri}})
	}
	for _, params := range []any{nil, 7, []int{1}, map[string]any{}, map[string]any{"textDocument": map[string]any{"uri": fileURI(route)}, "position": "here"}} {
		if a := e.call("textDocument/hover", params); a.Error == nil || a.Error.Code != -32602 && a.Error.Code != -32600 {
			if string(a.Result) != "null" {
				t.Errorf("params %v: %+v", params, a)
			}
		}
	}
	if a := e.call("textDocument/hover", map[string]any{"textDocument": map[string]any{"uri": fileURI(route)}, "position": map[string]any{"line": 4294967295, "character": 4294967295}}); a.Error != nil {
		t.Errorf("a place behind the end: %+v", a)
	}
	e.must("shutdown", nil, nil)
}

// TestEditorIsNotHeldUp: while much is changed, requests are answered, and only what is current is published.
func TestEditorIsNotHeldUp(t *testing.T) {
	t.Parallel()
	dir, _, _, route := ordersFolder(t)
	e := openFolder(t, likeVSCode(), []string{escaped(dir)})
	e.opens(route, editorRoute)
	for v := 2; v <= 200; v++ {
		e.changes(route, v, part(stretch{place{0, 0}, place{0, 0}}, fmt.Sprintf("# %d\n", v)))
	}
	e.at(route, 200)
	e.mu.Lock()
	count := len(e.published[fileURI(route)])
	e.mu.Unlock()
	if count > 100 {
		t.Errorf("%d reports of 199 changes within a moment", count)
	}
	// A request that is cancelled is answered all the same.
	id, answer := e.ask("textDocument/codeAction", map[string]any{"textDocument": map[string]any{"uri": fileURI(route)}, "range": stretch{}, "context": map[string]any{"diagnostics": []any{}}})
	e.notify("$/cancelRequest", map[string]any{"id": id})
	if a := e.await(answer, "a cancelled request"); a.Error != nil && a.Error.Code != -32800 {
		t.Errorf("%+v", a)
	}
}

// TestEditorCallsNobody: the server opens no socket of the network, whatever it is asked.
func TestEditorCallsNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("needs strace")
	}
	t.Parallel()
	dir, _, _, route := ordersFolder(t)
	trace := filepath.Join(t.TempDir(), "trace")
	flexgw, err := exec.LookPath("flexgw")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("strace", "-f", "-e", "trace=network", "-o", trace, flexgw, "lsp")
	hello := func(id int, method string, params any) string {
		m := map[string]any{"jsonrpc": "2.0", "method": method, "params": params}
		if id > 0 {
			m["id"] = id
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(b), b)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(in, hello(1, "initialize", map[string]any{"rootUri": fileURI(escaped(dir)), "capabilities": likeVSCode()}), hello(0, "initialized", map[string]any{}),
		hello(0, "textDocument/didOpen", map[string]any{"textDocument": map[string]any{"uri": fileURI(route), "languageId": "yaml", "version": 1, "text": editorRoute}}),
		hello(2, "textDocument/hover", over(route, editorRoute, "targetRef", 1)), hello(3, "textDocument/definition", over(route, editorRoute, "backend", 1)))
	time.Sleep(3 * time.Second)
	fmt.Fprint(in, hello(4, "shutdown", nil), hello(0, "exit", nil))
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(trace)
	if err != nil || !strings.Contains(string(b), "exited with 0") {
		t.Fatalf("%v: %s", err, b)
	}
	if strings.Contains(string(b), "AF_INET") {
		t.Errorf("it opened a socket:\n%s", b)
	}
}

// BenchmarkEditorChange is a change of one file of 1,000 until its problems are published.
func BenchmarkEditorChange(b *testing.B) {
	dir := inFolder(b, nil)
	var path, text string
	for i := range 1_000 {
		path, text = filepath.Join(dir, fmt.Sprintf("%03d.yaml", i)), workload.API(i, "v1", workload.Options{Seed: 1})
		put(b, path, text)
	}
	e := openFolder(b, likeVSCode(), []string{dir})
	e.opens(path, text)
	e.at(path, 1)
	version := 1
	for b.Loop() {
		version++
		e.changes(path, version, part(stretch{place{0, 0}, place{0, 0}}, fmt.Sprintf("# %d\n", version)))
		e.at(path, version)
	}
	b.ReportMetric(75, "debounce-ms")
}
