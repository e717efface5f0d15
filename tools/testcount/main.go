// Command testcount reads the output of `go test -json`, shows what failed, runs a few of it once more alone (docs/decisions/0022), and
// closes with a line that counts. It is called with the exit code of the test command, the file of its output, and the command itself, whose last
// argument names the packages.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

func main() {
	code, log, command := os.Args[1], os.Args[2], os.Args[3:]
	f, err := os.Open(log)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer f.Close()
	r, err := read(f, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	failed, flaky := r.counts["fail"], 0
	var tests []test
	if code == "1" { // any other says that the command did not come to its end
		tests = r.again()
	}
	for _, t := range tests {
		if !alone(command, t) {
			continue
		}
		flaky++
		failed -= t.failed
		fmt.Printf("FLAKY: %s of %s failed, and passed when it ran alone: whoever sees this finds out why, and mends it\n", t.name, t.pkg)
	}
	second := ""
	if flaky > 0 {
		second = fmt.Sprintf(", %d passed alone at the second try", flaky)
	}
	fmt.Printf("%d passed, %d failed%s, %d skipped\n", r.counts["pass"], failed, second, r.counts["skip"])
	right := code == "0" && len(r.broken) == 0 || len(tests) > 0 && flaky == len(tests)
	if r.counts["pass"] == 0 || !right {
		os.Exit(1)
	}
}

// alone runs one test once more, by the command that ran it, and reports whether it passes.
func alone(command []string, t test) bool {
	args := append(slices.Clone(command[1:len(command)-1]), "-count=1", "-v", "-run", "^"+t.name+"$", t.pkg)
	cmd := exec.Command(command[0], args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		fmt.Printf("--- %s of %s, alone\n%s", t.name, t.pkg, out)
	}
	return err == nil && strings.Contains(string(out), "--- PASS: "+t.name)
}

// results is what a run of tests brought.
type results struct {
	counts map[string]int      // of tests and their parts, by "pass", "fail" and "skip"
	broken []string            // what failed, "PACKAGE TEST", and "PACKAGE " for a package; sorted
	output map[string][]string // of what failed, by the same
	strays int                 // lines outside the stream: a build failure
}

// read reads a stream of events, and shows what failed and what was skipped.
func read(from io.Reader, show io.Writer) (results, error) {
	r := results{counts: map[string]int{}, output: map[string][]string{}}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			r.strays++
			fmt.Fprintln(show, lines.Text()) // a build failure, said outside the stream
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			r.output[key] = append(r.output[key], e.Output)
		case "pass", "fail", "skip":
			if e.Test != "" {
				r.counts[e.Action]++
			}
			if e.Action == "skip" && e.Test != "" {
				fmt.Fprintf(show, "skipped: %s\n", key)
			}
			if e.Action == "fail" {
				r.broken = append(r.broken, key)
			} else {
				delete(r.output, key)
			}
		}
	}
	slices.Sort(r.broken)
	for _, key := range r.broken {
		fmt.Fprintf(show, "--- %s\n%s", key, strings.Join(r.output[key], ""))
	}
	return r, lines.Err()
}

// test is a test that failed, with the number of its parts that did, itself included.
type test struct {
	pkg, name string
	failed    int
}

// mostAgain is how many tests may fail and be run once more: more of them are no accident.
const mostAgain = 2

// never are words of failures that no second run makes good.
var never = []string{"DATA RACE", "panic: ", "fatal error: ", "test timed out"}

// again are the tests to run once more; none, when something failed that is no test, that may hide more, or too much did.
func (r results) again() []test {
	if r.strays > 0 {
		return nil
	}
	var tests []test
	var pkgs []string // that failed
	for _, key := range r.broken {
		pkg, name, _ := strings.Cut(key, " ")
		for _, word := range never {
			if slices.ContainsFunc(r.output[key], func(line string) bool { return strings.Contains(line, word) }) {
				return nil
			}
		}
		if name == "" {
			pkgs = append(pkgs, pkg)
			continue
		}
		name, _, _ = strings.Cut(name, "/")
		if i := slices.IndexFunc(tests, func(t test) bool { return t.pkg == pkg && t.name == name }); i >= 0 {
			tests[i].failed++
			continue
		}
		tests = append(tests, test{pkg, name, 1})
	}
	for _, pkg := range pkgs {
		if !slices.ContainsFunc(tests, func(t test) bool { return t.pkg == pkg }) {
			return nil // it ended otherwise
		}
	}
	if len(tests) > mostAgain {
		return nil
	}
	return tests
}
