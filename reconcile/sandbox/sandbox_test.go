package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flexgw/flexgw/reconcile/sandbox"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "prisoner":
			prisoner(os.Args[2:])
			return
		case "warden":
			_, err := sandbox.Run(context.Background(), sandbox.Command{Path: "/bin/echo", Args: []string{"free"}, Dir: os.Args[2]})
			fmt.Println(err, errors.As(err, new(*sandbox.UnavailableError)))
			return
		}
	}
	os.Exit(m.Run())
}

// prisoner tries everything that a confined program must not be able to do, and says how each went.
func prisoner(args []string) {
	tcp, udp, unixSocket, outside, parent := args[0], args[1], args[2], args[3], args[4]
	say := func(what string, err error) {
		fmt.Printf("%s: %v\n", what, err == nil)
	}
	dial := func(network, addr string) error {
		c, err := net.DialTimeout(network, addr, time.Minute)
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("?"))
		return err
	}
	say("tcp", dial("tcp", tcp))
	say("udp", dial("udp", udp))
	say("unix", dial("unix", unixSocket))
	say("listen", func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err }())
	say("fast open", fastOpen(tcp))
	say("io_uring", func() error {
		if _, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); errno != unix.EFAULT {
			return errno
		}
		return nil
	}())
	existing, fresh := filepath.Join(outside, "existing"), filepath.Join(outside, "fresh")
	say("write", func() error { _, err := os.OpenFile(existing, os.O_WRONLY, 0); return err }())
	say("truncate", os.Truncate(existing, 0))
	say("chmod", os.Chmod(existing, 0o777))
	say("chtimes", os.Chtimes(existing, time.Time{}, time.Unix(1, 0)))
	say("setxattr", unix.Setxattr(existing, "user.x", []byte("x"), 0))
	say("create", os.WriteFile(fresh, nil, 0o600))
	say("mkdir", os.Mkdir(fresh+"dir", 0o700))
	say("rename", os.Rename(existing, fresh))
	say("link", os.Link(existing, fresh))
	say("symlink", os.Symlink(existing, fresh))
	say("remove", os.Remove(existing))
	say("fifo", unix.Mkfifo(fresh, 0o600))
	if len(args) == 5 { // root can, outside of the walls
		say("mount", unix.Mount("none", outside, "tmpfs", 0, ""))
	}
	pid, _ := strconv.Atoi(parent)
	say("signal", syscall.Kill(pid, 0))
	say("read", func() error { _, err := os.ReadFile(existing); return err }())
	say("own", os.WriteFile("own", []byte("x"), 0o600))
	say("null", func() error { _, err := os.OpenFile("/dev/null", os.O_WRONLY, 0); return err }())
	fmt.Printf("environment: %q\n", os.Environ())
}

// fastOpen sends data with the first packet of a connection, so that there is no connect(2).
func fastOpen(addr string) error {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	to := &unix.SockaddrInet4{Port: a.Port}
	copy(to.Addr[:], a.IP.To4())
	return unix.Sendto(fd, []byte("?"), unix.MSG_FASTOPEN, to)
}

// walls are all combinations that a host may offer.
var walls = map[string]sandbox.Layers{
	"all":                     {},
	"no namespaces":           {Namespaces: true},
	"no Landlock":             {Landlock: true},
	"system call filter only": {Namespaces: true, Landlock: true},
}

// offered is what this host lets anybody have.
func offered() sandbox.Layers {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return sandbox.Layers{Namespaces: cmd.Run() == nil, Landlock: errno == 0 && abi >= 3}
}

