package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/flexgw/flexgw/cli/lsp"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/fix"
	"github.com/flexgw/flexgw/schema/project"
	"github.com/flexgw/flexgw/schema/source"
)

// editorRoom is lsp's Room: the pipeline of validate on a folder, with texts of an editor laid over the files. Names are absolute.
type editorRoom struct {
	h      *editorHouse
	dir    string // with slashes
	single string // the only file; "": all of the folder
	again  atomic.Bool
	now    atomic.Pointer[settings] // the last ones; nil: not known yet

	files struct {
		sync.Mutex
		watch watch.Source // nil: each look reads all files
	}

	mu    sync.Mutex // of what is below, and of what pipe keeps
	pipe  *pipeline
	marks *watched
	from  settingsFrom

	outlines struct {
		sync.Mutex
		of map[string]outlineOf // by file
	}
}

func newEditorRoom(h *editorHouse, dir, single string) *editorRoom {
	r := &editorRoom{h: h, dir: dir, single: single, marks: &watched{}, pipe: newPipeline(h.env)}
	r.outlines.of = map[string]outlineOf{}
	r.open()
	return r
}

// open begins to watch the folder.
func (r *editorRoom) open() {
	r.files.Lock()
	defer r.files.Unlock()
	if r.files.watch == nil && r.single == "" {
		r.files.watch = watch.Later(filepath.FromSlash(r.dir), watch.Options{})
	}
}

// Changed implements lsp.Room.
func (r *editorRoom) Changed() <-chan struct{} {
	r.files.Lock()
	defer r.files.Unlock()
	if r.files.watch == nil {
		return nil
	}
	return r.files.watch.Changed()
}

// Close implements lsp.Room.
func (r *editorRoom) Close() {
	r.files.Lock()
	defer r.files.Unlock()
	if r.files.watch != nil {
		r.files.watch.Close()
		r.files.watch = nil
	}
}

// Again implements lsp.Room.
func (r *editorRoom) Again() {
	r.again.Store(true)
	r.open()
}

// onDisk are the files of the folder. Where there is one that cannot be read, validate judges the others, and so is it here; nobody
// watches then until the editor says that something has changed.
func (r *editorRoom) onDisk() (source.Set, error) {
	r.files.Lock()
	w := r.files.watch
	r.files.Unlock()
	if w != nil {
		set, err := w.Fetch(context.Background())
		if err == nil {
			files := slices.Clone(set.Files)
			for i := range files {
				files[i].Name = strings.TrimSuffix(r.dir, "/") + "/" + files[i].Name
			}
			return source.Set{Files: files}, nil
		}
		r.Close()
	}
	return watch.ReadPaths([]string{filepath.FromSlash(r.dir)}, nil)
}

// declares reports whether a file is among those of the room, whether or not the project excludes it.
func (r *editorRoom) declares(name string) bool {
	if r.single != "" {
		return name == r.single
	}
	rel, in := strings.CutPrefix(name, strings.TrimSuffix(r.dir, "/")+"/")
	if !in || !watch.IsDeclaration(rel) {
		return false
	}
	return !slices.ContainsFunc(strings.Split(rel, "/"), func(part string) bool { return strings.HasPrefix(part, ".") || part == "node_modules" })
}

// Counts implements lsp.Room.
func (r *editorRoom) Counts(name string) bool {
	if r.declares(name) {
		return true
	}
	s := r.now.Load()
	if s == nil {
		return strings.HasSuffix(name, "/"+project.FileName)
	}
	_, err := s.sources(source.Set{})(name)
	return err == nil
}

// read is what the room holds, with the texts of the editor; an error is about what could not be read beside it.
func (r *editorRoom) read(open lsp.Open) (source.Set, error) {
	var set source.Set
	var failed error
	if r.single == "" {
		set, failed = r.onDisk()
	}
	files := slices.Clone(set.Files)
	for _, name := range slices.Sorted(maps.Keys(open)) {
		if !r.declares(name) {
			continue
		}
		at, there := slices.BinarySearchFunc(files, name, func(f source.File, n string) int { return strings.Compare(f.Name, n) })
		f := source.NewFile(name, open[name])
		if there {
			files[at] = f
		} else {
			files = slices.Insert(files, at, f)
		}
	}
	return overlaid(besideOnDisk(source.NewSet(files)), open), failed
}

// overlaid has the texts of an editor in the place of files that are there.
func overlaid(set source.Set, open lsp.Open) source.Set {
	for i, f := range set.Files {
		if text, ok := open[f.Name]; ok && f.Beside {
			fresh := source.NewFile(f.Name, text)
			fresh.Beside = true
			set.Files = slices.Clone(set.Files)
			set.Files[i] = fresh
		}
	}
	return set
}

// one is a file with what it needs to be read alone: the rest of its CUE package.
func (r *editorRoom) one(open lsp.Open, name string) source.Set {
	text, ok := open[name]
	if !ok {
		return source.Set{}
	}
	return overlaid(besideOnDisk(source.NewSet([]source.File{source.NewFile(name, text)})), open)
}

// settingsFrom is what settings were read from: they are read anew when one of these is another one.
type settingsFrom struct {
	settings *settings
	read     map[string]source.Hash // of the files; zero: it could not be read
	cue      string                 // names of the CUE files: patterns of rules may match others
	nearest  string
}

