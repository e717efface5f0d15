package docs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The marks of fenced blocks, behind the language: ```yaml flexgw:error orders.yaml
//
// A block of yaml, json or cue is one file, gateway.yaml (.json, .cue) unless a name follows the mark. It is judged alone,
// by `flexgw validate` in a folder that belongs to the page, and stays there for the blocks below it:
//
//	flexgw:ok        neither an error nor a warning
//	flexgw:note      nothing worse than a note; the next text block is what validate --verbose prints about it
//	flexgw:warning   a warning and no error; the next text block is what validate prints
//	flexgw:error     an error; the next text block is what validate prints
//	flexgw:part      not judged: it makes sense with other files only
//
// A block of console is a session, and has one mark:
//
//	flexgw:run       each line that starts with "$ " is a command, the lines up to the next one are its output, standard
//	                 error included. `flexgw …` runs in the page's folder, `go run . …` in the root of the repository, with
//	                 NAME=value before it and <FILE behind it if wanted; `echo $?` is the exit code of the command before, and
//	                 must be there when that is not 0.
//
// UPDATE=1 rewrites text blocks and outputs. A block without a mark is prose.
const (
	markOK      = "ok"
	markNote    = "note"
	markWarning = "warning"
	markError   = "error"
	markPart    = "part"
	markRun     = "run"
)

// extensions are the languages of declarations, with the extension of their files.
var extensions = map[string]string{"yaml": ".yaml", "json": ".json", "cue": ".cue"}

// fence is one fenced block: lines[from:to] is its content.
type fence struct {
	lang, mark, name string
	from, to         int
}

var fenceInfo = regexp.MustCompile(`^([a-z]*)(?: flexgw:([a-z]+)(?: ([A-Za-z0-9_./-]+))?)?$`)

// fences finds the blocks of a page; problems are those whose mark cannot be understood.
func fences(lines []string) (found []fence, problems []string) {
	for i := 0; i < len(lines); i++ {
		line := strings.TrimLeft(strings.TrimRight(lines[i], "\n"), " ")
		info := strings.TrimLeft(line, "`")
		ticks := line[:len(line)-len(info)]
		if len(ticks) < 3 || strings.Contains(info, "`") {
			continue
		}
		start := i
		for i++; i < len(lines) && !closes(lines[i], ticks); i++ {
		}
		if i == len(lines) {
			problems = append(problems, fmt.Sprintf("line %d: the block is never closed", start+1))
		}
		f := fence{from: start + 1, to: i}
		m := fenceInfo.FindStringSubmatch(info)
		switch {
		case m != nil:
			f.lang, f.mark, f.name = m[1], m[2], m[3]
		case strings.Contains(strings.ToLower(info), "flexgw"):
			problems = append(problems, fmt.Sprintf("line %d: %q is not LANGUAGE flexgw:MARK [FILE]", start+1, info))
		default:
			f.lang, _, _ = strings.Cut(info, " ")
		}
		found = append(found, f)
	}
	return found, problems
}

func closes(line, ticks string) bool {
	s := strings.TrimSpace(line)
	return strings.HasPrefix(s, ticks) && strings.Trim(s, "`") == ""
}

// walker judges one page.
type walker struct {
	dir, root string // the page's folder; the root of the repository
	lines     []string
	fences    []fence
	answers   map[int]string // index of a fence → what it must hold
	problems  []string
	marked    int
}

// walk judges a page. It returns the page as it should be, and what is wrong with it beside outdated answers.
func walk(page, dir, root string) (want string, marked int, problems []string) {
	w := &walker{dir: dir, root: root, lines: strings.SplitAfter(page, "\n"), answers: map[int]string{}}
	w.fences, w.problems = fences(w.lines)
	for i, f := range w.fences {
		if f.mark == "" {
			continue
		}
		w.marked++
		_, declares := extensions[f.lang]
		switch {
		case declares && slices.Contains([]string{markOK, markNote, markWarning, markError, markPart}, f.mark):
			w.declaration(i, f)
		case f.lang == "console" && f.mark == markRun && f.name == "":
			w.session(i, f)
		default:
			w.complain(f, "a block of %q has no mark flexgw:%s", f.lang, strings.TrimSpace(f.mark+" "+f.name))
		}
	}
	return w.page(), w.marked, w.problems
}

