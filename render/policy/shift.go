package policy

import "slices"

// Shift is one thing that a change of a configuration does to who gets through a policy, or who can listen. It is for a
// reviewer of the change.
type Shift struct {
	Way     Way
	Path    []string // of the field that it comes from
	Summary string   // "addresses get in that did not": one line, lower case, no full stop, without values: they may be secrets
}

// Absent stands for the configuration of a binding that is not there.
type Absent struct{}

// Way says which way a Shift goes.
type Way uint8

// The ways. What is only Other than before may let more through, or less.
const (
	Other Way = iota
	Looser
	Tighter
)

// Switched is the Shift of a switch that lets more through when it is on: none when it stays as it is.
func Switched(was, now bool, path, on, off string) []Shift {
	switch {
	case was == now:
		return nil
	case now:
		return []Shift{{Looser, []string{path}, on}}
	}
	return []Shift{{Tighter, []string{path}, off}}
}

// Listed are the Shifts of a list of what is let through: more says what new entries do, fewer what it means that some are
// gone. Their order does not matter.
func Listed(was, now []string, path, more, fewer string) []Shift {
	var l []Shift
	has := func(list []string) func(string) bool { return func(s string) bool { return !slices.Contains(list, s) } }
	if slices.ContainsFunc(now, has(was)) {
		l = append(l, Shift{Looser, []string{path}, more})
	}
	if slices.ContainsFunc(was, has(now)) {
		l = append(l, Shift{Tighter, []string{path}, fewer})
	}
	return l
}

// Differs is the Shift of a value of which nobody can say which way a change goes.
func Differs[T comparable](was, now T, path, summary string) []Shift {
	if was == now {
		return nil
	}
	return []Shift{{Other, []string{path}, summary}}
}