// settle reads the settings if they may be others than before.
func (r *editorRoom) settle(open lsp.Open, set source.Set) (*settings, error) {
	text := func(name string) ([]byte, error) {
		if b, ok := open[filepath.ToSlash(filepath.Clean(name))]; ok {
			return b, nil
		}
		return os.ReadFile(name)
	}
	g := ground{dir: filepath.FromSlash(r.dir), text: text}
	next := settingsFrom{read: map[string]source.Hash{}, nearest: (&settings{ground: g}).nearestProject()}
	for _, f := range set.Files {
		if isCUE(f.Name) {
			next.cue += f.Name + "\n"
		}
	}
	if was := r.from; !r.again.Swap(false) && was.settings != nil && was.nearest == next.nearest && was.cue == next.cue {
		same := true
		for name, h := range was.read {
			same = same && hashOf(text(name)) == h
		}
		if same {
			return was.settings, nil
		}
	}
	g.text = func(name string) ([]byte, error) {
		b, err := text(name)
		next.read[name] = hashOf(b, err)
		return b, err
	}
	s, err := readSettingsOn(g, r.h.flags, r.h.env)
	if err != nil { // of a flag: the declarations are judged all the same
		s = &settings{ground: g, failOn: diag.Error}
		names, bad := newNaming("", g.dir)
		if bad != nil {
			return nil, errors.Join(err, bad)
		}
		s.names, s.judge.Name = names, names.of
	}
	next.settings, s.text = s, nil
	r.from = next
	if err != nil {
		r.from.settings = nil
	}
	r.now.Store(s)
	return s, err
}

func isCUE(name string) bool { return strings.EqualFold(filepath.Ext(name), ".cue") }

func hashOf(b []byte, err error) source.Hash {
	if err != nil {
		return source.Hash{}
	}
	return sha256.Sum256(b)
}

// Check implements lsp.Room.
func (r *editorRoom) Check(open lsp.Open) lsp.Found {
	r.mu.Lock()
	defer r.mu.Unlock()
	whole := false
	defer func() {
		if !whole { // it panicked: what the pipeline keeps may be half of something
			r.pipe, r.marks, r.from = newPipeline(r.h.env), &watched{}, settingsFrom{}
		}
	}()
	set, s, unread := r.prepared(open)
	list, failed := r.judge(set, s)
	whole = true
	return lsp.Found{List: list, Source: s.sources(set), Failed: errors.Join(unread, failed),
		Read: func(name string) bool {
			_, err := s.sources(set)(name)
			return err == nil
		},
		Page:  func(code diag.Code) string { return r.h.page(code, s.rules) },
		Fixes: func(of diag.List) diag.List { return schema.Resolve(set, slices.Clone(of)) },
	}
}

// prepared is what is judged, and how. mu is held.
func (r *editorRoom) prepared(open lsp.Open) (source.Set, *settings, error) {
	set, unread := r.read(open)
	s, failed := r.settle(open, set)
	if s == nil {
		s = &settings{failOn: diag.Error, names: &naming{}}
	}
	set = declared(set, s.judge.Project, s.names)
	set = withoutOwn(set, nil, append(s.rules.names(), s.base)...)
	return set, s, errors.Join(unread, failed)
}

// judge is validate on a set. mu is held.
func (r *editorRoom) judge(set source.Set, s *settings) (diag.List, error) {
	p := r.pipe
	p.today = r.h.env.now()
	p.load.Partial, p.load.RequireEnv, p.load.Target = s.partial || r.single != "", r.h.flags.Bool("require-env"), s.target
	p.asked, p.rules = s.judge.Names, s.rules.Rules
	own := *s
	own.judge.Comments, own.judge.Today, own.judge.Narrowed = nil, p.today, p.load.Partial
	judged, err := own.apply(set, r.marks, p.check(r.marks.watch(set)))
	if err != nil {
		return nil, err
	}
	list := judged.Reported
	if r.single == "" {
		here := strings.TrimSuffix(r.dir, "/") + "/"
		for i := range list { // people see names as from the folder
			d := &list[i]
			d.Summary, d.Hint = strings.ReplaceAll(d.Summary, here, ""), strings.ReplaceAll(d.Hint, here, "")
			d.Related = slices.Clone(d.Related)
			for j := range d.Related {
				d.Related[j].Summary = strings.ReplaceAll(d.Related[j].Summary, here, "")
			}
		}
	}
	return list, nil
}

// FixAll implements lsp.Room. Other files stay as they are.
func (r *editorRoom) FixAll(ctx context.Context, open lsp.Open, name string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	set, s, _ := r.prepared(open)
	result, err := fix.Apply(set, func(set source.Set) diag.List {
		if ctx.Err() != nil {
			return nil
		}
		list, _ := r.judge(set, s)
		list = slices.DeleteFunc(slices.Clone(list), func(d diag.Diagnostic) bool { return d.Subject.File != name })
		list = schema.Resolve(set, list)
		for i := range list {
			if slices.ContainsFunc(list[i].Fixes, func(f diag.Fix) bool { return f.Range.File != name }) {
				list[i].Fixes = nil
			}
		}
		return list
	})
	if err != nil || ctx.Err() != nil {
		return nil
	}
	for _, c := range result.Changed {
		if c.Name == name {
			return c.After
		}
	}
	return nil
}
