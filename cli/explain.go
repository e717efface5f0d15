package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

func explainCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "say what a diagnostic's code or a declared field means",
		ArgsUsage: "[CODE|FIELD]",
		Action: func(c *cli.Context) error {
			return fmt.Errorf("TODO")
		},
	}
}
