package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/flexgw/flexgw/reconcile/disk"
)

// What is on disk: a snapshot of the state and a journal of what came since. Both are lines, each a checksum and puts in JSON; the
// last put of a key is what it is. So a journal may be read again over a snapshot that has it already, and a line that was not
// written whole counts as not written.

// put gives one key of one kind a value.
type put struct {
	Kind  string          `json:"kind"`
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"` // null: there is none any more
}

// value makes a put of what JSON can say; nil removes the key.
func value(kind, key string, v any) put {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own structs
	}
	return put{kind, key, b}
}

func encodeLine(puts []put) []byte {
	b, err := json.Marshal(puts)
	if err != nil {
		panic(err)
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(b), b)
}

func decodeLine(line []byte) ([]put, error) {
	sum, body, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
	if !ok || string(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(body)) {
		return nil, errors.New("the checksum is wrong")
	}
	var puts []put
	err := json.Unmarshal(body, &puts)
	return puts, err
}

// maxJournal is how many bytes the journal has before a snapshot takes its place, at least.
const maxJournal = 16 << 20

// journal is the two files. Its methods but sync are called with the simulator's lock held.
type journal struct {
	dir      string
	file     *os.File
	size     int64 // bytes in the file
	snapshot int64 // bytes in the snapshot
	lock     *os.File

	mu     sync.Mutex // of what follows
	must   uint64     // lines that were promised to last
	synced uint64     // of them, that do
	broken error      // the disk failed: nothing is promised any more
	syncs  sync.Mutex
}

func (j *journal) path(name string) string { return filepath.Join(j.dir, name) }

// openJournal takes the folder for this process alone, and hands all puts that are in it to apply. A tail that was not written whole
// is cut off; dropped is how many bytes that were.
func openJournal(dir string, apply func(put) error) (j *journal, dropped int64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, err
	}
	j = &journal{dir: dir}
	switch j.lock, err = disk.LockFile(j.path("lock")); {
	case errors.Is(err, disk.ErrHeld):
		return nil, 0, fmt.Errorf("%s belongs to another simulator that is running", dir)
	case err != nil:
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			_ = j.close()
		}
	}()
	snapshot, err := os.ReadFile(j.path("state.snapshot"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return j, 0, err
	}
	if n, err := read(snapshot, apply); err != nil || n < len(snapshot) {
		return j, 0, fmt.Errorf("%s is damaged at byte %d (%v): remove the folder to begin anew", j.path("state.snapshot"), n, err)
	}
	j.snapshot = int64(len(snapshot))
	log, err := os.ReadFile(j.path("state.journal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return j, 0, err
	}
	n, err := read(log, apply)
	if err != nil {
		return j, 0, fmt.Errorf("%s: %w", j.path("state.journal"), err)
	}
	if j.file, err = os.OpenFile(j.path("state.journal"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return j, 0, err
	}
	if err = j.file.Truncate(int64(n)); err != nil {
		return j, 0, err
	}
	j.size = int64(n)
	return j, int64(len(log) - n), nil
}

// read applies whole lines, and says where the first one begins that is not. An error is one of apply.
func read(b []byte, apply func(put) error) (n int, err error) {
	for line := range bytes.Lines(b) {
		puts, err := decodeLine(line)
		if err != nil || line[len(line)-1] != '\n' {
			return n, nil //nolint:nilerr // what follows was not written whole
		}
		for _, p := range puts {
			if err := apply(p); err != nil {
				return n, err
			}
		}
		n += len(line)
	}
	return n, nil
}

// append writes a line. It outlives this process at once, and the machine after sync if it is to last.
func (j *journal) append(puts []put, last bool) error {
	j.mu.Lock()
	broken := j.broken
	j.mu.Unlock()
	if broken != nil {
		return broken
	}
	line := encodeLine(puts)
	if _, err := j.file.Write(line); err != nil {
		err = fmt.Errorf("write %s: %w", j.file.Name(), disk.Cause(err))
		if j.file.Truncate(j.size) != nil { // a full disk takes half a line, and what follows one is never read
			j.mu.Lock()
			j.broken = err
			j.mu.Unlock()
		}
		return err
	}
	j.size += int64(len(line))
	if last {
		j.mu.Lock()
		j.must++
		j.mu.Unlock()
	}
	return nil
}

// sync returns when all that was to last does.
func (j *journal) sync() error {
	j.mu.Lock()
	want, have, broken := j.must, j.synced, j.broken
	j.mu.Unlock()
	if broken != nil || have >= want {
		return broken
	}
	j.syncs.Lock()
	defer j.syncs.Unlock()
	j.mu.Lock()
	have, upTo := j.synced, j.must
	j.mu.Unlock()
	if have >= want { // one sync served many
		return nil
	}
	err := j.file.Sync()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil { // what a failed sync has lost no second one tells
		j.broken = fmt.Errorf("sync %s: %w", j.file.Name(), disk.Cause(err))
		return j.broken
	}
	j.synced = max(j.synced, upTo)
	return nil
}

// full says that a snapshot would be smaller than the journal.
func (j *journal) full() bool { return j.size > maxJournal && j.size > 2*j.snapshot }

// compact makes a snapshot of all puts, and the journal empty.
func (j *journal) compact(all []put) error {
	var b bytes.Buffer
	for _, p := range all {
		b.Write(encodeLine([]put{p}))
	}
	if err := disk.Write(j.path("state.snapshot"), b.Bytes(), 0o600); err != nil {
		return err
	}
	if err := syncDir(j.dir); err != nil {
		return err
	}
	j.syncs.Lock() // nobody is in the middle of a sync of what is cut off
	defer j.syncs.Unlock()
	if err := j.file.Truncate(0); err != nil {
		return err
	}
	j.size, j.snapshot = 0, int64(b.Len())
	j.mu.Lock()
	j.synced = j.must
	j.mu.Unlock()
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (j *journal) close() error {
	var err error
	if j.file != nil {
		err = j.file.Close()
	}
	if j.lock != nil { // the file stays: removing it would let two hold it
		err = errors.Join(err, j.lock.Close())
	}
	return err
}
