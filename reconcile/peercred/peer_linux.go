package peercred

import (
	"fmt"
	"net"
	"syscall"
)

// Of is the process at the other end when it connected, and its user: SO_PEERCRED, unix(7).
func Of(c *net.UnixConn) (pid, uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, fmt.Errorf("read peer credentials: %w", err)
	}
	var cred *syscall.Ucred
	var inner error
	err = raw.Control(func(fd uintptr) {
		cred, inner = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read peer credentials: %w", err)
	}
	return int(cred.Pid), int(cred.Uid), nil
}