func TestNothingGetsOut(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	do(t, err)
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	do(t, err)
	defer udp.Close()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	do(t, err)
	defer listener.Close()
	self, err := os.Executable()
	do(t, err)
	args := func(outside string) []string {
		return []string{"prisoner", tcp.Addr().String(), udp.LocalAddr().String(), socket, outside, strconv.Itoa(os.Getpid())}
	}
	outsideOf := func(t *testing.T) string {
		dir := t.TempDir()
		do(t, os.WriteFile(filepath.Join(dir, "existing"), []byte("content"), 0o600))
		do(t, os.Chtimes(filepath.Join(dir, "existing"), time.Unix(1e9, 0), time.Unix(1e9, 0)))
		return dir
	}

	// Outside of the walls all that can be done here is done, so that a refusal means something.
	free := exec.Command(self, append(args(outsideOf(t)), "free")...)
	free.Dir = t.TempDir()
	out, err := free.CombinedOutput()
	do(t, err)
	for _, can := range []string{"tcp", "udp", "unix", "listen", "write", "truncate", "create", "mkdir", "rename", "chmod", "chtimes", "io_uring", "signal", "own", "null"} {
		if !strings.Contains(string(out), can+": true\n") {
			t.Errorf("outside of the walls: %s is not possible\n%s", can, out)
		}
	}
	select {
	case <-received(udp):
	case <-time.After(time.Minute):
		t.Fatal("the control's datagram did not arrive")
	}

	host := offered()
	t.Logf("this host offers %+v", host)
	for name, without := range walls {
		t.Run(name, func(t *testing.T) {
			outside, dir := outsideOf(t), t.TempDir()
			r, err := sandbox.Run(t.Context(), sandbox.Command{Path: self, Args: args(outside), Dir: dir}.Without(without))
			do(t, err)
			if want := (sandbox.Layers{Namespaces: host.Namespaces && !without.Namespaces, Landlock: host.Landlock && !without.Landlock}); r.Layers != want {
				t.Errorf("walls %+v, want %+v", r.Layers, want)
			}
			for line := range strings.Lines(r.Output) {
				what, got, _ := strings.Cut(strings.TrimSpace(line), ": ")
				want := "false"
				switch what {
				case "read":
					want = "true"
				case "own", "null":
					want = fmt.Sprint(r.Layers.Landlock) // else nothing at all may be written
				case "signal":
					want = fmt.Sprint(!r.Layers.Landlock && !r.Layers.Namespaces)
				case "environment":
					want = fmt.Sprintf("%q", []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C"})
				}
				if got != want {
					t.Errorf("%s: %s, want %s", what, got, want)
				}
			}
			if n := strings.Count(r.Output, "\n"); n != 24 || r.Code != 0 {
				t.Errorf("%d lines, status %d %s:\n%s", n, r.Code, r.Signal, r.Output)
			}
			unchanged(t, outside)
		})
	}
	if n := len(received(udp)); n > 0 {
		t.Error("a datagram got out")
	}
}

// unchanged holds that nobody touched what outsideOf made.
func unchanged(t *testing.T, dir string) {
	t.Helper()
	var names []string
	do(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		names = append(names, filepath.Base(path))
		return err
	}))
	info, err := os.Stat(filepath.Join(dir, "existing"))
	do(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "existing"))
	do(t, err)
	if len(names) != 2 || string(b) != "content" || info.Mode() != 0o600 || info.ModTime().Unix() != 1e9 {
		t.Errorf("outside: %v, %q, %v, %v", names, b, info.Mode(), info.ModTime())
	}
}