func (w *walker) complain(f fence, format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf("line %d: ", f.from)+fmt.Sprintf(format, args...))
}

func (w *walker) content(f fence) string { return strings.Join(w.lines[f.from:f.to], "") }

// page is the text with the answers in their places.
func (w *walker) page() string {
	var b strings.Builder
	at := 0
	for i, f := range w.fences {
		if answer, ok := w.answers[i]; ok {
			b.WriteString(strings.Join(w.lines[at:f.from], ""))
			b.WriteString(answer)
			at = f.to
		}
	}
	b.WriteString(strings.Join(w.lines[at:], ""))
	return b.String()
}

func (w *walker) declaration(i int, f fence) {
	if f.name == "" {
		f.name = "gateway" + extensions[f.lang]
	}
	path := filepath.Join(w.dir, filepath.FromSlash(f.name))
	if !filepath.IsLocal(f.name) || filepath.Ext(path) != extensions[f.lang] {
		w.complain(f, "%s is no name of a file of %s below the page's folder", f.name, f.lang)
		return
	}
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(w.content(f)), 0o644)
	}
	if err != nil {
		w.complain(f, "%v", err)
		return
	}
	if f.mark == markPart {
		return
	}
	args := []string{"flexgw", "validate", f.name}
	if f.mark == markNote {
		args = append(args, "--verbose")
	}
	out, _, err := w.flexgw(args, nil, "")
	if err != nil {
		w.complain(f, "%v", err)
		return
	}
	said, got := verdict(out)
	if got != f.mark && !(f.mark == markOK && got == markNote) {
		w.complain(f, "marked %s, but it is %s:\n%s", f.mark, got, out)
		return
	}
	if f.mark == markOK {
		return
	}
	if i+1 == len(w.fences) || w.fences[i+1].lang != "text" || w.fences[i+1].mark != "" {
		w.complain(f, "no text block follows:\n%s", said)
		return
	}
	w.answers[i+1] = said
}

var counted = regexp.MustCompile(`(\d+) errors?, (\d+) warnings?, (\d+) notes?`)

// verdict splits what validate prints into the diagnostics and the mark that its closing line stands for.
func verdict(out string) (said, mark string) {
	at := strings.LastIndex(strings.TrimSuffix(out, "\n"), "\n") + 1
	m := counted.FindStringSubmatch(out[at:])
	if m == nil {
		return out, "not judged"
	}
	said = strings.TrimSuffix(out[:at], "\n")
	if said != "" && !strings.HasSuffix(said, "\n") {
		said += "\n"
	}
	for i, mark := range []string{markError, markWarning, markNote} {
		if m[i+1] != "0" {
			return said, mark
		}
	}
	return said, markOK
}

// session runs the commands of a console block.
func (w *walker) session(i int, f fence) {
	var b strings.Builder
	code, shown, commands := 0, true, 0
	last := ""
	for _, line := range w.lines[f.from:f.to] {
		command, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "$ ")
		if !ok {
			if commands == 0 {
				w.complain(f, "the session does not start with a command")
				return
			}
			continue // the output of the page, which is to be what the command prints
		}
		commands++
		b.WriteString(line)
		if command == "echo $?" {
			fmt.Fprintln(&b, code)
			code, shown = 0, true
			continue
		}
		if !shown {
			w.complain(f, "%s ends with %d, which the session does not show: $ echo $?", last, code)
		}
		out, c, err := w.run(command)
		if err != nil {
			w.complain(f, "%s: %v", command, err)
			return
		}
		if out != "" && !strings.HasSuffix(out, "\n") {
			out += "\n"
		}
		b.WriteString(out)
		code, shown, last = c, c == 0, command
	}
	if !shown {
		w.complain(f, "%s ends with %d, which the session does not show: $ echo $?", last, code)
	}
	if commands == 0 {
		w.complain(f, "the session has no command")
	}
	w.answers[i] = b.String()
}

