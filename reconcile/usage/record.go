package usage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A frame is a transaction: its length and a CRC-32C, then its steps. It counts as a whole or not at all.
const (
	frameMagic = "fgU1"
	frameHead  = len(frameMagic) + 4 + 4
	frameLimit = 64 << 20 // bytes of a payload
)

// step is the first byte of each step in a frame.
type step byte

const (
	stepBegin      step = iota + 1 // replica, epoch, time: the first of every file
	stepIdentity                   // number, five words: an identity gets a number
	stepAPI                        // number, word: so does an API
	stepUse                        // number of the identity to which counts belong from here on
	stepPosition                   // of the access log
	stepClock                      // time: the newest that was seen
	stepCount                      // identity, API, hour, n
	stepRefuse                     // points, calls: what there was no room for
	stepSeal                       // seq, time, identity, lost, points: a batch
	stepAck                        // seq
	stepQuarantine                 // seq, why
	stepRow                        // of a snapshot: key and all of its numbers
	stepTotals                     // of a snapshot: what is not in rows and batches
	stepAside                      // of a snapshot: a batch that was set aside
	stepSplit                      // seq, how many points stay, seq of the rest
	stepRelease                    // seq: a batch that was set aside, and that the platform has after all
	stepAge                        // of a snapshot: how many positions there were
	stepAlarm                      // code, message, since, last, two figures, whether it lapses
	stepClear                      // code: an alarm that is over
	stepShare                      // rows are of gateways from here on, no longer of identities
	stepGiveUp                     // seq: a batch that was set aside, and that nobody will report
	stepGiven                      // of a snapshot: key, and how many of its calls were given up
)

// writer puts steps together.
type writer struct{ b []byte }

func (w *writer) step(s step)   { w.b = append(w.b, byte(s)) }
func (w *writer) uint(n uint64) { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) int(n int64)   { w.b = binary.AppendVarint(w.b, n) }
func (w *writer) word(s string) { w.uint(uint64(len(s))); w.b = append(w.b, s...) }
func (w *writer) numbers(ns ...uint64) {
	for _, n := range ns {
		w.uint(n)
	}
}

func (w *writer) flag(yes bool) {
	if yes {
		w.uint(1)
		return
	}
	w.uint(0)
}

// reader takes steps apart. Its error sticks.
type reader struct {
	b   []byte
	err error
}

var errShort = errors.New("a record ends in the middle of a step")

func (r *reader) fail() {
	r.err, r.b = errShort, nil
}

func (r *reader) step() (step, bool) {
	if r.err != nil || len(r.b) == 0 {
		return 0, false
	}
	s := step(r.b[0])
	r.b = r.b[1:]
	return s, true
}

func (r *reader) uint() uint64 {
	n, used := binary.Uvarint(r.b)
	if used <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[used:]
	return n
}

func (r *reader) int() int64 {
	n, used := binary.Varint(r.b)
	if used <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[used:]
	return n
}

func (r *reader) word() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) flag() bool { return r.uint() != 0 }

// numbers reads into each of its arguments.
func (r *reader) numbers(to ...*uint64) {
	for _, n := range to {
		*n = r.uint()
	}
}

// frame wraps a payload.
func frame(payload []byte) []byte {
	b := make([]byte, frameHead, frameHead+len(payload))
	copy(b, frameMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[8:], checksum(b[4:8], payload))
	return append(b, payload...)
}

func checksum(length, payload []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(length, table), table, payload)
}

// unframe is the payload of the frame at the beginning of b; short: b ends before the frame does, so that nothing can be said of it.
func unframe(b []byte) (payload []byte, short, ok bool) {
	if len(b) < frameHead {
		return nil, true, false
	}
	n := binary.LittleEndian.Uint32(b[4:])
	switch {
	case string(b[:4]) != frameMagic || n > frameLimit:
		return nil, false, false
	case int64(len(b)) < int64(frameHead)+int64(n):
		return nil, true, false
	}
	payload = b[frameHead : frameHead+int(n)]
	return payload, false, checksum(b[4:8], payload) == binary.LittleEndian.Uint32(b[8:])
}

// scan calls f with each frame from the beginning on. end is where the last whole one ends. damaged: what follows is more than
// the torn end of a write that was cut off, for that is short, or of zeros.
func scan(b []byte, f func(payload []byte) error) (end int64, damaged bool, err error) {
	for {
		rest := b[end:]
		if len(rest) == 0 {
			return end, false, nil
		}
		payload, short, ok := unframe(rest)
		if !ok {
			torn := short && bytes.HasPrefix([]byte(frameMagic), rest[:min(len(rest), len(frameMagic))]) && !later(rest) || len(bytes.Trim(rest, "\x00")) == 0
			return end, !torn, nil
		}
		if err := f(payload); err != nil {
			return end, true, nil //nolint:nilerr // whole, but not ours: as good as damaged
		}
		end += int64(frameHead + len(payload))
	}
}

// later reports whether a whole frame stands somewhere after the beginning of b.
func later(b []byte) bool {
	for at := 1; ; {
		i := bytes.Index(b[at:], []byte(frameMagic))
		if i < 0 {
			return false
		}
		at += i
		if _, _, ok := unframe(b[at:]); ok {
			return true
		}
		at++
	}
}

// readAll reads a file that nobody else writes.
func readAll(f file) ([]byte, error) {
	n, err := f.size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if got, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%d of %d bytes: %w", got, n, err)
	}
	return b, nil
}
