package diag

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Redacted stands for a secret wherever text is shown.
const Redacted = "[redacted]"

// SecretName reports whether the value of a field of this name is to be kept out of sight: passwords, tokens, private keys and
// what looks like a misspelling of their names. A bare "key" counts: where it names a header instead, the caller knows better.
func SecretName(name string) bool {
	words := wordsOf(name)
	if len(words) == 0 {
		return false
	}
	first, last := words[0], words[len(words)-1]
	if len(words) > 1 && (slices.Contains(harmlessEnds, last) || slices.Contains(switches, first)) {
		return false
	}
	all := strings.Join(words, "")
	if all == "key" || all == "pass" || all == "pwd" || all == "psk" {
		return true
	}
	for _, w := range secretWords {
		if strings.Contains(all, w) {
			return true
		}
	}
	return near(all, "password") || near(all, "passphrase")
}

// secretWords mark the names of secrets wherever they stand in them.
var secretWords = []string{"password", "passwd", "passwort", "secret", "passphrase", "token", "credential", "apikey", "textkey", "signingkey",
	"sharedkey", "privatekey", "tlskey", "licensekey", "authorizationvalue", "accesskey", "accountkey", "encryptionkey"}

// harmlessEnds close the names of fields that are about a secret and hold none.
var harmlessEnds = []string{"url", "uri", "endpoint", "path", "type", "name", "header", "ttl", "expiry", "expiration", "expression", "location", "source",
	"origin", "length", "timeout", "file", "limit", "count", "selector", "field", "ref", "prefix", "info", "introspection"}

// switches begin the names of fields that say yes or no.
var switches = []string{"support", "supports", "skip", "use", "require", "required", "validate", "is", "has", "allow", "include", "forward", "send", "enable", "encrypt"}

// wordsOf are the words of a name in camelCase, kebab-case or snake_case, in lower case.
func wordsOf(name string) []string {
	var words []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			words = append(words, strings.ToLower(string(word)))
		}
		word = nil
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end()
			continue
		case unicode.IsUpper(r) && i > 0 && !unicode.IsUpper(runes[i-1]):
			end()
		}
		word = append(word, r)
	}
	end()
	return words
}

// near reports whether a becomes b by at most two insertions, deletions or substitutions.
func near(a, b string) bool {
	if len(a) < len(b)-2 || len(a) > len(b)+2 {
		return false
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)] <= 2
}

// around is how many bytes of a long line are looked at, on either side of what is shown of it.
const around = 32 << 10

// SecretAt reports whether the byte at offset of a file belongs to a secret. The file may be broken: it is judged by its lines.
func SecretAt(src []byte, offset int) bool { return SecretIn(src, offset, offset+1) }

// SecretIn reports whether any byte from one offset to another on the same line belongs to a secret.
func SecretIn(src []byte, from, to int) bool {
	if from < 0 || from > len(src) {
		return false
	}
	start, end := bytes.LastIndexByte(src[:from], '\n')+1, len(src)
	if i := bytes.IndexByte(src[from:], '\n'); i >= 0 {
		end = from + i
	}
	start, end = max(start, from-around), min(end, to+around)
	return slices.ContainsFunc(secretSpans(src, start, end), func(s stretch) bool { return start+s.from < to && from < start+s.to })
}

// Secret reports whether a text, of one or more lines, has a secret in it.
func Secret(text []byte) bool {
	for from := 0; from < len(text); {
		to := len(text)
		if i := bytes.IndexByte(text[from:], '\n'); i >= 0 {
			to = from + i
		}
		for at := from; at < to; at += around { // a long line in parts that overlap
			if len(secretSpans(text, max(from, at-around), min(to, at+around))) > 0 {
				return true
			}
		}
		from = to + 1
	}
	return false
}

// WithoutSecrets is d without its fixes when one of them would show a secret where it is written: half of a fix, or one with
// [redacted] in it, is worse than none. sources gives the text of a file; what cannot be looked at is taken for a secret.
func (d Diagnostic) WithoutSecrets(sources func(file string) ([]byte, error)) Diagnostic {
	return List{d}.WithoutSecrets(sources)[0]
}

// WithoutSecrets is a copy of l, see Diagnostic.WithoutSecrets.
func (l List) WithoutSecrets(sources func(file string) ([]byte, error)) List {
	var out List
	files := map[string]*lines{}
	for _, d := range l {
		if slices.ContainsFunc(d.Fixes, func(f Fix) bool { return Secret([]byte(f.Text)) || replacesSecret(f, sources, files) }) {
			d.Fixes = nil
		}
		out = append(out, d)
	}
	return out
}