var assignment = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*=`)

// run runs one command of a session.
func (w *walker) run(command string) (out string, code int, err error) {
	words := strings.Fields(command)
	var env []string
	for len(words) > 0 && assignment.MatchString(words[0]) {
		env, words = append(env, words[0]), words[1:]
	}
	stdin := ""
	if n := len(words); n > 0 && strings.HasPrefix(words[n-1], "<") {
		stdin, words = words[n-1][1:], words[:n-1]
	}
	return w.flexgw(words, env, stdin)
}

// flexgw runs the command line of this build, which is the test's own binary. Only what its streams say counts: the
// environment is that of the session, so that a page reads the same on every machine.
func (w *walker) flexgw(words, env []string, stdin string) (out string, code int, err error) {
	dir := w.dir
	switch {
	case len(words) > 2 && slices.Equal(words[:3], []string{"go", "run", "."}):
		dir, words = w.root, words[2:]
	case len(words) == 0 || words[0] != "flexgw":
		return "", 0, errors.New("a session runs flexgw …, go run . … and echo $? only")
	}
	self, err := os.Executable()
	if err != nil {
		return "", 0, err
	}
	cmd := exec.Command(self, words[1:]...)
	cmd.Dir = dir
	cmd.Env = append([]string{asFlexgw + "=1", "HOME=" + w.dir, "NO_COLOR=1"}, env...)
	if stdin != "" {
		b, err := os.ReadFile(filepath.Join(dir, stdin))
		if err != nil {
			return "", 0, err
		}
		cmd.Stdin = bytes.NewReader(b)
	}
	b, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return string(b), exit.ExitCode(), nil
	}
	return string(b), 0, err
}

func TestPages(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{filepath.Join(root, "README.md")}
	err = filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	total := make([]int, len(pages))
	t.Run("pages", func(t *testing.T) {
		for i, path := range pages {
			t.Run(strings.TrimPrefix(path, root+"/"), func(t *testing.T) {
				t.Parallel()
				page, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				want, marked, problems := walk(string(page), t.TempDir(), root)
				total[i] = marked
				for _, p := range problems {
					t.Errorf("%s: %s", path, p)
				}
				if want == string(page) {
					return
				}
				if os.Getenv("UPDATE") != "1" {
					t.Errorf("what the blocks of %s give; UPDATE=1 rewrites them (-want +page):\n%s", path, cmp.Diff(want, string(page)))
				} else if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			})
		}
	})
	sum := 0
	for _, n := range total {
		sum += n
	}
	if sum < 20 {
		t.Errorf("%d marked blocks in %d pages: the walker does not see them", sum, len(pages))
	}
}

const good = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: orders
spec:
  address: http://0.0.0.0:8081
  services:
    orders:
      address: http://orders.example.org:80
`

// block is a fenced block of a page.
func block(info, content string) string { return "```" + info + "\n" + content + "```\n" }

