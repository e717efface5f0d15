package cli

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/flexgw/flexgw/cli/cache"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// proofs are the files and the elements of which there was nothing to say, in the folder of a cache: a check after a change need
// not judge again what it does not touch. Most are in one large entry, which is written seldom; those of the last few changes in another.
type proofs struct {
	files  map[string]source.Hash // of the set that is checked
	odd    func(source.Hash) bool // a content that does not follow its hash
	most   *records
	recent *records

	mu    sync.Mutex
	fresh [][]byte // records
	size  int64    // of fresh
}

// proof is as much of a fingerprint as is kept.
type proof [16]byte

// record is a proof, and what else is known of what it proves.
type record struct {
	proof proof
	note  []byte
}

// records are found by their proofs.
type records struct {
	b     []byte        // one after the other
	slots []uint32      // where a record begins in b, plus one: at the proof's first bytes, or the next free slot
	met   []atomic.Bool // by slot: it was found
	bytes atomic.Int64  // of those that were met
}

// readRecords is nil if b is anything else.
func readRecords(b []byte) *records {
	n := 0
	for i := 0; i < len(b); n++ {
		_, size := recordAt(b, i)
		if size == 0 {
			return nil
		}
		i += size
	}
	size := 16
	for size < 2*n {
		size *= 2
	}
	r := &records{b: b, slots: make([]uint32, size), met: make([]atomic.Bool, size)}
	for i := 0; i < len(b); {
		x, size := recordAt(b, i)
		at := r.slot(x.proof)
		r.slots[at] = uint32(i) + 1
		i += size
	}
	return r
}

// recordAt is what begins at i, and its size; 0: it is no record.
func recordAt(b []byte, i int) (r record, size int) {
	const head = len(proof{})
	if len(b)-i <= head {
		return r, 0
	}
	n, k := binary.Uvarint(b[i+head:])
	if k <= 0 || n > uint64(len(b)-i-head-k) {
		return r, 0
	}
	from := i + head + k
	return record{proof(b[i:]), b[from : from+int(n) : from+int(n)]}, from + int(n) - i
}

// slot is where a proof is, or could be.
func (r *records) slot(p proof) int {
	at := int(binary.LittleEndian.Uint32(p[:])) & (len(r.slots) - 1)
	for r.slots[at] != 0 && proof(r.b[r.slots[at]-1:]) != p {
		at = (at + 1) & (len(r.slots) - 1)
	}
	return at
}

func (r *records) find(p proof) ([]byte, bool) {
	at := r.slot(p)
	if r.slots[at] == 0 {
		return nil, false
	}
	x, size := recordAt(r.b, int(r.slots[at])-1)
	if !r.met[at].Load() && !r.met[at].Swap(true) {
		r.bytes.Add(int64(size))
	}
	return x.note, true
}

// left are those that were met, and of the others as much as room allows.
func (r *records) left(room int64) (parts [][]byte, size int64) {
	from := 0
	cut := func(to int) {
		if from < to {
			parts, size = append(parts, r.b[from:to]), size+int64(to-from)
		}
	}
	for i := 0; i < len(r.b); {
		x, n := recordAt(r.b, i)
		met := r.met[r.slot(x.proof)].Load()
		if !met {
			room -= int64(n)
		}
		if !met && room < 0 {
			cut(i)
			from = i + n
		}
		i += n
	}
	cut(len(r.b))
	return parts, size
}

func (p *proofs) find(fingerprint [sha256.Size]byte) ([]byte, bool) {
	if note, ok := p.most.find(proof(fingerprint[:])); ok {
		return note, true
	}
	return p.recent.find(proof(fingerprint[:]))
}

// keep takes in a record, whose note is put together.
func (p *proofs) keep(fingerprint [sha256.Size]byte, note ...[]byte) {
	const chunk = 1 << 16
	n := 0
	for _, x := range note {
		n += len(x)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.fresh) - 1
	if room := n + len(proof{}) + binary.MaxVarintLen64; last < 0 || cap(p.fresh[last])-len(p.fresh[last]) < room {
		p.fresh, last = append(p.fresh, make([]byte, 0, max(room, chunk))), last+1
	}
	b := p.fresh[last]
	p.size -= int64(len(b))
	b = binary.AppendUvarint(append(b, fingerprint[:len(proof{})]...), uint64(n))
	for _, x := range note {
		b = append(b, x...)
	}
	p.fresh[last], p.size = b, p.size+int64(len(b))
}

// Content is of render.Proofs.
func (p *proofs) Content(file string) (render.Hash, bool) {
	h, ok := p.files[file]
	return h, ok && !p.odd(h)
}

