package watch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// version is one of https://semver.org, with or without a leading v. What is left out is zero: 1.2 is 1.2.0.
type version struct {
	part [3]uint64
	n    int // parts that were written
	pre  []string
}

func parseVersion(s string) (version, bool) {
	var v version
	s = strings.TrimPrefix(s, "v")
	s, _, _ = strings.Cut(s, "+") // what was built does not count
	core, pre, isPre := strings.Cut(s, "-")
	parts := strings.Split(core, ".")
	if len(parts) > 3 {
		return v, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 63)
		if err != nil || strings.HasPrefix(p, "+") {
			return v, false
		}
		v.part[i] = n
	}
	v.n = len(parts)
	if isPre {
		v.pre = strings.Split(pre, ".")
		if slices.Contains(v.pre, "") {
			return v, false
		}
	}
	return v, true
}

// compare follows section 11 of the specification.
func (v version) compare(w version) int {
	if c := slices.Compare(v.part[:], w.part[:]); c != 0 {
		return c
	}
	switch {
	case len(v.pre) == 0 || len(w.pre) == 0:
		return cmp.Compare(len(w.pre), len(v.pre)) // a release is after all that led to it
	}
	for i := range min(len(v.pre), len(w.pre)) {
		a, errA := strconv.ParseUint(v.pre[i], 10, 63)
		b, errB := strconv.ParseUint(w.pre[i], 10, 63)
		var c int
		switch {
		case errA == nil && errB == nil:
			c = cmp.Compare(a, b)
		case errA == nil:
			c = -1
		case errB == nil:
			c = 1
		default:
			c = strings.Compare(v.pre[i], w.pre[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(v.pre), len(w.pre))
}

// bound is one comparison.
type bound struct {
	op string // = < <= > >=
	v  version
}

func (b bound) holds(v version) bool {
	c := v.compare(b.v)
	switch b.op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	case ">=":
		return c >= 0
	}
	return c == 0
}

// versions is a range: one of the lists must hold whole.
type versions [][]bound

// parseVersions reads a range: comparisons with a blank or a comma between them (all must hold), alternatives with || between
// them. 1.2, 1.2.x, 1.x, ^1.2 and ~1.2 are what they are elsewhere; * is every release.
func parseVersions(s string) (versions, error) {
	var out versions
	for alternative := range strings.SplitSeq(s, "||") {
		var all []bound
		words := strings.FieldsFunc(alternative, func(r rune) bool { return r == ' ' || r == ',' })
		for i := 0; i < len(words); i++ {
			word := words[i]
			if strings.Trim(word, "<>=^~") == "" && i+1 < len(words) { // ">= 1.2"
				i++
				word += words[i]
			}
			more, err := parseBound(word)
			if err != nil {
				return nil, fmt.Errorf("%q is no range of versions: %w", s, err)
			}
			all = append(all, more...)
		}
		if len(words) == 0 {
			return nil, fmt.Errorf("%q is no range of versions; expected for example 1.x, ^1.2 or >=1.2 <2", s)
		}
		out = append(out, all)
	}
	return out, nil
}

func parseBound(word string) ([]bound, error) {
	op := word[:len(word)-len(strings.TrimLeft(word, "<>=^~"))]
	text := word[len(op):]
	for _, wild := range []string{".*", ".x", ".X"} { // 1.x.x is 1
		for strings.HasSuffix(text, wild) {
			text = strings.TrimSuffix(text, wild)
		}
	}
	if text == "*" || text == "x" || text == "X" {
		return nil, nil
	}
	v, ok := parseVersion(text)
	if !ok {
		return nil, fmt.Errorf("%q is no version", word)
	}
	from := bound{">=", v}
	switch op {
	case "<", "<=", ">", ">=":
		if v.n < 3 && (op == ">" || op == "<=") { // > 1.2 is after all of 1.2
			return []bound{{map[string]string{">": ">=", "<=": "<"}[op], v.next(v.n - 1)}}, nil
		}
		return []bound{{op, v}}, nil
	case "", "=":
		if v.n == 3 {
			return []bound{{"=", v}}, nil
		}
		return []bound{from, {"<", v.next(v.n - 1)}}, nil
	case "~":
		return []bound{from, {"<", v.next(min(v.n-1, 1))}}, nil
	case "^":
		at := 0
		for at < v.n-1 && v.part[at] == 0 {
			at++
		}
		return []bound{from, {"<", v.next(at)}}, nil
	}
	return nil, fmt.Errorf("%q is no comparison; known are = < <= > >= ^ ~", op)
}

// next is the first version whose part is one more; what leads to it is before it too.
func (v version) next(part int) version {
	n := version{n: 3, pre: []string{"0"}}
	copy(n.part[:part+1], v.part[:part+1])
	n.part[part]++
	return n
}

// hold reports whether a version is in the range. One that leads to a release is only where a comparison names one that leads
// to the same.
func (vs versions) hold(v version) bool {
	return slices.ContainsFunc(vs, func(all []bound) bool {
		if len(v.pre) > 0 && !slices.ContainsFunc(all, func(b bound) bool { return len(b.v.pre) > 0 && b.v.part == v.part && b.v.pre[0] != "0" }) {
			return false
		}
		return !slices.ContainsFunc(all, func(b bound) bool { return !b.holds(v) })
	})
}

// newest is the ref of the newest tag within a range that was read before.
func newest(refs map[string]plumbing.Hash, within string) (string, bool) {
	vs, err := parseVersions(within)
	if err != nil {
		return "", false
	}
	best, found := version{}, ""
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		name, ok := strings.CutPrefix(ref, "refs/tags/")
		if !ok {
			continue
		}
		if v, ok := parseVersion(name); ok && v.n == 3 && vs.hold(v) && (found == "" || v.compare(best) > 0) {
			best, found = v, ref
		}
	}
	return found, found != ""
}
