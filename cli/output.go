package cli

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
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
	f, err := os.Create(o.file)
	if err != nil {
		return err
	}
	if err := write(o.format, f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// colour reports whether w is a terminal that wants it (no-color.org).
func colour(w io.Writer, env Env) bool {
	if v, ok := env.Getenv("NO_COLOR"); ok && v != "" {
		return false
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
