package cli

import (
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/schema/diag"
)

// renderedBootstrap has the sockets of a daemon that systemd runs: in $RUNTIME_DIRECTORY, or where that usually is.
func renderedBootstrap(env Env) render.BootstrapOptions {
	dir, ok := env.Getenv("RUNTIME_DIRECTORY")
	if !ok || dir == "" {
		dir = "/run/flexgw"
	}
	dir, _, _ = strings.Cut(dir, ":")
	return render.BootstrapOptions{
		NodeID: "flexgw", XDSSocket: dir + "/xds.sock", EnforceSocket: dir + "/enforce.sock", AdminSocket: dir + "/envoy-admin.sock",
	}
}

func renderCommand(env Env) *cli.Command {
	forms := []string{"resources", "bootstrap", "static"}
	return &cli.Command{
		Name:      "render",
		Usage:     "print what Envoy gets",
		ArgsUsage: "PATH…",
		Description: "resources: listeners, clusters, scopes, secrets and files, as the daemon delivers them.\n" +
			"bootstrap: the file that an Envoy is started with which the daemon does not start; it needs no PATH. With --remote, those for an Envoy on another host.\n" +
			"static: one Envoy file with everything in it; with --show-secrets it needs no other file.",
		Flags: append([]cli.Flag{
			known(&cli.StringFlag{Name: "form", Value: "resources", Usage: "`FORM`: " + strings.Join(forms, ", ")}, forms...),
			outputFlag("yaml", "json"),
			&cli.BoolFlag{Name: "show-secrets", Usage: "print secrets instead of [redacted]"},
		}, remoteBootstrapFlags()...),
		Action: func(c *cli.Context) error {
			if c.IsSet("remote") {
				return renderRemote(c, env)
			}
			defer collectLess()()
			outs, err := outputsOf(c, "yaml", "json")
			if err != nil {
				return err
			}
			form := c.String("form")
			if !slices.Contains(forms, form) {
				return usage("no form %q; known are %s", form, strings.Join(forms, ", "))
			}
			var r *render.Resources
			if form != "bootstrap" || c.Args().Present() { // no declaration is in a bootstrap: Envoy's unit has none at hand
				set, err := readJudged(c.Args().Slice(), env)
				if err != nil {
					return err
				}
				p := onePass(env)
				p.load.RequireEnv = true
				var list diag.List
				if _, r, list = p.build(set); list.HasErrors() {
					return p.refuse(env, set, list)
				}
			}
			text, err := printed(env, r, form, c.Bool("show-secrets"))
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

func printed(env Env, r *render.Resources, form string, show bool) (render.Text, error) {
	var m proto.Message
	switch form {
	case "resources":
		return r.Print(show)
	case "bootstrap":
		m = render.Bootstrap(renderedBootstrap(env))
	case "static":
		s, err := render.Static(r, renderedBootstrap(env), show)
		if err != nil {
			return nil, err
		}
		m = s
	}
	if show {
		return render.JSON(m)
	}
	text, err := render.JSON(render.Redact(m))
	if err == nil && r != nil {
		text = render.Text(diag.Hide(string(text), r.Sealed()))
	}
	return text, err
}
