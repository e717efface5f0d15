package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/testkit"
)

const (
	ordersText = "kind: ApiInstance # größe\nspec:\n  Address: http://0.0.0.0:8081\n  # ü: ß\n  password: hunter2hunter2\n  order: 7\n"
	otherText  = "kind: Service\nmetadata: {\n  name: orders}\n"
)

func at(file string, line, column, offset, endLine, endColumn, endOffset int) diag.Range {
	return diag.Range{File: file, Start: diag.Pos{Line: int32(line), Column: int32(column), Offset: int32(offset)}, End: diag.Pos{Line: int32(endLine), Column: int32(endColumn), Offset: int32(endOffset)}}
}

// everything is a report with one of each: severities, places of every precision, related places, fixes, what is suppressed
// and what could not be read.
func everything() report.Report {
	orders, other := "gw/my orders.yaml", "gw/other.yaml"
	texts := map[string]string{orders: ordersText, other: otherText, "gw/right.yaml": "kind: Service\n"}
	object := diag.Object{Group: "gateway.mulesoft.com", Kind: "ApiInstance", Namespace: "default", Name: "größe"}
	address := at(orders, 3, 3, 36, 3, 10, 43)
	return report.Report{
		Version: "v1.2.3", Paths: []string{"gw"}, Files: []string{orders, other, "gw/right.yaml"}, Documents: 3,
		Diagnostics: diag.List{
			{Severity: diag.Error, Code: "source/no-declarations", Summary: "no declaration was found", Hint: "is it the right folder?"},
			{Severity: diag.Error, Code: "source/too-large", Summary: "this file is too large", Subject: diag.Range{File: orders}},
			{Severity: diag.Warning, Code: "shape/key-case", Summary: `field "address" is spelt "Address"`, Hint: `write "address"`, Object: object, Objects: []diag.Object{object, {Kind: "Service", Namespace: "default", Name: "b"}}, Path: "/spec", Subject: address,
				Fixes: []diag.Fix{{Range: address, Text: "address"}, {Range: at(other, 3, 3, 29, 3, 3, 29), Text: "x: ü, "}}},
			{Severity: diag.Note, Code: "link/unset-variable", Summary: "variable X is not set", Subject: at(orders, 4, 5, 72, 4, 6, 74)},
			{Severity: diag.Error, Code: "cors/bad-origin", Summary: "see [this](1) and 100% # of it", Object: object, Subject: at(orders, 5, 13, 91, 5, 27, 105),
				Related: []diag.Related{{Subject: at(other, 2, 11, 24, 3, 16, 42), Summary: "the [first] one"}, {Subject: diag.Range{File: other}}, {Summary: "no place"}}},
			{Severity: diag.Error, Code: "yaml/syntax", Summary: "several lines", Subject: at(other, 1, 1, 0, 3, 1, 26)},
			{Severity: diag.Error, Code: "yaml/syntax", Summary: "several lines", Subject: at(other, 2, 1, 14, 3, 16, 42)},
		},
		Suppressed: []report.Suppressed{
			{Diagnostic: diag.Diagnostic{Severity: diag.Warning, Code: "link/no-routes", Summary: "no routes", Object: object, Subject: at(orders, 2, 1, 29, 2, 5, 33)}, InSource: true, Reason: "routes come later # soon"},
			{Diagnostic: diag.Diagnostic{Severity: diag.Error, Code: "link/no-routes", Summary: "no routes either", Subject: diag.Range{File: other}}},
		},
		Unread:  []report.Unread{{File: "gw/gone.yaml", Reason: "no such file or directory"}},
		Fixable: func(l diag.List) int { return len(l) },
		Sources: func(name string) ([]byte, error) {
			if t, ok := texts[name]; ok {
				return []byte(t), nil
			}
			return nil, errors.New("gone")
		},
		Rule: func(code diag.Code) report.Rule {
			if code != "shape/key-case" {
				return report.Rule{}
			}
			return report.Rule{Summary: "A field is spelt in another case.", About: "A field is spelt in another case. The product may skip it.", Help: "all of it", Markdown: "all of *it*", URL: "https://example.org/key-case", Severity: "note"}
		},
		Name: func(file string) string {
			if file == "gw/gone.yaml" {
				return "/srv/gone.yaml"
			}
			return "repo/" + file
		},
		Notes: true,
	}
}

func write(t testing.TB, r report.Report, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b, format); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	return b.Bytes()
}

