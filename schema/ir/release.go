package ir

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Release is a release of the product, such as 1.9 or 1.12.3. The zero Release is the newest one that is known.
type Release struct{ Major, Minor, Patch int }

// newest is the newest release that is known (flex-resources.md, 12).
var newest = Release{1, 14, 0}

// Releases are the minor releases that are known, the oldest first, as people write them.
func Releases() []string {
	var all []string
	for n := range newest.Minor + 1 {
		all = append(all, Release{Major: newest.Major, Minor: n}.String())
	}
	return all
}

// ParseRelease reads "1.9", "1.9.2" or "v1.9".
func ParseRelease(s string) (Release, error) {
	var n [3]int
	parts := 0
	for p := range strings.SplitSeq(strings.TrimPrefix(s, "v"), ".") {
		v, err := strconv.ParseUint(p, 10, 16)
		if err != nil || parts == len(n) {
			return Release{}, fmt.Errorf("%q is no release such as 1.9 or 1.12.3", s)
		}
		n[parts] = int(v)
		parts++
	}
	if parts < 2 {
		return Release{}, fmt.Errorf("%q is no release such as 1.9 or 1.12.3", s)
	}
	r := Release{n[0], n[1], n[2]}
	if r.Major != 1 || r.Minor > newest.Minor {
		return Release{}, fmt.Errorf("release %s is not known; known are 1.0 to %d.%d", s, newest.Major, newest.Minor)
	}
	return r, nil
}

// IsZero reports whether no release was named.
func (r Release) IsZero() bool { return r == Release{} }

// known is r, or the newest release.
func (r Release) known() Release {
	if r.IsZero() {
		return newest
	}
	return r
}

// Before reports whether r is older than o.
func (r Release) Before(o Release) bool {
	a, b := r.known(), o.known()
	return cmp.Or(cmp.Compare(a.Major, b.Major), cmp.Compare(a.Minor, b.Minor), cmp.Compare(a.Patch, b.Patch)) < 0
}

// String is the release as people write it: without a patch that is 0.
func (r Release) String() string {
	r = r.known()
	if r.Patch == 0 {
		return fmt.Sprintf("%d.%d", r.Major, r.Minor)
	}
	return fmt.Sprintf("%d.%d.%d", r.Major, r.Minor, r.Patch)
}
