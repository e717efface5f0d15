package diag

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
)

// Fingerprints tell the problems of l apart, in its order: 32 hexadecimal digits each, the same as long as the problem stays,
// also when lines are added above it, and different for any two of l. Files count by what name makes of them, so that they can be
// the same wherever the check runs; nil takes them as they are.
//
// They are made of the code, the file, the object, the path in it and the summary without the places it names: what is
// written in the file is left out, for a secret must not be guessed from them. Equal problems are counted.
func (l List) Fingerprints(name func(file string) string) []string {
	out := make([]string, len(l))
	seen := map[string]int{}
	for i, d := range l {
		file := d.Subject.File
		if name != nil {
			file = name(file)
		}
		o := d.Object
		what := strings.Join([]string{string(d.Code), file, o.Group, o.Kind, o.Namespace, o.Name, d.Path, d.Lasting()}, "\x00")
		seen[what]++
		sum := sha256.Sum256([]byte(what + "\x00" + strconv.Itoa(seen[what])))
		out[i] = hex.EncodeToString(sum[:16])
	}
	return out
}

// Lasting is the summary as long as the problem stays: the places that it names move when lines are added, and are "*" here.
// Whatever knows a problem again goes by it.
func (d Diagnostic) Lasting() string { return Lasting(d.Summary) }

// Lasting is Diagnostic.Lasting of a summary.
func Lasting(summary string) string {
	if !strings.ContainsAny(summary, "0123456789") {
		return summary
	}
	return placeNumber.ReplaceAllStringFunc(summary, func(place string) string { return numbers.ReplaceAllString(place, "*") })
}

var (
	placeNumber = regexp.MustCompile(`:\d+:\d+\b|\b(?:line|lines|column) \d+`)
	numbers     = regexp.MustCompile(`\d+`)
)