// TestGoldens holds every byte of every format. UPDATE=1 rewrites the answers.
func TestGoldens(t *testing.T) {
	t.Parallel()
	for _, f := range report.Formats() {
		got := write(t, everything(), f)
		if again := write(t, everything(), f); !bytes.Equal(got, again) {
			t.Errorf("%s: other bytes for the same report", f)
		}
		golden := filepath.Join("testdata", "everything."+f)
		if testkit.Updating() {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", f, d)
		}
	}
}

// TestVerdicts wants formats that say whether a check passed to agree with its exit code: Strict makes warnings fail.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		severity diag.Severity
		strict   bool
		fails    bool
	}{{diag.Note, true, false}, {diag.Warning, false, false}, {diag.Warning, true, true}, {diag.Error, false, true}} {
		r := report.Report{Paths: []string{"."}, Files: []string{"a.yaml"}, Strict: c.strict,
			Diagnostics: diag.List{{Severity: c.severity, Code: "a/b", Summary: "s", Subject: diag.Range{File: "a.yaml"}}}}
		if got := bytes.Contains(write(t, r, "junit"), []byte("<failure")); got != c.fails {
			t.Errorf("%+v: junit fails: %v", c, got)
		}
		if got := !bytes.Contains(write(t, r, "tap"), []byte("# TODO ")); got != c.fails {
			t.Errorf("%+v: tap fails: %v", c, got)
		}
	}
}

// TestGitHubOpensNoAlertForWhatIsSuppressed holds the one case in which SARIF is silent of it.
func TestGitHubOpensNoAlertForWhatIsSuppressed(t *testing.T) {
	t.Parallel()
	r := everything()
	for _, r.OnGitHub = range []bool{false, true} {
		if got := bytes.Contains(write(t, r, "sarif"), []byte("no routes")); got == r.OnGitHub {
			t.Errorf("on GitHub %v, suppressed results %v", r.OnGitHub, got)
		}
	}
}

