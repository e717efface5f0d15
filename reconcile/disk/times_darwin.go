package disk

import "syscall"

// Times are when a file was written last, and when anything about it changed last.
func Times(st *syscall.Stat_t) (written, changed syscall.Timespec) {
	return st.Mtimespec, st.Ctimespec
}
