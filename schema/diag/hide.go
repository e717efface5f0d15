package diag

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// telling is how many bytes at the beginning of a long secret are it: messages shorten what they quote.
const telling = 12

// Hide is words without the secrets, as they are or as a quoted text has them, and without what begins as a long one does.
func Hide(words string, secrets []string) string {
	if len(secrets) == 0 || words == "" {
		return words
	}
	var all []string
	for _, s := range secrets {
		q := strconv.Quote(s)
		all = append(all, s, q[1:len(q)-1])
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }) // one may hold another
	for _, s := range slices.Compact(all) {
		words = hide(words, s)
	}
	return words
}

func hide(words, secret string) string {
	if secret == "" {
		return words
	}
	begin := secret[:min(len(secret), telling)]
	var b strings.Builder
	for {
		i := strings.Index(words, begin)
		if i < 0 {
			b.WriteString(words)
			return b.String()
		}
		n := len(begin)
		for n < len(secret) && i+n < len(words) && words[i+n] == secret[n] {
			n++
		}
		b.WriteString(words[:i] + Redacted)
		words = words[i+n:]
	}
}

// Hiding is a copy of l whose words do not show the secrets, and whose fixes and edits do not write them.
func (l List) Hiding(secrets []string) List {
	if len(secrets) == 0 {
		return l
	}
	out := slices.Clone(l)
	for i := range out {
		d := &out[i]
		d.Summary, d.Hint = Hide(d.Summary, secrets), Hide(d.Hint, secrets)
		d.Related = slices.Clone(d.Related)
		for j := range d.Related {
			d.Related[j].Summary = Hide(d.Related[j].Summary, secrets)
		}
		if slices.ContainsFunc(d.Fixes, func(f Fix) bool { return Hide(f.Text, secrets) != f.Text }) {
			d.Fixes = nil
		}
	}
	return out
}
