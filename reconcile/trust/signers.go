package trust

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// signer is one line of a file of allowed signers.
// Source: https://man.openbsd.org/ssh-keygen.1#ALLOWED_SIGNERS
type signer struct {
	at         string // FILE:LINE
	principals string // patterns, with commas between them
	ca         bool   // key signs certificates, not commits
	namespaces string // patterns; "": any
	after      time.Time
	before     time.Time // it still counts in that second, as ssh-keygen has it; zero: for ever
	key        ssh.PublicKey
}

// parseSigners reads the whole file: one line that is wrong makes all of it an error, because what it was to say is not known.
func parseSigners(name string, b []byte, zone *time.Location) ([]signer, error) {
	list := []signer{} // no line is not the same as no file
	for i, text := range strings.Split(string(b), "\n") {
		text = strings.TrimSuffix(text, "\r")
		l := line{text: text, rest: strings.TrimLeft(text, " \t")}
		if l.rest == "" || l.rest[0] == '#' {
			continue
		}
		s, err := l.signer(zone)
		if err != nil {
			return nil, &FileError{File: name, Line: i + 1, Column: len([]rune(text[:len(text)-len(l.rest)])) + 1, Message: err.Error()}
		}
		s.at = name + ":" + strconv.Itoa(i+1)
		list = append(list, s)
	}
	return list, nil
}

// line is one line while it is read; rest is what is still to be read, so that its beginning is where an error is.
type line struct{ text, rest string }

func (l *line) signer(zone *time.Location) (s signer, err error) {
	if s.principals, err = l.word(); err != nil {
		return s, err
	}
	if s.principals == "" {
		return s, fmt.Errorf("no principals, expected e-mail addresses with commas between them")
	}
	if kind, _, _ := strings.Cut(l.rest, " "); kind != "" && !isKeyType(strings.TrimRight(kind, "\t")) {
		if err := l.options(&s, zone); err != nil {
			return s, err
		}
	}
	s.key, err = l.key()
	return s, err
}

// word takes one word, which may stand in double quotes.
func (l *line) word() (string, error) {
	in := l.rest
	var w string
	if strings.HasPrefix(in, `"`) {
		end := strings.IndexByte(in[1:], '"')
		if end < 0 {
			return "", fmt.Errorf("a quote is not closed")
		}
		w, in = in[1:1+end], in[end+2:]
		if in != "" && in[0] != ' ' && in[0] != '\t' {
			return "", fmt.Errorf("text behind a closing quote")
		}
	} else if end := strings.IndexAny(in, " \t"); end >= 0 {
		w, in = in[:end], in[end:]
	} else {
		w, in = in, ""
	}
	if strings.ContainsRune(w, '"') {
		return "", fmt.Errorf("a quote within a word")
	}
	l.rest = strings.TrimLeft(in, " \t")
	return w, nil
}

func isKeyType(s string) bool {
	return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-sha2-") || strings.HasPrefix(s, "sk-ssh-") || strings.HasPrefix(s, "sk-ecdsa-")
}

// options takes the options of a line. They are those of ssh-keygen; one that is not known might limit the key.
func (l *line) options(s *signer, zone *time.Location) error {
	seen := map[string]bool{}
	for {
		end := strings.IndexAny(l.rest, "=, \t")
		if end < 0 {
			end = len(l.rest)
		}
		name := strings.ToLower(l.rest[:end])
		if seen[name] {
			return fmt.Errorf("option %s is given twice", name)
		}
		seen[name] = true
		here := l.rest
		value := ""
		switch name {
		case "cert-authority":
			s.ca, l.rest = true, l.rest[end:]
		case "namespaces", "valid-after", "valid-before":
			l.rest = l.rest[end:]
			var ok bool
			if value, ok = l.quoted(); !ok {
				l.rest = here
				return fmt.Errorf(`option %s has no value in double quotes, expected %s="…"`, name, name)
			}
		default:
			return fmt.Errorf("neither an option nor a key: %.60q, expected cert-authority, namespaces, valid-after, valid-before or a key", l.rest[:end])
		}
		var err error
		switch name {
		case "namespaces":
			if s.namespaces = value; value == "" {
				err = fmt.Errorf("namespaces is empty: the key would never count")
			}
		case "valid-after":
			s.after, err = absoluteTime(value, zone)
		case "valid-before":
			s.before, err = absoluteTime(value, zone)
		}
		if err != nil {
			l.rest = here
			return err
		}
		if strings.HasPrefix(l.rest, ",") {
			l.rest = l.rest[1:]
			continue
		}
		if l.rest != "" && l.rest[0] != ' ' && l.rest[0] != '\t' {
			return fmt.Errorf("text behind option %s, expected a comma or a space", name)
		}
		l.rest = strings.TrimLeft(l.rest, " \t")
		if !s.after.IsZero() && !s.before.IsZero() && !s.before.After(s.after) {
			return fmt.Errorf("valid-before is not after valid-after")
		}
		return nil
	}
}

// quoted takes ="value", in which \" is a quote.
func (l *line) quoted() (string, bool) {
	in, ok := strings.CutPrefix(l.rest, `="`)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(in); i++ {
		switch {
		case in[i] == '\\' && i+1 < len(in) && in[i+1] == '"':
			i++
			b.WriteByte('"')
		case in[i] == '"':
			l.rest = in[i+1:]
			return b.String(), true
		default:
			b.WriteByte(in[i])
		}
	}
	return "", false
}

// absoluteTime reads YYYYMMDD, YYYYMMDDHHMM and YYYYMMDDHHMMSS, in zone, or in UTC with a Z at the end.
func absoluteTime(s string, zone *time.Location) (time.Time, error) {
	digits, utc := strings.CutSuffix(strings.ToUpper(s), "Z")
	if utc {
		zone = time.UTC
	}
	layout := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	t, err := time.ParseInLocation(layout, digits, zone)
	if layout == "" || err != nil || strings.Trim(digits, "0123456789") != "" || t.Unix() <= 0 {
		return t, fmt.Errorf("%.40q is no time, expected YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with a Z at the end for UTC", s)
	}
	return t, nil
}

// key takes a key, and leaves the comment behind it.
func (l *line) key() (ssh.PublicKey, error) {
	here := l.rest
	if here == "" {
		return nil, fmt.Errorf("no key, expected a type and base64 as in a file .pub")
	}
	f := strings.Fields(l.rest)
	l.rest = here
	if len(f) < 2 {
		return nil, fmt.Errorf("no key behind %.60q, expected base64 as in a file .pub", f[0])
	}
	blob, err := base64.StdEncoding.DecodeString(f[1])
	if err != nil {
		return nil, fmt.Errorf("the key is no base64: %w", err)
	}
	k, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return nil, fmt.Errorf("no key of a kind that is known: %w", err)
	}
	if k.Type() != f[0] {
		return nil, fmt.Errorf("the key says that it is %s, the line that it is %.60q", k.Type(), f[0])
	}
	return k, nil
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// matchList says whether a list of patterns has s: one of them matches, and none that begins with an exclamation mark does.
// Source: https://man.openbsd.org/ssh_config.5#PATTERNS
func matchList(s, list string) bool {
	found := false
	for p := range strings.SplitSeq(list, ",") {
		p, not := strings.CutPrefix(p, "!")
		if !match(s, p) {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}

// match compares with one pattern: * is any text, ? any byte.
func match(s, pattern string) bool {
	star, from := -1, 0 // the last star, and where what it stands for ends
	i, p := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			i, p = i+1, p+1
		case star >= 0:
			from++
			i, p = from, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
