package usage_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/usage"
)

// greatest is a platform: of each agent, replica, API and hour it keeps the greatest count.
type greatest map[string]uint64

func (g greatest) take(b anypoint.Batch) {
	for _, p := range b.Points {
		k := fmt.Sprint(b.AgentID, " ", b.ReplicaID, " ", p.APIInstance, " ", p.HourStart.Unix())
		g[k] = max(g[k], p.Cumulative)
	}
}

func (g greatest) total() (n uint64) {
	for _, x := range g {
		n += x
	}
	return n
}

// acknowledged has a platform take all that waits.
func acknowledged(t *testing.T, l *usage.Ledger, g greatest) {
	t.Helper()
	for b, ok := l.Next(); ok; b, ok = l.Next() {
		g.take(b)
		must(t, l.Ack(b.Seq))
	}
}

// TestARenewedRegistration: a renewal may change everything but the gateway, and its counts go on.
func TestARenewedRegistration(t *testing.T) {
	t.Parallel()
	c, dir, p := newClock(), t.TempDir(), greatest{}
	l := open(t, dir, c, usage.Options{})
	must(t, l.SetIdentity(us))
	count(t, l, c, "a/a", 100)
	must(t, l.Seal(c.now))
	next(t, l, "a/a 10 +100 =100 false")
	acknowledged(t, l, p)
	count(t, l, c, "a/b", 7) // in no batch yet
	renewed := us
	renewed.MeteringSchema, renewed.Asset = "another", "renamed"
	must(t, l.SetIdentity(renewed))
	count(t, l, c, "a/a", 50)
	must(t, l.Seal(c.now))
	if b := next(t, l, "a/a 10 +50 =150 false", "a/b 10 +7 =7 false"); b.MeteringSchemaID != "another" || b.AssetName != "renamed" || b.AgentID != us.Agent {
		t.Errorf("got %+v", b)
	}
	acknowledged(t, l, p)
	if p.total() != 157 {
		t.Errorf("the platform has %d of 157 calls", p.total())
	}
	if ts := l.Totals(); len(ts) != 2 || ts[0].Counted != 150 || ts[0].Acknowledged != 150 || ts[0].Identity != renewed {
		t.Errorf("got %+v", ts)
	}

	// Another gateway's counts are its own, and so are those of the same one in another environment.
	for i, other := range []usage.Identity{{Agent: "another", MeteringSchema: "another"}, {Agent: us.Agent, Organization: us.Organization, Environment: "else"}} {
		must(t, l.SetIdentity(other))
		count(t, l, c, "a/a", 3)
		must(t, l.Seal(c.now))
		next(t, l, "a/a 10 +3 =3 false")
		must(t, l.Ack(uint64(3+i)))
	}
	// Back to the first registration, over a restart and a new file.
	must(t, l.SetIdentity(us))
	must(t, l.Close())
	l = open(t, dir, c, usage.Options{})
	count(t, l, c, "a/a", 1)
	c.pass(time.Hour)
	must(t, l.Seal(c.now))
	var said []string
	for _, b := range l.Batches() {
		said = append(said, fmt.Sprint(b.AgentID, " ", b.MeteringSchemaID, " ", points(b)))
	}
	if want := []string{"agent schema [a/a 10 +1 =151 true a/b 10 +0 =7 true]", "another another [a/a 10 +0 =3 true]", "agent  [a/a 10 +0 =3 true]"}; !slices.Equal(said, want) {
		t.Errorf("got %q, want %q", said, want)
	}
}

// TestRenewalsAtAnyTime changes registrations at random, between two gateways and two schemas of each: the platform has every call.
func TestRenewalsAtAnyTime(t *testing.T) {
	t.Parallel()
	seeds := uint64(40)
	if testing.Short() {
		seeds = 8
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		c, dir, p := newClock(), t.TempDir(), greatest{}
		l := open(t, dir, c, usage.Options{})
		want, got := map[string]uint64{}, map[string]uint64{}
		for range 150 {
			id := us
			id.Agent, id.MeteringSchema = fmt.Sprint("agent-", r.IntN(2)), fmt.Sprint("schema-", r.IntN(2))
			switch r.IntN(8) {
			case 0:
				must(t, l.SetIdentity(id))
			case 1:
				must(t, l.Seal(c.now))
			case 2:
				if b, ok := l.Next(); ok {
					p.take(b)
					must(t, l.Ack(b.Seq))
				}
			case 3:
				c.pass(time.Duration(r.IntN(40)) * time.Minute)
			case 4:
				must(t, l.Close())
				l = open(t, dir, c, usage.Options{})
			case 5:
				if b, ok := l.Next(); ok && r.IntN(3) == 0 { // refused for good
					must(t, l.Quarantine(b.Seq, "refused"))
				}
			default:
				n := uint64(1 + r.IntN(9))
				if agent := l.State().Identity.Agent; agent != "" {
					want[agent] += n
				}
				count(t, l, c, fmt.Sprint("a/", r.IntN(2)), n)
			}
		}
		c.pass(2 * time.Hour)
		must(t, l.Seal(c.now))
		acknowledged(t, l, p)
		for k, n := range p {
			var agent string
			_, _ = fmt.Sscan(k, &agent)
			got[agent] += n
		}
		for _, x := range l.Totals() { // what was set aside, and no later report has
			if x.Quarantined > 0 {
				got[x.Identity.Agent] += x.Quarantined
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("seed %d: the platform has %v of %v", seed, got, want)
		}
	}
}
