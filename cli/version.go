package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/envoy"
)

// version is that of the module, or the commit of a build from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

func versionCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the versions of flexgw, of Go and of the Envoy it is made for",
		Flags: []cli.Flag{outputFlag("text", "json")},
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			if err != nil {
				return err
			}
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				Envoy   string `json:"envoy"`
			}{version(), runtime.Version(), envoy.Series}
			return each(outs, env.Stdout, func(format string, w io.Writer) error {
				if format == "json" {
					return report.Indented(w, v)
				}
				_, err := fmt.Fprintf(w, "flexgw %s (%s, for Envoy %s)\n", v.Version, v.Go, v.Envoy)
				return err
			})
		},
	}
}
