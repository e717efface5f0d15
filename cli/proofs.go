package cli

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/cli/cache"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/source"
)

// proofs are the elements of which rendering had nothing to say, in the folder of a cache: a check after a change need not judge
// again what it does not touch.
type proofs struct {
	files map[string]source.Hash // of the set that is checked
	odd   func(source.Hash) bool // a content that does not follow its hash
	known map[proof]uint64

	mu    sync.Mutex
	used  map[proof]bool
	fresh map[proof]uint64
}

// proof is as much of a fingerprint as is kept.
type proof [16]byte

// keptProofs are proofs as they are kept.
type keptProofs struct {
	Variables []string
	Values    []byte
	Proofs    string // in records: a proof, then its note
}

const proofSize = len(proof{}) + 8

// Content is of render.Proofs.
func (p *proofs) Content(file string) (render.Hash, bool) {
	h, ok := p.files[file]
	return h, ok && !p.odd(h)
}

// Known is of render.Proofs.
func (p *proofs) Known(fingerprint render.Hash) (uint64, bool) {
	k := proof(fingerprint[:])
	note, ok := p.known[k]
	if ok {
		p.mu.Lock()
		p.used[k] = true
		p.mu.Unlock()
	}
	return note, ok
}

// Keep is of render.Proofs.
func (p *proofs) Keep(fingerprint render.Hash, note uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fresh[proof(fingerprint[:])] = note
}

// proofs are those that are kept, for a check of a set.
func (v *verdicts) proofs(p *pipeline, set source.Set) *proofs {
	out := &proofs{files: make(map[string]source.Hash, len(set.Files)), odd: v.isOdd, known: map[proof]uint64{}, used: map[proof]bool{}, fresh: map[proof]uint64{}}
	for _, f := range set.Files {
		out.files[f.Name] = f.Hash
	}
	var k keptProofs
	b, ok := v.folder.Get(v.proofsKey(p))
	if v.self() == "" || !ok || cache.Decode(b, &k) != nil || len(k.Proofs)%proofSize != 0 || !slices.Equal(k.Values, v.values(k.Variables)) {
		return out
	}
	for _, name := range k.Variables {
		v.lookup(name)
	}
	for rest := k.Proofs; rest != ""; rest = rest[proofSize:] {
		out.known[proof([]byte(rest[:len(proof{})]))] = binary.LittleEndian.Uint64([]byte(rest[len(proof{}):proofSize]))
	}
	return out
}

func (v *verdicts) proofsKey(p *pipeline) cache.Key {
	return cache.KeyOf("proofs", v.self(), p.load.Target.String(), fmt.Sprint(p.load.Partial, p.load.RequireEnv))
}

// putProofs keeps what a check has added. What is known and was not met is another folder's, or past: there may be as much of it as of
// what was met.
func (v *verdicts) putProofs(p *pipeline, x *proofs) {
	if v.self() == "" || len(x.fresh) == 0 {
		return
	}
	most := 2 * (len(x.fresh) + len(x.used))
	for k := range x.used {
		x.fresh[k] = x.known[k]
	}
	for k, note := range x.known {
		if len(x.fresh) >= most {
			break
		}
		x.fresh[k] = note
	}
	records := make([]string, 0, len(x.fresh))
	for k, note := range x.fresh {
		records = append(records, string(binary.LittleEndian.AppendUint64(k[:], note)))
	}
	slices.Sort(records)
	out := keptProofs{Proofs: strings.Join(records, "")}
	out.Variables, out.Values = v.variables()
	b, err := cache.Encode(out)
	if err == nil {
		err = v.folder.Put(v.proofsKey(p), b)
	}
	if err != nil {
		v.failed(err)
	}
}
