package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
)

// TestBadInputChangesNothing puts one broken thing after another beside what is served. Each is named with its place, none
// changes an answer or closes a connection, and the next good edit goes live.
func TestBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	const clients = 2
	x := harness.KeepAlive(t, clients, g.url(8081, "/shop/x"))
	api := func(text string, pairs ...string) string {
		return strings.NewReplacer(pairs...).Replace(text)
	}
	good := g.rewrite(version("1"))
	other := api(good, "name: shop", "name: other", "/shop", "/other")
	file := func(name, text string) func() error {
		return func() error { g.Put(name, text); return nil }
	}
	link := func(to, name string) func() error {
		return func() error { return os.Symlink(to, filepath.Join(g.Dir, name)) }
	}
	for i, bad := range []struct {
		name, path string
		make       func() error
		says       string // a pattern of the log
	}{
		{"a tab", "bad.yaml", file("bad.yaml", "kind: ApiInstance\nmetadata:\n\tname: x\n"), `bad\.yaml:3:1: error: .*\[yaml/syntax\]`},
		{"an open quote", "bad.yaml", file("bad.yaml", api(other, "name: other", `name: "other`)), `bad\.yaml:4:9: error: .*\[yaml/syntax\]`},
		{"binary garbage", "bad.yaml", file("bad.yaml", "\x7fELF\x02\x01\x00\x00\xff\xfe"), `bad\.yaml:1:\d+: error: .*\[source/not-text\]`},
		{"a half written JSON", "bad.json", file("bad.json", `{"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind`), `bad\.json:1:\d+: error: .*\[json/syntax\]`},
		{"a CUE conflict", "bad.cue", file("bad.cue", "package x\n\na: 1\na: 2\n"), `bad\.cue:4:4: error: .*\[cue/conflict\]`},
		{"the same base path", "bad.yaml", file("bad.yaml", api(good, "name: shop", "name: other")), `bad\.yaml:6:12: error: .*\[link/base-path-clash\]`},
		{"the same name", "bad.yaml", file("bad.yaml", api(other, "name: other", "name: shop")), `bad\.yaml:4:9: error: .*\[link/duplicate-object\]`},
		{"an unknown policy", "bad.yaml", file("bad.yaml", api(other, "header-injection-flex", "header-ejection-flex")), `bad\.yaml:12:15: error: .*\[link/unknown-policy\]`},
		{"a bad configuration", "bad.yaml", file("bad.yaml", api(other, "outboundHeaders:", "outboundHeader:")), `bad\.yaml:15:9: error: .*\[shape/unknown-field\]`},
		{"a bad address", "bad.yaml", file("bad.yaml", api(other, "http://127.0.0.1:", "gopher://127.0.0.1:")), `bad\.yaml:6:12: error: .*\[link/bad-address\]`},
		{"no address", "bad.yaml", file("bad.yaml", "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata: {name: z}\nspec: {}\n"), `bad\.yaml:4:1: error: .*\[shape/missing-field\]`},
		{"an unset variable", "bad.yaml", file("bad.yaml", api(other, `value: "1"`, `value: $NOBODY_SETS_THIS`)), `bad\.yaml:17:20: error: .*\[link/unset-variable\]`},
		{"an alias bomb", "bad.yaml", func() error {
			text := "a: &a [x,x,x,x,x,x,x,x,x]\n"
			for c := 'b'; c < 'k'; c++ {
				text += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9))
			}
			g.Put("bad.yaml", text)
			return nil
		}, `bad\.yaml:\d+:\d+: error: .*\[yaml/alias-bomb\]`},
		{"50 MB", "bad.yaml", file("bad.yaml", strings.Repeat("a: 1\n", 10<<20)), `bad\.yaml: error: .*\[source/too-large\]`},
		{"a link to itself", "bad.yaml", link("bad.yaml", "bad.yaml"), `bad\.yaml: the symbolic link leads in a circle`},
		{"a link to nowhere", "bad.yaml", link("nowhere.yaml", "bad.yaml"), `bad\.yaml: the symbolic link leads nowhere`},
		{"a link to its folder", "again", link(".", "again"), `again: the symbolic link leads back`},
	} {
		before := len(g.Log())
		if err := bad.make(); err != nil {
			t.Fatal(err)
		}
		says := regexp.MustCompile(bad.says)
		harness.Until(t, func() error {
			if !says.MatchString(g.Log()[before:]) {
				return fmt.Errorf("%s: %q is not said, but:\n%s", bad.name, bad.says, g.Log()[before:])
			}
			return nil
		})
		if a := g.get(8081, "/shop/x"); a.Status != 200 || a.Header.Get("x-version") != fmt.Sprint(i+1) {
			t.Fatalf("%s: status %d, version %q is served, want %d", bad.name, a.Status, a.Header.Get("x-version"), i+1)
		}
		if err := os.Remove(filepath.Join(g.Dir, bad.path)); err != nil {
			t.Fatal(err)
		}
		g.write("api.yaml", version(fmt.Sprint(i+2)))
		waitVersion(t, g, fmt.Sprint(i+2))
	}
	x.End(t, clients)
}

// TestServedFileTurnsBad breaks the very file that is served, in ways that are no edit: garbage in its place, no file at
// all, a folder of its name.
func TestServedFileTurnsBad(t *testing.T) {
	t.Parallel()
	g := start(t, versioned)
	x := harness.KeepAlive(t, 2, g.url(8081, "/shop/x"))
	path := filepath.Join(g.Dir, "api.yaml")
	keeps := func(what, says string, before int) {
		t.Helper()
		re := regexp.MustCompile(says)
		harness.Until(t, func() error {
			if !re.MatchString(g.Log()[before:]) {
				return fmt.Errorf("%s: %q is not said, but:\n%s", what, says, g.Log()[before:])
			}
			return nil
		})
		time.Sleep(50 * time.Millisecond)
		if a := g.get(8081, "/shop/x"); a.Status != 200 {
			t.Fatalf("%s: status %d", what, a.Status)
		}
	}
	next := 1
	back := func() {
		t.Helper()
		next++
		g.write("api.yaml", version(fmt.Sprint(next)))
		waitVersion(t, g, fmt.Sprint(next))
	}

	before := len(g.Log())
	g.Put("api.yaml", strings.Repeat("\x00\x01\xff", 4096))
	keeps("binary garbage", `api\.yaml:1:1: error: .*\[source/not-text\]`, before)
	back()

	before = len(g.Log())
	g.Put("api.yaml", "")
	keeps("an empty file", `\[source/no-declarations\]`, before)
	back()

	before = len(g.Log())
	g.remove("api.yaml")
	keeps("an emptied folder", `\[source/no-declarations\]`, before)
	back()

	before = len(g.Log())
	g.remove("api.yaml")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	keeps("a folder of its name", `\[source/no-declarations\]`, before)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	back()

	before = len(g.Log())
	gone := g.Dir + ".gone"
	if err := os.Rename(g.Dir, gone); err != nil {
		t.Fatal(err)
	}
	keeps("the folder itself is gone", `(?i)no such file|gone`, before)
	if err := os.Rename(gone, g.Dir); err != nil {
		t.Fatal(err)
	}
	back()
	x.End(t, 2)
}
