package cli

import (
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
	return &cli.GenericFlag{Name: "output", Aliases: []string{"o"}, Value: &values{}, Usage: "`FORMAT[=FILE]`, may repeat: " + strings.Join(formats, ", ")}
}

// outputsOf reads --output.
func outputsOf(c *cli.Context, formats ...string) ([]output, error) {
	v, _ := c.Generic("output").(*values)
	if v == nil {
		v = &values{}
	}
	return parseOutputs(*v, formats...)
}

func verboseFlag() cli.Flag {
	return &cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "show notes too"}
}
