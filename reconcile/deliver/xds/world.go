package xds

import (
	"encoding/hex"
	"slices"
	"sync"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// kind is one of the four types that we serve, in the order in which they are made.
type kind int

const (
	clusters kind = iota
	secrets
	scopes
	listeners
	kinds
)

// typeURLs are those of the kinds.
func typeURLs() [kinds]string {
	return [kinds]string{clusters: render.ClusterType, secrets: render.SecretType, scopes: render.ScopeType, listeners: render.ListenerType}
}

// snapshot is what the server needs of a rendered set.
type snapshot interface {
	Each(typeURL string, f func(*render.Resource))
	Get(k render.Key) (*render.Resource, bool)
	// changed lists the keys that differ from since (nil: all), removed ones included, sorted.
	changed(since snapshot) []render.Key
	// Elsewhere is a resource for an Envoy on another host, whose CA bundle is at ca.
	Elsewhere(r *render.Resource, ca string) (*anypb.Any, error)
}

// rendered is the snapshot of the real renderer.
type rendered struct{ *render.Resources }

func (r rendered) changed(since snapshot) []render.Key {
	old, _ := since.(rendered)
	return r.Resources.Changed(old.Resources)
}

// world is one published set. It is immutable, but for what declares keeps.
type world struct {
	seq      uint64 // from 1
	revision string
	snap     snapshot
	sealed   []string // see render.Resources

	once     sync.Once
	declared map[diag.Object]bool // what its scopes come from; made by the first declares
}

// declares says whether anything that an old scope came from still has a scope: then the scope was split or merged, else
// it was taken away. A scope of unknown origin counts as declared.
func (w *world) declares(old *render.Resource) bool {
	if old == nil || len(old.Origins) == 0 {
		return true
	}
	w.once.Do(func() {
		w.declared = map[diag.Object]bool{}
		w.snap.Each(typeURLs()[scopes], func(r *render.Resource) {
			for _, o := range r.Origins {
				w.declared[o.Object] = o.Object.Kind == "ApiInstance"
			}
		})
	})
	return slices.ContainsFunc(old.Origins, func(o *ir.Origin) bool { return w.declared[o.Object] })
}

// version is what Envoy sees as the version of a resource: half a SHA-256 is more than enough to tell bytes apart, and a
// reconnecting Envoy names all of them in one message.
func version(r *render.Resource) string { return hex.EncodeToString(r.Hash[:16]) }

// changeLog remembers which keys changed from world to world, so that the cost of a change at a stream is that of the
// change. The zero changeLog is empty.
type changeLog struct {
	changes []change // by seq, without gaps
	size    int      // keys in changes
}

type change struct {
	seq  uint64
	keys []render.Key
}

// Beyond these the oldest changes are forgotten; a stream that far behind compares everything once.
const (
	maxChanges     = 1024
	maxChangedKeys = 1 << 16
)

func (l *changeLog) add(seq uint64, keys []render.Key) {
	l.changes = append(l.changes, change{seq, keys})
	l.size += len(keys)
	drop := 0
	for len(l.changes)-drop > 1 && (len(l.changes)-drop > maxChanges || l.size > maxChangedKeys) {
		l.size -= len(l.changes[drop].keys)
		drop++
	}
	if drop > 0 {
		l.changes = append([]change(nil), l.changes[drop:]...)
	}
}

// after lists the keys that changed after seq, in order, perhaps with repetitions; false when it does not know.
func (l *changeLog) after(seq uint64) ([]render.Key, bool) {
	if len(l.changes) == 0 || l.changes[0].seq > seq+1 {
		return nil, false
	}
	todo := l.changes[seq+1-l.changes[0].seq:]
	if len(todo) == 1 {
		return todo[0].keys, true
	}
	var keys []render.Key
	for _, c := range todo {
		keys = append(keys, c.keys...)
	}
	return keys, true
}