// TestWalker shows that a page with a wrong mark or an outdated answer does not pass.
func TestWalker(t *testing.T) {
	t.Parallel()
	bad := strings.Replace(good, "address: http", "adress: http", 1)
	warned := strings.Replace(good, ":80\n", "\n", 1)
	noted := good + "---\nkind: Pod\n"
	answer := "gateway.yaml:6:3: error: unknown field \"adress\" in \"spec\" [shape/unknown-field]\n" +
		"  6 |   adress: http://0.0.0.0:8081\n    |   ^^^^^^\n  hint: did you mean \"address\"?\n"
	for name, c := range map[string]struct {
		page    string
		problem string // part of one; "": none
		update  string // the page as it should be; "": as it is
	}{
		"prose":            {page: block("yaml", "a: [") + block("", "x\n") + block("go ignore", "x\n")},
		"ok":               {page: block("yaml flexgw:ok", good)},
		"ok with a note":   {page: block("yaml flexgw:ok", noted)},
		"ok is wrong":      {page: block("yaml flexgw:ok", bad), problem: "marked ok, but it is error"},
		"ok but a warning": {page: block("yaml flexgw:ok", warned), problem: "marked ok, but it is warning"},
		"error is right":   {page: block("yaml flexgw:error", good) + block("text", ""), problem: "marked error, but it is ok"},
		"warning is right": {page: block("yaml flexgw:warning", good) + block("text", ""), problem: "marked warning, but it is ok"},
		"note is worse":    {page: block("yaml flexgw:note", bad) + block("text", ""), problem: "marked note, but it is error"},
		"error":            {page: block("yaml flexgw:error", bad) + block("text", answer)},
		"error, named":     {page: block("yaml flexgw:error a/b.yaml", bad) + block("text", "a/b"+strings.TrimPrefix(answer, "gateway"))},
		"error, outdated":  {page: block("yaml flexgw:error", bad) + block("text", "x\n"), update: block("yaml flexgw:error", bad) + block("text", answer)},
		"no answer":        {page: block("yaml flexgw:error", bad), problem: "no text block follows"},
		"answer elsewhere": {page: block("yaml flexgw:error", bad) + block("yaml", "") + block("text", answer), problem: "no text block follows"},
		"unknown mark":     {page: block("yaml flexgw:okay", good), problem: `has no mark flexgw:okay`},
		"misspelt mark":    {page: block("yaml flexgw: ok", good), problem: "is not LANGUAGE flexgw:MARK"},
		"mark of console":  {page: block("yaml flexgw:run", good), problem: `has no mark flexgw:run`},
		"console ok":       {page: block("console flexgw:ok", "$ flexgw version\n"), problem: `has no mark flexgw:ok`},
		"unknown language": {page: block("toml flexgw:ok", "a = 1\n"), problem: "has no mark flexgw:ok"},
		"name with dots":   {page: block("yaml flexgw:part ../a.yaml", good), problem: "no name of a file"},
		"other extension":  {page: block("json flexgw:part a.yaml", "{}\n"), problem: "no name of a file"},
		"never closed":     {page: "```yaml flexgw:ok\n" + good, problem: "never closed"},
		"json":             {page: block("json flexgw:error", "{\n"), problem: "no text block follows"},
		"cue":              {page: block("cue flexgw:ok", "a: 1\n"), problem: "marked ok, but it is error"},
		"session": {page: block("yaml flexgw:part", bad) + block("console flexgw:run", "$ flexgw validate gateway.yaml\n"+answer+
			"\ninvalid: 1 document in 1 file, 1 error, 0 warnings, 0 notes; validate --fix may mend 1\n$ echo $?\n1\n")},
		"session, outdated": {page: block("yaml flexgw:part a/b.yaml", good) + block("console flexgw:run", "$ flexgw validate a\nfine\n"),
			update: block("yaml flexgw:part a/b.yaml", good) + block("console flexgw:run", "$ flexgw validate a\nok: 1 document in 1 file, 0 errors, 0 warnings, 0 notes\n")},
		"session, code":    {page: block("console flexgw:run", "$ flexgw validate nowhere\nflexgw: nowhere: no such file or directory\n"), problem: "ends with 3, which the session does not show"},
		"session, command": {page: block("console flexgw:run", "$ rm -r .\n"), problem: "a session runs flexgw"},
		"session, silent":  {page: block("console flexgw:run", "flexgw validate\n"), problem: "does not start with a command"},
		"session, stdin": {page: block("yaml flexgw:part", good) + block("console flexgw:run",
			"$ flexgw validate - <gateway.yaml\nok: 1 document in 1 file, 0 errors, 0 warnings, 0 notes\n")},
		"session, repository": {page: block("console flexgw:run", "$ go run . validate examples/quickstart\nok: 2 documents in 2 files, 0 errors, 0 warnings, 0 notes\n")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, err := filepath.Abs("..")
			if err != nil {
				t.Fatal(err)
			}
			got, _, problems := walk(c.page, t.TempDir(), root)
			want := c.page
			if c.update != "" {
				want = c.update
			}
			switch {
			case c.problem == "" && len(problems) > 0:
				t.Errorf("problems: %q", problems)
			case c.problem != "" && !strings.Contains(strings.Join(problems, "\n"), c.problem):
				t.Errorf("problems: %q, want one with %q", problems, c.problem)
			}
			if d := cmp.Diff(want, got); c.problem == "" && d != "" {
				t.Errorf("page (-want +got):\n%s", d)
			}
		})
	}
}
