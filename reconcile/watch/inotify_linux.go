package watch

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const events = syscall.IN_CREATE | syscall.IN_DELETE | syscall.IN_MODIFY | syscall.IN_CLOSE_WRITE | syscall.IN_MOVED_FROM |
	syscall.IN_MOVED_TO | syscall.IN_ATTRIB | syscall.IN_DELETE_SELF | syscall.IN_MOVE_SELF | syscall.IN_ONLYDIR

// place is one name in one watched directory.
type place struct {
	wd   int
	name string
}

// link is a name in a folder that must be looked at again; the zero link is everything.
type link struct {
	folder *folder
	name   string
}

// watched is one directory of the disk, however many folders of the tree it is.
type watched struct {
	path    string
	folders map[*folder]bool
	deps    map[string]map[link]bool // names that are steps on the way of links
}

// writing is a writer who is not done, as far as is known.
type writing struct {
	first, last time.Time
	pause       time.Duration // of silence, that it is given
}

// lookAgain is for a file that is found open and of which no event told: what told may have been its closing, which the kernel tells of
// a moment before it lets the file go.
const lookAgain = 20 * time.Millisecond

// watcher turns inotify events into places to look at again. The kernel gives one descriptor per directory whatever path
// leads to it, so links need no special care. All methods of a nil watcher do nothing.
type watcher struct {
	fd      int // -1: there is no inotify to be had
	file    *os.File
	changed chan struct{}
	done    chan struct{}
	patience

	mu    sync.Mutex
	dirs  map[int]*watched
	links map[link][]place
	old   map[int]*watched // while everything is walked again
	dirty map[place]bool
	full  bool
	blind bool // some directory could not be watched: only looking helps
	busy  map[place]writing
	timer *time.Timer // runs while busy is not empty
}

func newWatcher() *watcher {
	w := &watcher{
		fd: -1, changed: make(chan struct{}, 1), done: make(chan struct{}),
		dirs: map[int]*watched{}, links: map[link][]place{}, dirty: map[place]bool{}, full: true, busy: map[place]writing{}, patience: usualPatience(),
	}
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil { // too many instances on this host
		w.blind = true
		close(w.done)
		return w
	}
	w.fd, w.file = fd, os.NewFile(uintptr(fd), "inotify")
	go w.read()
	return w
}

func (w *watcher) close() {
	if w.file != nil {
		_ = w.file.Close()
	}
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fd = -1
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watcher) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *watcher) read() {
	defer close(w.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		look := false
		for b := buf[:n]; len(b) >= syscall.SizeofInotifyEvent; {
			wd := int(int32(binary.NativeEndian.Uint32(b)))
			mask := binary.NativeEndian.Uint32(b[4:])
			end := syscall.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			name := string(bytes.TrimRight(b[syscall.SizeofInotifyEvent:end], "\x00"))
			look = w.event(place{wd, name}, mask) || look
			b = b[end:]
		}
		w.mu.Unlock()
		if look {
			w.signal()
		}
	}
}

// event notes what one event means and reports whether there is something to look at.
func (w *watcher) event(p place, mask uint32) bool {
	d := w.dirs[p.wd]
	switch {
	case mask&syscall.IN_Q_OVERFLOW != 0:
		w.full = true
		return true
	case mask&(syscall.IN_DELETE_SELF|syscall.IN_MOVE_SELF|syscall.IN_UNMOUNT|syscall.IN_IGNORED) != 0:
		if d == nil {
			return false
		}
		if mask&syscall.IN_IGNORED != 0 {
			delete(w.dirs, p.wd)
		}
		w.full = true
		return true
	case d != nil && !d.relevant(p.name, mask):
		return false
	case mask&syscall.IN_ISDIR != 0:
	case mask&syscall.IN_MODIFY != 0, mask&syscall.IN_CREATE != 0 && d.opened(p.name):
		w.wait(p)
		return false
	case mask&syscall.IN_ATTRIB != 0:
		if _, ok := w.busy[p]; ok {
			return false
		}
	}
	delete(w.busy, p)
	w.dirty[p] = true
	return true
}

// relevant reports whether an event on a name can change what the tree holds.
func (d *watched) relevant(name string, mask uint32) bool {
	if len(d.deps[name]) > 0 {
		return true
	}
	// A name without the right ending may be a link to a folder, but then nothing is written to it.
	if mask&syscall.IN_ISDIR == 0 && mask&(syscall.IN_MODIFY|syscall.IN_CLOSE_WRITE) != 0 && !IsDeclaration(name) {
		for f := range d.folders {
			if f.only == name {
				return true
			}
		}
		return false
	}
	for f := range d.folders {
		if f.sees(name) {
			return true
		}
	}
	return false
}

// opened reports whether a file that just appeared was opened by a writer. A link, or a further name of a file, is
// complete when it appears.
func (d *watched) opened(name string) bool {
	if d == nil {
		return false
	}
	var st syscall.Stat_t
	err := syscall.Lstat(d.path+"/"+name, &st)
	return err == nil && st.Mode&syscall.S_IFMT == syscall.S_IFREG && st.Nlink == 1
}

