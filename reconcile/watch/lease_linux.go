package watch

import "syscall"

// openForWriting asks the kernel for a lease, which it refuses while there is a writer: fcntl(2), F_SETLEASE. Where
// leases cannot be had (another's file, some file systems) the answer is no.
func openForWriting(fd int) bool {
	_, _, err := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETLEASE, syscall.F_RDLCK)
	if err == 0 {
		_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETLEASE, syscall.F_UNLCK)
	}
	return err == syscall.EAGAIN
}
