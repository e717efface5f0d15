package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/flexgw/flexgw/schema/diag"
)

// invisibles are characters that look like nothing or like a space and yet are text to YAML.
var invisibles = map[rune]string{
	0x00A0: "no-break space", 0x00AD: "soft hyphen", 0x034F: "combining grapheme joiner", 0x180E: "Mongolian vowel separator",
	0x2000: "en quad", 0x2001: "em quad", 0x2002: "en space", 0x2003: "em space", 0x2004: "three-per-em space",
	0x2005: "four-per-em space", 0x2006: "six-per-em space", 0x2007: "figure space", 0x2008: "punctuation space",
	0x2009: "thin space", 0x200A: "hair space", 0x200B: "zero width space", 0x200C: "zero width non-joiner",
	0x200D: "zero width joiner", 0x200E: "left-to-right mark", 0x200F: "right-to-left mark", 0x2028: "line separator",
	0x2029: "paragraph separator", 0x202A: "left-to-right embedding", 0x202B: "right-to-left embedding",
	0x202C: "pop directional formatting", 0x202D: "left-to-right override", 0x202E: "right-to-left override",
	0x202F: "narrow no-break space", 0x205F: "medium mathematical space", 0x2060: "word joiner",
	0x2066: "left-to-right isolate", 0x2067: "right-to-left isolate", 0x2068: "first strong isolate",
	0x2069: "pop directional isolate", 0x3000: "ideographic space", 0x3164: "Hangul filler", 0xFEFF: "byte order mark",
}

// invisible warns of the first invisible character in the source of a plain scalar.
func (c *yamlConv) invisible(value string, from, end int) {
	if r, _ := utf8.DecodeRuneInString(value); strings.ContainsRune("“”„‟", r) {
		c.report(diag.Diagnostic{Severity: diag.Warning, Code: "yaml/typographic-quote", Subject: c.at(from),
			Summary: fmt.Sprintf("%c is a typographic quote, which is part of the text", r), Hint: `write " for a quote of YAML`, Fixes: c.straightQuotes(value, from, end)})
	}
	if strings.IndexFunc(value, isInvisible) < 0 {
		return
	}
	at := from + bytes.IndexFunc(c.src[from:end], isInvisible)
	if at < from {
		return
	}
	r, _ := utf8.DecodeRune(c.src[at:])
	c.report(diag.Diagnostic{Severity: diag.Warning, Code: "yaml/invisible-character", Subject: c.at(at),
		Summary: fmt.Sprintf("invisible character U+%04X (%s) is part of this text", r, invisibles[r]),
		Hint:    "delete it, or quote the text if it is meant", Fixes: c.visible(value, from, end)})
}

// straightQuotes turns the typographic quotes around a scalar into those of YAML, when that changes nothing else.
func (c *yamlConv) straightQuotes(value string, from, end int) []diag.Fix {
	_, open := utf8.DecodeRuneInString(value)
	last, closing := utf8.DecodeLastRuneInString(value)
	if len(value) <= open+closing || !strings.ContainsRune("“”„‟", last) || string(c.src[from:end]) != value || strings.ContainsAny(value, "\\\"\n") || strings.ContainsAny(value[open:len(value)-closing], "“”„‟") {
		return nil
	}
	return []diag.Fix{{Range: c.span(from, from+open), Text: `"`}, {Range: c.span(end-closing, end), Text: `"`}}
}

// visible takes the invisible characters out of a plain scalar; those that look like a space become one.
func (c *yamlConv) visible(value string, from, end int) []diag.Fix {
	if string(c.src[from:end]) != value || strings.Contains(value, "\n") {
		return nil
	}
	text := strings.TrimRight(strings.Map(func(r rune) rune {
		switch {
		case !isInvisible(r):
			return r
		case unicode.IsSpace(r) && r != 0x2028 && r != 0x2029:
			return ' '
		}
		return -1
	}, value), " ")
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	text = text[len(indent):]
	if strings.TrimSpace(string(c.src[c.lineBegin(from):from])) != "" {
		indent = "" // else what looks like the indentation was meant to be it
	}
	if text == "" || plain(text) != any(text) || strings.Contains(text, " #") || strings.Contains(text, ": ") {
		return nil // it would be read as something else
	}
	return []diag.Fix{{Range: c.span(from, end), Text: indent + text}}
}

