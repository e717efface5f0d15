// Package project is what a repository says about its own checks: the target release, severities, accepted problems.
//
// It judges no declaration and reads no file: it is handed what was found, and says what of it is reported, and how.
package project

import (
	_ "embed"
	"fmt"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// FileName is what the file is called, in the folder of the repository that it is about.
const FileName = ".flexgw.yaml"

// Misnamed are names that people give the file instead; nobody reads them.
func Misnamed() []string {
	return []string{".flexgw.yml", ".flexgw.json", ".flexgw.cue", ".flexgw", "flexgw.yaml", "flexgw.yml"}
}

// Stray is the warning of a file that has one of the Misnamed; none if it holds nothing of a project's settings.
func Stray(f source.File) diag.List {
	b, err := f.Bytes()
	if err != nil || !setting.Match(b) {
		return nil
	}
	first, _, _ := strings.Cut(string(b), "\n")
	start := diag.Pos{Line: 1, Column: 1}
	end := diag.Pos{Line: 1, Column: int32(1 + utf8.RuneCountInString(strings.TrimRight(first, "\r"))), Offset: int32(len(strings.TrimRight(first, "\r")))}
	return diag.List{{Severity: diag.Warning, Code: "project/wrong-name", Subject: diag.Range{File: f.Name, Start: start, End: end},
		Summary: fmt.Sprintf("settings of a repository are read from %s alone, and this file is called %s", FileName, path.Base(f.Name)),
		Hint:    fmt.Sprintf("rename it, or name it with --config %s", f.Name)}}
}

// setting is a field of the file.
var setting = regexp.MustCompile(`(?m)^[ \t"]*(?:targetVersion|severity|suppress|baseline|rules|partial|exclude)"?[ \t]*:`)

//go:embed project.schema.json
var shape []byte

// Schema is the JSON Schema of the file.
func Schema() []byte { return shape }

// Project is a decoded file. The zero Project changes nothing.
type Project struct {
	Target   ir.Release
	Levels   []Level
	Suppress []*Suppression
	Baseline syntax.Text   // a path relative to the file; zero: none
	Rules    []syntax.Text // paths relative to the file
	Partial  bool

	exclude []exclusion
	files   []fileNames // what else names files by a pattern
}

// fileNames is a pattern of files, as it is written.
type fileNames struct {
	text  syntax.Text
	what  string // the setting
	under string // the folder or file that holds all that it can match
	re    *regexp.Regexp
	of    *Suppression // nil: an exclusion's
}

// exclusion is what holds no declarations.
type exclusion struct {
	fileNames
	below *regexp.Regexp // what is below a folder of that name
}

// Excluded reports whether a file, by its name relative to the folder of the project file, holds no declarations.
func (p *Project) Excluded(name string) bool {
	return slices.ContainsFunc(p.exclude, func(x exclusion) bool { return x.re.MatchString(name) || x.below.MatchString(name) })
}

// Idle are warnings of patterns that name nothing. there reports whether there is a file or a folder at or below a folder, of a
// name that matches, wherever declarations were looked for.
func (p *Project) Idle(there func(under string, match func(name string) bool) bool) diag.List {
	var ds diag.List
	all := slices.Clone(p.files)
	for _, x := range p.exclude {
		all = append(all, x.fileNames)
	}
	for _, n := range all {
		idle := !there(n.under, n.re.MatchString)
		if n.of != nil {
			n.of.idle = idle
		}
		if !idle {
			continue
		}
		hint := "mend the pattern, or remove it; it is relative to the folder of this file"
		if strings.ContainsAny(n.text.Value, `[]{}!\\`) {
			hint = "only * (within a folder), ** (across folders) and ? (one character) are patterns; other characters stand for themselves, and folders are parted by /"
		}
		ds = append(ds, diag.Diagnostic{Severity: diag.Warning, Code: "project/idle-pattern", Subject: n.text.Range,
			Summary: fmt.Sprintf("no file or folder is called %q, so this %s does nothing", n.text.Value, n.what), Hint: hint})
	}
	return ds
}

// Level gives codes a severity.
type Level struct {
	Codes    Codes
	Severity diag.Severity
	Off      bool // not reported at all
}

// Codes names one code, or those that a pattern matches: an area ("link/*"), "*/plain-text", or all ("*").
type Codes string

// Match reports whether a code is among them.
func (c Codes) Match(code diag.Code) bool {
	parts := strings.Split(string(c), "*")
	rest, ok := strings.CutPrefix(string(code), parts[0])
	if len(parts) == 1 || !ok {
		return ok && rest == ""
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[last])
}

// precision orders what matches: a code before a pattern before all; among patterns the one that says more.
func (c Codes) precision() int {
	if !strings.Contains(string(c), "*") {
		return math.MaxInt
	}
	return len(c) - strings.Count(string(c), "*")
}

// Known says which codes there are. The zero Known knows nothing, and finds no code wrong.
type Known struct {
	Has   func(code string) bool
	Names []string // sorted; for "did you mean"
}

// unknown complains of codes that nothing reports; the result is empty when they are known.
func (k Known) unknown(c Codes) (summary, hint string) {
	if k.Has == nil {
		return "", ""
	}
	s := string(c)
	if strings.Contains(s, "*") {
		if s == "*" || slices.ContainsFunc(k.Names, func(n string) bool { return c.Match(diag.Code(n)) }) {
			return "", ""
		}
		if area, whole := strings.CutSuffix(s, "/*"); whole {
			return fmt.Sprintf("no code starts with %q", area+"/"), "flexgw explain lists the codes"
		}
		return fmt.Sprintf("no code matches %q", s), "flexgw explain lists the codes"
	}
	if k.Has(s) {
		return "", ""
	}
	if to := diag.Nearest(s, k.Names); to != "" {
		return fmt.Sprintf("there is no code %q", s), fmt.Sprintf("did you mean %q?", to)
	}
	return fmt.Sprintf("there is no code %q", s), "flexgw explain lists the codes"
}

// ParseLevel reads the CODE=SEVERITY of a flag.
func ParseLevel(s string, known Known) (Level, error) {
	codes, word, ok := strings.Cut(s, "=")
	if !ok || codes == "" {
		return Level{}, fmt.Errorf("%q is not CODE=SEVERITY, such as link/no-routes=error", s)
	}
	if summary, hint := known.unknown(Codes(codes)); summary != "" {
		return Level{}, fmt.Errorf("%s; %s", summary, hint)
	}
	l, ok := levelOf(Codes(codes), word)
	if !ok {
		return Level{}, fmt.Errorf("%q is no severity: error, warning, note or off", word)
	}
	return l, nil
}

func levelOf(c Codes, word string) (Level, bool) {
	for _, s := range []diag.Severity{diag.Note, diag.Warning, diag.Error} {
		if s.String() == word {
			return Level{Codes: c, Severity: s}, true
		}
	}
	return Level{Codes: c, Off: true}, word == "off"
}

// Parse decodes the file. What is wrong with it is an error at its place; what is right counts all the same. Which codes are
// known is asked for when all is decoded that names none: the project's own rules may have some.
func Parse(f source.File, known func(*Project) Known) (*Project, diag.List) {
	p := &Project{}
	docs, ds := syntax.Parse(source.Set{Files: []source.File{f}})
	if len(docs) == 0 {
		return p, schema.WithSteps(ds)
	}
	if len(docs) > 1 {
		ds = append(ds, bad(docs[1].Range, "there is a second document; one is read", "write one document"))
	}
	root, more, err := schema.Shape(shape, docs[0].Root)
	if err != nil {
		panic(fmt.Sprintf("project: %v", err)) // the schema is a constant
	}
	// "off" is written without quotes: flexgw alone reads the file, and takes the word for no boolean.
	more = slices.DeleteFunc(more, func(d diag.Diagnostic) bool {
		return d.Code == "shape/ambiguous-scalar" && len(d.Edits) == 1 && d.Edits[0].Value == any("off")
	})
	if ds = append(ds, more...); root.IsNull() || root.Kind != syntax.Mapping {
		return p, schema.WithSteps(ds.Sort())
	}
	root, dropped := sound(root, more)
	return p, schema.WithSteps(append(ds, p.decode(root, dropped, known)...).Sort())
}

// sound is the file without the settings that do not fit its shape: the entry of a list or of a mapping that has the mistake, or
// the whole field. dropped are those of them that stand in `suppress`: more than their shape may be wrong.
func sound(root *syntax.Node, wrong diag.List) (kept *syntax.Node, dropped []*syntax.Node) {
	within := func(from, to diag.Pos) bool {
		return slices.ContainsFunc(wrong, func(d diag.Diagnostic) bool {
			return d.Severity == diag.Error && from.Offset <= d.Subject.Start.Offset && d.Subject.Start.Offset < to.Offset
		})
	}
	faulty := func(f syntax.Field) bool { return within(f.Range.Start, f.Value.Range.End) }
	out := *root
	out.Fields = nil
	for _, f := range root.Fields {
		if faulty(f) {
			v := *f.Value
			v.Fields = slices.DeleteFunc(slices.Clone(v.Fields), faulty)
			v.Items = nil
			for _, item := range f.Value.Items {
				if !within(item.Range.Start, item.Range.End) {
					v.Items = append(v.Items, item)
				} else if f.Name == "suppress" {
					dropped = append(dropped, item)
				}
			}
			if len(v.Fields) == len(f.Value.Fields) && len(v.Items) == len(f.Value.Items) {
				continue // the field itself is wrong
			}
			f.Value = &v
		}
		out.Fields = append(out.Fields, f)
	}
	return &out, dropped
}

const patternHint = "write a name relative to the folder of this file, with * within a folder, or ** across folders"

func bad(at diag.Range, summary, hint string) diag.Diagnostic {
	return diag.Diagnostic{Severity: diag.Error, Code: "project/bad-setting", Subject: at, Summary: summary, Hint: hint}
}

func (p *Project) decode(root *syntax.Node, dropped []*syntax.Node, codes func(*Project) Known) diag.List {
	var raw struct {
		Target   syntax.Text   `flex:"targetVersion"`
		Severity *syntax.Node  `flex:"severity"`
		Suppress *syntax.Node  `flex:"suppress"`
		Baseline syntax.Text   `flex:"baseline"`
		Rules    []syntax.Text `flex:"rules"`
		Partial  bool          `flex:"partial"`
		Exclude  []syntax.Text `flex:"exclude"`
	}
	ds := root.Decode(&raw)
	p.Baseline, p.Rules, p.Partial = raw.Baseline, raw.Rules, raw.Partial
	if t := raw.Target; t.Value != "" {
		r, err := ir.ParseRelease(t.Value)
		if err != nil {
			ds = append(ds, bad(t.Range, err.Error(), "leave it out for the newest"))
		}
		p.Target = r
	}
	for _, t := range raw.Exclude {
		re, under, err := pattern(t.Value)
		if err != nil {
			ds = append(ds, bad(t.Range, fmt.Sprintf("%q is no pattern of files here", t.Value), patternHint))
			continue
		}
		below, _, err := pattern(t.Value + "/**")
		if err != nil {
			panic(fmt.Sprintf("project: %v", err)) // it is one without what was added
		}
		p.exclude = append(p.exclude, exclusion{fileNames{t, "exclude", under, re, nil}, below})
	}
	known := codes(p)
	if raw.Severity != nil {
		for _, f := range raw.Severity.Fields {
			if summary, hint := known.unknown(Codes(f.Name)); summary != "" {
				ds = append(ds, bad(f.Range, summary, hint))
				continue
			}
			if l, ok := levelOf(Codes(f.Name), f.Value.Text); ok {
				p.Levels = append(p.Levels, l)
			}
		}
	}
	if raw.Suppress != nil {
		for _, item := range raw.Suppress.Items {
			s, more := suppression(item, known)
			ds = append(ds, more...)
			if !more.HasErrors() {
				p.Suppress = append(p.Suppress, s)
				if s.files != nil {
					p.files = append(p.files, fileNames{s.asked, "suppression", s.under, s.files, s})
				}
			}
		}
	}
	for _, item := range dropped {
		_, more := suppression(item, known)
		// What is missing, or no text, is said of its shape.
		ds = append(ds, slices.DeleteFunc(more, func(d diag.Diagnostic) bool { return d.Code != "project/bad-setting" || d.Subject == (diag.Range{}) })...)
	}
	return ds
}

func suppression(n *syntax.Node, known Known) (*Suppression, diag.List) {
	var raw struct {
		Code   syntax.Text `flex:"code"`
		File   syntax.Text `flex:"file"`
		Object syntax.Text `flex:"object"`
		Reason syntax.Text `flex:"reason"`
		Until  syntax.Text `flex:"until"`
	}
	ds := n.Decode(&raw)
	if summary, hint := known.unknown(Codes(raw.Code.Value)); summary != "" {
		ds = append(ds, bad(raw.Code.Range, summary, hint))
	}
	until, err := time.Parse(time.DateOnly, raw.Until.Value)
	if err != nil {
		ds = append(ds, bad(raw.Until.Range, fmt.Sprintf("until is %q, expected a day such as 2027-01-31", raw.Until.Value), "write year-month-day"))
	}
	s := &Suppression{Codes: []Codes{Codes(raw.Code.Value)}, Reason: raw.Reason.Value, Until: until, At: n.Locate("code"), Object: raw.Object.Value}
	if raw.File.Value != "" {
		if s.files, s.under, err = pattern(raw.File.Value); err != nil {
			ds = append(ds, bad(raw.File.Range, fmt.Sprintf("file %q is no pattern", raw.File.Value), patternHint))
		}
		s.asked = raw.File
	}
	return s, ds
}
