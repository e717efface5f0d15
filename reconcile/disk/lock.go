package disk

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// ErrHeld is the error of LockFile and LockFolder when another process holds the lock.
var ErrHeld = errors.New("another process has it")

// Who has a lock is waited for a moment: a process that is being started has all that its parent had open until it becomes another program.
const (
	moments = 10
	moment  = 20 * time.Millisecond
)

// LockFile takes an exclusive lock on a file, for as long as it is open; it makes one when there is none. It does not wait for who has it, but
// for a moment. The file must stay when it is closed: removing it would let two hold it.
func LockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := hold(now, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// LockFolder keeps others that ask for it out of a folder until unlock is called, or this process ends. Nothing is left in the folder: the
// lock is on the folder itself. Who has it is waited for until ctx is done, and for a moment in any case; then the error is ErrHeld. Where
// the file system knows no locks, there is none, and no error.
func LockFolder(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := hold(ctx, f); errors.Is(err, ErrHeld) {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

// hold locks what is open, or says why not: ErrHeld, or an error of the system.
func hold(ctx context.Context, f *os.File) error {
	for try := 0; ; try++ {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return &os.PathError{Op: "lock", Path: f.Name(), Err: err}
		case ctx.Err() != nil && try >= moments:
			return ErrHeld
		}
		time.Sleep(moment)
	}
}
