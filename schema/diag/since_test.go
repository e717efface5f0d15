package diag_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
)

func TestSince(t *testing.T) {
	t.Parallel()
	orders := diag.Object{Kind: "ApiInstance", Namespace: "default", Name: "orders"}
	at := func(file string, line int, o diag.Object, path, summary string) diag.Diagnostic {
		return diag.Diagnostic{Severity: diag.Error, Code: "link/x", Object: o, Path: path, Summary: summary, Subject: diag.Range{File: file, Start: diag.Pos{Line: int32(line), Column: 1}}}
	}
	warned := at("a.yaml", 1, orders, "", "x")
	warned.Severity = diag.Warning
	inline := diag.Object{Kind: "PolicyBinding", Namespace: "default", Name: "orders-cors-flex-1"}
	second := inline
	second.Name = "orders-cors-flex-2"
	for _, c := range []struct {
		name        string
		before, now diag.List
		want        []int // of now
	}{
		{"moved within a file", diag.List{at("a.yaml", 1, orders, "/spec", "x")}, diag.List{at("a.yaml", 9, orders, "/spec", "x")}, nil},
		{"moved to another file", diag.List{at("a.yaml", 1, orders, "/spec", "x")}, diag.List{at("b.yaml", 9, orders, "/spec", "x")}, nil},
		{"another value", diag.List{at("a.yaml", 1, orders, "/spec", "x")}, diag.List{at("a.yaml", 1, orders, "/spec", "y")}, []int{0}},
		{"one more of a kind", diag.List{at("a.yaml", 1, orders, "/spec/rules/0", "x")}, diag.List{at("a.yaml", 1, orders, "/spec/rules/0", "x"), at("a.yaml", 2, orders, "/spec/rules/1", "x")}, []int{1}},
		{"shifted in a list", diag.List{at("a.yaml", 1, orders, "/spec/policies/0/config/ips/3", `"ips[3]" is odd`)}, diag.List{at("a.yaml", 5, orders, "/spec/policies/1/config/ips/4", `"ips[4]" is odd`)}, nil},
		{"shifted, and one new before it", diag.List{at("a.yaml", 1, orders, "/spec/policies/0", "x")}, diag.List{at("a.yaml", 1, orders, "/spec/policies/0", "x"), at("a.yaml", 5, orders, "/spec/policies/1", "x")}, []int{1}},
		{"an inline object shifted", diag.List{at("a.yaml", 1, inline, "/config", `policy "orders-cors-flex-1"`)}, diag.List{at("a.yaml", 5, second, "/config", `policy "orders-cors-flex-2"`)}, nil},
		{"worse than it was", diag.List{warned}, diag.List{at("a.yaml", 1, orders, "", "x")}, []int{0}},
		{"of a file", diag.List{at("a.yaml", 1, diag.Object{}, "", "broken")}, diag.List{at("a.yaml", 3, diag.Object{}, "", "broken"), at("b.yaml", 3, diag.Object{}, "", "broken")}, []int{1}},
		{"of a file that was renamed", diag.List{at("old.yaml", 1, diag.Object{}, "", "broken")}, diag.List{at("new.yaml", 3, diag.Object{}, "", "broken")}, nil},
		{"names another line", diag.List{at("a.yaml", 1, diag.Object{}, "", "begins at line 1 column 3")}, diag.List{at("a.yaml", 3, diag.Object{}, "", "begins at line 4 column 3")}, nil},
		{"names another port", diag.List{at("a.yaml", 1, diag.Object{}, "", "port 8081")}, diag.List{at("a.yaml", 3, diag.Object{}, "", "port 8082")}, []int{0}},
		{"mended", diag.List{at("a.yaml", 1, orders, "", "x")}, nil, nil},
	} {
		got, old := c.now.Since(c.before, func(f string) string {
			if f == "old.yaml" {
				return "new.yaml"
			}
			return f
		})
		var want diag.List
		for _, i := range c.want {
			want = append(want, c.now[i])
		}
		if len(got) == 0 {
			got = nil
		}
		if diff := cmp.Diff(want, got); diff != "" || old != len(c.now)-len(want) {
			t.Errorf("%s: %d old; -want +got:\n%s", c.name, old, diff)
		}
	}
}
