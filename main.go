// Command flexgw runs Anypoint Flex Gateway Local Mode declarations on a stock Envoy.
package main

import (
	"os"

	"github.com/flexgw/flexgw/cli"
)

func main() { os.Exit(cli.Main(os.Args, cli.System())) }
