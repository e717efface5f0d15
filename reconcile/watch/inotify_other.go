//go:build !linux

package watch

import "sync"

// watcher, on a system without inotify, tells nothing: a Directory then looks at everything again and again (blindRescan).
type watcher struct {
	changed chan struct{}
	blind   bool
	patience

	mu   sync.Mutex
	full bool
}

type link struct {
	folder *folder
	name   string
}

type place struct {
	wd   int
	name string
}

func newWatcher() *watcher {
	return &watcher{changed: make(chan struct{}, 1), blind: true, full: true, patience: usualPatience()}
}

// take hands out what is to be looked at: everything.
func (w *watcher) take() (full bool, look []link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	full, w.full = w.full, false
	return full, nil
}

// again has everything walked at the next Fetch, and asks for one.
func (w *watcher) again() {
	w.mu.Lock()
	w.full = true
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *watcher) close()                      {}
func (w *watcher) begin()                      {}
func (w *watcher) end()                        {}
func (w *watcher) open(place)                  {}
func (w *watcher) enter(*folder) int           { return -1 }
func (w *watcher) leave(*folder)               {}
func (w *watcher) depend(_, _ string, _ link)  {}
func (w *watcher) forget(link)                 {}
func (w *watcher) isBusy(*folder, string) bool { return false }
