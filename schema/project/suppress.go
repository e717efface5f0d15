package project

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Marker starts a suppression in a comment:
//
//	# flexgw:ignore CODE[,CODE…] until YYYY-MM-DD: REASON
//
// Behind a value it is about its line; on a line of its own about the next line and the block that is indented below it.
// "flexgw:ignore-document" is about the whole YAML document, "flexgw:ignore-file" about the whole file. In CUE the comment
// starts with //. JSON has no comments: the project file's `suppress` is for it.
const Marker = "flexgw:ignore"

// meant is what somebody wrote who meant the Marker, alone or with its scope: in another spelling, or with another word of about
// its letters, which miswritten compares.
var meant = regexp.MustCompile(`(?i)flexgw(?:[ \t]*[:_-][ \t]*|[ \t]+)([a-z]{4,9})(?:[ \t]*[_-][ \t]*(?:document|file))?(?:$|[ \t\r\n:])`)

// miswritten is where a text has what was meant to be the Marker and is not; nil: nowhere. Prose about flexgw is none: a word that is
// only like "ignore", or stands apart from the name, must have a code behind it.
func miswritten(text []byte) []int {
	for from := 0; ; {
		m := meant.FindSubmatchIndex(text[from:])
		if m == nil {
			return nil
		}
		at, end, word := from+m[0], from+m[1], text[from+m[2]:from+m[3]]
		near := strings.EqualFold(string(word), "ignore")
		if joined := bytes.ContainsAny(text[at:from+m[2]], ":_-"); !near || !joined {
			near = (near || alike(string(word))) && codeBehind.Match(text[end:])
		}
		if near {
			return []int{at, end}
		}
		from = end - 1
	}
}

// codeBehind is what stands behind a word that is followed by a code.
var codeBehind = regexp.MustCompile(`^[ \t]*(?:[a-z*]+/[a-z0-9*-]+|\*)`)

// alike reports whether a word is probably a slip of "ignore", or another tool's word for it.
func alike(word string) bool {
	w := strings.ToLower(word)
	return diag.Nearest(w, []string{"ignore"}) != "" || slices.Contains([]string{"ignored", "ignores", "disable", "suppress", "nolint", "skip", "noqa"}, w)
}

// Marked reports whether a text may have suppressions in it, well written or not.
func Marked(text []byte) bool {
	return named(text) && (bytes.Contains(text, []byte(Marker)) || miswritten(text) != nil)
}

// named reports whether our name stands somewhere in a text, in whatever case: nearly no file has it, and all are asked.
func named(text []byte) bool {
	const name, x = "flexgw", 3
	for _, letter := range []byte("xX") { // rare, unlike the others
		for rest := text; ; {
			i := bytes.IndexByte(rest, letter)
			if i < 0 {
				break
			}
			if at := len(text) - len(rest) + i - x; at >= 0 && at+len(name) <= len(text) && strings.EqualFold(string(text[at:at+len(name)]), name) {
				return true
			}
			rest = rest[i+1:]
		}
	}
	return false
}

// Suppression accepts diagnostics for a while.
type Suppression struct {
	Codes  []Codes
	Reason string
	Until  time.Time // the last day on which it counts, midnight UTC
	At     diag.Range
	Object string // "Kind namespace/name"; "": every object

	files    *regexp.Regexp // of the project file: names of files, relative to its folder; nil: every file
	asked    syntax.Text    // files, as it is written
	idle     bool           // no file is called so: that is told
	under    string         // the folder or file that holds all that files can match; "": the folder of the project file
	file     string         // of a comment: its file
	from, to int            // of a comment: lines, both inclusive
	used     bool
}

// says reports whether another suppression is the same one, wherever in the file it stands.
func (s *Suppression) says(o *Suppression) bool {
	return s.At.File == o.At.File && slices.Equal(s.Codes, o.Codes) && s.Reason == o.Reason && s.Until.Equal(o.Until) && s.Object == o.Object && s.asked.Value == o.asked.Value
}

func (s *Suppression) match(d diag.Diagnostic, name func(string) string) bool {
	if !slices.ContainsFunc(s.Codes, func(c Codes) bool { return c.Match(d.Code) }) || s.Object != "" && s.Object != d.Object.String() {
		return false
	}
	if s.file == "" {
		return s.files == nil || s.files.MatchString(name(d.Subject.File))
	}
	return d.Subject.File == s.file && s.from <= int(d.Subject.Start.Line) && int(d.Subject.Start.Line) <= s.to
}

