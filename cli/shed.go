package cli

import "runtime/debug"

// giveBack returns to the system what is not in use: garbage, and pages of the program.
func giveBack() {
	debug.FreeOSMemory()
	shed()
}
