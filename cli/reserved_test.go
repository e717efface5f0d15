package cli_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReservedPortsAreJudgedOnce: validate and preflight say the same of each port that some release of the product reserves, for
// every release, in the same words. Where the vendor's pages disagree, validate warns only.
func TestReservedPortsAreJudgedOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ports := []int{2000, 4000, 9998, 9999, 15000, 15100}
	var text strings.Builder
	for _, port := range ports {
		fmt.Fprintf(&text, "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\nmetadata:\n  name: a%d\nspec:\n  address: http://0.0.0.0:%d\n  services:\n    main:\n      address: http://main.internal:8080\n", port, port)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for minor := range 15 {
		release := fmt.Sprintf("1.%d", minor)
		_, out, said := command(t, nil, "validate", "--output", "json", "--target-version", release, dir)
		var validated struct {
			Diagnostics []struct{ Code, Severity, Summary string }
		}
		if err := json.Unmarshal([]byte(out), &validated); err != nil {
			t.Fatalf("%v\n%s%s", err, out, said)
		}
		words := map[string]string{} // by port: severity and what it is
		for _, d := range validated.Diagnostics {
			if port, what, ok := strings.Cut(strings.TrimPrefix(d.Summary, "port "), " "); ok && d.Code == "link/reserved-port" {
				words[port] = d.Severity + ": " + what
			}
		}
		_, out, said = command(t, nil, "preflight", "--offline", "--output", "json", "--flex-version", release, dir)
		var host struct {
			Checks []struct {
				ID       string `json:"check_id"`
				Severity string `json:"severity"`
				Subject  string `json:"subject"`
				Observed string `json:"observed"`
			}
		}
		if err := json.Unmarshal([]byte(out), &host); err != nil {
			t.Fatalf("%v\n%s%s", err, out, said)
		}
		seen := map[string]string{}
		for _, c := range host.Checks {
			if port, ok := strings.CutSuffix(c.Subject, "/tcp"); ok && c.ID == "ports.reserved" {
				_, what, _ := strings.Cut(c.Observed, "), and ")
				seen[port] = map[string]string{"warn": "warning"}[c.Severity]
				if seen[port] == "" {
					seen[port] = c.Severity
				}
				seen[port] += ": " + what
			}
		}
		for _, port := range ports {
			p := fmt.Sprint(port)
			if port == 9999 && minor >= 11 { // the vendor's pages disagree
				words[p] = strings.Replace(words[p], "warning: ", "error: ", 1)
			}
			if words[p] == "" || words[p] != seen[p] {
				t.Errorf("release %s, port %s: validate says %q, preflight %q", release, p, words[p], seen[p])
			}
		}
	}
}
