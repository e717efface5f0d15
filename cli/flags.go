package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// values are those of a flag that may repeat. The library's own slice flag prints itself twice in a command's help.
type values []string

// Set adds one.
func (v *values) Set(s string) error {
	if s != "" {
		*v = append(*v, s)
	}
	return nil
}

// Serialize is what the library hands to a flag's other names, which have this very value: nothing is added twice.
func (v *values) Serialize() string { return "" }

func (v *values) String() string { return strings.Join(*v, " ") }

func outputFlag(formats ...string) cli.Flag {
	return known(&cli.GenericFlag{Name: "output", Aliases: []string{"o"}, Value: &values{}, Usage: "`FORMAT[=FILE]`, may repeat: " + strings.Join(formats, ", ")}, formats...)
}

// outputsOf reads --output.
func outputsOf(c *cli.Context, formats ...string) ([]output, error) {
	v, _ := c.Generic("output").(*values)
	if v == nil {
		v = &values{}
	}
	return parseOutputs(*v, formats...)
}

// given refuses what a shell makes of a variable that is not set: an empty argument, or one of these flags without a value. Left
// out in silence, more or less would be judged than was asked for.
func given(c *cli.Context, flags ...string) error {
	if slices.Contains(c.Args().Slice(), "") {
		return usage("an argument is empty: is a variable of the shell not set?")
	}
	for _, f := range flags {
		if c.IsSet(f) && c.String(f) == "" {
			return usage("--%s is empty: is a variable of the shell not set?", f)
		}
	}
	return nil
}

func verboseFlag() cli.Flag {
	return &cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "show notes too"}
}
