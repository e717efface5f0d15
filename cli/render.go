package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/render"
)

// The sockets that `render` writes into a bootstrap: those of a daemon that systemd runs.
var renderedBootstrap = render.BootstrapOptions{
	NodeID: "flexgw", XDSSocket: "/run/flexgw/xds.sock", EnforceSocket: "/run/flexgw/enforce.sock", AdminSocket: "/run/flexgw/envoy-admin.sock",
}

func renderCommand(env Env) *cli.Command {
	forms := []string{"resources", "bootstrap", "static"}
	return &cli.Command{
		Name:      "render",
		Usage:     "print what Envoy gets",
		ArgsUsage: "PATH…",
		Description: "resources: listeners, clusters, scopes, secrets and files, as the daemon delivers them.\n" +
			"bootstrap: the file that the daemon starts Envoy with.\n" +
			"static: one Envoy file with everything in it; with --show-secrets it needs no other file.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "form", Value: "resources", Usage: "`FORM`: " + strings.Join(forms, ", ")},
			outputFlag("yaml", "json"),
			&cli.BoolFlag{Name: "show-secrets", Usage: "print secrets instead of [redacted]"},
		},
		Action: func(c *cli.Context) error {
			defer collectLess()()
			outs, err := outputsOf(c, "yaml", "json")
			if err != nil {
				return err
			}
			form := c.String("form")
			if !slices.Contains(forms, form) {
				return usage("no form %q; known are %s", form, strings.Join(forms, ", "))
			}
			set, err := readPaths(c.Args().Slice(), env)
			if err != nil {
				return err
			}
			p := onePass(env)
			p.load.RequireEnv = true
			_, r, list := p.build(set)
			if list.HasErrors() {
				n := count(len(set.Files), p.documents(), list)
				return verdict(list, writeText(env.Stderr, env, set, n, list, false, false))
			}
			text, err := printed(r, form, c.Bool("show-secrets"))
			if err != nil {
				return world(err)
			}
			return each(outs, env.Stdout, func(format string, w io.Writer) error {
				b := []byte(text)
				if format == "yaml" {
					if b, err = text.YAML(); err != nil {
						return err
					}
				}
				_, err := w.Write(b)
				return err
			})
		},
	}
}

func printed(r *render.Resources, form string, show bool) (render.Text, error) {
	var m proto.Message
	switch form {
	case "resources":
		return r.Print(show)
	case "bootstrap":
		m = render.Bootstrap(renderedBootstrap)
	case "static":
		s, err := render.Static(r, renderedBootstrap, show)
		if err != nil {
			return nil, err
		}
		m = s
	}
	if !show {
		m = render.Redact(m)
	}
	return render.JSON(m)
}
