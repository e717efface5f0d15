package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// productWord is a word of flexctl registration [D], answered with what it is here. Nothing is done by it.
func productWord(word, here string) *cli.Command {
	return &cli.Command{Name: word, Hidden: true, SkipFlagParsing: true, Action: func(*cli.Context) error {
		return usage("registration %s is a word of the product's own tool; here it is %s", word, here)
	}}
}

func registrationCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "registration",
		Usage: "look at a registration file",
		Subcommands: []*cli.Command{{
			Name:        "inspect",
			Usage:       "print when the certificate of a registration expires, as JSON",
			ArgsUsage:   "[FILE]",
			Description: "FILE is registration.yaml in this folder when it is not given. Nothing is asked for over the network.",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "the registration in `FILE`, as the product's tool has it"},
				&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "print whose registration it is, too"},
				&cli.GenericFlag{Name: "output", Aliases: []string{"o"}, Value: &values{}, Usage: "all of it as `FORMAT[=FILE]`, may repeat: text, json (default: as the product's tool prints it)"},
			},
			Action: func(c *cli.Context) error { return inspect(c, env) },
		},
			productWord("create", "flexgw register NAME, which takes the same flags"),
			productWord("renew", "flexgw renew REGISTRATION, which writes in the place of the file unless --output-directory is given"),
			productWord("delete", "flexgw unregister REGISTRATION; without the file, flexgw gateways delete NAME|ID"),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("no command %q%s: registration inspect [FILE]", "registration "+c.Args().First(), suggest(c.Args().First(), []string{"inspect"}))
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

// inspection is what registration inspect prints: with the name that the product's tool gives it, and more with --verbose.
type inspection struct {
	Expiration string `json:"expiration_date"`
	*inspected
}

type inspected struct {
	Expired      bool   `json:"expired"`
	Version      int    `json:"version"`
	Mode         string `json:"mode"` // local or connected
	Split        bool   `json:"split"`
	AssetName    string `json:"assetName"`
	AgentID      string `json:"agentId"`
	Organization string `json:"organizationId"`
	Environment  string `json:"environmentId"`
	Master       string `json:"masterOrganizationId"`
	Region       string `json:"region"`
	Subject      string `json:"certificate"`
	Schema       string `json:"meteringSchemaId"`
	Anypoint     string `json:"anypoint"`
	Metering     string `json:"metering"`
	CA           bool   `json:"ownAuthorities"` // there is a registration-ca.pem
}

// inspectionOf is all that is told of a registration.
func inspectionOf(f *anypoint.File, now time.Time, split bool) inspection {
	mode := "connected"
	if f.Local {
		mode = "local"
	}
	return inspection{Expiration: expiry(f.NotAfter), inspected: &inspected{Expired: !now.Before(f.NotAfter), Version: f.Version, Mode: mode, Split: split, AssetName: f.AssetName, AgentID: f.AgentID,
		Organization: f.OrganizationID, Environment: f.EnvironmentID, Master: f.MasterOrganizationID, Region: f.Region, Subject: f.CommonName, Schema: f.MeteringSchemaID,
		Anypoint: f.Anypoint, Metering: f.Metering, CA: f.CA != nil}}
}

func inspect(c *cli.Context, env Env) error {
	outs, err := outputsOf(c, "text", "json")
	if err != nil {
		return err
	}
	if err := given(c, "file"); err != nil {
		return err
	}
	if c.NArg() > 1 || c.NArg() == 1 && c.IsSet("file") {
		return usage("registration inspect takes one FILE")
	}
	path := c.String("file")
	if c.NArg() == 1 {
		path = c.Args().First()
	}
	if path == "" {
		path = anypoint.FileName
	}
	f, err := anypoint.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return world(fmt.Errorf("%s is not there: name the registration, or make one with flexgw register", path))
	}
	if err != nil {
		return showWrong(env, err)
	}
	if err := printProblems(env, f.Doubts, nil); err != nil {
		return err
	}
	for _, e := range f.Exposed {
		fmt.Fprintf(env.Stderr, "flexgw: warning: %s: chmod 600 it\n", e)
	}
	out := inspectionOf(f, env.clock(), f.Split)
	switch {
	case c.IsSet("output"):
		return each(outs, env.Stdout, func(format string, w io.Writer) error {
			if format == "text" {
				return out.write(w, env.clock(), f.NotAfter)
			}
			return report.Indented(w, registrationFacts{SchemaVersion: factsVersion, inspection: out})
		})
	case c.Bool("verbose"):
		return worldly(report.Indented(env.Stdout, out))
	}
	b, err := json.Marshal(inspection{Expiration: out.Expiration})
	if err != nil {
		return world(err)
	}
	_, err = fmt.Fprintln(env.Stdout, string(b))
	return worldly(err)
}