// Invisible is the name of a character that looks like nothing or like a space and yet is text; "": it is none.
func Invisible(r rune) string { return invisibles[r] }

func isInvisible(r rune) bool {
	if r < utf8.RuneSelf {
		return false
	}
	_, ok := invisibles[r]
	return ok
}

// firstLine is the text of the first line at or after off that has any.
func (c *yamlConv) firstLine(off int) diag.Range {
	at := c.skip(off, "")
	return c.span(at, c.restOfLine(min(at, len(c.src))))
}

// syntaxError says in our words, and at the best place, why the library could not read on.
func (c *yamlConv) syntaxError(err error) diag.Diagnostic {
	d := diag.Diagnostic{Severity: diag.Error, Code: "yaml/syntax"}
	var e *yaml.LoadError
	if !errors.As(err, &e) {
		d.Subject, d.Summary = c.firstLine(c.part.from), strings.TrimPrefix(err.Error(), "yaml: ")
		return d
	}
	at, context := c.offset(e.Mark.Line, e.Mark.Column), c.part.from
	if e.Mark.Line == 0 {
		at = c.skip(c.part.from, "")
	}
	hasContext := e.ContextMark.Line > 0
	if hasContext {
		context = c.offset(e.ContextMark.Line, e.ContextMark.Column)
	}
	if open := c.quoteAcrossLines(at); open >= 0 {
		end := c.pos(at)
		d.Subject = c.span(open, c.restOfLine(open))
		d.Summary = fmt.Sprintf("the text that is quoted from here on ends at line %d column %d, in the middle of something else", end.Line, end.Column-1)
		d.Hint = "add the closing quote"
		return d
	}
	c.explain(&d, e, at, context)
	c.blameInvisible(&d)
	return d
}

