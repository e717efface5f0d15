package cli

import (
	"os"
	"path"
	"strings"

	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// A CUE file is no unit: what is named is judged with the rest of its package and with what it imports, wherever that is.

// readJudged is readPaths for those who judge what they read.
func readJudged(paths []string, env Env) (source.Set, error) {
	set, err := readPaths(paths, env)
	return besideOnDisk(set), err
}

func besideOnDisk(set source.Set) source.Set {
	return schema.WithBeside(set, func(dir string) []source.File {
		entries, _ := os.ReadDir(dir) // what cannot be read is missing, and that is said where it is imported
		var names []string
		for _, e := range entries {
			if name := e.Name(); path.Ext(name) == ".cue" && !strings.HasPrefix(name, ".") && !e.IsDir() {
				names = append(names, path.Join(dir, name))
			}
		}
		found, _ := watch.ReadPaths(names, nil)
		return found.Files
	})
}

// besideIn is besideOnDisk for what read finds: in the index, or at a revision.
func besideIn(set source.Set, read func(paths []string) (source.Set, diag.List, error)) source.Set {
	return schema.WithBeside(set, func(dir string) []source.File {
		all, _, _ := read([]string{dir})
		var found []source.File
		for _, f := range all.Files {
			if path.Dir(f.Name) == dir && path.Ext(f.Name) == ".cue" {
				found = append(found, f)
			}
		}
		return found
	})
}
