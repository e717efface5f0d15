// Package watch reads declarations from the disk or from a Git repository, and says when those on the disk may have changed.
//
// It does not parse what it reads: a file counts by its name (.yaml, .yml, .json, .cue). Files and folders whose names
// start with a dot are left out, unless a caller names one itself. Symbolic links are followed; one that leads back to a
// folder above it, or nowhere, is an error that names it, because to leave its files out could take an API away.
// Kubernetes' volumes (visible links through a hidden ..data that is swapped) and whole folders swapped by renaming a
// link are therefore seen as what they are: one change. Without inotify (Linux) it looks again every other second.
package watch

import (
	"context"
	"path"
	"strings"

	"github.com/flexgw/flexgw/schema/source"
)

// Source is where declarations come from. It is level-triggered: Changed says only that Fetch may differ.
type Source interface {
	// Fetch reads everything there is now. An error means that nothing was learned: keep what you have.
	Fetch(ctx context.Context) (source.Set, error)
	// Changed receives when another Fetch may give another Set. It is never closed, and holds one signal.
	Changed() <-chan struct{}
	// Close ends the watching. Fetch fails from then on.
	Close() error
}

// IsDeclaration reports whether a file of this name holds declarations: .yaml, .yml, .json or .cue, not hidden.
func IsDeclaration(name string) bool {
	if hidden(path.Base(name)) {
		return false
	}
	switch strings.ToLower(path.Ext(name)) { // .YAML is no other language
	case ".yaml", ".yml", ".json", ".cue":
		return true
	}
	return false
}

// hidden is what nobody looks into for declarations: what begins with a dot, and the packages of JavaScript.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || name == "node_modules" }
