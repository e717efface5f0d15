package cli

import (
	"strings"

	"github.com/urfave/cli/v2"
)

func outputFlag(formats ...string) cli.Flag {
	return &cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT[=FILE]`, may repeat: " + strings.Join(formats, ", "), KeepSpace: true}
}

func verboseFlag() cli.Flag {
	return &cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "show notes too"}
}
