package sim_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim/simtest"
	"github.com/flexgw/flexgw/schema/ir"
)

// TestOurClient has flexgw's own client live through a registration, with each call met by a fault that it should get over.
func TestOurClient(t *testing.T) {
	t.Parallel()
	with := seed()
	for i := range 120 {
		with.Gateways = append(with.Gateways, sim.SeedGateway{Name: fmt.Sprintf("old-%03d", i), OrganizationID: org, EnvironmentID: env})
	}
	s := simtest.Start(t, sim.Options{Seed: with})
	c := &anypoint.Client{Base: s.URL(), HTTP: s.Client(), Sleep: func(context.Context, time.Duration) error { return nil }}
	in := anypoint.In{Organization: org, Environment: env}
	for i, fault := range []sim.Outcome{{}, {Code: 503}, {Code: 429}, {Word: "cut"}, {Word: "cut-after"}, {Word: "cut-body"}, {Word: "duplicate"}} {
		name := fmt.Sprint("edge-", fault.Code, fault.Word)
		next := func() {
			t.Helper()
			n := 1
			if fault == (sim.Outcome{}) {
				n = 0
			}
			if err := s.SetFaults(sim.Fault{Next: n, Status: fault}); err != nil {
				t.Fatal(err)
			}
		}
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if left := s.State().Faults; len(left) > 0 {
				t.Errorf("%s: no call met it", name)
			}
		}
		check(c.Hello(t.Context()))
		next()
		token, err := c.Connect(t.Context(), "all", ir.NewSecret("s"))
		check(err)
		next()
		mint, err := c.Mint(t.Context(), token, in)
		if e := (*anypoint.Error)(nil); errors.As(err, &e) && e.Doubt { // it may have been made: whether there are to be two is for who asks to say
			mint, err = c.Mint(t.Context(), token, in)
		}
		check(err)
		_, csr := simtest.Key(t, 2048)
		next()
		r, err := c.Register(t.Context(), mint, org, request(name, csr, i))
		check(err)
		next()
		_, err = c.Renew(t.Context(), token, in, r.AgentID, anypoint.RenewRequest{Schema: anypoint.RegistrationSchema, CSR: csr})
		check(err)
		next()
		all, err := c.Gateways(t.Context(), token, in)
		check(err)
		found := 0
		for _, g := range all {
			if g.ID == r.AgentID && g.Name == name && g.Status == "DISCONNECTED" {
				found++
			}
		}
		if len(all) < 121 || found != 1 {
			t.Errorf("%s: %d gateways, it is there %d times", name, len(all), found)
		}
		next()
		err = c.Delete(t.Context(), token, in, r.AgentID)
		if e := (*anypoint.Error)(nil); errors.As(err, &e) && e.Kind == anypoint.Deleted { // done, and asked for again
			err = nil
		}
		check(err)
		next()
		check(c.WaitDeleted(t.Context(), token, in, r.AgentID))
	}
	live := 0
	for _, r := range s.State().Registrations {
		if !r.Deleted {
			live++
		}
	}
	if live != 120 {
		t.Errorf("%d gateways are left, want those of the seed", live)
	}
	if u := s.State().Unexpected; len(u) != 0 {
		t.Errorf("unexpected: %v", u)
	}
}
