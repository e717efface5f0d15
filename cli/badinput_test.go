package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/schema/testkit"
)

// ran is what one command left behind, with the folder that it was given cut out of every path.
type ran struct {
	code           int
	stdout, stderr string
}

// runOn runs a command on dir in this process: a panic of any stage ends the test.
func runOn(t *testing.T, dir string, args ...string) ran {
	t.Helper()
	var r ran
	var out, errs bytes.Buffer
	r.code = cli.Alone(append(append([]string{"flexgw"}, args...), dir), cli.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) (string, bool) { return "", false },
	})
	cut := func(b bytes.Buffer) string {
		s := strings.ReplaceAll(b.String(), filepath.ToSlash(dir)+"/", "")
		return strings.ReplaceAll(s, filepath.ToSlash(dir), ".")
	}
	r.stdout, r.stderr = cut(out), cut(errs)
	return r
}

// headlines are the first lines of the diagnostics, without source lines and hints: what other programs match.
func headlines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, " ") || strings.TrimSpace(line) == "" {
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}

// TestBadInput shows what people get for files that are wrong. Every mistake is named once, at its place; nothing panics,
// nothing hangs. A case with the line "exit: 0" is one where the mistake is only a warning.
func TestBadInput(t *testing.T) {
	t.Parallel()
	testkit.Run(t, "testdata/badinput/*.txtar", func(t *testing.T, c *testkit.Case) {
		dir := t.TempDir()
		for _, f := range c.Files {
			path := filepath.Join(dir, filepath.FromSlash(f.Name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got := runOn(t, dir, "validate", "--verbose")
		want := cli.ExitDiagnostics
		if v, ok := c.Flag("exit"); ok && v == "0" {
			want = cli.ExitClean
		}
		if got.code != want {
			t.Errorf("exit code %d, want %d:\n%s%s", got.code, want, got.stdout, got.stderr)
		}
		if got.stderr != "" {
			t.Errorf("standard error: %s", got.stderr)
		}
		if os.Getenv("SHOW") != "" {
			t.Log("\n" + got.stdout)
		}
		c.Want(t, "want/diagnostics", []byte(headlines(got.stdout)))

		// What can be mended is mended without harm to the rest.
		if strings.Contains(got.stdout, "--fix may mend") {
			c.Want(t, "want/diff", []byte(runOn(t, dir, "validate", "--diff").stdout))
		}

		// Who renders is told the same.
		if r := runOn(t, dir, "render"); r.code == 0 != (got.code == 0) && !strings.Contains(r.stderr, "variable") {
			t.Errorf("validate ends with %d, render with %d: %s", got.code, r.code, r.stderr)
		}
	})
}

const goodAPI = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: shop
spec:
  address: http://0.0.0.0:8081/shop
  services:
    main:
      address: http://shop.internal:8080
`

// utf16Text is text as some Windows editors save it.
func utf16Text(text string, big, mark bool) []byte {
	units := utf16.Encode([]rune(text))
	if mark {
		units = append([]uint16{0xfeff}, units...)
	}
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		if big {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return b
}

// noise is what a file looks like that is not text at all, the same each time.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// TestBadFiles holds what no txtar file can: bytes that are no text, and what a folder has in it besides files.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	put := func(name string, b []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	do := func(f func(dir string) error) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := f(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	var nested strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&nested, "%sa:\n", strings.Repeat(" ", i))
	}
	for _, c := range []struct {
		name  string
		make  func(t *testing.T, dir string)
		alone bool // without a good file beside it
		code  int
		want  string // the first line of each diagnostic, or of standard error
	}{
		{name: "utf-16 with a mark", make: put("a.yaml", utf16Text(goodAPI, false, true)), code: 1, want: "a.yaml:1:1: error: this file is not UTF-8 text: its byte order mark says UTF-16, little endian [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "utf-16 big endian", make: put("a.yaml", utf16Text(goodAPI, true, true)), code: 1, want: "a.yaml:1:1: error: this file is not UTF-8 text: its byte order mark says UTF-16, big endian [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "utf-16 without a mark", make: put("a.yaml", utf16Text(goodAPI, false, false)), code: 1, want: "a.yaml:1:2: error: this file is not UTF-8 text: byte 0x00 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "utf-16 json", make: put("a.json", utf16Text("{\"a\": 1}", false, true)), code: 1, want: "a.json:1:1: error: this file is not UTF-8 text: its byte order mark says UTF-16, little endian [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "latin-1", make: put("a.yaml", []byte("metadata:\n  name: caf\xe9\n")), code: 1, want: "a.yaml:2:12: error: this file is not UTF-8 text: byte 0xE9 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "latin-1 json", make: put("a.json", []byte("{\n\"name\": \"caf\xe9\"}\n")), code: 1, want: "a.json:2:13: error: this file is not UTF-8 text: byte 0xE9 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "latin-1 cue", make: put("a.cue", []byte("package a\n\nname: \"caf\xe9\"\n")), code: 1, want: "a.cue:3:11: error: this file is not UTF-8 text: byte 0xE9 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "nul bytes", make: put("a.yaml", []byte("metadata:\n  name: a\x00b\n")), code: 1, want: "a.yaml:2:10: error: this file is not UTF-8 text: byte 0x00 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "nul bytes json", make: put("a.json", []byte("{\"a\": \"b\x00\"}")), code: 1, want: "a.json:1:9: error: this file is not UTF-8 text: byte 0x00 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "nul bytes cue", make: put("a.cue", []byte("a: \"b\x00\"\n")), code: 1, want: "a.cue:1:6: error: this file is not UTF-8 text: byte 0x00 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "only nul bytes", make: put("a.yaml", make([]byte, 4096)), code: 1, want: "a.yaml:1:1: error: this file is not UTF-8 text: byte 0x00 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "noise yaml", make: put("a.yaml", noise(1<<16)), code: 1, want: "a.yaml:1:3: error: this file is not UTF-8 text: byte 0xA0 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "noise json", make: put("a.json", noise(1<<16)), code: 1, want: "a.json:1:3: error: this file is not UTF-8 text: byte 0xA0 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "noise cue", make: put("a.cue", noise(1<<16)), code: 1, want: "a.cue:1:3: error: this file is not UTF-8 text: byte 0xA0 [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "gzip", make: put("a.yaml", []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03")), code: 1, want: "a.yaml:1:2: error: this file is not UTF-8 text: byte 0x8B [source/not-text]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "50 MB yaml", make: put("a.yaml", bytes.Repeat([]byte("a: 1\n"), 10<<20)), code: 1, want: "a.yaml: error: this file is larger than the 32 MiB that are read [source/too-large]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "50 MB json", make: put("a.json", append([]byte("[\n"), bytes.Repeat([]byte("{},\n"), 12<<20)...)), code: 1, want: "a.json: error: this file is larger than the 32 MiB that are read [source/too-large]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "50 MB cue", make: put("a.cue", bytes.Repeat([]byte("a: 1\n"), 10<<20)), code: 1, want: "a.cue: error: this file is larger than the 32 MiB that are read [source/too-large]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "a line of 1 MB", make: put("a.yaml", append([]byte("a: ["), bytes.Repeat([]byte("x"), 1<<20)...)), code: 1, want: "a.yaml:1:4: error: this bracket is not closed [yaml/syntax]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "open brackets yaml", make: put("a.yaml", bytes.Repeat([]byte("["), 100_000)), code: 1, want: "a.yaml:1:10001: error: values nest more than 1000 deep here [yaml/too-deep]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "open braces yaml", make: put("a.yaml", bytes.Repeat([]byte("{a: "), 100_000)), code: 1, want: "a.yaml:1:40001: error: values nest more than 1000 deep here [yaml/too-deep]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "dashes yaml", make: put("a.yaml", bytes.Repeat([]byte("- "), 100_000)), code: 1, want: "a.yaml:1:20001: error: values nest more than 1000 deep here [yaml/too-deep]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "question marks yaml", make: put("a.yaml", bytes.Repeat([]byte("? "), 100_000)), code: 1, want: "a.yaml:1:20001: error: values nest more than 1000 deep here [yaml/too-deep]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "nested mappings yaml", make: put("a.yaml", []byte(nested.String())), code: 0, want: "ok: 2 documents in 2 files, 0 errors, 0 warnings, 1 note (--verbose shows them)\n"},
		{name: "open brackets json", make: put("a.json", bytes.Repeat([]byte("["), 100_000)), code: 1, want: "a.json:1:1002: error: values nest more than 1000 deep here [json/too-deep]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "open braces json", make: put("a.json", bytes.Repeat([]byte(`{"a":`), 100_000)), code: 1, want: "a.json:1:5006: error: values nest more than 1000 deep here [json/too-deep]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "open brackets cue", make: put("a.cue", append([]byte("a: "), bytes.Repeat([]byte("["), 100_000)...)), code: 1, want: "a.cue:1:1004: error: values nest more than 1000 deep here [cue/too-deep]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "open parentheses cue", make: put("a.cue", append([]byte("a: "), bytes.Repeat([]byte("("), 100_000)...)), code: 1, want: "a.cue:1:1004: error: values nest more than 1000 deep here [cue/too-deep]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "signs cue", make: put("a.cue", append([]byte("a: "), bytes.Repeat([]byte("-"), 100_000)...)), code: 1, want: "a.cue:1:10004: error: values nest more than 1000 deep here [cue/too-deep]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "bracket and no line break", make: put("a.yaml", []byte("a: [b")), code: 1, want: "a.yaml:1:4: error: this bracket is not closed [yaml/syntax]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "empty folder", make: func(*testing.T, string) {}, alone: true, code: 1, want: "error: no declaration was found [source/no-declarations]\ninvalid: 0 documents in 0 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "empty file alone", make: put("a.yaml", nil), alone: true, code: 1, want: "error: no declaration was found [source/no-declarations]\ninvalid: 0 documents in 1 file, 1 error, 0 warnings, 0 notes\n"},
		{name: "a mark and nothing else", make: put("a.yaml", []byte("\ufeff")), alone: true, code: 1, want: "error: no declaration was found [source/no-declarations]\ninvalid: 0 documents in 1 file, 1 error, 0 warnings, 0 notes\n"},
		{name: "empty json", make: put("a.json", nil), code: 1, want: "a.json:1:1: error: expected an object or an array of objects, found the end of the file [json/syntax]\ninvalid: 1 document in 2 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "empty cue", make: put("a.cue", nil), alone: true, code: 1, want: "error: no declaration was found [source/no-declarations]\ninvalid: 0 documents in 1 file, 1 error, 0 warnings, 0 notes\n"},
		{name: "other endings only", make: put("a.txt", []byte(goodAPI)), alone: true, code: 1, want: "error: no declaration was found [source/no-declarations]\ninvalid: 0 documents in 0 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "hidden file only", make: put(".a.yaml", []byte(goodAPI)), alone: true, code: 1, want: "error: no declaration was found [source/no-declarations]\ninvalid: 0 documents in 0 files, 1 error, 0 warnings, 0 notes\n"},
		{name: "folder called yaml", make: do(func(dir string) error { return os.Mkdir(filepath.Join(dir, "x.yaml"), 0o755) }), code: 0, want: "ok: 1 document in 1 file, 0 errors, 0 warnings, 0 notes\n"},
		{name: "pipe", make: do(func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "x.yaml"), 0o644) }), code: 3, want: "incomplete: 1 document in 1 file, 0 errors, 0 warnings, 0 notes\nflexgw: read x.yaml: not a regular file\n"},
		{name: "socket", make: do(func(dir string) error { return syscall.Mknod(filepath.Join(dir, "x.yaml"), syscall.S_IFSOCK|0o644, 0) }), code: 3, want: "incomplete: 1 document in 1 file, 0 errors, 0 warnings, 0 notes\nflexgw: read x.yaml: not a regular file\n"},
		{name: "dangling link", make: do(func(dir string) error { return os.Symlink("nowhere.yaml", filepath.Join(dir, "x.yaml")) }), code: 3, want: "incomplete: 1 document in 1 file, 0 errors, 0 warnings, 0 notes\nflexgw: read x.yaml: the symbolic link leads nowhere: no such file or directory\n"},
		{name: "link to itself", make: do(func(dir string) error { return os.Symlink("x.yaml", filepath.Join(dir, "x.yaml")) }), code: 3, want: "incomplete: 1 document in 1 file, 0 errors, 0 warnings, 0 notes\nflexgw: read x.yaml: the symbolic link leads in a circle: too many levels of symbolic links\n"},
		{name: "link to its folder", make: do(func(dir string) error { return os.Symlink(".", filepath.Join(dir, "again")) }), code: 3, want: "incomplete: 1 document in 1 file, 0 errors, 0 warnings, 0 notes\nflexgw: read again: the symbolic link leads back to ., which holds it\n"},
		{name: "links in a circle", make: do(func(dir string) error {
			if err := os.Symlink("b", filepath.Join(dir, "a")); err != nil {
				return err
			}
			return os.Symlink("a", filepath.Join(dir, "b"))
		}), code: 3, want: "incomplete: 1 document in 1 file, 0 errors, 0 warnings, 0 notes\nflexgw: read a: the symbolic link leads in a circle: too many levels of symbolic links\nflexgw: read b: the symbolic link leads in a circle: too many levels of symbolic links\n"},
		{name: "unreadable file", make: func(t *testing.T, dir string) {
			if os.Getuid() == 0 {
				t.Skip("root reads everything")
			}
			put("x.yaml", []byte(goodAPI))(t, dir)
			if err := os.Chmod(filepath.Join(dir, "x.yaml"), 0); err != nil {
				t.Fatal(err)
			}
		}, code: 3, want: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c.make(t, dir)
			if !c.alone {
				put("good.yaml", []byte(goodAPI))(t, dir)
			}
			got := runOn(t, dir, "validate")
			if got.code != c.code {
				t.Errorf("exit code %d, want %d", got.code, c.code)
			}
			if diff := cmp.Diff(c.want, headlines(got.stdout)+got.stderr); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}

// What stands beyond the part of a file that is read may be declared, and its first 32 MiB are not searched for names.
func TestBeyondWhatIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	late := "---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: Service\nmetadata: {name: late}\nspec: {address: http://late.internal}\n"
	others := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n"
	early := `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata: {name: early}
spec: {address: http://0.0.0.0:8081/early}
---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: PolicyBinding
metadata: {name: to-late}
spec:
  targetRef: {kind: ApiInstance, name: early}
  policyRef: {name: route}
  config: {destinationRef: {name: late}}
`
	for name, text := range map[string][]byte{"a.yaml": append(append([]byte(others), bytes.Repeat([]byte("# a\n"), 9<<20)...), late...), "b.yaml": []byte(early)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := runOn(t, dir, "validate")
	for _, want := range []string{"a.yaml: error: this file is larger than the 32 MiB that are read [source/too-large]", `no Service named "late"`, `hint: it may be declared in "a.yaml", which cannot be read as a whole`} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in\n%s", want, got.stdout)
		}
	}
}

// TestManyMistakes prints a mistake on each of 20,000 lines.
func TestManyMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), bytes.Repeat([]byte("---\nx\n"), 20_000), 0o644); err != nil {
		t.Fatal(err)
	}
	got := runOn(t, dir, "validate")
	if got.code != cli.ExitDiagnostics || strings.Count(got.stdout, "decode/not-a-declaration") != 20_000 {
		t.Errorf("exit code %d, %d warnings", got.code, strings.Count(got.stdout, "decode/not-a-declaration"))
	}
}
