package all_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema/testkit"
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
		if strings.HasSuffix(f, "_test.go") || folder == "policytest" || folder == "all" || !define.Match(b) {
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

func TestNothingIsBothListedAndElsewhere(t *testing.T) {
	t.Parallel()
	for _, name := range (all.Catalog{}).Names() {
		if reason, ok := all.Elsewhere()[name]; ok {
			t.Errorf("%s is enforced and %s", name, reason)
		}
		if reason, ok := (all.Catalog{}).Known(name); ok {
			t.Errorf("%s is enforced and known as %s", name, reason)
		}
	}
}

// TestIndex holds docs/policies.md to the list; UPDATE=1 writes it.
func TestIndex(t *testing.T) {
	t.Parallel()
	const path = "../../../docs/policies.md"
	want := index()
	if testkit.Updating() {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("docs/policies.md (UPDATE=1 rewrites it): -want +got\n%s", d)
	}
}

// index is the page that lists all policies, each with the first sentence of its own page.
func index() string {
	var b strings.Builder
	b.WriteString("# Policies\n\n`flexgw policy list` prints this list, `flexgw policy show NAME` a policy's page.\n\n## Enforced\n\n")
	b.WriteString("| Name | Page | In one sentence |\n| --- | --- | --- |\n")
	rows(&b, true)
	b.WriteString("\n`route` and `route-weighted` are not policies here: they are the routing.\n\n## Checked, not enforced yet\n\n")
	b.WriteString("`flexgw validate` judges a binding of one of these like any other and warns; `flexgw run` refuses it, so that no API is served without its policy.\n\n")
	b.WriteString("| Name | Page | In one sentence |\n| --- | --- | --- |\n")
	rows(&b, false)
	var rest strings.Builder
	rest.WriteString("\n## Not available\n\n| Name | Why |\n| --- | --- |\n")
	reasons := all.Elsewhere()
	for _, name := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(&rest, "| `%s` | %s |\n", name, reasons[name])
	}
	return b.String() + rest.String()
}

// rows are the lines of the listed policies that are enforced, or are not.
func rows(b *strings.Builder, enforced bool) {
	for _, typ := range (all.Catalog{}).All() {
		if typ.Enforced() == enforced {
			folder := strings.ReplaceAll(strings.TrimSuffix(typ.Name(), "-flex"), "-", "")
			fmt.Fprintf(b, "| `%s` | [%s](../render/policy/%[2]s/%[2]s.md) | %s |\n", typ.Name(), folder, firstSentence(string(typ.Page())))
		}
	}
}

// firstSentence is that of the first paragraph after the title, on one line.
func firstSentence(page string) string {
	_, text, _ := strings.Cut(page, "\n\n")
	text, _, _ = strings.Cut(text, "\n\n")
	text = strings.Join(strings.Fields(text), " ")
	if i := strings.Index(text, ". "); i >= 0 {
		text = text[:i+1]
	}
	return text
}

// TestOtherNames: some pages of the product call a policy by another name than the rest.
func TestOtherNames(t *testing.T) {
	t.Parallel()
	for other, name := range map[string]string{"native-aws-signature-flex": "native-aws-signature", "native-aws-lambda-flex": "native-aws-lambda",
		"soap-validation-flex": "soap-validation"} {
		got, ok := all.Catalog{}.Lookup(other)
		if !ok || got.Name() != name {
			t.Errorf("%s is not %s", other, name)
		}
		if _, known := (all.Catalog{}).Known(other); known {
			t.Errorf("%s is listed, and known as something else", other)
		}
	}
}

func TestKnown(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"mcp-support-flex":           "MCP server instances",
		"mcp-support":                "MCP server instances",
		"client-id-enforcement-flex": "contracts",
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
