package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema/ir"
)

// listed is one line of `flexgw policy list`.
type listed struct {
	Name     string `json:"name"`
	Enforced bool   `json:"enforced"`
	Target   string `json:"target,omitempty"` // ApiInstance, Service or both
	Reason   string `json:"reason,omitempty"` // why it is not enforced
}

func policyCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "policy",
		Usage: "list the policies, or show one policy's page",
		Subcommands: []*cli.Command{
			{
				Name:  "list",
				Usage: "list every policy that is known, enforced here or not, and why not",
				Flags: []cli.Flag{outputFlag("text", "json")},
				Action: func(c *cli.Context) error {
					outs, err := outputsOf(c, "text", "json")
					if err != nil {
						return err
					}
					rows := policies()
					return each(outs, env.Stdout, func(format string, w io.Writer) error {
						if format == "json" {
							return report.Indented(w, struct {
								Policies []listed `json:"policies"`
							}{rows})
						}
						return writePolicies(w, rows)
					})
				},
			},
			{
				Name:      "show",
				Usage:     "print a policy's page, or its JSON Schema",
				ArgsUsage: "NAME",
				Flags:     []cli.Flag{outputFlag("text", "json"), &cli.BoolFlag{Name: "schema", Usage: "print the JSON Schema of its config"}},
				Action: func(c *cli.Context) error {
					if c.NArg() != 1 {
						return usage("policy show takes one NAME; flexgw policy list has them")
					}
					outs, err := outputsOf(c, "text", "json")
					if err != nil {
						return err
					}
					return showPolicy(env, outs, c.Args().First(), c.Bool("schema"))
				},
			},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("no command %q: policy list, policy show NAME", "policy "+c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func showPolicy(env Env, outs []output, name string, schema bool) error {
	t, ok := all.Catalog{}.Type(name)
	if !ok {
		if name == "route" || name == "route-weighted" {
			return usage("%s is no policy here, it is the routing itself: flexgw explain %s", name, name)
		}
		if reason, known := (all.Catalog{}).Known(name); known {
			return &exit{ExitDiagnostics, fmt.Errorf("%s is known, but not offered: %s", name, reason)}
		}
		return usage("no policy %q%s; flexgw policy list has all", name, suggest(name, policyNames()))
	}
	return each(outs, env.Stdout, func(format string, w io.Writer) error {
		if format == "json" {
			return report.Indented(w, struct {
				Name   string          `json:"name"`
				Target string          `json:"target"`
				Page   string          `json:"page"`
				Schema json.RawMessage `json:"schema"`
			}{t.Name(), targets(t.Targets()), string(t.Page()), t.ConfigSchema()})
		}
		text := t.Page()
		if schema {
			text = t.ConfigSchema()
		}
		_, err := w.Write(text)
		return err
	})
}

func policies() []listed {
	rows := []listed{}
	for _, t := range (all.Catalog{}).All() {
		row := listed{Name: t.Name(), Enforced: t.Enforced(), Target: targets(t.Targets())}
		if !row.Enforced {
			row.Reason = all.NotYet
		}
		rows = append(rows, row)
	}
	elsewhere := all.Elsewhere()
	for _, name := range slices.Sorted(maps.Keys(elsewhere)) {
		rows = append(rows, listed{Name: name, Reason: elsewhere[name]})
	}
	return rows
}

func policyNames() []string {
	var names []string
	for _, p := range policies() {
		names = append(names, p.Name)
	}
	return names
}

func targets(t ir.Target) string {
	var names []string
	if t&ir.TargetAPI != 0 {
		names = append(names, "ApiInstance")
	}
	if t&ir.TargetUpstream != 0 {
		names = append(names, "Service")
	}
	return strings.Join(names, ", ")
}

func writePolicies(w io.Writer, rows []listed) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "POLICY\tTARGET\tENFORCED")
	for _, r := range rows {
		if r.Enforced {
			fmt.Fprintf(t, "%s\t%s\tyes\n", r.Name, r.Target)
		} else {
			fmt.Fprintf(t, "%s\t%s\tno: %s\n", r.Name, cmp.Or(r.Target, "-"), r.Reason)
		}
	}
	return t.Flush()
}