// Known is of render.Proofs.
func (p *proofs) Known(fingerprint render.Hash) (uint64, bool) {
	b, ok := p.find(fingerprint)
	note, n := binary.Uvarint(b)
	return note, ok && n == len(b) && n > 0
}

// Keep is of render.Proofs.
func (p *proofs) Keep(fingerprint render.Hash, note uint64) {
	p.keep(fingerprint, binary.AppendUvarint(nil, note))
}

// sound are those of the proofs that are about files: the length of a tape, the tape, and what there was to say, if there was something.
type sound struct{ *proofs }

var _ schema.Sound = sound{}

// Known is of schema.Sound.
func (s sound) Known(f source.File) (tape []byte, said diag.List, ok bool) {
	if s.odd(f.Hash) {
		return nil, nil, false
	}
	b, ok := s.find(fileProof(f))
	n, size := binary.Uvarint(b)
	if !ok || size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	tape, b = b[size:size+int(n)], b[size+int(n):]
	if len(b) > 0 && (cache.Decode(b, &said) != nil || slices.ContainsFunc(said, strange)) {
		return nil, nil, false
	}
	return tape, said, true
}

// Keep is of schema.Sound.
func (s sound) Keep(f source.File, tape []byte, said diag.List) {
	if s.odd(f.Hash) || slices.ContainsFunc(said, passing) {
		return
	}
	var more []byte
	if len(said) > 0 {
		var err error
		if more, err = cache.Encode(said); err != nil {
			return
		}
	}
	s.keep(fileProof(f), binary.AppendUvarint(nil, uint64(len(tape))), tape, more)
}

// fileProof is the fingerprint of a file. Those of render begin with the length of a word, which is not that of this one.
func fileProof(f source.File) [sha256.Size]byte {
	b := make([]byte, 0, 256)
	b = append(append(append(b, "\x04file"...), f.Hash[:]...), f.Name...)
	return sha256.Sum256(b)
}

// keptProofs is what stands before the records of an entry.
type keptProofs struct {
	Variables []string
	Values    []byte
}

// proofs are those that are kept, for a check of a set.
func (v *verdicts) proofs(p *pipeline, set source.Set) *proofs {
	out := &proofs{files: make(map[string]source.Hash, len(set.Files)), odd: v.isOdd}
	for _, f := range set.Files {
		out.files[f.Name] = f.Hash
	}
	out.most, out.recent = v.records(v.proofsKey(p, "most")), v.records(v.proofsKey(p, "recent"))
	return out
}

// records are those of an entry, if they hold in this environment; else none.
func (v *verdicts) records(key cache.Key) *records {
	none := readRecords(nil)
	b, ok := v.folder.Get(key)
	if v.self() == "" || !ok {
		return none
	}
	var k keptProofs
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) || cache.Decode(b[size:size+int(n)], &k) != nil || !slices.Equal(k.Values, v.values(k.Variables)) {
		return none
	}
	r := readRecords(b[size+int(n):])
	if r == nil {
		return none
	}
	for _, name := range k.Variables {
		v.lookup(name)
	}
	return r
}

func (v *verdicts) proofsKey(p *pipeline, which string) cache.Key {
	return cache.KeyOf("proofs", which, v.self(), p.load.Target.String(), fmt.Sprint(p.load.Partial, p.load.RequireEnv, p.load.AllowUnenforced, p.load.AllowReserved, p.load.Salvage))
}

// manyRecent says how much of all the recent proofs may be, before the large entry takes them in: 1/manyRecent.
const manyRecent = 8

// putProofs keeps what a check has added. What is known and was not met is another folder's, or past: there may be as much of it as of
// what was met.
func (v *verdicts) putProofs(p *pipeline, x *proofs) {
	if v.self() == "" || len(x.fresh) == 0 {
		return
	}
	met := x.most.bytes.Load() + x.recent.bytes.Load() + x.size
	recent, size := x.recent.left(met)
	if manyRecent*(x.size+size) <= int64(len(x.most.b)) {
		v.putRecords(p, "recent", append(recent, x.fresh...))
		return
	}
	most, _ := x.most.left(met)
	v.putRecords(p, "most", append(append(most, recent...), x.fresh...))
	if len(x.recent.b) > 0 {
		v.putRecords(p, "recent", nil)
	}
}

func (v *verdicts) putRecords(p *pipeline, which string, records [][]byte) {
	var k keptProofs
	k.Variables, k.Values = v.variables()
	head, err := cache.Encode(k)
	if err == nil {
		err = v.folder.Put(v.proofsKey(p, which), append([][]byte{binary.AppendUvarint(nil, uint64(len(head))), head}, records...)...)
	}
	if err != nil {
		v.failed(err)
	}
}