func received(c net.PacketConn) <-chan bool {
	got := make(chan bool, 1)
	_ = c.SetReadDeadline(time.Now().Add(time.Second))
	if n, _, err := c.ReadFrom(make([]byte, 1)); err == nil && n == 1 {
		got <- true
	}
	return got
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shell runs a script in the sandbox.
func shell(t *testing.T, script string, limit time.Duration) sandbox.Result {
	t.Helper()
	r, err := sandbox.Run(t.Context(), sandbox.Command{Path: "/bin/sh", Args: []string{"-c", script}, Dir: t.TempDir(), Limit: limit})
	do(t, err)
	return r
}

func TestHowItEnded(t *testing.T) {
	t.Parallel()
	if r := shell(t, "echo out; echo err >&2; exit 7", 0); r.Code != 7 || r.Output != "out\nerr\n" || r.Signal != "" || r.TimedOut {
		t.Errorf("%+v", r)
	}
	// The shell is the first process of its namespace, which no signal of its own ends; its child is.
	if r := shell(t, "sh -c 'kill -SEGV $$'; exit $?", 0); r.Code != 128+int(syscall.SIGSEGV) {
		t.Errorf("%+v", r)
	}
	began := time.Now()
	r := shell(t, "(sleep 60) & sleep 60", 200*time.Millisecond)
	if !r.TimedOut || r.Code != -1 || r.Signal != "killed" || time.Since(began) > 50*time.Second {
		t.Errorf("after %v: %+v", time.Since(began), r)
	}
	r = shell(t, "echo first; yes x | head -c 3000000; echo last words", 0)
	if len(r.Output) > 257<<10 || !strings.HasPrefix(r.Output, "first\nx\n") || !strings.Contains(r.Output, "\n[…]\n") || !strings.HasSuffix(r.Output, "x\nlast words\n") {
		t.Errorf("kept %d bytes, %q to %q", len(r.Output), r.Output[:20], r.Output[max(0, len(r.Output)-20):])
	}
	if r := shell(t, "yes x | head -c 262144", 0); r.Output != strings.Repeat("x\n", 131072) {
		t.Errorf("kept %d bytes of 262144", len(r.Output))
	}
	if r := shell(t, "sleep 0.3; ulimit -c; ulimit -d", 0); r.Output != "0\n8388608\n" {
		t.Errorf("limits: %q", r.Output)
	}
}

// TestNothingIsLeftRunning: what the program started ends with it, in whatever session.
func TestNothingIsLeftRunning(t *testing.T) {
	t.Parallel()
	mark := fmt.Sprintf("%d.%09d", 60+os.Getpid(), time.Now().Nanosecond()) // seconds to sleep
	shell(t, "setsid sleep "+mark+" >/dev/null 2>&1 & sleep 60", 300*time.Millisecond)
	for range 3000 {
		if !running(t, mark) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("a process goes on")
}

func running(t *testing.T, mark string) bool {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	do(t, err)
	for _, path := range lines {
		if b, err := os.ReadFile(path); err == nil && string(b) == "sleep\x00"+mark+"\x00" {
			return true
		}
	}
	return false
}

func TestWhatCannotBeRun(t *testing.T) {
	t.Parallel()
	_, err := sandbox.Run(t.Context(), sandbox.Command{Path: filepath.Join(t.TempDir(), "no"), Dir: t.TempDir()})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := sandbox.Run(ctx, sandbox.Command{Path: "/bin/sleep", Args: []string{"60"}, Dir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestNoSandboxNoRun: where the filter cannot be set, as inside of another one's, the program is not run at all.
func TestNoSandboxNoRun(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	do(t, err)
	dir := t.TempDir()
	r, err := sandbox.Run(t.Context(), sandbox.Command{Path: self, Args: []string{"warden", dir}, Dir: dir})
	do(t, err)
	if want := "no sandbox on this host: a system call filter (seccomp) cannot be set: operation not permitted true\n"; r.Output != want {
		t.Errorf("got %q, want %q", r.Output, want)
	}
}

// TestTheCallerStaysFree: only one thread is confined, and it goes away.
func TestTheCallerStaysFree(t *testing.T) {
	t.Parallel()
	for range 3 {
		shell(t, "exit 0", 0)
	}
	for range 20 { // on whatever thread
		l, err := net.Listen("tcp", "127.0.0.1:0")
		do(t, err)
		l.Close()
		do(t, os.WriteFile(filepath.Join(t.TempDir(), "x"), nil, 0o600))
	}
	b, err := os.ReadFile("/proc/self/status") // the first thread's, which would stay
	do(t, err)
	if !strings.Contains(string(b), "\nSeccomp:\t0\n") {
		t.Errorf("the process is confined:\n%s", b)
	}
}
