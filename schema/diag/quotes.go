package diag

import "strings"

// Quotes says how likely it is that the words of another program are about a value: 0 when they do not repeat it, more the more
// of it they repeat. Programs put what they complain of at the end, behind a colon, so a value, or a part of one, that stands there counts
// for more than one that stands anywhere. Fewer than three bytes are a coincidence.
func Quotes(words, value string) int {
	const (
		least    = 3
		anywhere = 0
		part     = 1 << 20
		whole    = 1 << 21
	)
	end := strings.Trim(words[strings.LastIndex(words, ": ")+1:], " '\"`")
	switch {
	case len(value) < least:
		return 0
	case value == end:
		return whole + len(value)
	case len(end) >= least && strings.Contains(value, end):
		return part + len(end)
	case strings.Contains(words, value):
		return anywhere + len(value)
	}
	return 0
}
