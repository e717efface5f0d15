package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// rewritten is a file that a command gives another text.
type rewritten struct {
	name          string // as in a source.Set
	before, after []byte
}

// rewriting writes texts back where they came from: each file once, whatever names it has, and none that was not meant.
type rewriting struct {
	within []string             // folders and files that may be written: real paths
	done   map[string]rewritten // by real path
}

// newRewriting may write what the paths name, links included, and below them; and the work tree of a repository around the working
// directory.
func newRewriting(paths []string) *rewriting {
	w := &rewriting{done: map[string]rewritten{}}
	if cwd, err := os.Getwd(); err == nil {
		if root := repositoryRoot(cwd); isThere(filepath.Join(root, ".git")) {
			paths = append(slices.Clone(paths), root)
		}
	}
	for _, p := range paths {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			if real, err = filepath.Abs(real); err == nil {
				w.within = append(w.within, real)
			}
		}
	}
	return w
}

// write replaces the file on disk. It is the old one or the new one whatever happens; mode and, where that is allowed, owner stay.
// A file that is not what was read any more is left alone. again: it has the new text by another name already.
func (w *rewriting) write(r rewritten) (again bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", r.name, disk.Cause(err))
		}
	}()
	path, err := filepath.EvalSymlinks(filepath.FromSlash(r.name)) // the link stays one
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(w.within, func(root string) bool { _, in := within(root, path); return in }) {
		return false, fmt.Errorf("it is a link to %s, which is outside of what was named: name that itself", path)
	}
	if before, ok := w.done[path]; ok && bytes.Equal(before.before, r.before) {
		if !bytes.Equal(before.after, r.after) {
			return false, fmt.Errorf("it is the same file as %s, whose text became another one", before.name)
		}
		return true, nil
	}
	now, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if !bytes.Equal(now, r.before) {
		return false, errors.New("it was changed meanwhile")
	}
	if err = disk.Replace(path, r.after); err == nil {
		w.done[path] = r
	}
	return false, err
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// diff writes what changes as a unified diff, which patch -p1 and git apply take unless a secret is in it: that is [redacted].
func (r rewritten) diff(w io.Writer) error {
	b := diff.Diff("a/"+r.name, r.before, "b/"+r.name, r.after)
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[i+1:] // a headline of the library's own
	}
	_, err := w.Write(redactDiff(b, r.before, r.after))
	return err
}

// hunk begins one, and says with which lines.
var hunk = regexp.MustCompile(`^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@`)

// redactDiff hides the secrets of both sides of a unified diff.
func redactDiff(b, before, after []byte) []byte {
	old, fresh := lineStarts(before), lineStarts(after)
	var out []byte
	m, n := 0, 0 // the next lines of both
	for line := range bytes.Lines(b) {
		if at := hunk.FindSubmatch(line); at != nil {
			m, _ = strconv.Atoi(string(at[1]))
			n, _ = strconv.Atoi(string(at[2]))
			out = append(out, line...)
			continue
		}
		if m+n > 0 {
			switch line[0] {
			case '-':
				line = append([]byte("-"), old.redacted(before, m)...)
				m++
			case '+':
				line = append([]byte("+"), fresh.redacted(after, n)...)
				n++
			case ' ':
				line = append([]byte(" "), old.redacted(before, m)...)
				m, n = m+1, n+1
			}
		}
		if out = append(out, line...); line[len(line)-1] != '\n' {
			out = append(out, '\n')
		}
	}
	return out
}

// starts are the offsets at which lines begin, and that of the end.
type starts []int

func lineStarts(text []byte) starts {
	at := starts{0}
	for line := range bytes.Lines(text) {
		at = append(at, at[len(at)-1]+len(line))
	}
	return at
}

// redacted is a line, from 1 on, without its secrets.
func (s starts) redacted(text []byte, line int) []byte {
	if line < 1 || line >= len(s) {
		return nil
	}
	from, to := s[line-1], s[line]
	end := "\n"
	if text[to-1] != '\n' {
		end = ""
	}
	return append(diag.RedactLine(text, from, to-len(end)), end...)
}

// stdinFile is the name of the file of a set that came from standard input; "": none.
func stdinFile(set source.Set, paths []string) string {
	if !slices.Contains(paths, "-") {
		return ""
	}
	for _, name := range []string{"stdin.yaml", "stdin.json"} {
		if _, err := set.Bytes(name); err == nil {
			if _, err := os.Stat(name); err != nil {
				return name
			}
		}
	}
	return ""
}
