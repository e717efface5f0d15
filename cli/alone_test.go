package cli_test

import (
	"sync"

	"github.com/flexgw/flexgw/cli"
)

var oneCommand sync.Mutex

// alone runs a command in this process, and no other beside it: urfave/cli keeps flags of its own in variables of the package.
func alone(args []string, env cli.Env) int {
	oneCommand.Lock()
	defer oneCommand.Unlock()
	return cli.Main(args, env)
}