// TestFilesAreReadOnce: a file may come from the disk, or out of Git, each time it is asked for.
func TestFilesAreReadOnce(t *testing.T) {
	t.Parallel()
	for _, f := range report.Formats() {
		read := map[string]int{}
		r := report.Report{Files: []string{"a.yaml", "b.yaml"}, Sources: func(file string) ([]byte, error) {
			read[file]++
			return []byte("name: x\n"), nil
		}}
		for i := range 100 {
			place := at(r.Files[i/50], 1, 1, 0, 1, 5, 4)
			r.Diagnostics = append(r.Diagnostics, diag.Diagnostic{Severity: diag.Error, Code: "a/b", Summary: "s", Subject: place, Fixes: []diag.Fix{{Range: place, Text: "kind"}}})
		}
		write(t, r, f)
		if read["a.yaml"] > 1 || read["b.yaml"] > 1 {
			t.Errorf("%s: read %v", f, read)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	t.Parallel()
	if err := everything().Write(io.Discard, "xml"); err == nil || !strings.Contains(err.Error(), `"xml"`) {
		t.Errorf("got %v", err)
	}
}

// TestSecretsStayHidden looks for a password in every format: in the source line, in a fix that moves it, in a fix that quotes it.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	const file, text, secret = "a.yaml", "spec:\n  password: 0012345678\n  other: x\n", "0012345678"
	value := at(file, 2, 13, 18, 2, 23, 28)
	for name, fixes := range map[string][]diag.Fix{
		"none":   nil,
		"quoted": {{Range: value, Text: `"` + secret + `"`}},
		"moved":  {{Range: at(file, 3, 1, 29, 3, 1, 29), Text: "  config:\n    password: " + secret + "\n"}},
	} {
		r := report.Report{Paths: []string{file}, Files: []string{file}, Notes: true, Sources: func(string) ([]byte, error) { return []byte(text), nil },
			Diagnostics: diag.List{{Severity: diag.Error, Code: "a/b", Summary: "s", Subject: value, Fixes: fixes}},
			Suppressed:  []report.Suppressed{{Diagnostic: diag.Diagnostic{Code: "a/b", Summary: "s", Subject: value, Fixes: fixes}}}}
		for _, f := range report.Formats() {
			if b := write(t, r, f); bytes.Contains(b, []byte(secret)) {
				t.Errorf("fix %s, %s shows the secret:\n%s", name, f, b)
			}
		}
	}
	// What holds none is there.
	r := report.Report{Files: []string{file}, Sources: func(string) ([]byte, error) { return []byte(text), nil },
		Diagnostics: diag.List{{Code: "a/b", Summary: "s", Fixes: []diag.Fix{{Range: at(file, 3, 3, 31, 3, 8, 36), Text: "another"}}}}}
	for _, f := range []string{"json", "sarif"} {
		if b := write(t, r, f); !bytes.Contains(b, []byte(`"another"`)) {
			t.Errorf("%s lost a fix:\n%s", f, b)
		}
	}
}

// TestBaseline wants SARIF to show what a baseline holds, as old and accepted, and everything else as new; no other format has it, and
// GitHub neither, which would open alerts for it.
func TestBaseline(t *testing.T) {
	t.Parallel()
	r := everything()
	r.Known, r.Compared = diag.List{{Severity: diag.Error, Code: "link/default-port", Summary: "known of old", Subject: at("gw/other.yaml", 1, 1, 0, 1, 5, 4)}}, true
	var log struct {
		Runs []struct {
			Results []struct {
				RuleID        string
				BaselineState string
				Suppressions  []struct{ Kind, Justification string }
			}
		}
	}
	b := write(t, r, "sarif")
	if err := json.Unmarshal(b, &log); err != nil {
		t.Fatal(err)
	}
	results := log.Runs[0].Results
	if n := len(r.Diagnostics) + len(r.Suppressed) + 1; len(results) != n {
		t.Fatalf("%d results, want %d", len(results), n)
	}
	for i, x := range results {
		last := i == len(results)-1
		if want := map[bool]string{true: "unchanged", false: "new"}[last]; x.BaselineState != want {
			t.Errorf("%s is %q, want %q", x.RuleID, x.BaselineState, want)
		}
		if last && (len(x.Suppressions) != 1 || x.Suppressions[0].Kind != "external" || x.Suppressions[0].Justification != "the baseline holds it") {
			t.Errorf("what is known has the suppressions %v", x.Suppressions)
		}
	}
	if len(r.Suppressed) != 2 {
		t.Error("the report was changed")
	}
	r.OnGitHub = true
	for _, f := range report.Formats() {
		if b := write(t, r, f); bytes.Contains(b, []byte("known of old")) {
			t.Errorf("%s shows what is known:\n%s", f, b)
		}
	}
	if b := write(t, everything(), "sarif"); bytes.Contains(b, []byte("baselineState")) {
		t.Error("without a baseline nothing is new")
	}
}

// awkward is a report whose every text is s.
func awkward(s string) report.Report {
	place := at(s, 1, 1, 0, 1, 2, 1)
	return report.Report{
		Version: s, Paths: []string{s}, Files: []string{s}, Documents: 1, Notes: true,
		Diagnostics: diag.List{
			{Severity: diag.Error, Code: "a/b", Summary: s, Hint: s, Path: s, Object: diag.Object{Group: s, Kind: s, Namespace: s, Name: s}, Subject: place,
				Related: []diag.Related{{Subject: place, Summary: s}, {Summary: s}}, Fixes: []diag.Fix{{Range: place, Text: s}}},
			{Severity: diag.Warning, Code: "a/c", Summary: s, Hint: s},
		},
		Suppressed: []report.Suppressed{{Diagnostic: diag.Diagnostic{Code: "a/d", Summary: s, Subject: place}, Reason: s}},
		Unread:     []report.Unread{{File: s, Reason: s}},
		Sources:    func(string) ([]byte, error) { return []byte(s), nil },
		Rule:       func(diag.Code) report.Rule { return report.Rule{Summary: s, About: s, Help: s, Markdown: s} },
	}
}

// TestHostileText writes what breaks formats and parses it again; e2e/clients does the same with other people's parsers.
func TestHostileText(t *testing.T) {
	t.Parallel()
	for _, s := range testkit.Hostile() {
		parse(t, s, awkward(s))
	}
}

func FuzzFormats(f *testing.F) {
	for _, s := range testkit.Hostile() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) < 1<<12 {
			parse(t, s, awkward(s))
		}
	})
}

// parse reads every format back and looks for the text.
func parse(t *testing.T, s string, r report.Report) {
	t.Helper()
	valid := strings.ToValidUTF8(s, "\uFFFD")
	for _, f := range report.Formats() {
		b := write(t, r, f)
		if f != "text" && !utf8.Valid(b) {
			t.Errorf("%s of %q is not UTF-8", f, s)
		}
		var err error
		switch f {
		case "text":
			for line := range strings.Lines(string(b)) {
				if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") || strings.Contains(line, "##vso[") {
					err = fmt.Errorf("a CI system obeys %q", line)
				}
			}
		case "json":
			var v struct{ Diagnostics diag.List }
			if err = json.Unmarshal(b, &v); err == nil && !same(v.Diagnostics[0].Summary, valid) {
				err = fmt.Errorf("the summary became %q", v.Diagnostics[0].Summary)
			}
		case "sarif":
			err = parseSARIF(b, s)
		case "gitlab":
			var v []struct{ Description string }
			if err = json.Unmarshal(b, &v); err == nil && len(v) != 3 {
				err = fmt.Errorf("%d issues", len(v))
			}
		case "github":
			err = parseGitHub(string(b), valid)
		case "junit", "checkstyle":
			err = parseXML(b, f)
		case "tap":
			err = parseTAP(string(b))
		}
		if err != nil {
			t.Errorf("%s of %q: %v:\n%s", f, s, err, b)
		}
	}
}

