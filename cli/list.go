package cli

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/schema/ir"
)

// inventory is one line of `flexgw list`.
type inventory struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Address   string   `json:"address"`
	Port      int      `json:"port"`
	Path      string   `json:"path"`
	Upstreams []string `json:"upstreams"`
	Policies  []string `json:"policies"` // in the order in which they run
	TLS       bool     `json:"tls"`
	File      string   `json:"file"`
	Line      int      `json:"line"`
}

func listCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the APIs: port, path, upstreams, policies in their order, TLS",
		ArgsUsage: "PATH…",
		Flags:     []cli.Flag{outputFlag("text", "json")},
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			if err != nil {
				return err
			}
			g, err := validModel(c.Args().Slice(), env)
			if g == nil {
				return err
			}
			rows := inventories(g)
			return each(outs, env.Stdout, func(format string, w io.Writer) error {
				if format == "json" {
					return report.Indented(w, struct {
						APIs []inventory `json:"apis"`
					}{rows})
				}
				return writeInventory(w, rows)
			})
		},
	}
}

func inventories(g *ir.Gateway) []inventory {
	rows := []inventory{}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			row := inventory{
				Namespace: a.Origin.Object.Namespace, Name: a.Origin.Object.Name,
				Address: l.Addr.Addr().String(), Port: int(l.Addr.Port()), Path: a.BasePath,
				Upstreams: upstreams(a), Policies: []string{}, TLS: l.TLS != nil,
				File: a.Origin.Range.File, Line: int(a.Origin.Range.Start.Line),
			}
			if row.Path == "" {
				row.Path = "/"
			}
			for _, b := range a.Bindings {
				name := b.Policy
				if len(b.Rules) > 0 {
					name += " (conditional)"
				}
				row.Policies = append(row.Policies, name)
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// upstreams are an API's addresses in the order of its routes, without repetitions.
func upstreams(a *ir.API) []string {
	out := []string{}
	seen := map[string]bool{}
	for _, r := range a.Routes {
		for _, s := range r.To {
			if s.Upstream == nil {
				continue
			}
			u := s.Upstream.Scheme + "://" + net.JoinHostPort(s.Upstream.Host, strconv.Itoa(int(s.Upstream.Port)))
			if !seen[u] {
				seen[u] = true
				out = append(out, u)
			}
		}
	}
	return out
}

func writeInventory(w io.Writer, rows []inventory) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "API\tPORT\tPATH\tUPSTREAMS\tPOLICIES\tTLS")
	for _, r := range rows {
		tls := "-"
		if r.TLS {
			tls = "yes"
		}
		fmt.Fprintf(t, "%s/%s\t%d\t%s\t%s\t%s\t%s\n", r.Namespace, r.Name, r.Port, r.Path, dash(r.Upstreams), dash(r.Policies), tls)
	}
	return t.Flush()
}

func dash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}
