package watch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/source"
)

// ErrChanged is the error of File.Bytes when the file no longer holds what its hash promises. Another Fetch will tell.
var ErrChanged = errors.New("changed since it was read")

var (
	errNotRegular = errors.New("not a regular file")
	errOpen       = errors.New("open for writing") // somebody is not done with it
)

const (
	keepSize  = 1 << 20 // larger contents are read again when they are wanted
	readTries = 6       // of one file that changes while it is read

	stampGrain = 50 * time.Millisecond // a change within this of the last one may leave the times as they were
)

// patience is with writers: a file that is open for writing counts when its writer closes it, or has been silent for pause,
// or has kept us waiting for limit. The zero value waits for no writer.
type patience struct{ pause, limit time.Duration }

func usualPatience() patience { return patience{500 * time.Millisecond, 5 * time.Second} }

// stamp tells two states of a file apart without reading it.
type stamp struct {
	dev, ino            uint64
	size, mtime, change int64 // bytes; nanoseconds
}

func stampOf(st *syscall.Stat_t) stamp {
	mtime, change := disk.Times(st)
	return stamp{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: mtime.Nano(), change: change.Nano()}
}

// content is one file as it was read.
type content struct {
	path, shown string // where to read it again; what the user calls it
	stamp       stamp
	settled     bool // nothing could have changed it without changing its stamp
	hash        source.Hash
	fresh       atomic.Pointer[[]byte] // until the first caller takes them: most contents are parsed once, then never wanted again
}

func (c *content) file(name string) source.File {
	return source.File{Name: name, Hash: c.hash, Bytes: c.bytes}
}

func (c *content) bytes() ([]byte, error) {
	if b := c.fresh.Swap(nil); b != nil {
		return *b, nil
	}
	b, _, err := readSteady(c.path, 0)
	if err == nil && sha256.Sum256(b) != c.hash {
		err = ErrChanged
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.shown, err)
	}
	return b, nil
}

func readContent(path, shown string, pause time.Duration) (*content, error) {
	b, s, err := readSteady(path, pause)
	if err != nil {
		return nil, err
	}
	c := &content{path: path, shown: shown, stamp: s, hash: sha256.Sum256(b)}
	c.settled = time.Now().UnixNano()-max(s.mtime, s.change) > int64(stampGrain)
	if len(b) <= keepSize {
		c.fresh.Store(&b)
	}
	return c, nil
}

// readSteady reads a file between two equal stamps, so that it never returns half of what a writer was writing. A
// file that was written within pause and is still open for writing is errOpen.
func readSteady(path string, pause time.Duration) ([]byte, stamp, error) {
	for try := range readTries {
		b, s, steady, err := readOnce(path, pause)
		if err != nil || steady {
			return b, s, err
		}
		time.Sleep(time.Millisecond << try)
	}
	return nil, stamp{}, errors.New("keeps changing while it is read")
}

func readOnce(path string, pause time.Duration) (b []byte, s stamp, steady bool, err error) {
	// Non-blocking, lest a pipe that took the file's place hangs the whole daemon.
	fd, err := retry(func() (int, error) {
		return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	})
	if err != nil {
		return nil, s, false, err
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, s, false, err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, s, false, errNotRegular
	}
	s = stampOf(&st)
	if pause > 0 && time.Now().UnixNano()-s.mtime < int64(pause) && openForWriting(fd) {
		return nil, s, false, errOpen
	}
	b = make([]byte, min(s.size, source.MaxFileSize)+1) // one more than expected, to see a file that grows
	n := 0
	for n < len(b) && (n == 0 || int64(n) != s.size) { // a file of the size that it had may have grown since: its stamp will tell
		m, err := retry(func() (int, error) { return syscall.Read(fd, b[n:]) })
		if err != nil {
			return nil, s, false, err
		}
		if m == 0 {
			break
		}
		n += m
	}
	if err := syscall.Fstat(fd, &st); err != nil {
		return nil, s, false, err
	}
	return b[:n:n], s, stampOf(&st) == s && int64(n) == min(s.size, source.MaxFileSize+1), nil
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// reading is a file that must be read, and what came of it.
type reading struct {
	folder      *folder
	name        string
	path, shown string
	content     *content
	err         error
}

func readAll(ctx context.Context, list []*reading, pause time.Duration) error {
	if len(list) < 8 {
		for _, r := range list {
			r.content, r.err = readContent(r.path, r.shown, pause)
		}
		return ctx.Err()
	}
	var g errgroup.Group
	var next atomic.Int64
	for range 2 * runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return nil
				}
				list[i].content, list[i].err = readContent(list[i].path, list[i].shown, pause)
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}
