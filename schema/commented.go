package schema

import (
	"bytes"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// behindKey is what follows a key whose value was written without quotes, and begins with the sign of a comment.
var behindKey = regexp.MustCompile(`^["']?[ \t]*:[ \t]+(#\[.*\])[ \t]*(?:#.*)?\r?$`)

// commented explains values that are missing because they are comments: in YAML, #[…] without quotes is one.
func commented(set source.Set, ds diag.List) diag.List {
	for i := range ds {
		d := &ds[i]
		if d.Code != "shape/empty-value" && (d.Code != "shape/wrong-type" || !strings.Contains(d.Summary, " has no value")) {
			continue
		}
		if ext := strings.ToLower(path.Ext(d.Subject.File)); ext != ".yaml" && ext != ".yml" {
			continue
		}
		text, err := set.Bytes(d.Subject.File)
		from := int(d.Subject.End.Offset)
		if err != nil || from > len(text) {
			continue
		}
		line, _, _ := bytes.Cut(text[from:], []byte("\n"))
		m := behindKey.FindSubmatchIndex(line)
		if m == nil {
			continue
		}
		expression := string(line[m[2]:m[3]])
		quoted := yamlQuoted(expression)
		d.Summary = strings.Replace(d.Summary, " has no value", " has no value, for # begins a comment here", 1)
		d.Hint = "put the expression in quotes"
		if !diag.SecretName(strings.Trim(string(text[d.Subject.Start.Offset:from]), `"'`)) {
			d.Hint += ": " + quoted
		}
		at := diag.Range{File: d.Subject.File, Start: d.Subject.End, End: d.Subject.End}
		before, runes := int32(m[2]), int32(len([]rune(string(line[:m[2]]))))
		at.Start.Offset, at.Start.Column = at.Start.Offset+before, at.Start.Column+runes
		at.End = at.Start
		at.End.Offset, at.End.Column = at.End.Offset+int32(len(expression)), at.End.Column+int32(len([]rune(expression)))
		d.Edits, d.Fixes = nil, []diag.Fix{{Range: at, Text: quoted}}
	}
	return ds
}

// yamlQuoted is a text on one line in the quotes that need the fewest escapes.
func yamlQuoted(s string) string {
	if strings.Contains(s, "'") && !strings.ContainsAny(s, `"\`) {
		return strconv.Quote(s)
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
