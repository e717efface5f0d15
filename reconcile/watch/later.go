package watch

import (
	"context"
	"os"
	"sync"

	"github.com/flexgw/flexgw/schema/source"
)

// Later is Dir for a path that need not be there yet: until it is, Fetch fails, and tries again whenever it is called.
func Later(path string, o Options) Source {
	return &later{path: path, options: o, changed: make(chan struct{}, 1), done: make(chan struct{})}
}

type later struct {
	path    string
	options Options
	changed chan struct{}
	done    chan struct{}

	mu     sync.Mutex
	dir    *Directory
	closed bool
}

// Fetch implements Source.
func (l *later) Fetch(ctx context.Context) (source.Set, error) {
	dir, err := l.open()
	if err != nil {
		return source.Set{}, err
	}
	return dir.Fetch(ctx)
}

func (l *later) open() (*Directory, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, &ReadError{l.path, os.ErrClosed}
	}
	if l.dir != nil {
		return l.dir, nil
	}
	dir, err := Dir(l.path, l.options)
	if err != nil {
		return nil, err
	}
	l.dir = dir
	go func() {
		for {
			select {
			case <-dir.Changed():
			case <-l.done:
				return
			}
			select {
			case l.changed <- struct{}{}:
			default:
			}
		}
	}()
	return dir, nil
}

// Changed implements Source.
func (l *later) Changed() <-chan struct{} { return l.changed }

// Close implements Source.
func (l *later) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.done)
	if l.dir == nil {
		return nil
	}
	return l.dir.Close()
}
