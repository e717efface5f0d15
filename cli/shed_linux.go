package cli

import (
	"bufio"
	"debug/elf"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// isFixed reports whether a program is loaded as it stands in its file. In one that may be loaded anywhere (PIE), and where the
// linker asks for it (RELRO), pages that can only be read have been written to before.
func isFixed(program string) bool {
	f, err := elf.Open(program)
	if err != nil {
		return false
	}
	defer f.Close()
	relocated, err := f.DynValue(elf.DT_TEXTREL)
	return err == nil && len(relocated) == 0 && f.Type == elf.ET_EXEC && !slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_GNU_RELRO })
}

// shed gives back the pages of the program that only the start needed: registering Envoy's messages and compiling JSON Schema's own
// touches much of it, which would count as this process's memory to its end. What is needed again is
// mapped again, from the page cache. It is a matter of thrift: when it cannot be done, nothing is lost.
func shed() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	fixed := isFixed(program)
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uintptr
		var may string
		line := lines.Text()
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &may); n < 3 || len(may) < 3 || may[1] == 'w' || may[2] != 'x' && !fixed || !strings.HasSuffix(line, " "+program) {
			continue // not surely what the file holds
		}
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
	}
}
