package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/project"
)

// output is one `--output FORMAT[=FILE]`.
type output struct {
	format string
	file   string // "": standard output
}

// parseOutputs reads the values of --output; none means text on standard output. Only one format may go there.
func parseOutputs(values []string, formats ...string) ([]output, error) {
	if len(values) == 0 {
		return []output{{format: formats[0]}}, nil
	}
	var outs []output
	toStdout := 0
	for _, v := range values {
		format, file, named := strings.Cut(v, "=")
		if !slices.Contains(formats, format) {
			return nil, usage("no output format %q; known are %s", format, strings.Join(formats, ", "))
		}
		switch {
		case named && file == "":
			return nil, usage("--output %s names no file", v)
		case file == "-":
			file = ""
		case declarationIn(file):
			return nil, usage("--output %s: %s holds declarations, which would be lost", v, file)
		case file != "" && slices.ContainsFunc(outs, func(o output) bool { return o.file == file }):
			return nil, usage("two outputs go to the file %s", file)
		}
		if file == "" {
			toStdout++
		}
		outs = append(outs, output{format, file})
	}
	if toStdout > 1 {
		return nil, usage("only one --output can go to standard output; give the others a file: --output json=report.json")
	}
	return outs, nil
}

// each opens the destination of every output in turn. One that fails keeps no other from being written.
func each(outs []output, stdout io.Writer, write func(format string, w io.Writer) error) error {
	var errs []error
	for _, o := range outs {
		errs = append(errs, o.write(stdout, write))
	}
	if err := errors.Join(errs...); err != nil {
		return world(err)
	}
	return nil
}

func (o output) write(stdout io.Writer, write func(format string, w io.Writer) error) error {
	if o.file == "" {
		return write(o.format, stdout)
	}
	var b bytes.Buffer
	err := write(o.format, &b)
	if err == nil {
		err = disk.Write(o.file, b.Bytes(), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write --output %s=%s: %w", o.format, o.file, disk.Cause(err))
	}
	return nil
}

// declares begins a declaration in YAML or CUE, indented perhaps, or in a list.
var declares = regexp.MustCompile(`(?m)^[ \t{-]*["']?apiVersion["']?[ \t]*:`)

// declarationIn reports whether a file holds declarations, or the project's settings: nothing that flexgw writes elsewhere may
// take its place.
func declarationIn(name string) bool {
	if path.Base(filepath.ToSlash(name)) == project.FileName {
		return true
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || !watch.IsDeclaration(filepath.ToSlash(name)) {
		return false
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return false
	}
	if filepath.Ext(name) == ".json" { // a report may quote what it is about
		var one struct{ APIVersion string }
		var list []struct{ APIVersion string }
		return json.Unmarshal(b, &one) == nil && one.APIVersion != "" || json.Unmarshal(b, &list) == nil && len(list) > 0 && list[0].APIVersion != ""
	}
	return declares.Match(b)
}

// colour reports whether w is a terminal that wants it (no-color.org).
func colour(w io.Writer, env Env) bool {
	if v, ok := env.Getenv("NO_COLOR"); ok && v != "" {
		return false
	}
	return terminal(w)
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
