package docs_test

import (
	"cmp"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/metrics"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
)

// family is a metric as it is exposed.
type family struct{ typ, help, labels string }

// families are those of a daemon with one API, from what it answers.
func families(t *testing.T) map[string]family {
	t.Helper()
	m := metrics.New(metrics.Options{Version: "1", Report: func() status.Report { return status.Report{} }, Progress: func() []deliver.Progress { return nil },
		APIs: func() []diag.Object { return []diag.Object{{Kind: "ApiInstance", Namespace: "default", Name: "shop"}} }})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, metrics.Path, nil))
	all := map[string]family{}
	label := regexp.MustCompile(`([a-z_]+)="`)
	for line := range strings.Lines(w.Body.String()) {
		line = strings.TrimSpace(line)
		switch fields := strings.SplitN(line, " ", 4); {
		case !strings.Contains(line, "flexgw_"):
		case fields[1] == "HELP":
			all[fields[2]] = family{help: fields[3]}
		case fields[1] == "TYPE":
			f := all[fields[2]]
			f.typ = fields[3]
			all[fields[2]] = f
		default:
			name, _, _ := strings.Cut(fields[0], "{")
			if _, ok := all[name]; !ok {
				name = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			}
			f := all[name]
			var labels []string
			for _, l := range label.FindAllStringSubmatch(line, -1) {
				if l[1] != "le" {
					labels = append(labels, "`"+l[1]+"`")
				}
			}
			f.labels = cmp.Or(strings.Join(labels, ", "), f.labels)
			all[name] = f
		}
	}
	return all
}

func TestMetricsTable(t *testing.T) {
	t.Parallel()
	all := families(t)
	var b strings.Builder
	b.WriteString("\n| Metric | Type | Labels | |\n| --- | --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		b.WriteString("| `" + name + "` | " + f.typ + " | " + f.labels + " | " + f.help + " |\n")
	}
	const begin, end = "<!-- metrics: written by UPDATE=1 go test ./docs -->\n", "<!-- end -->\n"
	page, err := os.ReadFile("operate.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	was, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("operate.md has no table of metrics")
	}
	want := b.String() + "\n"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("operate.md", []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if was != want {
		t.Errorf("the table of metrics in operate.md (UPDATE=1 writes it), -want +got\n%s", gocmp.Diff(want, was))
	}
}

// TestAlertRules runs Debian's real promtool over the rules that we ship.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("promtool is left out with -short")
	}
	for _, args := range [][]string{{"check", "rules", "flexgw.rules.yaml"}, {"test", "rules", "flexgw.rules.test.yaml"}} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = "prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s (Debian's package prometheus): %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// A rule about a metric that nobody exposes never fires, and promtool cannot know.
func TestAlertRulesNameMetrics(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("prometheus/flexgw.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all, used := families(t), 0
	for _, name := range regexp.MustCompile(`\bflexgw_[a-z_]+`).FindAllString(string(rules), -1) {
		used++
		if _, ok := all[strings.TrimSuffix(name, "_bucket")]; !ok {
			t.Errorf("no metric is called %s", name)
		}
	}
	if used < 8 {
		t.Errorf("only %d names were found", used)
	}
	page, err := os.ReadFile("operate.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("prometheus/flexgw.rules.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !strings.Contains(string(page), "\n### "+m[1]+"\n") {
			t.Errorf("operate.md says nothing about %s", m[1])
		}
		if n := strings.Count(string(tests), "alertname: "+m[1]); n < 2 {
			t.Errorf("%s is tested %d times: it must fire, and must not", m[1], n)
		}
	}
}

// The types of events that the page lists are those that there are.
func TestEventTypes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("operate.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile("(?m)^`type` is one of (.*?)\\. ").FindStringSubmatch(string(page))
	if line == nil {
		t.Fatal("operate.md does not list the types")
	}
	got := regexp.MustCompile(`\w+`).FindAllString(line[1], -1)
	source, err := os.ReadFile("../reconcile/event.go")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range regexp.MustCompile(`EventType += "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		want = append(want, m[1])
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("types of events, -want +got\n%s", diff)
	}
	if !slices.Contains(want, string(reconcile.RolledBack)) {
		t.Errorf("found %v", want)
	}
}
