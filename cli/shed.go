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

// shed gives back the pages of the program itself that only its start needed: registering Envoy's messages and compiling JSON
// Schema's own touches some 25 MB of it, which would count as this process's memory to its end. What is needed again is
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
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &may); n < 3 || len(may) < 2 || may[1] == 'w' || !strings.HasSuffix(line, " "+program) {
			continue // what can be written to holds more than the file does
		}
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
	}
}
