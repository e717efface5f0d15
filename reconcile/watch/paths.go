package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/source"
)

// ReadPaths reads files, directories and "-" (standard input) once. Names are what the user wrote, cleaned, so that they
// can be opened from the working directory: "conf/orders.yaml" for the directory "./conf/". Standard input is named
// stdin.json when its first character is { or [, else stdin.yaml. What is reached by two paths counts once.
//
// An error joins a *ReadError for every path that could not be read (a missing one wraps fs.ErrNotExist); the Set then holds the others.
func ReadPaths(paths []string, stdin io.Reader) (source.Set, error) {
	r := reader{stdin: stdin, names: map[string]bool{}, owners: map[id]int{}}
	for i, path := range paths {
		if err := r.read(i, path); err != nil {
			r.errs = append(r.errs, err)
		}
	}
	return source.NewSet(r.files), errors.Join(r.errs...)
}

// ReadError is a path that could not be read.
type ReadError struct {
	Path string // as the user would write it
	Err  error
}

func (e *ReadError) Error() string { return "read " + e.Path + ": " + e.Err.Error() }

// Unwrap is the reason.
func (e *ReadError) Unwrap() error { return e.Err }

type reader struct {
	stdin     io.Reader
	stdinRead bool
	files     []source.File
	names     map[string]bool
	owners    map[id]int // which path brought a file of the disk first
	errs      []error
}

func (r *reader) read(i int, path string) error {
	if path == "-" {
		if r.stdinRead {
			return nil
		}
		r.stdinRead = true
		return r.readStream(r.stdin, "stdin", "standard input")
	}
	info, err := os.Stat(path)
	if err != nil {
		return &ReadError{path, disk.Cause(err)}
	}
	if isStream(path, info) {
		f, err := os.Open(path)
		if err != nil {
			return &ReadError{path, disk.Cause(err)}
		}
		defer f.Close()
		return r.readStream(f, filepath.ToSlash(filepath.Clean(path)), path)
	}
	if err := checkRoot(path, info); err != nil {
		return err
	}
	prefix := filepath.ToSlash(filepath.Clean(path))
	if !info.IsDir() {
		prefix = filepath.ToSlash(filepath.Dir(path))
	}
	t := newTree(path, prefix, nil)
	if err := t.scan(); err != nil {
		return err
	}
	if err := t.finish(context.Background()); err != nil {
		return err
	}
	if len(r.files) == 0 { // mostly there is one path
		n := len(t.known)
		r.files, r.names, r.owners = make([]source.File, 0, n), make(map[string]bool, n), make(map[id]int, n)
	}
	for name, c := range t.known {
		r.add(i, c, filepath.ToSlash(filepath.Join(prefix, name)))
	}
	return t.err(nil)
}

func (r *reader) add(i int, c *content, name string) {
	at := id{c.stamp.dev, c.stamp.ino}
	owner, seen := r.owners[at]
	if r.names[name] || seen && owner != i {
		return
	}
	r.owners[at], r.names[name] = i, true
	r.files = append(r.files, c.file(name))
}

// isStream reports whether a path is what a shell puts in the place of a file: validate <(command). Such a path has no
// ending to go by, whatever it is open on.
func isStream(path string, info os.FileInfo) bool {
	if info.IsDir() {
		return false
	}
	return path == "/dev/stdin" || strings.HasPrefix(path, "/dev/fd/") || strings.HasPrefix(path, "/proc/self/fd/")
}

func (r *reader) readStream(in io.Reader, name, shown string) error {
	if in == nil {
		return &ReadError{shown, errors.New("there is none")}
	}
	b, err := io.ReadAll(io.LimitReader(in, source.MaxFileSize+1))
	if err != nil {
		return &ReadError{shown, disk.Cause(err)}
	}
	name += sniff(b)
	if r.names[name] {
		return &ReadError{shown, fmt.Errorf("its name %s is taken by a file", name)}
	}
	r.names[name] = true
	r.files = append(r.files, source.NewFile(name, b))
	return nil
}

// sniff is the ending for bytes that have no name.
func sniff(b []byte) string {
	b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\ufeff")), " \t\r\n")
	if len(b) > 0 && (b[0] == '{' || b[0] == '[') {
		return ".json"
	}
	return ".yaml"
}
