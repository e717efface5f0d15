package disk

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ErrHeld is the error of LockFile when another process holds the lock.
var ErrHeld = errors.New("another process has it")

// LockFile takes an exclusive lock on a file, for as long as it is open; it makes one when there is none. It does not wait for who has it, but
// for a moment: a process that is being started has all that its parent had open until it becomes another program. The file must stay when it
// is closed: removing it would let two hold it.
func LockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for try := 0; ; {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return f, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK) && try < 10:
			try++
			time.Sleep(20 * time.Millisecond)
		case errors.Is(err, syscall.EWOULDBLOCK):
			return nil, errors.Join(ErrHeld, f.Close())
		default:
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
	}
}