// Pattern compiles a name with * and **, relative to the folder of the project file. under is the folder that holds all that it
// can match; "": that of the project file.
func Pattern(glob string) (match func(name string) bool, under string, err error) {
	re, under, err := pattern(glob)
	if err != nil {
		return nil, "", err
	}
	return re.MatchString, under, nil
}

// pattern compiles a name with * and **. under is its part that has neither.
func pattern(glob string) (re *regexp.Regexp, under string, err error) {
	glob = path.Clean(glob)
	if !utf8.ValidString(glob) || path.IsAbs(glob) || glob == ".." || strings.HasPrefix(glob, "../") {
		return nil, "", fmt.Errorf("%q leaves the folder", glob)
	}
	under = glob
	if i := strings.IndexAny(glob, "*?"); i >= 0 {
		under = glob[:strings.LastIndexByte(glob[:i], '/')+1]
	}
	var b strings.Builder
	for i := 0; i < len(glob); i++ {
		switch {
		case strings.HasPrefix(glob[i:], "**/"):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(glob[i:], "**"):
			b.WriteString(".*")
			i++
		case glob[i] == '*':
			b.WriteString("[^/]*")
		case glob[i] == '?':
			b.WriteString("[^/]")
		default:
			j := i + 1
			for j < len(glob) && !strings.ContainsRune("*?", rune(glob[j])) {
				j++
			}
			b.WriteString(regexp.QuoteMeta(glob[i:j]))
			i = j - 1
		}
	}
	re, err = regexp.Compile("^(?:" + b.String() + ")$")
	return re, strings.TrimSuffix(under, "/"), err
}

// Comments finds the suppressions in the comments of one file, and what is wrong with them.
func Comments(file string, text []byte, known Known) ([]*Suppression, diag.List) {
	if !Marked(text) {
		return nil, nil
	}
	c := comments{file: file, known: known, lead: "#"}
	switch strings.ToLower(path.Ext(file)) {
	case ".json":
		return nil, nil
	case ".cue":
		c.lead = "//"
	}
	offset := 0
	for line := range strings.Lines(string(text)) {
		c.lines = append(c.lines, lineAt{strings.TrimRight(line, "\r\n"), offset})
		offset += len(line)
	}
	c.at, c.parsed = syntax.CommentsAt(file, text)
	if len(c.lines) > 0 {
		c.bom = len(text) - len(bytes.TrimPrefix(text, []byte("\uFEFF")))
		c.lines[0].text = strings.TrimPrefix(c.lines[0].text, "\uFEFF")
	}
	for i := range c.lines {
		c.line(i)
	}
	return c.found, c.ds
}

type comments struct {
	file  string
	known Known
	lead  string // of a comment
	lines []lineAt
	bom   int // bytes of a byte order mark, which are not in the first line

	at     map[int]bool // where comments begin
	parsed bool         // that is known

	found []*Suppression
	ds    diag.List
}

type lineAt struct {
	text   string
	offset int
}

// line looks for a suppression on the line i.
func (c *comments) line(i int) {
	text := c.lines[i].text
	m, slip := strings.Index(text, Marker), []int(nil)
	if m < 0 {
		if slip = miswritten([]byte(text)); slip == nil {
			return
		}
		m = slip[0]
	}
	before := strings.TrimRight(text[:m], " \t")
	head, ok := strings.CutSuffix(before, c.lead)
	if !ok || head != "" && !strings.HasSuffix(head, " ") && !strings.HasSuffix(head, "\t") {
		return // not at the start of a comment
	}
	begins := c.lines[i].offset + len(head)
	if i == 0 {
		begins += c.bom
	}
	if c.parsed && !c.at[begins] {
		return // in a text
	}
	start := utf8.RuneCountInString(text[:m]) + 1
	at := diag.Range{File: c.file, Start: diag.Pos{Line: int32(i + 1), Column: int32(start), Offset: int32(c.lines[i].offset + m)},
		End: diag.Pos{Line: int32(i + 1), Column: int32(utf8.RuneCountInString(text) + 1), Offset: int32(c.lines[i].offset + len(text))}}
	if slip != nil {
		word := strings.TrimRight(text[slip[0]:slip[1]], " \t:")
		c.bad(at, fmt.Sprintf("%q is no form of a suppression, and changes nothing", word), "write flexgw:ignore, flexgw:ignore-document or flexgw:ignore-file")
		return
	}
	s := &Suppression{At: at, file: c.file}
	rest := text[m+len(Marker):]
	switch scope, more, _ := strings.Cut(rest, " "); scope {
	case "":
		s.from, s.to = i+1, i+1
		if strings.TrimSpace(head) == "" {
			s.from, s.to = c.block(i)
		}
		rest = more
	case "-document":
		s.from, s.to = c.document(i)
		rest = more
	case "-file":
		s.from, s.to = 1, len(c.lines)
		rest = more
	default:
		c.bad(at, fmt.Sprintf("%q is no form of a suppression", Marker+scope), "write flexgw:ignore, flexgw:ignore-document or flexgw:ignore-file")
		return
	}
	if c.read(s, rest) {
		c.found = append(c.found, s)
	}
}

