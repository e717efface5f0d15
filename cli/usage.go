package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/diag"
)

func usageCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "usage",
		Usage: "show how often APIs were called, and report it",
		Subcommands: []*cli.Command{
			usageShowCommand(env), usageFlushCommand(env), usageExportCommand(env), usageImportCommand(env), usageForgetCommand(env),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("no command %q%s: usage has show, flush, export, import and forget", "usage "+c.Args().First(), suggest(c.Args().First(), []string{"show", "flush", "export", "import", "forget"}))
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func usageFlushCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "flush",
		Usage:     "have a running daemon report all usage now",
		ArgsUsage: "[SOURCE]",
		Description: "The daemon reads the access log to its end and sends all that waits, whatever it waits for. Exit code 0: the platform has\n" +
			"acknowledged it. 3: it has not, and why; the daemon goes on trying.",
		Flags: daemonFlags(outputFlag("text", "json"), &cli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "how long to wait for the platform"}),
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			if err != nil {
				return err
			}
			source, err := oneSource(c)
			if err != nil {
				return err
			}
			d, err := daemonOf(c, env, source)
			if err != nil {
				return err
			}
			if c.Duration("timeout") < 0 {
				return usage("--timeout %s: how long to wait is expected, and not less than nothing", c.Duration("timeout"))
			}
			ctx, cancel, seconds := limited(c)
			defer cancel()
			u, err := d.FlushUsage(ctx, api.UsageFlushRequest{Wait: seconds})
			if err != nil {
				return answered(err)
			}
			words := fmt.Sprintf("reported: the platform has %s of %s, up to batch %d", requestsWord(reportedOf(u)), diag.Visible(gatewayName(u.Registration)), u.Spool.AckedSeq) + asideWords(u.Requests.SetAside)
			agent := ""
			if u.Registration != nil {
				agent = u.Registration.AgentID
			}
			return tell(env, outs, words+"\n", usageFactsOf("reported", u, agent))
		},
	}
}

// asideWords end a sentence about what the platform has.
func asideWords(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d set aside (flexgw usage show says why)", n)
}

// withUsage asks a daemon, or reads the ledger itself where one is named and no daemon has it.
func withUsage(c *cli.Context, env Env, source string, ask func(context.Context, api.Client) error, read func(*metering.Ledger) error) error {
	d, err := daemonOf(c, env, source)
	if err == nil {
		ctx, cancel := context.WithTimeout(c.Context, 30*time.Second)
		defer cancel()
		err = ask(ctx, d)
	}
	var refused *api.Error
	if err == nil || errors.As(err, &refused) || c.IsSet("socket") || source == "" && c.String("state-dir") == "" && !under(env, "STATE_DIRECTORY") {
		return answered(err)
	}
	at, e := findPlaces(env, source, c.String("state-dir"), "")
	if e != nil {
		return world(e)
	}
	dir := filepath.Join(at.state, "usage")
	switch _, e := os.Stat(dir); {
	case errors.Is(e, fs.ErrNotExist):
		return world(fmt.Errorf("%w, and there is no usage in %s", err, at.state))
	case e != nil: // it is somebody else's, and so is the socket
		return answered(err)
	}
	l, e := metering.Open(dir, metering.Options{Now: env.now, Existing: true})
	if e != nil {
		if errors.Is(e, metering.ErrInUse) || errors.Is(e, fs.ErrPermission) {
			return answered(err)
		}
		return world(e)
	}
	defer l.Close()
	return read(l)
}

func under(env Env, name string) bool {
	v, ok := env.Getenv(name)
	return ok && v != ""
}

// usageOf is what a ledger has, and how delivery goes; nil: nobody delivers.
func usageOf(l *metering.Ledger, d *metering.Delivery) api.Usage {
	s := l.State()
	u := api.Usage{SchemaVersion: api.SchemaVersion, Hours: []api.UsageHour{}, NoAPI: []api.UsageHour{}, SetAside: []api.UsageBatch{}, Alarms: []api.UsageAlarm{},
		Condition: status.Condition{Type: status.UsageReported, Status: status.Unknown, Reason: "NotRunning", Message: "no daemon runs that would report it"},
		Spool:     api.UsageSpool{ReplicaID: s.Replica, BootEpoch: s.Epoch, LastSeq: s.LastSeq, AckedSeq: s.AckedSeq, Batches: s.Pending, Bytes: s.Bytes, MaxBytes: s.MaxBytes}}
	if d != nil {
		u.Condition = usageCondition(*d)
		u.Since, u.NextTry = timeOrNil(d.Since), timeOrNil(d.NextTry)
	}
	if s.Identity.Agent != "" {
		u.Registration = &api.UsageRegistration{AgentID: s.Identity.Agent, AssetName: s.Identity.Asset}
	}
	noAPI := map[time.Time]uint64{} // whoever was registered
	for _, t := range l.Totals() {
		row := api.UsageHour{Hour: t.Hour, API: t.API, AgentID: t.Identity.Agent, AssetName: t.Identity.Asset, Counted: t.Counted, Reported: t.Acknowledged, SetAside: t.Quarantined, GivenUp: t.GivenUp, Final: t.Final}
		switch {
		case t.API == "":
			u.Requests.NoAPI += t.Counted
			noAPI[t.Hour] += t.Counted
			continue
		case t.Identity == metering.Identity{}:
			u.Requests.Unregistered += t.Counted
		default:
			row.Waiting = t.Counted - t.Acknowledged - t.Quarantined - t.GivenUp
			u.Requests.Counted += t.Counted
			u.Requests.Reported += t.Acknowledged
			u.Requests.SetAside += t.Quarantined
			u.Requests.GivenUp += t.GivenUp
			u.Requests.Waiting += row.Waiting
		}
		u.Hours = append(u.Hours, row)
	}
	for h, n := range noAPI {
		u.NoAPI = append(u.NoAPI, api.UsageHour{Hour: h, Counted: n})
	}
	u.Requests.Lost = s.Lost
	byHour := func(a, b api.UsageHour) int {
		return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.API, b.API), cmp.Compare(a.AgentID, b.AgentID))
	}
	slices.SortFunc(u.Hours, byHour)
	slices.SortFunc(u.NoAPI, byHour)
	batches, whys := l.Quarantined()
	for i, b := range batches {
		u.SetAside = append(u.SetAside, api.UsageBatch{AgentID: b.AgentID, AssetName: b.AssetName, Seq: b.Seq, Requests: metering.Requests(b), Why: whys[i]})
	}
	for _, a := range s.Alarms {
		u.Alarms = append(u.Alarms, api.UsageAlarm(a))
	}
	return u
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// usageCondition is how delivery goes, as status has it.
func usageCondition(d metering.Delivery) status.Condition {
	c := status.Condition{Type: status.UsageReported, Status: d.Status, Reason: string(d.Reason), Message: d.Message}
	if d.Status == status.False && !d.Since.IsZero() {
		c.Message = "since " + d.Since.UTC().Format(time.RFC3339) + ": " + c.Message
	}
	return c
}

func requestsWord[N ~uint64](n N) string { return plural(n, "request", "requests") }

func plural[N ~int | ~uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// gatewayName is what a gateway was registered under.
func gatewayName(r *api.UsageRegistration) string {
	if r == nil {
		return "nobody"
	}
	return r.AssetName
}

// reportedOf is what the platform has of the gateway that counts belong to now.
func reportedOf(u api.Usage) uint64 {
	if u.Registration == nil {
		return u.Requests.Reported
	}
	return gatewayOf(u, u.Registration.AgentID).sum.Reported
}
