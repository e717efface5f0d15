package systemd_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/systemd"
)

// TestMain is a service when it is run as one: it tells which sockets it was given, and answers on them.
func TestMain(m *testing.M) {
	if os.Getenv("SYSTEMD_TEST_SERVICE") == "" {
		os.Exit(m.Run())
	}
	u, err := systemd.Of(os.LookupEnv)
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(0)
	}
	systemd.Forget()
	for _, path := range os.Args[1:] {
		if l := u.Sockets.At(path); l != nil {
			answer(l, "at")
		}
	}
	for _, l := range u.Sockets.Named("hook") {
		answer(l, "named")
	}
	fmt.Println("rest:", u.Sockets.Rest())
	left, _ := exec.Command("sh", "-c", "env | grep -c '^LISTEN_'; ls -l /proc/self/fd | grep -c socket:").Output()
	fmt.Println("children:", strings.Fields(string(left)))
	os.Exit(0)
}

// answer takes one connection.
func answer(l net.Listener, how string) {
	defer l.Close()
	c, err := l.Accept()
	if err != nil {
		fmt.Println(how, err)
		return
	}
	defer c.Close()
	fmt.Println(how, l.Addr())
	fmt.Fprintln(c, "hello")
}

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

// manager is where a service manager would listen; next is the message that came first.
func manager(t *testing.T, name string) (next func() string) {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return func() string {
		t.Helper()
		b := make([]byte, 4096)
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@flexgw-test-" + strconv.Itoa(os.Getpid())} {
		next := manager(t, name)
		u, err := systemd.Of(env("NOTIFY_SOCKET", name, "WATCHDOG_USEC", "3000000", "WATCHDOG_PID", strconv.Itoa(os.Getpid())))
		if err != nil || !u.Managed() || u.Watchdog != 3*time.Second {
			t.Fatalf("got %+v, %v", u, err)
		}
		for _, c := range []struct {
			send []string
			want string
		}{
			{[]string{"READY=1", systemd.Status("serving 3f2a1\nREADY=0")}, "READY=1\nSTATUS=serving 3f2a1 READY=0"},
			{[]string{systemd.Extend(1500 * time.Millisecond)}, "EXTEND_TIMEOUT_USEC=1500000"},
			{[]string{systemd.Status(strings.Repeat("é", 400))}, "STATUS=" + strings.Repeat("é", 250) + "…"},
			{[]string{"STOPPING=1"}, "STOPPING=1"},
		} {
			if err := u.Notify(c.send...); err != nil {
				t.Fatal(err)
			}
			if got := next(); got != c.want {
				t.Errorf("%s: got %q, want %q", name, got, c.want)
			}
		}
		if err := u.Reloading(); err != nil {
			t.Fatal(err)
		}
		usec, ok := strings.CutPrefix(next(), "RELOADING=1\nMONOTONIC_USEC=")
		up, err := os.ReadFile("/proc/uptime") // the boot clock: not before the monotonic one
		if err != nil {
			t.Fatal(err)
		}
		seconds, _ := strconv.ParseFloat(strings.Fields(string(up))[0], 64)
		n, err := strconv.ParseFloat(usec, 64)
		if !ok || err != nil || n <= 0 || n/1e6 > seconds+1 {
			t.Errorf("MONOTONIC_USEC is %q, the machine is up for %g s", usec, seconds)
		}
	}
}

func TestNotifyAManagerThatWasStartedAnew(t *testing.T) {
	// Not beside tests that start processes: until it executes, a child has the socket that is closed here, and takes what is sent.
	name := filepath.Join(t.TempDir(), "notify")
	first, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	u, err := systemd.Of(env("NOTIFY_SOCKET", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	first.Close()
	_ = os.Remove(name)
	if err := u.Notify("WATCHDOG=1"); err == nil {
		t.Error("a message to nobody was no error")
	}
	next := manager(t, name)
	if err := u.Notify("WATCHDOG=1"); err != nil || next() != "WATCHDOG=1" {
		t.Errorf("the new manager was not told: %v", err)
	}
}

func TestNoManager(t *testing.T) {
	t.Parallel()
	u, err := systemd.Of(env("WATCHDOG_USEC", "1000000", "WATCHDOG_PID", "1", "LISTEN_FDS", "1", "LISTEN_PID", "1"))
	if err != nil || u.Managed() || u.Watchdog != 0 || len(u.Sockets) != 0 {
		t.Errorf("what is for another process was taken: %+v, %v", u, err)
	}
	if err := u.Notify("READY=1"); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]string{{"NOTIFY_SOCKET", "vsock:2:1"}, {"WATCHDOG_USEC", "soon"}, {"LISTEN_FDS", "many", "LISTEN_PID", strconv.Itoa(os.Getpid())}} {
		if _, err := systemd.Of(env(bad...)); err == nil {
			t.Errorf("%v: taken", bad)
		}
	}
}

func TestCredential(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "git-token"), []byte("x"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if path, ok := systemd.Credential(env("CREDENTIALS_DIRECTORY", dir), "git-token"); !ok || path != filepath.Join(dir, "git-token") {
		t.Errorf("got %s, %v", path, ok)
	}
	for _, name := range []string{"ssh-key", "folder", "../git-token", "", "."} {
		if path, ok := systemd.Credential(env("CREDENTIALS_DIRECTORY", dir), name); ok {
			t.Errorf("%q: got %s", name, path)
		}
	}
	if _, ok := systemd.Credential(env(), "git-token"); ok {
		t.Error("a credential without a folder of credentials")
	}
}

// TestSockets hands sockets over as sd_listen_fds(3) says, to a process of its own.
func TestSockets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at, other := filepath.Join(dir, "api.sock"), filepath.Join(dir, "other.sock")
	var files []*os.File
	for _, l := range []struct{ network, address string }{{"unix", other}, {"tcp", "127.0.0.1:0"}, {"unix", at}} {
		x, err := net.Listen(l.network, l.address)
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := x.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		f, err := x.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		x.Close()
		defer f.Close()
		files = append(files, f)
		if l.address == other {
			continue
		}
		go func() {
			if c, err := net.Dial(l.network, x.Addr().String()); err == nil { // it waits until somebody takes it
				_, _ = c.Read(make([]byte, 16))
				c.Close()
			}
		}()
	}
	said := service(t, files, "flexgw:hook:flexgw", at)
	for _, want := range []string{"at " + at, "named 127.0.0.1:", "rest: [flexgw (" + other + ")]", "children: [0 0]"} {
		if !strings.Contains(said, want) {
			t.Errorf("the service did not say %q:\n%s", want, said)
		}
	}
	if _, err := os.Stat(at); err != nil {
		t.Errorf("the file of the manager's socket went with the service: %v", err)
	}
}

func TestSocketsThatDoNotListen(t *testing.T) {
	t.Parallel()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f, err := c.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if said := service(t, []*os.File{f}, "hook"); !strings.Contains(said, "error: socket hook from the service manager: descriptor 3 does not listen") {
		t.Errorf("the service said:\n%s", said)
	}
}

func service(t *testing.T, files []*os.File, names string, args ...string) string {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0]}, args...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_TEST_SERVICE=1", "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+names)
	cmd.ExtraFiles = files
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