func (w *watcher) wait(p place) {
	now := time.Now()
	b, ok := w.busy[p]
	if !ok {
		b.first = now
	}
	b.last, b.pause = now, w.pause
	w.busy[p] = b
	if w.timer == nil {
		w.timer = time.AfterFunc(w.pause, w.expire)
	}
}

// open notes a writer that no event told of. One that an event has told of since, who may have closed the file, is looked at again
// anyway.
func (w *watcher) open(p place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, told := w.busy[p]; told || w.dirty[p] {
		return
	}
	b := writing{time.Now(), time.Now(), min(lookAgain, w.pause)}
	w.busy[p] = b
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer = time.AfterFunc(b.pause, w.expire)
}

// expire stops waiting for writers that have gone silent.
func (w *watcher) expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = nil
	now, next := time.Now(), w.pause
	for p, b := range w.busy {
		left := min(b.pause-now.Sub(b.last), w.limit-now.Sub(b.first))
		if left > 0 {
			next = min(next, left)
			continue
		}
		delete(w.busy, p)
		w.dirty[p] = true
	}
	if len(w.busy) > 0 && w.fd >= 0 {
		w.timer = time.AfterFunc(next, w.expire)
	}
	if len(w.dirty) > 0 {
		w.signal()
	}
}

// take hands out what is to be looked at, once: everything, or these.
func (w *watcher) take() (full bool, look []link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	full = w.full
	set := map[link]bool{}
	for p := range w.dirty {
		d := w.dirs[p.wd]
		if d == nil {
			continue // it went, and whoever held it was told
		}
		for f := range d.folders {
			if f.sees(p.name) {
				set[link{f, p.name}] = true
			}
		}
		for l := range d.deps[p.name] {
			full = full || l == link{}
			set[l] = true
		}
	}
	w.full, w.dirty = false, map[place]bool{}
	if full {
		return true, nil
	}
	look = slices.Collect(maps.Keys(set))
	slices.SortFunc(look, func(a, b link) int { return strings.Compare(a.folder.join(a.name), b.folder.join(b.name)) })
	return false, look
}

// again has everything walked at the next Fetch, and asks for one.
func (w *watcher) again() {
	w.mu.Lock()
	w.full = true
	w.mu.Unlock()
	w.signal()
}

// begin forgets who watches what, but watches on; end stops watching what nobody asked for in between.
func (w *watcher) begin() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.old, w.dirs, w.links, w.blind = w.dirs, map[int]*watched{}, map[link][]place{}, w.fd < 0
}

func (w *watcher) end() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for wd := range w.old {
		if w.dirs[wd] == nil {
			w.remove(wd)
		}
	}
	w.old = nil
}

func (w *watcher) remove(wd int) {
	delete(w.dirs, wd)
	if w.fd >= 0 {
		_, _ = syscall.InotifyRmWatch(w.fd, uint32(wd)) // it may be gone already
	}
}

// add returns the directory's descriptor, -1 when it cannot be watched.
func (w *watcher) add(path string) (int, *watched) {
	if w.fd < 0 {
		return -1, nil
	}
	wd, err := syscall.InotifyAddWatch(w.fd, path, events)
	if err != nil {
		// A directory that went or may not be read is noticed by whoever lists it. What is left: no watches left.
		w.blind = w.blind || err == syscall.ENOSPC || err == syscall.ENOMEM
		return -1, nil
	}
	d := w.dirs[wd]
	if d == nil {
		d = &watched{path: path, folders: map[*folder]bool{}, deps: map[string]map[link]bool{}}
		w.dirs[wd] = d
	}
	return wd, d
}

func (w *watcher) enter(f *folder) int {
	if w == nil {
		return -1
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	wd, d := w.add(f.real)
	if d != nil {
		d.folders[f] = true
	}
	return wd
}

func (w *watcher) leave(f *folder) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range w.links {
		if l.folder == f {
			w.unlink(l)
		}
	}
	if d := w.dirs[f.wd]; d != nil {
		delete(d.folders, f)
		w.unwatch(f.wd, d)
	}
}

func (w *watcher) unwatch(wd int, d *watched) {
	if len(d.folders) == 0 && len(d.deps) == 0 {
		w.remove(wd)
	}
}

// depend has whom looked at again when a name in a directory changes.
func (w *watcher) depend(dir, name string, whom link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wd, d := w.add(dir)
	if d == nil {
		return
	}
	if d.deps[name] == nil {
		d.deps[name] = map[link]bool{}
	}
	d.deps[name][whom] = true
	w.links[whom] = append(w.links[whom], place{wd, name})
}

// forget takes back every depend of one link.
func (w *watcher) forget(l link) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(l)
}

func (w *watcher) unlink(l link) {
	for _, p := range w.links[l] {
		d := w.dirs[p.wd]
		if d == nil {
			continue
		}
		if delete(d.deps[p.name], l); len(d.deps[p.name]) == 0 {
			delete(d.deps, p.name)
		}
		w.unwatch(p.wd, d)
	}
	delete(w.links, l)
}

// isBusy reports whether a writer has the file open, as far as is known.
func (w *watcher) isBusy(f *folder, name string) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.busy) == 0 {
		return false
	}
	if _, ok := w.busy[place{f.wd, name}]; ok {
		return true
	}
	for _, p := range w.links[link{f, name}] {
		if _, ok := w.busy[p]; ok {
			return true
		}
	}
	return false
}
