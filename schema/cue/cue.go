// Package cue holds the CUE module of the kinds and policies, for people who write their declarations in CUE.
//
// It evaluates no CUE. The files in flex/ that end in _gen.cue are made of the JSON Schemas by this package's test.
package cue

import (
	"embed"
	"io/fs"
)

//go:embed flex/*.cue
var files embed.FS

// Import is the path by which a CUE file imports the package.
const Import = "github.com/flexgw/flexgw/schema/cue/flex"

// File is one file of the package.
type File struct {
	Name string // without a folder
	Data []byte
}

// Files are the files of the package, sorted by name.
func Files() ([]File, error) {
	entries, err := fs.ReadDir(files, "flex")
	if err != nil {
		return nil, err
	}
	var out []File
	for _, e := range entries {
		data, err := files.ReadFile("flex/" + e.Name())
		if err != nil {
			return nil, err
		}
		out = append(out, File{e.Name(), data})
	}
	return out, nil
}
