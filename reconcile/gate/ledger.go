package gate

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
)

// Beyond these, refusals are forgotten, or not told. They are for those who are known and for strangers each.
const (
	maxRefusals = 32
	maxAge      = time.Hour
	maxTold     = 10 // within a minute
)

// What a peer says of itself is as long as it likes, and of any characters.
const (
	maxIdentity = 128
	maxMessage  = 384
)

// ledger is who was turned away. Strangers and peers that are known have one each, so that the first do not push out the second.
type ledger struct {
	refusals []refused // the newest last
	since    time.Time // the minute that told is about
	told     int
	leftOut  int
}

// refused is a refusal, and whether it was told.
type refused struct {
	Refusal
	told bool
}

// clip is a text that a stranger wrote, on one line, with nothing that a terminal obeys.
func clip(s string, limit int) string {
	if len(s) > 8*limit { // of what is left out, nothing need be made visible
		s = s[:8*limit]
	}
	r := []rune(diag.Visible(s))
	if len(r) > limit {
		r = append(r[:limit-1], '…')
	}
	return string(r)
}

// note remembers a refusal in l. Who comes again and again is told of once. What strangers call themselves does not tell them
// apart: they may have a new name each time.
func (g *Gate) note(l *ledger, r Refusal) {
	if host, _, err := net.SplitHostPort(r.Address); err == nil {
		r.Address = host
	}
	r.Identity, r.Message = clip(r.Identity, maxIdentity), clip(r.Message, maxMessage)
	if h := g.o.Hints[r.Reason]; h != "" {
		r.Message += "; " + h
	}
	r.At, r.Count = g.o.Now().UTC(), 1
	g.mu.Lock()
	l.forget(r.At)
	x := refused{Refusal: r}
	i := slices.IndexFunc(l.refusals, func(o refused) bool {
		return o.Address == r.Address && o.Reason == r.Reason && (l == &g.strangers || o.Identity == r.Identity)
	})
	if i >= 0 {
		x.Count += l.refusals[i].Count
		x.told = l.refusals[i].told
		l.refusals = slices.Delete(l.refusals, i, i+1)
	} else if len(l.refusals) == maxRefusals {
		l.refusals = slices.Delete(l.refusals, 0, 1)
	}
	tell := !x.told && l.may(r.At)
	x.told = x.told || tell
	l.refusals = append(l.refusals, x)
	g.mu.Unlock()
	if !tell {
		g.o.Log.Debug("a peer was refused", "address", r.Address, "identity", r.Identity, "reason", r.Reason, "message", r.Message)
		return
	}
	g.o.Log.Warn("a peer was refused", "address", r.Address, "identity", r.Identity, "reason", r.Reason, "message", r.Message)
	if g.o.Refused != nil {
		g.o.Refused(x.Refusal)
	}
}

// may says whether one more can be told now.
func (l *ledger) may(now time.Time) bool {
	if now.Sub(l.since) >= time.Minute && l.leftOut == 0 {
		l.since, l.told = now, 0
	}
	if l.told == maxTold {
		l.leftOut++
		return false
	}
	l.told++
	return true
}

// forget drops what is old.
func (l *ledger) forget(now time.Time) {
	l.refusals = slices.DeleteFunc(l.refusals, func(r refused) bool { return now.Sub(r.At) > maxAge })
}

// summarize tells how many were not told, when their minute is over.
func (g *Gate) summarize() {
	now := g.o.Now().UTC()
	for _, l := range []*ledger{&g.known, &g.strangers} {
		g.mu.Lock()
		n := l.leftOut
		if n > 0 && now.Sub(l.since) >= time.Minute {
			l.since, l.told, l.leftOut = now, 0, 0
		} else {
			n = 0
		}
		g.mu.Unlock()
		if n == 0 {
			continue
		}
		r := Refusal{Reason: LeftOut, At: now, Count: n, Message: fmt.Sprintf("%d refusals more were not told one by one; %s", n, g.o.Hints[LeftOut])}
		g.o.Log.Warn("refusals were left out", "count", n, "reason", r.Reason, "message", r.Message)
		if g.o.Refused != nil {
			g.o.Refused(r)
		}
	}
}

// Refusals are those of the last hour, first those of peers that proved who they are, the newest first.
func (g *Gate) Refusals() []Refusal {
	now := g.o.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []Refusal
	for _, l := range []*ledger{&g.known, &g.strangers} {
		for _, r := range slices.Backward(l.refusals) {
			if now.Sub(r.At) <= maxAge {
				out = append(out, r.Refusal)
			}
		}
	}
	return out
}
