package diag

import "strings"

// Nearest is the candidate that name was most likely meant to be, or "".
func Nearest(name string, candidates []string) string {
	best, least := "", max(1, len([]rune(name))/3)+1
	for _, c := range candidates {
		if d := Distance(strings.ToLower(name), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	if best != "" || len(name) < 3 {
		return best
	}
	for _, c := range candidates {
		if l, s := strings.ToLower(c), strings.ToLower(name); strings.HasPrefix(l, s) || strings.HasPrefix(s, l) && len(l) >= 3 {
			return c
		}
	}
	return ""
}

// Unmistakable reports whether name can only have been meant to be to, one of the candidates: the two differ in case or word
// separators alone or by very little, and no other candidate is as near.
func Unmistakable(name, to string, candidates []string) bool {
	plain := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", ".", "", " ", "").Replace(strings.ToLower(s))
	}
	a, b := plain(name), plain(to)
	d := Distance(a, b)
	if d > max(1, min(2, len([]rune(b))/4)) || len([]rune(b)) < 3 && d > 0 {
		return false
	}
	for _, c := range candidates {
		if c != to && Distance(a, plain(c)) <= d {
			return false
		}
	}
	return true
}

// Distance counts the insertions, deletions, substitutions and swaps of neighbours between two texts. Texts that are
// very long, or of very different length, are far from each other.
func Distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) > 8 || len(y)-len(x) > 8 || len(x) > 200 {
		return 1 << 20
	}
	before, last, row := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(y)]
}