// same compares texts that went through JSON: each byte that is not UTF-8 is a U+FFFD of its own there.
func same(a, b string) bool {
	squeeze := func(s string) string { return regexp.MustCompile("\uFFFD+").ReplaceAllString(s, "\uFFFD") }
	return squeeze(a) == squeeze(b)
}

func parseSARIF(b []byte, file string) error {
	var v struct {
		Runs []struct {
			Results []struct {
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	for _, r := range v.Runs[0].Results {
		at := r.Locations[0].PhysicalLocation
		u, err := url.Parse(at.ArtifactLocation.URI)
		if err != nil {
			return err
		}
		if u.Path != file && "/"+u.Path != file || u.RawQuery != "" || u.Fragment != "" || u.Host != "" || at.Region.StartLine < 1 {
			return fmt.Errorf("the place %q is %q", at.ArtifactLocation.URI, u.Path)
		}
		if u.Scheme != "" && !strings.HasPrefix(file, "/") {
			return fmt.Errorf("%q has a scheme", at.ArtifactLocation.URI)
		}
	}
	return nil
}

var githubCommand = regexp.MustCompile(`^::(error|warning|notice) ([^:]*)::(.*)$`)

// parseGitHub reads commands as the runner does.
func parseGitHub(text, file string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 3 {
		return fmt.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if strings.Contains(line, "##[") || strings.Contains(line, "##vso[") {
			return fmt.Errorf("a command of Azure Pipelines: %q", line)
		}
		m := githubCommand.FindStringSubmatch(line)
		if m == nil {
			return fmt.Errorf("no command: %q", line)
		}
		for _, p := range strings.Split(m[2], ",") {
			k, v, ok := strings.Cut(p, "=")
			if !ok || !regexp.MustCompile(`^(file|line|endLine|col|endColumn|title)$`).MatchString(k) {
				return fmt.Errorf("no property: %q", p)
			}
			if k == "file" {
				v = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%").Replace(v)
				if !same(v, diag.Disarmed(file)) {
					return fmt.Errorf("the file became %q", v)
				}
			}
		}
	}
	return nil
}

// parseXML reads all of it, and finds no element that was not meant.
func parseXML(b []byte, format string) error {
	known := map[string]bool{}
	for _, name := range map[string][]string{"junit": {"testsuites", "testsuite", "testcase", "skipped", "error", "failure"}, "checkstyle": {"checkstyle", "file", "error"}}[format] {
		known[name] = true
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch e := tok.(type) {
		case xml.StartElement:
			if !known[e.Name.Local] {
				return fmt.Errorf("element %s", e.Name.Local)
			}
		case xml.Comment, xml.Directive:
			return fmt.Errorf("%T", e)
		}
	}
}

var tapTest = regexp.MustCompile(`^(not )?ok (\d+) - (?:[^\\#]|\\.)*(?:# (TODO|SKIP)(?:[^\\#]|\\.)*)?$`)

// parseTAP reads a plan, tests and blocks of YAML, and nothing else.
func parseTAP(text string) error {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if lines[0] != "TAP version 13" {
		return fmt.Errorf("begins with %q", lines[0])
	}
	n := 0
	for i := 2; i < len(lines); i++ {
		if lines[i] == "  ---" {
			from := i
			for i++; i < len(lines) && lines[i] != "  ..."; i++ {
			}
			var v struct{ Message, Severity, Code string }
			if err := yaml.Unmarshal([]byte(strings.Join(lines[from+1:i], "\n")), &v); err != nil {
				return err
			}
			if v.Severity == "" || v.Code == "" {
				return fmt.Errorf("the block of line %d is %+v", from+1, v)
			}
			continue
		}
		if n++; !tapTest.MatchString(lines[i]) {
			return fmt.Errorf("line %d: %q", i+1, lines[i])
		}
	}
	if lines[1] != fmt.Sprintf("1..%d", n) {
		return fmt.Errorf("%s for %d tests", lines[1], n)
	}
	return nil
}
