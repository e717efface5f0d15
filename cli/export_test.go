package cli

import "sync"

var oneCommand sync.Mutex

// Alone runs a command in this process, and no other beside it: urfave/cli keeps flags of its own in variables of the package.
func Alone(args []string, env Env) int {
	oneCommand.Lock()
	defer oneCommand.Unlock()
	return Main(args, env)
}
