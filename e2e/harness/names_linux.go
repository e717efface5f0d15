package harness

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Alone gives a command a network of its own, in which it is root and nobody else is.
func Alone(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
}

// Inside runs a test again in a process that is Alone, and reports what became of it there. It returns true in that process. A host
// that gives nobody a network of its own fails the test.
func Inside(t testing.TB) bool {
	t.Helper()
	binary := Binary(t)
	if os.Getenv(alone) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), alone+"="+binary)
	Alone(cmd)
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()+" "):
		t.Errorf("it was not run:\n%s", out)
	default:
		t.Logf("%s", out)
	}
	return false
}

// SilentNameServer makes loopback work in a process that is Alone, and is the only name server there: one that answers nobody. It
// writes into dir, and counts the questions.
func SilentNameServer(dir string) (questions *atomic.Int64, err error) {
	if err := resolver(dir, "127.0.0.1"); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return nil, err
	}
	server, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		return nil, err
	}
	questions = new(atomic.Int64)
	go func() {
		b := make([]byte, 1500)
		for {
			if _, _, err := server.ReadFrom(b); err != nil {
				return
			}
			questions.Add(1)
		}
	}()
	return questions, nil
}