func (c *comments) bad(at diag.Range, summary, hint string) {
	c.ds = append(c.ds, diag.Diagnostic{Severity: diag.Error, Code: "project/bad-suppression", Subject: at, Summary: summary, Hint: hint})
}

// read reads CODES until DATE: REASON.
func (c *comments) read(s *Suppression, text string) bool {
	const form = "write # flexgw:ignore CODE until YYYY-MM-DD: REASON"
	head, reason, _ := strings.Cut(text, ":")
	var date string
	words := strings.FieldsFunc(head, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	if i := slices.Index(words, "until"); i >= 0 {
		if i+1 < len(words) {
			date = words[i+1]
		}
		words = words[:i]
	}
	if len(words) == 0 {
		c.bad(s.At, "a suppression names no code", form)
		return false
	}
	for _, w := range words {
		if summary, hint := c.known.unknown(Codes(w)); summary != "" {
			c.bad(s.At, summary, hint)
			return false
		}
		s.Codes = append(s.Codes, Codes(w))
	}
	var err error
	if s.Until, err = time.Parse(time.DateOnly, date); err != nil {
		if date != "" {
			c.bad(s.At, fmt.Sprintf("until is %q, expected a day such as 2027-01-31", date), "write year-month-day")
			return false
		}
		c.bad(s.At, "a suppression has no day on which it ends", form)
		return false
	}
	if s.Reason = strings.TrimSpace(reason); s.Reason == "" {
		c.bad(s.At, "a suppression has no reason", form)
		return false
	}
	return true
}

// block is the next line behind the comment on line i that is no comment itself, and what is indented below it.
func (c *comments) block(i int) (from, to int) {
	first := i + 1
	for first < len(c.lines) && c.idle(first) {
		first++
	}
	if first == len(c.lines) {
		return i + 1, i + 1
	}
	depth := indent(c.lines[first].text)
	item := strings.HasPrefix(strings.TrimLeft(c.lines[first].text, " \t"), "- ")
	last := first
	for j := first + 1; j < len(c.lines); j++ {
		if c.idle(j) {
			continue
		}
		text := strings.TrimLeft(c.lines[j].text, " \t")
		d := indent(c.lines[j].text)
		// A list may stand at the indentation of its key.
		if d < depth || d == depth && (item || !strings.HasPrefix(text, "- ") && text != "-") && !strings.HasPrefix(text, "}") && !strings.HasPrefix(text, "]") {
			break
		}
		last = j
	}
	return first + 1, last + 1
}

func (c *comments) idle(i int) bool {
	t := strings.TrimSpace(c.lines[i].text)
	return t == "" || strings.HasPrefix(t, c.lead)
}

func indent(s string) int { return len(s) - len(strings.TrimLeft(s, " \t")) }

// document is the YAML document around line i; elsewhere the file.
func (c *comments) document(i int) (from, to int) {
	from, to = 1, len(c.lines)
	if c.lead != "#" {
		return from, to
	}
	border := func(j int) bool { t := c.lines[j].text; return t == "---" || strings.HasPrefix(t, "--- ") }
	for j := i; j >= 0; j-- {
		if border(j) {
			from = j + 1
			break
		}
	}
	for j := i + 1; j < len(c.lines); j++ {
		if border(j) {
			to = j
			break
		}
	}
	return from, to
}
