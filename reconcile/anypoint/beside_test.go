package anypoint_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

const api = "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: shop\nspec:\n  address: http://127.0.0.1:8081/shop\n"

// TestSplit: however a registration is broken, it is one; and what is declared beside it stays, at its place.
func TestSplit(t *testing.T) {
	t.Parallel()
	for _, split := range []bool{false, true} {
		dir := t.TempDir()
		write(t, registration(t), dir, anypoint.WriteOptions{Split: split})
		for _, name := range names(t, dir) {
			whole := readText(t, filepath.Join(dir, name))
			for end := range len(whole) + 1 { // cut anywhere
				if b := anypoint.Split([]byte(whole[:end])); b.Rest != nil {
					t.Fatalf("%s, cut after %q: %q", name, whole[max(0, end-60):end], b.Rest)
				}
			}
			for what, text := range map[string]string{
				"no UTF-8":        "\xff\xfe" + whole,
				"not indented":    strings.ReplaceAll(whole, "    ", " \t"),
				"twice":           whole + whole,
				"kind misspelt":   strings.Replace(whole, "Configuration", "Configuraton", 1),
				"another version": strings.ReplaceAll(whole, "v1alpha1", "v9"),
			} {
				if b := anypoint.Split([]byte(text)); b.Rest != nil {
					t.Errorf("%s, %s: %q", name, what, b.Rest)
				}
			}
			for what, text := range map[string]string{
				"before":         api + "---\n" + whole,
				"behind":         whole + "---\n" + api,
				"between":        strings.Replace(whole, "---\n", "---\n"+api+"---\n", 1) + "---\n" + strings.ReplaceAll(api, "shop", "other"),
				"of Windows":     strings.ReplaceAll(whole+"---\n"+api, "\n", "\r\n"),
				"after comments": "# a\n---\n# b\n" + whole + "---  # c\n" + api,
			} {
				b := anypoint.Split([]byte(text))
				rest := string(b.Rest)
				if !b.Readable || len(rest) != len(text) || strings.Count(rest, "\n") != strings.Count(text, "\n") || strings.Index(rest, "ApiInstance") != strings.Index(text, "ApiInstance") || strings.Contains(rest, "platformConnection") || strings.Contains(rest, "tls.key") {
					t.Errorf("%s, %s: %+v", name, what, b)
				}
				broken := text + "\n\ta: [\n"
				if b := anypoint.Split([]byte(broken)); b.Readable || !bytes.Equal(b.Rest, []byte(broken)) {
					t.Errorf("%s, %s, broken: %+v", name, what, b)
				}
			}
			if b := anypoint.Split([]byte(whole)); b.Pair != strings.Contains(whole, "tls.key") {
				t.Errorf("%s: %+v", name, b)
			}
		}
	}
	for _, text := range []string{"", "---\n# nothing\n", "\x00\x01", "a: [\n", "apiVersion: gateway.mulesoft.com/v1alpha1\n", "- 1\n"} {
		if b := anypoint.Split([]byte(text)); b.Rest != nil {
			t.Errorf("%q: %+v", text, b)
		}
	}
	settings := "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nmetadata: {name: a}\nspec: {platformConnection: {}, logging: {}}\n"
	for _, text := range []string{"a: b\n", settings, `{"kind": "Service", "apiVersion": 1}`, `{"kind": "Service", "apiVersion": `} {
		if b := anypoint.Split([]byte(text)); string(b.Rest) != text {
			t.Errorf("%q: %+v", text, b)
		}
	}
	for _, kind := range []string{"ApiInstance", "Service", "PolicyBinding", "Extension", "Contract", "Probe", "Echo"} {
		if b := anypoint.Split([]byte(strings.Replace(api, "ApiInstance", kind, 1))); b.Rest == nil {
			t.Errorf("%s: nothing is left", kind)
		}
	}
}
