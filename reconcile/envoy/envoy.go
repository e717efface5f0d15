// Package envoy finds, starts, adopts, asks and drains one Envoy.
//
// An Envoy is never the daemon's to lose: it runs in its own session and process group, outlives whoever started it, and holds the
// lock of its state folder for as long as it lives, so that there is never a second one (two would share every port in
// silence). The package does not know what Envoy is configured to do, and delivers nothing to it. Linux only.
//
// What it keeps in a state folder: envoy.lock (held by Envoy itself), envoy.json (what was started), envoy.log.
package envoy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/flexgw/flexgw/reconcile/disk"
)

// maxSocketPath is how long, in bytes, a socket's path may be. Linux takes 107 (unix(7)); some tools take fewer.
const maxSocketPath = 99

// SocketPath is where a socket of this name lives for a folder: in the folder, or, when that path were too long for a
// socket, below the temporary directory in a folder only this user can enter, which it makes. Equal arguments give equal
// paths.
func SocketPath(dir, name string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if p := filepath.Join(abs, name); len(p) <= maxSocketPath {
		return p, nil
	}
	sum := sha256.Sum256([]byte(abs))
	for _, tmp := range []string{os.TempDir(), "/tmp"} {
		mine := filepath.Join(tmp, "flexgw-"+strconv.Itoa(os.Getuid()))
		p := filepath.Join(mine, hex.EncodeToString(sum[:8]), name)
		if len(p) > maxSocketPath {
			continue
		}
		if err := Private(mine); err != nil {
			return "", err
		}
		return p, Private(filepath.Dir(p))
	}
	return "", fmt.Errorf("socket name %s is too long", name)
}

// Private makes a folder that only this user can enter, and refuses one that somebody else could have put there.
func Private(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(st.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a private folder of user %d: remove it", dir, os.Getuid())
	}
	return nil
}

// BaseID is the --base-id for a state folder: the same for the same folder, and hardly ever the same for two. It tells
// whose Envoy one is. Envoy multiplies it by ten, so it stays below 2³²/10.
func BaseID(stateDir string) uint32 {
	if abs, err := filepath.Abs(stateDir); err == nil {
		stateDir = abs
	}
	sum := sha256.Sum256([]byte(stateDir))
	return binary.BigEndian.Uint32(sum[:])%400_000_000 + 1
}

// A Lock is held until Unlock, or until the process ends.
type Lock struct{ file *os.File }

// ErrLocked is the error of LockFile when another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// LockFile takes an exclusive lock on a file, which it makes when there is none. Who has it is waited for as disk.LockFile does: for a moment.
func LockFile(path string) (*Lock, error) {
	f, err := disk.LockFile(path)
	switch {
	case errors.Is(err, disk.ErrHeld):
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	case err != nil:
		return nil, err
	}
	return &Lock{f}, nil
}

// Held reports whether another process holds a lock on a file. It makes no file: one that is not there is not locked.
func Held(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	switch err := flock(f, syscall.LOCK_SH|syscall.LOCK_NB); {
	case err == nil:
		return false, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return true, nil
	default:
		return false, fmt.Errorf("lock %s: %w", path, err)
	}
}

// Unlock gives the lock back. The file stays: removing it would let two hold it.
func (l *Lock) Unlock() error { return l.file.Close() }

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); err != syscall.EINTR {
			return err
		}
	}
}
