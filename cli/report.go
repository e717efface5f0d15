package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
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
		format, file, _ := strings.Cut(v, "=")
		if !slices.Contains(formats, format) {
			return nil, usage("no output format %q; known are %s", format, strings.Join(formats, ", "))
		}
		if file == "-" {
			file = ""
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

// each opens the destination of every output in turn.
func each(outs []output, stdout io.Writer, write func(format string, w io.Writer) error) error {
	for _, o := range outs {
		if err := o.write(stdout, write); err != nil {
			return world(err)
		}
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

// counts is the summary of a check.
type counts struct {
	Files     int `json:"files"`
	Documents int `json:"documents"`
	Errors    int `json:"errors"`
	Warnings  int `json:"warnings"`
	Notes     int `json:"notes"`
}

func count(files, documents int, l diag.List) counts {
	return counts{files, documents, l.Count(diag.Error), l.Count(diag.Warning), l.Count(diag.Note)}
}

// writeJSON is the shape of design.md, section 4.
func writeJSON(w io.Writer, c counts, l diag.List) error {
	if l == nil {
		l = diag.List{}
	}
	return indented(w, struct {
		SchemaVersion int       `json:"schemaVersion"`
		Summary       counts    `json:"summary"`
		Diagnostics   diag.List `json:"diagnostics"`
	}{1, c, l})
}

func indented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeText prints the diagnostics with their source lines and a closing line. Partly read means that there is more.
func writeText(w io.Writer, env Env, set source.Set, c counts, l diag.List, verbose, partlyRead bool) error {
	p := diag.Printer{Sources: sources(set), Color: colour(w, env), Notes: verbose}
	if err := p.Print(w, l); err != nil {
		return err
	}
	if shown := c.Errors + c.Warnings; shown > 0 || verbose && c.Notes > 0 {
		fmt.Fprintln(w)
	}
	hidden := ""
	if c.Notes > 0 && !verbose {
		hidden = " (--verbose shows them)"
	}
	verdict := "ok"
	switch {
	case c.Errors > 0:
		verdict = "invalid"
	case partlyRead:
		verdict = "incomplete"
	}
	_, err := fmt.Fprintf(w, "%s: %s in %s, %s, %s, %s%s\n", verdict, plural(c.Documents, "document"), plural(c.Files, "file"),
		plural(c.Errors, "error"), plural(c.Warnings, "warning"), plural(c.Notes, "note"), hidden)
	return err
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func sources(set source.Set) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		i, ok := slices.BinarySearchFunc(set.Files, name, func(f source.File, n string) int { return strings.Compare(f.Name, n) })
		if !ok {
			return nil, os.ErrNotExist
		}
		return set.Files[i].Bytes()
	}
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
