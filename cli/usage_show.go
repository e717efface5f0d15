package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/api"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/diag"
)

func usageShowCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show how often each API was called in each hour, and what of it the platform has",
		ArgsUsage: "[SOURCE]",
		Description: "Asks the daemon that --socket, --state-dir or SOURCE finds; without any of them, the only one that runs. When none runs, a\n" +
			"--state-dir or SOURCE is read from the disk.",
		Flags: daemonFlags(outputFlag("text", "json")),
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			if err != nil {
				return err
			}
			source, err := oneSource(c)
			if err != nil {
				return err
			}
			var shown api.Usage
			err = withUsage(c, env, source,
				func(ctx context.Context, d api.Client) (err error) { shown, err = d.Usage(ctx); return err },
				func(l *metering.Ledger) error { shown = usageOf(l, nil); return nil })
			if err != nil {
				return err
			}
			return each(outs, env.Stdout, func(format string, w io.Writer) error {
				if format == "json" {
					return writeJSON(w, shown)
				}
				return writeUsage(w, shown)
			})
		},
	}
}

// gatewayOf is what was counted for one registration.
func gatewayOf(u api.Usage, agent string) gateway {
	for _, g := range gatewaysOf(u) {
		if g.id == agent {
			return *g
		}
	}
	return gateway{id: agent, label: diag.Visible(agent)}
}

// gateway is what was counted for one of several registrations.
type gateway struct {
	id, name string
	label    string // the name, with the ID where another one has the same
	sum      api.UsageHour
}

// gatewaysOf are those that counts belong to, sorted by name and ID, the one that they belong to now among them.
func gatewaysOf(u api.Usage) []*gateway {
	by, named := map[string]*gateway{}, map[string]int{}
	var all []*gateway
	of := func(id, name string) *gateway {
		if by[id] == nil {
			by[id] = &gateway{id: id, name: name}
			all = append(all, by[id])
			named[name]++
		}
		return by[id]
	}
	if u.Registration != nil {
		of(u.Registration.AgentID, u.Registration.AssetName)
	}
	for _, h := range u.Hours {
		if h.AgentID == "" {
			continue
		}
		x := &of(h.AgentID, h.AssetName).sum
		x.Counted, x.Reported, x.Waiting, x.SetAside, x.GivenUp = x.Counted+h.Counted, x.Reported+h.Reported, x.Waiting+h.Waiting, x.SetAside+h.SetAside, x.GivenUp+h.GivenUp
	}
	for _, b := range u.SetAside { // rows may be gone, and an empty batch has none
		of(b.AgentID, b.AssetName)
	}
	for _, g := range all {
		if g.label = diag.Visible(g.name); named[g.name] > 1 {
			g.label += " (" + diag.Visible(g.id) + ")"
		}
	}
	slices.SortFunc(all, func(a, b *gateway) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id)) })
	return all
}

func writeUsage(w io.Writer, u api.Usage) error {
	writeCondition(w, "", u.Condition)
	r := u.Requests
	if u.Registration == nil {
		fmt.Fprintln(w, "registration  none: what is counted now is never reported")
	} else {
		fmt.Fprintf(w, "registration  %s (%s)\n", diag.Visible(u.Registration.AssetName), diag.Visible(u.Registration.AgentID))
	}
	fmt.Fprintf(w, "requests      %d counted, %d reported, %d waiting", r.Counted, r.Reported, r.Waiting)
	for _, x := range []struct {
		n    uint64
		text string
	}{{r.SetAside, "set aside"}, {r.GivenUp, "given up"}, {r.Lost, "lost"}, {r.Unregistered, "without a registration"}, {r.NoAPI, "on paths of no API"}} {
		if x.n > 0 {
			fmt.Fprintf(w, ", %d %s", x.n, x.text)
		}
	}
	fmt.Fprintln(w)
	labels, several := map[string]string{}, false
	if all := gatewaysOf(u); len(all) > 1 {
		several = true
		for _, g := range all {
			labels[g.id] = diag.Visible(g.label)
			fmt.Fprintf(w, "gateway       %s (%s): %d counted, %d reported, %d waiting", diag.Visible(g.name), diag.Visible(g.id), g.sum.Counted, g.sum.Reported, g.sum.Waiting)
			if g.sum.SetAside > 0 {
				fmt.Fprintf(w, ", %d set aside", g.sum.SetAside)
			}
			if g.sum.GivenUp > 0 {
				fmt.Fprintf(w, ", %d given up", g.sum.GivenUp)
			}
			fmt.Fprintln(w)
		}
	}
	for _, a := range u.Alarms {
		fmt.Fprintf(w, "alarm         %s since %s: %s\n", a.Code, a.Since.Format(time.RFC3339), oneLine(a.Message))
	}
	for _, b := range u.SetAside {
		fmt.Fprintf(w, "set aside     batch %d of %s, %s: %s\n", b.Seq, diag.Visible(b.AgentID), requestsWord(b.Requests), oneLine(b.Why))
	}
	if len(u.Hours)+len(u.NoAPI) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	hours := append(slices.Clone(u.Hours), u.NoAPI...)
	slices.SortStableFunc(hours, func(a, b api.UsageHour) int { return a.Hour.Compare(b.Hour) })
	columns := []usageColumn{
		{"HOUR (UTC)", func(h api.UsageHour) string { return h.Hour.UTC().Format("2006-01-02 15:04") }},
		{"API", func(h api.UsageHour) string {
			switch {
			case h.API == "":
				return "(no API)"
			case h.AgentID == "":
				return diag.Visible(h.API) + " (unregistered)"
			}
			return diag.Visible(h.API)
		}},
	}
	if several {
		columns = append(columns, usageColumn{"GATEWAY", func(h api.UsageHour) string { return cmp.Or(labels[h.AgentID], "-") }})
	}
	columns = append(columns, usageColumn{"COUNTED", func(h api.UsageHour) string { return fmt.Sprint(h.Counted) }},
		reportable("REPORTED", func(h api.UsageHour) uint64 { return h.Reported }), reportable("WAITING", func(h api.UsageHour) uint64 { return h.Waiting }))
	if r.SetAside > 0 {
		columns = append(columns, reportable("SET ASIDE", func(h api.UsageHour) uint64 { return h.SetAside }))
	}
	if r.GivenUp > 0 {
		columns = append(columns, reportable("GIVEN UP", func(h api.UsageHour) uint64 { return h.GivenUp }))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cell func(usageColumn) string) {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = cell(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	line(func(c usageColumn) string { return c.head })
	for _, h := range hours {
		line(func(c usageColumn) string { return c.cell(h) })
	}
	return t.Flush()
}

// usageColumn is one of the table of usage show.
type usageColumn struct {
	head string
	cell func(api.UsageHour) string
}

// reportable is a column of numbers that rows of nobody, which are never reported, do not have.
func reportable(head string, n func(api.UsageHour) uint64) usageColumn {
	return usageColumn{head, func(h api.UsageHour) string {
		if h.API == "" || h.AgentID == "" {
			return "-"
		}
		return fmt.Sprint(n(h))
	}}
}
