package disk

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// ErrLocked says that another process works in a folder.
var ErrLocked = errors.New("another flexgw works in this folder")

// againAfter is how soon a lock that somebody has is asked for again.
const againAfter = 20 * time.Millisecond

// Lock keeps other flexgw processes that ask for it out of a folder until unlock is called, or this process ends. Nothing is left in the
// folder: the lock is on the folder itself. Somebody who has it is waited for until ctx is done; then the error is ErrLocked. Where the file
// system knows no locks, there is none, and no error.
func Lock(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK): // it is ours, or there are none here
			return func() { f.Close() }, nil
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			f.Close()
			return nil, ErrLocked
		}
	}
}
