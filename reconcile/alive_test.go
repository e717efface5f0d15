package reconcile_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// stuck is a source whose read does not end before it is told to.
type stuck struct {
	*fakeSource
	turn
}

// turn is a lock that synctest can see somebody wait for.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

func (s *stuck) Fetch(ctx context.Context) (source.Set, error) {
	s.Lock()
	defer s.Unlock()
	return s.fakeSource.Fetch(ctx)
}

func alive(w *world) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return w.loop.Alive(ctx)
}

// TestAliveIsTheLoopsOwn: a loop that hangs gives no sign of life, one that waits for the network does, but not for ever.
func TestAliveIsTheLoopsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang, from := make(turn, 1), stuck{turn: make(turn, 1)}
		looked := 0
		w := run(t, func(w *world) {
			build := w.loop.Build
			w.loop.Build = func(ctx context.Context, set source.Set) (reconcile.Built, diag.List) {
				hang.Lock()
				defer hang.Unlock()
				return build(ctx, set)
			}
			from.fakeSource = w.source
			w.loop.Source = &from
			w.loop.Looked = func() { looked++ }
		})
		w.source.put(api(3), nil)
		settle(time.Second)
		if err := alive(w); err != nil || looked != 1 {
			t.Errorf("a loop that runs: %v; looked %d times for the first time", err, looked)
		}
		hang.Lock()
		w.source.put(api(4), nil)
		settle(time.Second)
		if alive(w) == nil {
			t.Error("a loop that hangs gave a sign of life")
		}
		hang.Unlock()
		settle(time.Second)
		if err := alive(w); err != nil {
			t.Error(err)
		}
		from.Lock()
		w.source.put(api(5), nil)
		settle(10 * time.Minute)
		if err := alive(w); err != nil {
			t.Errorf("a loop that waits for its source is not dead: %v", err)
		}
		settle(6 * time.Minute)
		if alive(w) == nil {
			t.Error("a read of the source that never ends is life")
		}
		from.Unlock()
		settle(time.Second)
		if err := alive(w); err != nil || looked != 1 {
			t.Errorf("%v; looked %d times for the first time", err, looked)
		}
	})
}

func TestLookReadsASourceThatSaidNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := run(t)
		w.source.put(api(3), nil)
		settle(time.Second)
		before := w.source.count()
		if err := w.loop.Look(t.Context()); err != nil || w.source.count() != before+1 {
			t.Errorf("%v; read %d times, want %d", err, w.source.count(), before+1)
		}
	})
}
