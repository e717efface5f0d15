package cli

import (
	"slices"
	"testing"
)

// TestShortOutput: -o is --output in each command that has either.
func TestShortOutput(t *testing.T) {
	t.Parallel()
	all, err := tree(newApp(Env{}))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, command := range all {
		for _, f := range command.flags {
			short, long := slices.Contains(f.names, "-o"), slices.Contains(f.names, "--output")
			if short != long {
				t.Errorf("flexgw %s has %q", command.path, f.names)
			}
			if long {
				n++
			}
		}
	}
	if n < 20 {
		t.Errorf("%d commands with --output", n)
	}
}