// explain translates the library's messages. Those that are not in the table are passed on.
func (c *yamlConv) explain(d *diag.Diagnostic, e *yaml.LoadError, at, context int) {
	token, tokenRange := c.token(at)
	said := found(token)
	if diag.SecretAt(c.src, min(at, len(c.src))) {
		said = "something else" // what is said here ends in logs
	}
	d.Subject, d.Summary = tokenRange, e.Message
	opened := func(what string) []diag.Related {
		return []diag.Related{{Subject: c.at(context), Summary: what}}
	}
	place := c.pos(context)
	switch m := e.Message; {
	case e.Stage == "reader":
		c.control(d)
	case strings.Contains(m, "unexpected end of stream"), strings.Contains(m, "unexpected document indicator"):
		d.Subject, d.Summary, d.Hint = c.span(context, c.restOfLine(context)), "this quoted text is not closed", "add the closing quote"
	case (strings.Contains(m, "mapping values are not allowed") || strings.Contains(m, "did not find expected key") && !c.afterQuote(at)) && c.misaligned(d, at):
	case strings.Contains(m, "mapping values are not allowed"):
		d.Summary = `":" is not allowed here: the value before it is already complete`
		d.Hint = `check the indentation of this line, or quote a value that contains ": "`
	case strings.Contains(m, "could not find expected ':'") && c.dashesAlone(context):
		d.Subject = c.span(context, c.restOfLine(context))
		d.Summary, d.Hint = fmt.Sprintf("%s does not separate documents: that takes three dashes", quote(string(c.src[context:c.restOfLine(context)]))), "write ---"
	case strings.Contains(m, "could not find expected ':'"):
		d.Subject = c.span(context, c.restOfLine(context))
		text := quote(string(c.src[context:c.restOfLine(context)]))
		if diag.SecretIn(c.src, context, c.restOfLine(context)) {
			text = "this line"
		}
		d.Summary = fmt.Sprintf("%s has no \":\" after it", text)
		d.Hint = "write it as key: value, or indent it as part of the value above"
	case strings.Contains(m, "tab character that violates indentation"), strings.HasPrefix(token, "\t"):
		if i := bytes.IndexByte(c.src[at:c.restOfLineRaw(at)], '\t'); i >= 0 {
			d.Subject = c.at(at + i)
		}
		d.Summary, d.Hint = "a tab cannot be used for indentation", "indent with spaces"
	case strings.Contains(m, "cannot start any token"):
		r, n := utf8.DecodeRune(c.src[min(at, len(c.src)):])
		d.Subject = c.span(at, at+n)
		d.Summary, d.Hint = fmt.Sprintf("an unquoted value cannot begin with %q", string(r)), "quote the value"
	case strings.Contains(m, "expected ',' or") && c.afterQuote(at) && token != "":
		d.Summary = fmt.Sprintf("found %s after the closing quote of this value", said)
		d.Hint = `quote the whole value; a quote inside is written twice in '…', and as \" in "…". Or a comma is missing`
	case strings.Contains(m, "expected ',' or"):
		bracket := map[bool]string{true: "]", false: "}"}[strings.Contains(m, "']'")]
		d.Summary = fmt.Sprintf("expected \",\" or %q, found %s", bracket, said)
		d.Hint = fmt.Sprintf("close the bracket of line %d, or separate its entries with commas", place.Line)
		d.Related = opened("the bracket that is open")
		if at >= c.part.to {
			d.Subject, d.Related = c.at(context), nil
			d.Summary, d.Hint = "this bracket is not closed", fmt.Sprintf("add the closing %q", bracket)
		}
	case strings.Contains(m, "did not find expected key") && c.afterQuote(at):
		d.Summary = fmt.Sprintf("found %s after the closing quote of this value", said)
		d.Hint = `quote the whole value; a quote inside is written twice in '…', and as \" in "…"`
	case strings.Contains(m, "did not find expected key"):
		d.Summary = fmt.Sprintf("expected a key of the mapping that begins at line %d column %d, found %s", place.Line, place.Column, said)
		d.Hint = "check the indentation: the keys of one mapping begin in one column"
		d.Related = opened("the mapping begins here")
	case strings.Contains(m, "expected '-' indicator"):
		d.Summary = fmt.Sprintf("expected \"-\" of the list that begins at line %d column %d, found %s", place.Line, place.Column, said)
		d.Hint = "check the indentation: the dashes of one list stand in one column"
		d.Related = opened("the list begins here")
	case strings.Contains(m, "block sequence entries are not allowed"):
		d.Subject = c.at(at)
		d.Summary, d.Hint = `"-" cannot begin a list here`, "put the list on the line below its key"
	case strings.Contains(m, "mapping keys are not allowed"):
		d.Summary, d.Hint = `"?" cannot begin a key here`, "quote a value that begins with ?"
	case strings.Contains(m, "unknown anchor"):
		name := strings.TrimSuffix(strings.TrimPrefix(m, "unknown anchor '"), "' referenced")
		d.Code, d.Subject = "yaml/unknown-anchor", c.span(at, at+1+len(name))
		switch {
		case diag.SecretAt(c.src, at):
			d.Summary, d.Hint = "this value begins with *, which makes it an alias, and there is no such anchor", "put the value in quotes"
		case strings.HasPrefix(name, "."):
			d.Summary = fmt.Sprintf("%s begins with *, which makes it an alias, and there is no such anchor", quote("*"+name))
			d.Hint = fmt.Sprintf("quote it; as a pattern it is '.*%s'", regexp.QuoteMeta(name))
		default:
			d.Summary, d.Hint = fmt.Sprintf("alias %q has no anchor before it in this document", name), "define it with &"+name+", or quote a value that begins with *"
		}
	case strings.Contains(m, "expected alphabetic or numeric character"):
		sign := "*"
		for _, i := range []int{at - 1, context} {
			if i >= 0 && i < len(c.src) && (c.src[i] == '&' || c.src[i] == '*') {
				sign, d.Subject = string(c.src[i]), c.at(i)
				break
			}
		}
		what := map[string]string{"*": "an alias", "&": "an anchor"}[sign]
		d.Summary = fmt.Sprintf("an unquoted value cannot begin with %q unless it is %s, and no name follows here", sign, what)
		d.Hint = "quote the value"
	case strings.Contains(m, "unknown escape"):
		d.Subject = c.span(at, min(at+2, c.part.to))
		d.Summary = fmt.Sprintf("unknown escape %s in a double-quoted text", c.src[at:min(at+2, c.part.to)])
		if diag.SecretAt(c.src, at) {
			d.Summary = "unknown escape in a double-quoted text"
		}
		d.Hint = `write \\ for a backslash, or use single quotes`
	case strings.Contains(m, "did not find expected node content") && token == "" && at >= c.textEnd() && c.openBracket() >= 0:
		open := c.openBracket()
		d.Subject = c.at(open)
		d.Summary, d.Hint = "this bracket is not closed", fmt.Sprintf("add the closing %q", map[byte]string{'[': "]", '{': "}"}[c.src[open]])
	case strings.Contains(m, "did not find expected node content"):
		d.Summary, d.Hint = "expected a value, found "+said, "quote a value that begins with a special character"
	case strings.Contains(m, "<document start>"):
		d.Summary, d.Hint = fmt.Sprintf("expected the end of the document, found %s", said), "separate documents with ---"
	case strings.HasPrefix(m, "did not find expected "), strings.HasPrefix(m, "did not find the expected "):
		_, what, _ := strings.Cut(m, "expected ")
		d.Summary = fmt.Sprintf("expected %s, found %s", what, said)
	case strings.Contains(m, "exceeded max depth"):
		d.Code, d.Summary, d.Hint = "yaml/too-deep", fmt.Sprintf("values nest more than %d deep here", MaxDepth), "flatten the document"
	}
	if d.Hint == "" {
		d.Hint = "check the indentation, the quotes and the brackets here and just before"
	}
}

