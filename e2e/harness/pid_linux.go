package harness

import (
	"net"
	"path/filepath"
	"syscall"
)

// EnvoyPID is the Envoy of the state folder, as the kernel knows the peer of its admin socket.
func (d *Daemon) EnvoyPID() int {
	d.t.Helper()
	c, err := net.Dial("unix", filepath.Join(d.State, "envoy-admin.sock"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		d.t.Fatal(err)
	}
	pid := 0
	if err := raw.Control(func(fd uintptr) {
		if peer, e := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); e == nil {
			pid = int(peer.Pid)
		}
	}); err != nil || pid == 0 {
		d.t.Fatalf("whose the admin socket is cannot be told: %v", err)
	}
	return pid
}
