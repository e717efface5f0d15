package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// name is a file as CI systems look for it.
func (r Report) name(file string) string {
	if r.Name == nil {
		return file
	}
	return r.Name(file)
}

// whole is what stands for the place of what has none: every CI system wants to hang a problem on a file.
func (r Report) whole() string {
	if len(r.Files) == 1 {
		return r.name(r.Files[0])
	}
	switch {
	case len(r.Paths) == 0:
		return r.name(".")
	case r.Paths[0] == "-":
		return "stdin"
	}
	return r.name(r.Paths[0])
}

// file is where a diagnostic is shown.
func (r Report) file(d diag.Diagnostic) string {
	if d.Subject.File == "" {
		return r.whole()
	}
	return r.name(d.Subject.File)
}

// named is a diagnostic with its files as CI systems look for them.
func (r Report) named(d diag.Diagnostic) diag.Diagnostic {
	d.Subject.File = r.file(d)
	d.Related = slices.Clone(d.Related)
	for i := range d.Related {
		if f := &d.Related[i].Subject.File; *f != "" {
			*f = r.name(*f)
		}
	}
	return d
}

// details are the hint and the other places of a diagnostic, a line each.
func details(d diag.Diagnostic) []string {
	var lines []string
	if d.Hint != "" {
		lines = append(lines, "hint: "+d.Hint)
	}
	for _, o := range d.Related {
		lines = append(lines, "see "+strings.Trim(o.Subject.String()+": "+o.Summary, ": "))
	}
	return lines
}

// entry is one thing to say about a file; exactly one of its parts is set.
type entry struct {
	found      *diag.Diagnostic // named
	index      int              // of what is found, in the report
	suppressed *Suppressed      // named
	unread     string           // why
}

// fileEntries is what there is to say about one file. Nothing means that it was read and is right.
type fileEntries struct {
	file    string
	entries []entry
}

// byFile is the report for formats that are made of files: all that were read and all that something is said about, sorted.
func (r Report) byFile() []fileEntries {
	at := map[string]int{}
	var all []fileEntries
	of := func(file string) *fileEntries {
		i, ok := at[file]
		if !ok {
			i = len(all)
			at[file] = i
			all = append(all, fileEntries{file: file})
		}
		return &all[i]
	}
	for _, f := range r.Files {
		of(r.name(f))
	}
	for i, d := range r.Diagnostics {
		d = r.named(d)
		f := of(d.Subject.File)
		f.entries = append(f.entries, entry{found: &d, index: i})
	}
	for _, s := range r.Suppressed {
		s.Diagnostic = r.named(s.Diagnostic)
		f := of(s.Diagnostic.Subject.File)
		f.entries = append(f.entries, entry{suppressed: &s})
	}
	for _, u := range r.Unread {
		f := of(r.unreadFile(u))
		f.entries = append(f.entries, entry{unread: u.Reason})
	}
	slices.SortFunc(all, func(a, b fileEntries) int { return cmp.Compare(a.file, b.file) })
	return all
}

func (r Report) unreadFile(u Unread) string {
	if u.File == "" {
		return r.whole()
	}
	return r.name(u.File)
}

// unreadText says what could not be read, and why.
func unreadText(file, reason string) string { return fmt.Sprintf("read %s: %s", file, reason) }

// lines are the first and last line that a range touches, at least 1: its end is exclusive.
func lines(at diag.Range) (first, last int) {
	first = max(int(at.Start.Line), 1)
	last = max(int(at.End.Line), first)
	if last > first && at.End.Column == 1 {
		last--
	}
	return first, last
}
