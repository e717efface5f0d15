package cli

import (
	"encoding/json"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/disk"
)

func applyCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "apply",
		Usage:     "bring declarations to a gateway, and wait until it serves them",
		ArgsUsage: "PATH…",
		Description: "Returns when every connected Envoy serves the declarations, or when they were taken back. Exit code 1: they have mistakes,\n" +
			"and nothing changed; 3: nobody answered in time; 4: Envoy refused them or a probe failed, and what was served before is\n" +
			"served again; 5: the plan is stale. A daemon that follows a source refuses (2) unless it is suspended.\n" +
			"Targets: xds is a running daemon; files is a folder (--to) from which an Envoy without a daemon reads, started with\n" +
			"envoy -c FOLDER/envoy.json; flex is the conf.d of a real Flex Gateway, which gets the declarations themselves. With both, the\n" +
			"Probes that are declared are asked here once the change is in place, and when one fails the old files are put back.",
		Flags: daemonFlags(append(proofFlags(),
			outputFlag("text", "json"), waitFlag(),
			known(&cli.StringFlag{Name: "target", Usage: "`xds|files|flex` (default: xds; files when --to is given)"}, "xds", "files", "flex"),
			&cli.StringFlag{Name: "to", Usage: "the `FOLDER` of the targets files and flex"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would change, and change nothing"},
			&cli.IntFlag{Name: "max-delete", Value: -1, Usage: "refuse to delete more than `N` objects (default: any number)"},
			&cli.StringFlag{Name: "save-plan", Usage: "write what would be done to `FILE`, and change nothing"},
			&cli.StringFlag{Name: "plan", Usage: "do what was written to `FILE`, unless something else is served by now"},
			&cli.BoolFlag{Name: "no-probes", Usage: "with the targets files and flex: ask no Probes, for a gateway that is on another host"},
			&cli.DurationFlag{Name: "settle", Value: 5 * time.Second, Usage: "with the target flex: how long the gateway may take to read its folder, before its Probes are asked"},
		)...),
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			if err != nil {
				return err
			}
			target, err := applyTarget(c)
			if err != nil {
				return err
			}
			if target != "xds" {
				return applyToFolder(c, env, target, outs)
			}
			r, err := applyRequest(c, env)
			if err != nil {
				return err
			}
			d, err := daemonOf(c, env, "")
			if err != nil {
				return err
			}
			d.Unsettled = !wantsJSON(outs)
			ctx, cancel, seconds := limited(c)
			defer cancel()
			r.Wait, r.By = seconds, whoAsks(env)
			o, err := d.Apply(ctx, r)
			if err != nil {
				return answered(err)
			}
			if name := c.String("save-plan"); name != "" && o.Result != api.Invalid {
				if err := savePlan(name, r, o); err != nil {
					return world(err)
				}
			}
			return showOutcome(env, outs, o, sentFiles(r.Files))
		},
	}
}

// applyTarget is where the declarations go.
func applyTarget(c *cli.Context) (string, error) {
	target, to := c.String("target"), c.String("to")
	switch {
	case target == "" && to == "":
		target = "xds"
	case target == "":
		target = "files"
	case target != "xds" && target != "files" && target != "flex":
		return "", usage("no target %q; known are xds, files and flex", target)
	}
	switch {
	case target == "xds" && to != "":
		return "", usage("--to names the folder of the targets files and flex; xds is a daemon, which --socket or --state-dir names")
	case target != "xds" && to == "":
		return "", usage("--target %s needs --to FOLDER", target)
	case target != "xds" && (c.String("plan") != "" || c.String("save-plan") != ""):
		return "", usage("plans are for the target xds")
	}
	for _, f := range []struct{ name, targets string }{{"error-window", "files"}, {"max-error-rate", "files"}, {"min-requests", "files"}, {"no-probes", "files flex"}, {"settle", "flex"}} {
		if !c.IsSet(f.name) || strings.Contains(f.targets, target) {
			continue
		}
		if target == "xds" {
			return "", usage("--%s is not for the target xds: the daemon has its own way to prove a revision (flexgw run)", f.name)
		}
		return "", usage("--%s is not for the target %s, but for %s", f.name, target, f.targets)
	}
	return target, nil
}

// plan is a file that says what an apply is going to do, and for which state of things.
type plan struct {
	Version  int             `json:"flexgwPlan"`
	Base     string          `json:"base"` // the revision that was served when it was made; "": none
	Revision string          `json:"revision"`
	Deleted  []string        `json:"deleted"`
	Changes  json.RawMessage `json:"changes"`
	Files    []api.File      `json:"files"`
}

const planVersion = 1

func savePlan(name string, r api.ApplyRequest, o api.Outcome) error {
	b, err := json.MarshalIndent(plan{planVersion, o.Served, o.Revision, o.Deleted, o.Changes, r.Files}, "", "  ")
	if err != nil {
		return err
	}
	return disk.Write(name, append(b, '\n'), 0o600) // declarations may hold secrets
}

func readPlan(name string) (plan, error) {
	var p plan
	b, err := os.ReadFile(name)
	if err != nil {
		return p, world(err)
	}
	if err := json.Unmarshal(b, &p); err != nil || p.Version != planVersion || len(p.Files) == 0 {
		return p, usage("%s is no plan: flexgw apply --save-plan writes one", name)
	}
	return p, nil
}

// applyRequest reads what is to be applied.
func applyRequest(c *cli.Context, env Env) (r api.ApplyRequest, err error) {
	r.DryRun = c.Bool("dry-run") || c.String("save-plan") != ""
	if n := c.Int("max-delete"); c.IsSet("max-delete") {
		if n < 0 {
			return r, usage("--max-delete %d: 0 or more is expected", n)
		}
		r.MaxDelete = &n
	}
	if name := c.String("plan"); name != "" {
		if c.NArg() > 0 || c.String("save-plan") != "" {
			return r, usage("--plan stands alone: the declarations are in the plan")
		}
		p, err := readPlan(name)
		if err != nil {
			return r, err
		}
		r.Files, r.Base = p.Files, p.Base
		if r.Base == "" {
			r.Base = reconcile.Nothing
		}
		return r, nil
	}
	set, err := readPaths(c.Args().Slice(), env)
	if err != nil {
		return r, err
	}
	for _, f := range set.Files {
		b, err := f.Bytes()
		if err != nil {
			return r, world(err)
		}
		r.Files = append(r.Files, api.File{Name: f.Name, Content: b})
	}
	return r, nil
}

// sentFiles are the sources of what was sent.
func sentFiles(files []api.File) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		for _, f := range files {
			if f.Name == name {
				return f.Content, nil
			}
		}
		return nil, fs.ErrNotExist
	}
}
