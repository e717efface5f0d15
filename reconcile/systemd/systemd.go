// Package systemd is what a daemon says to the service manager that runs it, and what it gets from there: sd_notify(3),
// the sockets of sd_listen_fds(3), credentials.
//
// It knows nothing of gateways, and decides neither when the daemon is ready nor whether it is alive. Without a service
// manager everything here does nothing.
package systemd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Unit is the service that the process is the main one of. The zero value is a process that no service manager runs.
type Unit struct {
	Watchdog time.Duration // WATCHDOG=1 is awaited within it, again and again; 0: nobody waits
	Sockets  Sockets

	notify *net.UnixAddr // nil: nobody is told
	mu     sync.Mutex
	conn   *net.UnixConn
}

// Of reads what the service manager says in the environment, and takes the sockets that it hands over. Children of the
// process must not take it for theirs: Forget.
func Of(getenv func(string) (string, bool)) (*Unit, error) {
	u := &Unit{}
	if path, _ := getenv("NOTIFY_SOCKET"); path != "" {
		if path[0] != '/' && path[0] != '@' { // systemd knows vsock too, for whole machines
			return nil, fmt.Errorf("NOTIFY_SOCKET %s: a path, or @ and a name, is expected", path)
		}
		u.notify = &net.UnixAddr{Name: path, Net: "unixgram"}
	}
	if ours(getenv, "WATCHDOG_PID", true) {
		if text, _ := getenv("WATCHDOG_USEC"); text != "" {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n <= 0 {
				return nil, fmt.Errorf("WATCHDOG_USEC %s: a positive number is expected", text)
			}
			u.Watchdog = time.Duration(n) * time.Microsecond
		}
	}
	var err error
	u.Sockets, err = passed(getenv)
	return u, err
}

// ours says whether a variable that holds the id of a process names this one; unless: what it means that it is not set.
func ours(getenv func(string) (string, bool), name string, unless bool) bool {
	text, _ := getenv(name)
	if text == "" {
		return unless
	}
	return text == strconv.Itoa(os.Getpid())
}

// Forget takes what Of read out of the environment of the process, so that no child speaks for it.
func Forget() {
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
}

// Managed says whether anybody listens to Notify.
func (u *Unit) Managed() bool { return u.notify != nil }

// Notify sends assignments (READY=1) in one message; Line makes a value fit for one.
func (u *Unit) Notify(assignments ...string) error {
	if u.notify == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for try := 0; ; try++ {
		if u.conn == nil {
			c, err := net.DialUnix("unixgram", nil, u.notify)
			if err != nil {
				return fmt.Errorf("notify the service manager: %w", err)
			}
			u.conn = c
		}
		_ = u.conn.SetWriteDeadline(time.Now().Add(time.Second)) // a service manager that hangs must not hold us up
		_, err := u.conn.Write([]byte(strings.Join(assignments, "\n")))
		if err == nil {
			return nil
		}
		u.conn.Close()
		u.conn = nil
		if try > 0 { // the first may be that it was started anew (systemctl daemon-reexec)
			return fmt.Errorf("notify the service manager: %w", err)
		}
	}
}

// Reloading says that the process reads again what it was given; READY=1 ends it. Without the clock's time systemd takes
// a READY=1 that was under way for the answer.
func (u *Unit) Reloading() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	return u.Notify("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10))
}

// Extend asks for that much more time from now on, to start or to stop in.
func Extend(by time.Duration) string {
	return "EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(by.Microseconds(), 10)
}

// Status is what `systemctl status` shows: one line.
func Status(text string) string {
	const most = 500 // bytes; systemd itself takes much more, and nobody reads it
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return "STATUS=" + text
}

// credential names are those of LoadCredential=: no folder.
func validCredential(name string) bool {
	return name != "" && filepath.Base(name) == name && name != "." && name != ".."
}

// Credential is the path of a credential that the unit was given (systemd.exec(5), LoadCredential=); false: it has none of
// that name. It is not read: what it holds is read when it is used.
func Credential(getenv func(string) (string, bool), name string) (path string, ok bool) {
	dir, _ := getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || !validCredential(name) {
		return "", false
	}
	path = filepath.Join(dir, name)
	info, err := os.Stat(path)
	return path, err == nil && info.Mode().IsRegular()
}