// replacesSecret reports whether a fix rewrites a secret, to quote it perhaps. files are those that were looked at before.
func replacesSecret(f Fix, sources func(file string) ([]byte, error), files map[string]*lines) bool {
	file, known := files[f.Range.File]
	if !known {
		if sources != nil {
			if src, err := sources(f.Range.File); err == nil {
				file = &lines{src: src, line: 1}
			}
		}
		files[f.Range.File] = file
	}
	return file == nil || file.secretIn(int(f.Range.Start.Offset), int(max(f.Range.End.Offset, f.Range.Start.Offset+1)))
}

// stretch is a part of a line, in bytes.
type stretch struct{ from, to int }

var (
	keyed     = regexp.MustCompile(`("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z_][A-Za-z0-9_.-]*)[?!]?[ \t]*[:=][ \t]*`)
	nextField = regexp.MustCompile(`,[ \t]*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*:`)
	openValue = regexp.MustCompile(`^(?:[|>][-+0-9]*|[{\[]|\{\}|\[\]|null|~|true|false|"""|'''|#""")?[ \t]*,?[ \t]*(?:#.*)?$`)
	fromEnv   = regexp.MustCompile(`^["']?\$[A-Za-z_][A-Za-z0-9_]*["']?$`)
	pairValue = regexp.MustCompile(`(?:^|[\s{,-])["']?value["']?[ \t]*:`)
	pem64     = regexp.MustCompile(`LS0tLS1CRUdJ[A-Za-z0-9+/]+`) // base64 of "-----BEGI"
	pemStart  = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(.*)`)
	userInfo  = regexp.MustCompile(`://(\S+)@`)
	userOf    = regexp.MustCompile(addressOf + `["'](?:[A-Za-z][A-Za-z0-9+.-]*://|https?:/)?([^"']+)@`)
	bareUser  = regexp.MustCompile(addressOf + `(?:[A-Za-z][A-Za-z0-9+.-]*://|https?:/)?((?:[^\s"']|[ \t]+[^\s#"'])+)@`)
	scheme    = regexp.MustCompile(`(?i)\b(?:bearer|basic)[ \t]+([A-Za-z0-9+/._~=-]*[0-9=][A-Za-z0-9+/._~=-]*)`)
	jwt       = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?`)
)

// addressOf is the name of a field whose value is an address. Also where no protocol or a blank is in it, all before the @ is hidden.
const addressOf = `(?i)(?:address|ur[il]|service)["']?[ \t]*[:=][ \t]*`

// longestLine is how much of a line is looked at: a longer one is a secret from its beginning to its end.
const longestLine = 4 << 20

// secretSpans are the parts of the line src[from:to] that are not to be shown, sorted, without overlaps. What does not begin a
// line is taken as a part of a long one.
func secretSpans(src []byte, from, to int) []stretch {
	line := src[from:to]
	if len(line) > longestLine {
		return []stretch{{0, len(line)}}
	}
	var out []stretch
	if begins := from == 0 || src[from-1] == '\n'; begins && (base64ish(line) && inPrivateKey(src, from) || belowSecret(src, from, to)) {
		out = append(out, content(line))
	}
	out = append(out, keyedSecrets(src, from, to)...)
	for _, re := range []*regexp.Regexp{pemStart, userInfo, userOf, bareUser, scheme} {
		for _, m := range re.FindAllSubmatchIndex(line, -1) {
			out = append(out, stretch{m[2], m[3]})
		}
	}
	for _, m := range jwt.FindAllIndex(line, -1) {
		out = append(out, stretch{m[0], m[1]})
	}
	for _, m := range pem64.FindAllIndex(line, -1) {
		if b, _ := base64.RawStdEncoding.DecodeString(string(line[m[0]:m[1]])); bytes.Contains(b, []byte("PRIVATE KEY-----")) { // with an error it is what could be read
			out = append(out, stretch{m[0], m[1]})
		}
	}
	slices.SortFunc(out, func(a, b stretch) int { return a.from - b.from })
	var merged []stretch
	for _, s := range out {
		if s.from >= s.to {
			continue
		}
		if n := len(merged); n > 0 && s.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, s.to)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// content is a line without its indentation and the dash of a list; of "name: value" it is the value.
func content(line []byte) stretch {
	from := len(line) - len(bytes.TrimLeft(line, " \t"))
	for bytes.HasPrefix(line[from:], []byte("- ")) {
		from += 2
		from += len(line[from:]) - len(bytes.TrimLeft(line[from:], " \t"))
	}
	if m := keyed.FindIndex(line[from:]); m != nil && m[0] == 0 {
		from += m[1]
	}
	return stretch{from, len(bytes.TrimRight(line, " \t\r"))}
}

// keyedSecrets finds `password: value` in a line, in block or flow style.
func keyedSecrets(src []byte, from, to int) []stretch {
	line := src[from:to]
	var out []stretch
	var braces, brackets, counted int // of line[:counted]
	keys := keysOf{src: src, from: from, to: to}
	end := 0
	for at := 0; at < len(line); {
		m := keyed.FindSubmatchIndex(line[at:])
		if m == nil {
			break
		}
		for i := range m {
			m[i] += at
		}
		if at = m[1]; m[0] < end || !keys.secret(m) {
			continue
		}
		before := line[counted:m[0]]
		braces += bytes.Count(before, []byte("{")) - bytes.Count(before, []byte("}"))
		brackets += bytes.Count(before, []byte("[")) - bytes.Count(before, []byte("]"))
		counted = m[0]
		end = valueEnd(line, m[1], max(0, braces)+max(0, brackets))
		value := line[m[1]:end]
		if openValue.Match(value) || fromEnv.Match(value) {
			continue
		}
		out = append(out, stretch{m[1], end})
	}
	return out
}

// valueEnd is where the value that begins at from ends: at the next field of a flow mapping, else with the line.
func valueEnd(line []byte, from, open int) int {
	end := len(bytes.TrimRight(line, " \t\r"))
	if open == 0 || from >= end {
		return max(from, end)
	}
	at := from
	if q := line[from]; q == '"' || q == '\'' {
		for at++; at < end && line[at] != q; at++ {
			if q == '"' && line[at] == '\\' {
				at++
			}
		}
	}
	if at >= end {
		return end
	}
	if m := nextField.FindIndex(line[at:end]); m != nil {
		end = at + m[0]
	}
	if i := closedBeforeComment(line[at:end], open); i >= 0 {
		end = at + i
	}
	for ; open > 0 && end > from && (line[end-1] == '}' || line[end-1] == ']'); open-- {
		end = len(bytes.TrimRight(line[:end-1], " \t"))
	}
	return max(from, end)
}

// closedBeforeComment is where the comment begins with which a line ends, if all brackets that are open are closed right before it, and
// nobody can take it for a part of a secret; else -1.
func closedBeforeComment(rest []byte, open int) int {
	i := bytes.IndexByte(rest, '#')
	if i < 1 || rest[i-1] != ' ' && rest[i-1] != '\t' || !bytes.HasPrefix(rest[i:], []byte("# ")) && !bytes.HasPrefix(rest[i:], []byte("#flexgw")) {
		return -1
	}
	before := bytes.TrimRight(rest[:i], " \t")
	end := len(before)
	for n := len(before); open > 0 && n > 0 && (before[n-1] == '}' || before[n-1] == ']'); open-- {
		n = len(bytes.TrimRight(before[:n-1], " \t"))
	}
	if open > 0 {
		return -1
	}
	return end
}

// keysOf tells which keys of the line src[from:to] are names of secrets.
type keysOf struct {
	src           []byte
	from, to      int
	asked, header bool // whether the line, or one beside it, has a "value"
}

// secret reports whether a match of keyed is the name of a secret. A "key" that has a "value" beside it, or begins an item
// of a list, is the name of a header or a label.
func (k *keysOf) secret(m []int) bool {
	line := k.src[k.from:k.to]
	name := strings.Trim(string(line[m[2]:m[3]]), `"'`)
	if !SecretName(name) {
		return false
	}
	if !strings.EqualFold(name, "key") {
		return true
	}
	if !k.asked {
		k.asked, k.header = true, k.besideValue()
	}
	return !k.header && !beginsItem(line[:m[0]])
}

func (k *keysOf) besideValue() bool {
	if pairValue.Match(k.src[k.from:k.to]) {
		return true
	}
	if next := k.to + 1; next < len(k.src) {
		if i := bytes.IndexByte(k.src[next:], '\n'); i >= 0 && pairValue.Match(k.src[next:next+i]) {
			return true
		}
	}
	return k.from > 0 && pairValue.Match(k.src[bytes.LastIndexByte(k.src[:k.from-1], '\n')+1:k.from-1])
}

// beginsItem reports whether what stands before a key is the dash of a list, or the bracket or comma and the brace of one.
func beginsItem(before []byte) bool {
	const blanks = " \t"
	t := bytes.TrimRight(before, blanks)
	apart := len(t) < len(before)
	if inner, brace := bytes.CutSuffix(t, []byte("{")); brace {
		t = bytes.TrimRight(inner, blanks)
		if bytes.HasSuffix(t, []byte("[")) || bytes.HasSuffix(t, []byte("},")) {
			return true
		}
		apart = len(t) < len(inner)
	}
	t, dash := bytes.CutSuffix(t, []byte("-"))
	return apart && dash && len(bytes.TrimRight(t, blanks)) == 0
}

// farthest is how many lines above another are looked at: a file with a mistake on every line is not to be read again for each.
const farthest = 1000

// inPrivateKey reports whether a PEM private key is open where a line begins.
func inPrivateKey(src []byte, from int) bool {
	for at, n := from, 0; at > 0 && n < farthest; n++ {
		end := at - 1
		at = bytes.LastIndexByte(src[:end], '\n') + 1
		line := src[at:end]
		switch {
		case bytes.Contains(line, []byte("PRIVATE KEY-----")):
			return bytes.Contains(line, []byte("-----BEGIN "))
		case !base64ish(line) && !bytes.Contains(line, []byte("Proc-Type:")) && !bytes.Contains(line, []byte("DEK-Info:")):
			return false
		}
	}
	return false
}

// base64ish reports whether a line is nothing but base64.
func base64ish(line []byte) bool {
	for _, b := range bytes.TrimSpace(line) {
		if !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '+' || b == '/' || b == '=') {
			return false
		}
	}
	return true
}

// belowSecret reports whether a line stands inside the value of a secret's key that is further up: by its indentation.
func belowSecret(src []byte, from, to int) bool {
	line := src[from:to]
	if len(bytes.TrimSpace(line)) == 0 {
		return false
	}
	least, dash := indentation(line)
	for at, n := from, 0; at > 0 && (least > 0 || dash) && n < farthest; n++ {
		end := at - 1
		at = bytes.LastIndexByte(src[:end], '\n') + 1
		above := src[at:end]
		in, item := indentation(above)
		if t := bytes.TrimSpace(above); len(t) == 0 || t[0] == '#' || in > least || in == least && (!dash || item) {
			continue
		}
		least, dash = in, item
		all := keyed.FindAllSubmatchIndex(above, -1)
		if len(all) == 0 {
			continue
		}
		keys := keysOf{src: src, from: at, to: end}
		for _, m := range all {
			if keys.secret(m) {
				value := bytes.TrimSpace(above[m[1]:])
				if openValue.Match(value) && !bytes.HasSuffix(value, []byte(",")) || !bytes.HasSuffix(value, []byte(",")) && nextField.Find(value) == nil {
					return true
				}
			}
		}
	}
	return false
}

func indentation(line []byte) (columns int, item bool) {
	t := bytes.TrimLeft(line, " \t")
	return len(line) - len(t), bytes.HasPrefix(t, []byte("-")) && (len(t) == 1 || t[1] == ' ')
}

// redact replaces the secrets of a line, and moves a span of it, in runes, along.
func redact(line []byte, spans []stretch, from, to int) ([]byte, int, int) {
	if len(spans) == 0 {
		return line, from, to
	}
	var out []byte
	done, shown := 0, 0 // bytes of line that are dealt with, runes of out
	runes := 0          // of line[:done]
	mark := utf8.RuneCountInString(Redacted)
	newFrom, newTo := -1, -1
	place := func(col int, isEnd bool, at, width, target int, hidden bool) int {
		if col < at || col > at+width || isEnd && col == at || !isEnd && col == at+width {
			return -1
		}
		if !hidden {
			return target + col - at
		}
		if isEnd {
			return target + mark
		}
		return target
	}
	piece := func(text []byte, hidden bool) {
		n := utf8.RuneCount(text)
		if newFrom < 0 {
			newFrom = place(from, false, runes, n, shown, hidden)
		}
		if p := place(to, true, runes, n, shown, hidden); p >= 0 {
			newTo = p
		}
		runes += n
		if hidden {
			out, shown = append(out, Redacted...), shown+mark
		} else {
			out, shown = append(out, text...), shown+n
		}
	}
	for _, s := range spans {
		piece(line[done:s.from], false)
		piece(line[s.from:s.to], true)
		done = s.to
	}
	piece(line[done:], false)
	if newFrom < 0 {
		newFrom = shown + max(0, from-runes)
	}
	if newTo < 0 {
		newTo = shown
	}
	return out, newFrom, max(newTo, newFrom)
}