// dashesAlone reports whether a line holds dashes alone, more than the three that separate documents.
func (c *yamlConv) dashesAlone(line int) bool {
	text := c.src[line:c.restOfLine(line)]
	return line == c.lineBegin(line) && len(text) > 3 && len(bytes.Trim(text, "-")) == 0
}

// textEnd is the end of the part's last line that has any text.
func (c *yamlConv) textEnd() int {
	return c.part.from + len(bytes.TrimRight(c.src[c.part.from:c.part.to], " \t\r\n"))
}

// quoteAcrossLines is the start of the quoted text that ends right before at and began on an earlier line, or -1. A quote
// that lacks its closing one swallows all lines up to the next quote, which then closes it; the library complains there.
func (c *yamlConv) quoteAcrossLines(at int) int {
	found := -1
	c.flow(func(from, end int) {
		if end == at && bytes.IndexByte(c.src[from:end], '\n') >= 0 {
			found = from
		}
	}, func(int, byte) {})
	return found
}

// openBracket is the last flow bracket of the part that nothing closes, or -1.
func (c *yamlConv) openBracket() int {
	var open []int
	c.flow(func(int, int) {}, func(at int, b byte) {
		switch {
		case b == '[' || b == '{':
			open = append(open, at)
		case len(open) > 0:
			open = open[:len(open)-1]
		}
	})
	if len(open) == 0 {
		return -1
	}
	return open[len(open)-1]
}

// flow walks over a part that may be broken and tells of quoted texts (from the opening quote to behind the closing one)
// and of brackets, as far as they stand where a value may begin.
func (c *yamlConv) flow(quoted func(from, end int), bracket func(at int, b byte)) {
	begins := true
	for i := c.part.from; i < c.part.to; i++ {
		b := c.src[i]
		switch {
		case b == '#' && (i == c.part.from || isBlank(c.src[i-1]) || c.src[i-1] == '\n'):
			i = c.restOfLineRaw(i) - 1
			continue
		case begins && (b == '"' || b == '\''):
			end := c.closing(i)
			if end < 0 {
				return
			}
			quoted(i, end)
			i = end - 1
		case begins && (b == '[' || b == '{'):
			bracket(i, b)
			continue
		case b == ']' || b == '}':
			bracket(i, b)
		}
		begins = isBlank(b) || b == '\n' || b == '\r' || b == ','
	}
}

// closing is the offset behind the quote that closes the one at open, or -1.
func (c *yamlConv) closing(open int) int {
	q := c.src[open]
	for i := open + 1; i < c.part.to; i++ {
		switch {
		case q == '"' && c.src[i] == '\\':
			i++
		case q == '\'' && c.src[i] == q && i+1 < c.part.to && c.src[i+1] == q:
			i++
		case c.src[i] == q:
			return i + 1
		}
	}
	return -1
}

