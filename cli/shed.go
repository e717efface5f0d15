package cli

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// giveBack returns to the system what is not in use: garbage, and pages of the program.
func giveBack() {
	debug.FreeOSMemory()
	shed()
}

// shed gives back the pages of code that only the start needed: registering Envoy's messages and compiling JSON Schema's own
// touches much of the program, which would count as this process's memory to its end. What is needed again is
// mapped again, from the page cache. It is a matter of thrift: when it cannot be done, nothing is lost.
func shed() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uintptr
		var may string
		line := lines.Text()
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &may); n < 3 || len(may) < 3 || may[1] == 'w' || may[2] != 'x' || !strings.HasSuffix(line, " "+program) {
			continue // only code is surely what the file holds: the loader may have relocated the rest (PIE, RELRO)
		}
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
	}
}
