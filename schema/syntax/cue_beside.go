package syntax

import (
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"

	"github.com/flexgw/flexgw/schema/source"
)

// maxAbove bounds how far up the module of a package is looked for.
const maxAbove = 64

// WithBeside adds to a set what its CUE files need and nobody named: the other files of their packages, the module file above
// them, and the packages that they import. folder returns the CUE files of one folder, not of those below it, under names that
// go with those of the set ("../cue.mod/module.cue"); it is asked for each folder once. A set without CUE is returned as it is.
func WithBeside(set source.Set, folder func(dir string) []source.File) source.Set {
	b := beside{folder: folder, names: map[string]bool{}, listed: map[string][]source.File{}, roots: map[string]string{}}
	var own []source.File
	for _, f := range set.Files {
		b.names[f.Name] = true
		if strings.EqualFold(path.Ext(f.Name), ".cue") {
			own = append(own, f)
		}
	}
	for _, f := range own {
		if _, _, ok := insideModule(f.Name); !ok {
			b.follow(f)
		}
	}
	if len(b.found) == 0 {
		return set
	}
	out := source.NewSet(slices.Concat(set.Files, b.found))
	out.Revision = set.Revision // of what was asked for
	return out
}

type beside struct {
	folder func(string) []source.File
	names  map[string]bool          // of all files that are known
	listed map[string][]source.File // by folder
	roots  map[string]string        // by folder; "": it is in no module
	found  []source.File
}

func (b *beside) list(dir string) []source.File {
	files, ok := b.listed[dir]
	if !ok {
		files = b.folder(dir)
		b.listed[dir] = files
	}
	return files
}

// follow takes the rest of a file's package, and what it imports.
func (b *beside) follow(f source.File) {
	h, dir := head(f), path.Dir(f.Name)
	if h.pkg != "" {
		b.take(dir, h.pkg)
	}
	for _, i := range h.imports {
		p := ast.ParseImportPath(i)
		root, module := b.root(dir)
		if isStandard(i) || root == "" {
			continue
		}
		name := p.Qualifier
		if name == "" {
			name = path.Base(p.Path)
		}
		if rest, ok := strings.CutPrefix(p.Path, module); ok && module != "" && (rest == "" || rest[0] == '/') {
			b.take(path.Join(root, rest), name)
			continue
		}
		for _, kind := range vendors() {
			b.take(path.Join(root, "cue.mod", kind, p.Path), name)
		}
	}
}

// take adds the files of a package.
func (b *beside) take(dir, pkg string) {
	for _, f := range b.list(dir) {
		if !b.names[f.Name] && head(f).pkg == pkg {
			b.add(f)
			b.follow(f)
		}
	}
}

func (b *beside) add(f source.File) {
	b.names[f.Name], f.Beside = true, true
	b.found = append(b.found, f)
}

// root is the folder of the module that a folder is in, and the path of the module. The file that says so is taken.
func (b *beside) root(dir string) (root, module string) {
	if known, ok := b.roots[dir]; ok {
		root = known
	} else {
		for at, n := dir, 0; n < maxAbove; at, n = path.Join(at, ".."), n+1 {
			if slices.ContainsFunc(b.list(path.Join(at, "cue.mod")), isModuleFile) {
				root = at
				break
			}
			if at == "/" {
				break
			}
		}
		b.roots[dir] = root
	}
	if root == "" {
		return "", ""
	}
	files := b.list(path.Join(root, "cue.mod"))
	f := files[slices.IndexFunc(files, isModuleFile)]
	if !b.names[f.Name] {
		b.add(f)
	}
	return root, modulePath(f)
}

func isModuleFile(f source.File) bool { return path.Base(f.Name) == "module.cue" }