// afterQuote reports whether what stands at off follows the closing quote of a value on the same line.
func (c *yamlConv) afterQuote(off int) bool {
	off = min(off, c.part.to)
	start := max(bytes.LastIndexByte(c.src[:off], '\n')+1, c.part.from)
	before := bytes.TrimRight(c.src[start:off], " \t")
	if len(before) < 2 || off < c.part.to && (c.src[off] == '\n' || c.src[off] == '\r') {
		return false
	}
	q := before[len(before)-1]
	return (q == '"' || q == '\'') && bytes.Count(before, []byte{q})%2 == 0
}

// hush is text, unless what stands at off of src belongs to a secret.
func hush(src []byte, off int, text string) string {
	if diag.SecretAt(src, off) {
		return diag.Redacted
	}
	return text
}

// control points at the first character that YAML forbids, https://yaml.org/spec/1.2.2/#rule-c-printable.
func (c *yamlConv) control(d *diag.Diagnostic) {
	for i := c.part.from; i < c.part.to; {
		r, n := utf8.DecodeRune(c.src[i:])
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7F || r >= 0x80 && r < 0xA0 && r != 0x85 || r == 0xFFFE || r == 0xFFFF {
			d.Subject = c.at(i)
			d.Summary, d.Hint = fmt.Sprintf("control character U+%04X is not allowed in YAML", r), "delete it, or write it as an escape in double quotes"
			return
		}
		i += n
	}
}

// token is the text at off as far as a blank, and the range of it.
func (c *yamlConv) token(off int) (string, diag.Range) {
	off = min(off, len(c.src))
	end := off
	for end < c.part.to && c.src[end] != '\n' && c.src[end] != '\r' && (end == off || !isBlank(c.src[end])) {
		end++
	}
	return string(c.src[off:end]), c.span(off, end)
}

func (c *yamlConv) restOfLineRaw(off int) int {
	if i := bytes.IndexByte(c.src[off:], '\n'); i >= 0 {
		return off + i
	}
	return len(c.src)
}

func found(token string) string {
	if token == "" {
		return "the end of the document"
	}
	return quote(token)
}

// quote is s in quotes, shortened.
func quote(s string) string {
	if r := []rune(s); len(r) > 40 {
		s = string(r[:39]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// blameInvisible names an invisible character, outside quotes and comments, on the lines around a syntax error: it is
// the likely cause, and the one thing that the reader cannot see.
func (c *yamlConv) blameInvisible(d *diag.Diagnostic) {
	if c.ascii {
		return
	}
	last := d.Subject.Start.Line - 1
	first := last - 1
	for _, r := range d.Related {
		first = min(first, max(r.Subject.Start.Line-1, last-20))
	}
	for l := last; l >= max(first, 0); l-- {
		from := max(c.lineStart(int(l)), c.part.from)
		to := min(c.restOfLineRaw(from), c.part.to)
		if at := outsideQuotes(c.src[from:max(from, to)]); at >= 0 {
			r, _ := utf8.DecodeRune(c.src[from+at:])
			d.Code, d.Related = "yaml/invisible-character", append(d.Related, diag.Related{Subject: d.Subject, Summary: d.Summary})
			d.Subject = c.at(from + at)
			d.Summary = fmt.Sprintf("invisible character U+%04X (%s) breaks this YAML", r, invisibles[r])
			d.Hint = "delete it, or replace it by a space"
			text := ""
			if unicode.IsSpace(r) {
				text = " "
			}
			d.Fixes = []diag.Fix{{Range: d.Subject, Text: text}}
			return
		}
	}
}

// outsideQuotes is the offset of the first invisible character of a line that is neither quoted nor in a comment.
func outsideQuotes(line []byte) int {
	var open byte
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRune(line[i:])
		switch {
		case open != 0:
			if open == '"' && r == '\\' {
				n++
			} else if byte(r) == open && n == 1 {
				open = 0
			}
		case r == '"' || r == '\'':
			open = byte(r)
		case r == '#' && (i == 0 || isBlank(line[i-1])):
			return -1
		case isInvisible(r):
			return i
		}
		i += n
	}
	return -1
}
