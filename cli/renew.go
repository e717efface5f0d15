package cli

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/schema/diag"
)

func renewCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "renew",
		Usage:     "get a new certificate for a gateway that is registered",
		ArgsUsage: "REGISTRATION",
		Description: "Makes a new key, has the platform sign a certificate for it, and puts both in the place of those in REGISTRATION, which\n" +
			"may have expired; the old file stays as .bak. With --output-directory the new one is written there and the old one left.\n" +
			"A daemon that runs takes the new file over. The platform ends all certificates at the same time, whenever they are made:\n" +
			"a new one may expire when the old one does.",
		Flags: slices.Concat(userFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "update-urls", Usage: "take the platform's URLs of now, that of metering among them"},
			&cli.StringFlag{Name: "output-directory", Usage: "write a new registration.yaml to the folder `DIR`, which has none, and leave the old one"},
			&cli.StringFlag{Name: "token", Hidden: true}, &cli.StringFlag{Name: "token-file", Hidden: true},
			outputFlag("text", "json"),
		}, wayFlags()),
		Action: func(c *cli.Context) error { return renew(c, env) },
	}
}

func renew(c *cli.Context, env Env) error {
	outs, err := outputsOf(c, "text", "json")
	if err != nil {
		return err
	}
	if c.NArg() != 1 {
		return usage("renew takes one REGISTRATION, the file registration.yaml; got %d", c.NArg())
	}
	if tokenFlags.set(c) {
		return usage("a registration token registers, and cannot renew: log in as a user (--username and --password-file) or as a connected app (--client-id and --client-secret-file)")
	}
	if err := given(c, "output-directory"); err != nil {
		return err
	}
	old, err := registrationAt(env, c.Args().First())
	if err != nil {
		return err
	}
	dir := c.String("output-directory")
	unlock, err := aloneIn(cmp.Or(dir, filepath.Dir(old.Path)))
	if err != nil {
		return err
	}
	defer unlock()
	if dir != "" {
		if err := vacant(dir, old.Split, false, "name another folder with --output-directory"); err != nil {
			return err
		}
	}
	id, err := callerOf(c, env, false)
	if err != nil {
		return err
	}
	p, in, err := platformOf(c, env, old)
	if err != nil {
		return err
	}
	command := func() string {
		args := append([]string{"flexctl", "registration", "renew"}, id.flexctl()...)
		if c.Bool("update-urls") {
			args = append(args, "--update-urls=true")
		}
		to := dir
		if to == "" {
			to = "<an-empty-directory>"
		}
		return product(append(args, "--output-directory="+to, old.Path)...)
	}
	if err := p.Hello(c.Context); err != nil {
		return unspoken(err, command())
	}
	access, err := id.login(c.Context, p)
	if err != nil {
		return refused(err)
	}
	key, csr, err := anypoint.NewKey(old.AssetName)
	if err != nil {
		return world(err)
	}
	r, err := p.Renew(c.Context, access, in, old.AgentID, anypoint.RenewRequest{Schema: anypoint.RegistrationSchema, CSR: csr, UpdateURLs: c.Bool("update-urls")})
	if err != nil {
		return refused(err)
	}
	f, err := old.Renewed(r, key, env.clock())
	if err != nil {
		return world(fmt.Errorf("%w\nthe old registration stays as it is", err))
	}
	if err := keepRenewed(env, outs, old, f, dir); err != nil {
		return err
	}
	warnOfTime(env, f, p.Date())
	return nil
}

// keepRenewed writes a renewed registration, and says what has changed.
func keepRenewed(env Env, outs []output, old, f *anypoint.File, dir string) error {
	written, err := writtenTo(dir, f.Split), error(nil)
	if dir != "" {
		err = f.Write(dir, anypoint.WriteOptions{Split: f.Split})
	} else {
		written, err = f.Rewrite()
	}
	if err != nil {
		return world(fmt.Errorf("the renewed registration cannot be written, and the old one stays: %w", err))
	}
	extended := f.NotAfter.After(old.NotAfter)
	var said strings.Builder
	fmt.Fprintf(&said, "renewed %s, gateway %s\nwrote %s", diag.OneLine(f.AssetName), f.AgentID, strings.Join(written, " and "))
	if dir == "" {
		said.WriteString("; the old one is beside it as .bak, with the old key")
	}
	fmt.Fprintf(&said, "\nthe certificate expires at %s, %s\n", expiry(f.NotAfter), inWords(f.NotAfter.Sub(env.clock())))
	if !extended {
		said.WriteString("renewed but not extended: it expires no later than the old one did, because the platform ends all of its certificates at the same time; try again when that is nearer\n")
	}
	if old.Metering != f.Metering {
		fmt.Fprintf(&said, "usage goes to %s from now on, and went to %s\n", f.Metering, cmp.Or(old.Metering, "nobody"))
	}
	if dir == "" {
		said.WriteString("a daemon that runs on it takes it over; the product's gateway needs a restart before its versions 1.12.9 and 1.13.5\n")
	}
	return tell(env, outs, said.String(), registrationFacts{SchemaVersion: factsVersion, Result: "renewed", Extended: &extended, Previous: expiry(old.NotAfter), Files: written, inspection: inspectionOf(f, env.clock(), f.Split)})
}
