package all_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/render/policy/all"
)

func TestNamesAreUniqueAndSorted(t *testing.T) {
	t.Parallel()
	names := all.Catalog{}.Names()
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	if !slices.Equal(names, sorted) {
		t.Errorf("got %v, want %v", names, sorted)
	}
}

// define finds the folders whose code defines a policy type.
var define = regexp.MustCompile(`policy\.Define\(policy\.Spec\[`)

func TestEveryFolderIsListed(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("all.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Base(filepath.Dir(f))
		if strings.HasSuffix(f, "_test.go") || folder == "policytest" || !define.Match(b) {
			continue
		}
		found++
		if !strings.Contains(string(source), "\t"+folder+".") {
			t.Errorf("%s defines a policy, but all.go does not list it", f)
		}
	}
	if found == 0 {
		t.Error("found no folder that defines a policy")
	}
}

func TestFolderIsTheNameWithoutSuffixAndHyphens(t *testing.T) {
	t.Parallel()
	for _, name := range (all.Catalog{}).Names() {
		folder := strings.ReplaceAll(strings.TrimSuffix(name, "-flex"), "-", "")
		for _, file := range []string{folder + ".go", folder + ".md", folder + ".schema.json", folder + "_test.go"} {
			if _, err := os.Stat(filepath.Join("..", folder, file)); err != nil {
				t.Errorf("policy %s: %v", name, err)
			}
		}
	}
}

func TestIndexListsEveryPolicy(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	index := string(b)
	for _, name := range (all.Catalog{}).Names() {
		folder := strings.ReplaceAll(strings.TrimSuffix(name, "-flex"), "-", "")
		row := "| `" + name + "` | [" + folder + "](../render/policy/" + folder + "/" + folder + ".md) |"
		if !strings.Contains(index, row) {
			t.Errorf("docs/policies.md has no row that starts with %s", row)
		}
	}
	for name, reason := range all.Elsewhere() {
		if _, listed := (all.Catalog{}).Type(name); listed {
			continue
		}
		if !strings.Contains(index, "- `"+name+"`\n") && !strings.Contains(index, "| `"+name+"` | "+reason+" |\n") {
			t.Errorf("docs/policies.md does not say of %s: %s", name, reason)
		}
	}
	for _, m := range regexp.MustCompile("(?m)^(?:- |\\| )`([a-z0-9.-]+)`").FindAllStringSubmatch(index, -1) {
		_, listed := all.Catalog{}.Type(m[1])
		_, known := all.Catalog{}.Known(m[1])
		if !listed && !known {
			t.Errorf("docs/policies.md names %s, which the catalogue does not know", m[1])
		}
	}
	listed := regexp.MustCompile("(?m)^- `([a-z0-9.-]+)`").FindAllStringSubmatch(index, -1)
	for _, m := range listed {
		if _, enforced := (all.Catalog{}).Type(m[1]); enforced {
			t.Errorf("docs/policies.md says that %s is not enforced yet, but it is", m[1])
		}
	}
}

func TestKnown(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"mcp-support-flex":           "MCP server instances",
		"mcp-support":                "MCP server instances",
		"client-id-enforcement-flex": "contracts",
		"message-logging-flex":       "not enforced by flexgw yet",
		"soap-validation-flex":       "not enforced by flexgw yet",
		"native-external-authz-flex": "native-ext-authz-flex",
		"envoy-filter":               "never bound",
	} {
		got, ok := all.Catalog{}.Known(name)
		if !ok || !strings.Contains(got, want) {
			t.Errorf("Known(%q): got %q, %v, want one with %q", name, got, ok, want)
		}
	}
	for _, name := range []string{"cors-flex", "corz-flex", "", "-flex", "route", "cors", "client-id-enforcement"} {
		if got, ok := (all.Catalog{}).Known(name); ok {
			t.Errorf("Known(%q): got %q, want nothing", name, got)
		}
	}
}
