package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/flexgw/flexgw/schema/source"
)

// maxRead is how long a read of the source may take before it counts as one that hangs: the bounds of the sources themselves
// are far below.
const maxRead = 15 * time.Minute

// read reads the source.
func (l *Loop) read(ctx context.Context) (source.Set, error) {
	l.reading.Store(time.Now().UnixNano())
	defer l.reading.Store(0)
	return l.Source.Fetch(ctx)
}

// Alive is nil when the loop did a whole round before ctx ended, or waits for its source: a network that is away is not mended by
// another process. It must not be called after Run has returned.
func (l *Loop) Alive(ctx context.Context) error {
	err := l.do(ctx, func(context.Context) error { return nil })
	if err == nil {
		return nil
	}
	if began := l.reading.Load(); began != 0 && time.Since(time.Unix(0, began)) < maxRead {
		return nil
	}
	return fmt.Errorf("no sign of life: %w", err)
}

// Look looks at the source as if it had said that it changed, a Looker included, and returns when what is there was judged, or
// ctx ends.
func (l *Loop) Look(ctx context.Context) error {
	l.begin()
	if err := l.ask(ctx); err != nil {
		return err
	}
	done := make(chan struct{})
	select {
	case l.looks <- done:
	case <-ctx.Done():
		return fmt.Errorf("the daemon is busy: %w", ctx.Err())
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the source is still being read: %w", ctx.Err())
	}
}
