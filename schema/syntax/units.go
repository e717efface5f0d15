package syntax

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// MaxDepth is how deep values may nest; deeper ones are refused (yaml/too-deep, json/too-deep, cue/too-deep).
const MaxDepth = 1000

// Units groups the files of a set by what is parsed as a whole, in the order of their first files. Files of other
// extensions are left out in silence. Only CUE files are read, for their package clauses and imports.
func Units(set source.Set) ([]Unit, diag.List) {
	units := make([]Unit, 0, len(set.Files))
	var cueFiles []source.File
	for _, f := range set.Files {
		switch strings.ToLower(path.Ext(f.Name)) {
		case ".yaml", ".yml", ".json":
			units = append(units, newUnit(f.Name, []source.File{f}, nil))
		case ".cue":
			cueFiles = append(cueFiles, f)
		}
	}
	cueUnits, ds := cueUnits(cueFiles)
	units = append(units, cueUnits...)
	slices.SortStableFunc(units, func(a, b Unit) int { return cmp.Compare(a.Files[0].Name, b.Files[0].Name) })
	return units, ds
}

func newUnit(name string, files []source.File, w *cueWorld) Unit {
	u := Unit{Name: name, Files: files, cue: w}
	if w == nil {
		u.Hash = files[0].Hash
		return u
	}
	h := sha256.New()
	for _, f := range append(slices.Clone(files), w.imported(files)...) {
		fmt.Fprintf(h, "%d:%s", len(f.Name), f.Name)
		h.Write(f.Hash[:])
	}
	h.Sum(u.Hash[:0])
	return u
}

// Parse is Units, and then Parse of each, in parallel. Documents come in the order of the set, diagnostics
// sorted.
func Parse(set source.Set) ([]*Document, diag.List) {
	units, ds := Units(set)
	type result struct {
		docs []*Document
		ds   diag.List
	}
	results := make([]result, len(units))
	InParallel(len(units), func(i int) { results[i].docs, results[i].ds = units[i].Parse() })
	var docs []*Document
	for _, r := range results {
		docs = append(docs, r.docs...)
		ds = append(ds, r.ds...)
	}
	return docs, ds.Sort()
}

// InParallel calls f for 0 … n-1 on GOMAXPROCS goroutines and returns when all calls have.
func InParallel(n int, f func(int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// InOrder calls f for 0 … n-1 on GOMAXPROCS goroutines, and on its own goroutine then for each of them in order, as soon as
// f is through with it.
func InOrder(n int, f, then func(int)) {
	finished := make(chan int, n)
	var wg sync.WaitGroup
	wg.Go(func() { InParallel(n, func(i int) { f(i); finished <- i }) })
	ready := make([]bool, n)
	next := 0
	for range n {
		for ready[<-finished] = true; next < n && ready[next]; next++ {
			then(next)
		}
	}
	wg.Wait()
}

// Parse reads the unit's files and returns its documents. A broken document hides no other of a YAML file; a broken
// JSON file has none, and of a broken CUE package those that do not depend on what is broken. Diagnostics are sorted.
func (u Unit) Parse() ([]*Document, diag.List) {
	var docs []*Document
	ds := u.Batches(func(b []*Document) { docs = append(docs, b...) })
	return docs, ds
}

// Batches is Parse for those who need no tree for long: it calls f with some documents at a time, in their order, so
// that the trees of a large file are not all in memory at once.
func (u Unit) Batches(f func([]*Document)) diag.List {
	return u.Lend(func(docs []*Document) bool { f(docs); return true })
}

// Lend is Batches for those who keep no tree: as soon as f returns, the memory of its documents' trees is used again, unless f
// says that some Node or list of Fields or Items is still wanted. Texts and ranges are no part of a tree.
func (u Unit) Lend(f func([]*Document) (kept bool)) diag.List {
	n := 0
	batch := func(roots []*Node) bool {
		docs := make([]*Document, len(roots))
		for i, root := range roots {
			docs[i] = &Document{Unit: u, Index: n + i, Root: root, Range: root.Range, Sops: takeSops(root)}
		}
		n += len(roots)
		return f(docs)
	}
	if u.cue != nil {
		roots, ds := parseCUEWithin(u, maxEvaluation)
		batch(roots)
		return ds.Sort()
	}
	x, ds := read(u.Files[0])
	switch {
	case x == nil:
		return ds
	case strings.EqualFold(path.Ext(u.Name), ".json"):
		roots, ds := parseJSON(x)
		batch(roots)
		return ds.Sort()
	}
	return parseYAML(x, batch).Sort()
}

// takeSops takes the field of SOPS out of a root. It is no field of any kind.
func takeSops(root *Node) *Field {
	i := indexOf(root.Fields, "sops")
	if i < 0 || root.Fields[i].Value.Kind != Mapping || root.Fields[i].Value.Get("mac") == nil {
		return nil
	}
	f := root.Fields[i]
	root.Fields = append(root.Fields[:i:i], root.Fields[i+1:]...)
	return &f
}

// read returns the index of a file that is UTF-8 text of a bearable size, or nil and the reason.
func read(f source.File) (*index, diag.List) {
	whole := diag.Range{File: f.Name}
	b, err := f.Bytes()
	if err != nil {
		return nil, diag.List{{Severity: diag.Error, Code: "source/unreadable", Subject: whole,
			Summary: "this file cannot be read: " + reason(err), Hint: "check that the file exists and may be read"}}
	}
	if len(b) > source.MaxFileSize {
		return nil, diag.List{{Severity: diag.Error, Code: "source/too-large", Subject: whole,
			Summary: fmt.Sprintf("this file is larger than the %d MiB that are read", source.MaxFileSize>>20),
			Hint:    "split the file, or move what is not a declaration elsewhere"}}
	}
	if bytes.HasPrefix(b, []byte("version https://git-lfs.github.com/spec/")) {
		return nil, diag.List{{Severity: diag.Error, Code: "source/lfs-pointer", Subject: whole,
			Summary: "this file is a Git LFS pointer: its content is not here", Hint: "keep declarations out of Git LFS, or, where a work tree is read, fetch it with `git lfs pull`"}}
	}
	x := newIndex(f.Name, b)
	if bad, what := notText(b); bad >= 0 {
		c := newCursor(&index{name: f.Name, src: b, lines: x.lines, start: x.start})
		p := c.pos(bad)
		return nil, diag.List{{Severity: diag.Error, Code: "source/not-text", Subject: diag.Range{File: f.Name, Start: p, End: p},
			Summary: "this file is not UTF-8 text: " + what, Hint: "save it as UTF-8, or move it out of the declarations"}}
	}
	return x, nil
}

// reason leaves the path out of a file system's error: the diagnostic names the file already, relative to its root.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// notText returns the offset of the first byte that is not UTF-8 text, and what is there, or -1.
func notText(b []byte) (int, string) {
	for _, m := range []struct{ mark, name string }{{"\xFF\xFE", "UTF-16, little endian"}, {"\xFE\xFF", "UTF-16, big endian"}} {
		if strings.HasPrefix(string(b[:min(len(b), 2)]), m.mark) {
			return 0, "its byte order mark says " + m.name
		}
	}
	if utf8.Valid(b) {
		if i := slices.Index(b, 0); i >= 0 {
			return i, "byte 0x00"
		}
		return -1, ""
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if b[i] == 0 || r == utf8.RuneError && n == 1 {
			return i, fmt.Sprintf("byte 0x%02X", b[i])
		}
		i += n
	}
	return -1, ""
}
