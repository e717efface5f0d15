package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/api"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/diag"
)

func usageForgetCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "forget",
		Usage:     "give up usage that was set aside: the platform will never have it",
		ArgsUsage: "[SOURCE]",
		Description: "For batches that nobody will take any more, such as those of a gateway that was deleted on the platform. flexgw usage show has them,\n" +
			"and flexgw usage export carries them away before. The requests stay counted and are shown as given up; of the gateway in force, its\n" +
			"next report says how many are lost. UsageReported does not wait for them any more.",
		Flags: daemonFlags(outputFlag("text", "json"),
			&cli.StringFlag{Name: "gateway", Usage: "only those of the gateway with this `NAME|ID` (default: of all)"}, yesFlag()),
		Action: func(c *cli.Context) error { return forgetUsage(c, env) },
	}
}

// forgetFacts are those of batches that were given up.
type forgetFacts struct {
	SchemaVersion int              `json:"schemaVersion"`
	Result        string           `json:"result"` // forgotten or nothing
	Batches       int              `json:"batches"`
	Requests      uint64           `json:"requests"`
	Gateways      []forgottenOfOne `json:"gateways"` // sorted as in usage show
}

type forgottenOfOne struct {
	AgentID   string `json:"agentId"`
	AssetName string `json:"assetName"`
	Batches   int    `json:"batches"`
	Requests  uint64 `json:"requests"`
}

// words are what is given up, of whom.
func (f forgetFacts) words() string {
	var all []string
	for _, g := range f.Gateways {
		all = append(all, fmt.Sprintf("%s in %s of %s (%s)", requestsWord(g.Requests), plural(g.Batches, "batch", "batches"), g.AssetName, g.AgentID))
	}
	return diag.Visible(diag.OneLine(strings.Join(all, ", and ")))
}

func forgetUsage(c *cli.Context, env Env) error {
	outs, err := outputsOf(c, "text", "json")
	if err != nil {
		return err
	}
	source, err := oneSource(c)
	if err != nil {
		return err
	}
	if err := given(c, "gateway"); err != nil {
		return err
	}
	var shown api.Usage
	if err := withUsage(c, env, source,
		func(ctx context.Context, d api.Client) (err error) { shown, err = d.Usage(ctx); return err },
		func(l *metering.Ledger) error { shown = usageOf(l, nil); return nil }); err != nil {
		return err
	}
	facts, seqs, err := toForget(shown, c.String("gateway"))
	if err != nil {
		return err
	}
	if len(seqs) == 0 {
		facts.Result = "nothing"
		return tell(env, outs, "nothing is set aside\n", facts)
	}
	if !c.Bool("yes") {
		if !asks(env) {
			return usage("usage forget gives up %s, and asks first; nobody can be asked here, so say --yes", facts.words())
		}
		if !agreed(env, "give up "+facts.words()+"? the platform will never have them") {
			return world(errors.New("nothing was given up"))
		}
	}
	r := api.UsageForgetRequest{BootEpoch: shown.Spool.BootEpoch, Seqs: seqs}
	if err := withUsage(c, env, source,
		func(ctx context.Context, d api.Client) error { _, err := d.ForgetUsage(ctx, r); return err },
		func(l *metering.Ledger) error { return worldly(giveUp(l, r)) }); err != nil {
		return err
	}
	return tell(env, outs, "gave up "+facts.words()+"\n", facts)
}

// toForget are the batches of a gateway that are set aside; without a name, of all.
func toForget(u api.Usage, name string) (forgetFacts, []uint64, error) {
	facts := forgetFacts{SchemaVersion: factsVersion, Result: "forgotten", Gateways: []forgottenOfOne{}}
	var seqs []uint64
	var known []string
	named := 0
	for _, g := range gatewaysOf(u) {
		one := forgottenOfOne{AgentID: g.id, AssetName: g.name}
		for _, b := range u.SetAside {
			if b.AgentID == g.id {
				one.Batches, one.Requests = one.Batches+1, one.Requests+b.Requests
			}
		}
		if one.Batches > 0 {
			known = append(known, fmt.Sprintf("%s (%s)", g.name, g.id))
		}
		if name != "" && name != g.id && name != g.name {
			continue
		}
		if named++; name == g.name && named > 1 {
			return facts, nil, usage("--gateway %q: several have this name, so give the ID: %s", name, strings.Join(known, ", "))
		}
		if one.Batches == 0 {
			continue
		}
		facts.Batches, facts.Requests = facts.Batches+one.Batches, facts.Requests+one.Requests
		facts.Gateways = append(facts.Gateways, one)
		for _, b := range u.SetAside {
			if b.AgentID == g.id {
				seqs = append(seqs, b.Seq)
			}
		}
	}
	if name != "" && named == 0 {
		return facts, nil, usage("--gateway %q: nothing was counted for it; something is set aside of %s", name, cmp.Or(strings.Join(known, ", "), "nobody"))
	}
	slices.Sort(seqs)
	return facts, seqs, nil
}

// giveUp gives batches up that somebody was shown.
func giveUp(l *metering.Ledger, r api.UsageForgetRequest) error {
	if s := l.State(); s.Epoch != r.BootEpoch {
		return &api.Error{Status: http.StatusConflict, Code: api.CodeBadRequest, Message: fmt.Sprintf("the ledger is another one now (epoch %d, not %d), with other batches: look again", s.Epoch, r.BootEpoch)}
	}
	_, _, err := l.GiveUp(r.Seqs)
	return err
}
