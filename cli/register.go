package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/diag"
)

func registerCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "register",
		Usage:     "register a gateway with Anypoint Platform, for Local Mode",
		ArgsUsage: "NAME",
		Description: "Makes a key on this host, has the platform sign a certificate for it, and writes both with the platform's URLs to\n" +
			"registration.yaml, for its owner alone. Shows the platform one of: a registration token, a user, a connected app; the\n" +
			"latter two need --environment. How a certificate is signed is documented nowhere, so flexgw asks a server only that says\n" +
			"that it understands flexgw's request, such as flexgw sim; else it names the command of the product's own tool.",
		Flags: slices.Concat(
			tokenFlags.flags(), userFlags(),
			[]cli.Flag{
				&cli.StringFlag{Name: "organization", Usage: "the `ID` of the organization (business group)"},
				&cli.StringFlag{Name: "environment", Usage: "the `ID` of the environment; a registration token has its own"},
				&cli.BoolFlag{Name: "connected", Usage: "of the product's tool: false is all that there is here"},
			},
			platformFlags(),
			[]cli.Flag{
				&cli.StringFlag{Name: "output-directory", Value: ".", Usage: "write to the folder `DIR`"},
				&cli.BoolFlag{Name: "split", Usage: "write the certificate and its key to certificate.yaml"},
				&cli.BoolFlag{Name: "force", Usage: "write over a registration that is there"},
			}),
		Action: func(c *cli.Context) error { return register(c, env) },
	}
}

func register(c *cli.Context, env Env) error {
	name, in, base, err := whatToRegister(c)
	if err != nil {
		return err
	}
	ca, err := ownAuthorities(c)
	if err != nil {
		return err
	}
	dir := c.String("output-directory")
	if err := vacant(dir, c.Bool("split"), c.Bool("force"), "name another folder with --output-directory, or write over it with --force; flexgw renew renews one"); err != nil {
		return err
	}
	id, err := callerOf(c, env, true)
	if err != nil {
		return err
	}
	if id.who != byToken && in.Environment == "" {
		return usage("--environment is needed: the id of the environment that the gateway is for (a registration token would have one)")
	}
	if id.who == byToken && in.Environment != "" {
		fmt.Fprintln(env.Stderr, "flexgw: warning: --environment is left out: a registration token has its own, and the gateway gets that")
		in.Environment = ""
	}
	if err := in.check(); err != nil {
		return err
	}
	p, err := platformAt(c, env, base, "--anypoint-url", ca)
	if err != nil {
		return err
	}
	f, err := registered(c.Context, env, p, id, in, name, func() string {
		args := append([]string{"flexctl", "registration", "create"}, id.flexctl()...)
		if id.who != byToken {
			args = append(args, "--environment="+in.Environment)
		}
		args = append(args, "--organization="+in.Organization, "--anypoint-url="+base.String(), "--output-directory="+dir)
		if c.Bool("split") {
			args = append(args, "--split=true")
		}
		return product(append(args, name)...)
	})
	if err != nil {
		return err
	}
	f.CA = ca
	if err := f.Write(dir, anypoint.WriteOptions{Split: c.Bool("split"), Force: c.Bool("force")}); err != nil {
		return world(fmt.Errorf("the gateway is registered as %s, and its registration cannot be kept, so that it is worth nothing: %w\ndelete it, and register again: flexgw gateways delete %s", f.AgentID, err, f.AgentID))
	}
	fmt.Fprintf(env.Stdout, "registered %s as gateway %s, for Local Mode\n", f.AssetName, f.AgentID)
	if id.who == byToken {
		fmt.Fprintf(env.Stdout, "it is in environment %s, that of the registration token\n", f.EnvironmentID)
	}
	files := writtenTo(dir, c.Bool("split"))
	if len(files) == 1 {
		fmt.Fprintf(env.Stdout, "wrote %s, which its owner alone may read: it has the gateway's key\n", files[0])
	} else {
		fmt.Fprintf(env.Stdout, "wrote %s and %s, which their owner alone may read: the latter has the gateway's key\n", files[0], files[1])
	}
	fmt.Fprintf(env.Stdout, "the certificate expires at %s, %s\n", expiry(f.NotAfter), inWords(f.NotAfter.Sub(env.clock())))
	fmt.Fprintf(env.Stdout, "flexgw run reads it beside the declarations, or where --registration says\n")
	return nil
}

// place is where a gateway is registered. A token may leave Environment empty.
type place struct{ anypoint.In }

func (p place) check() error {
	in := p.In
	if in.Environment == "" {
		in.Environment = in.Organization
	}
	if err := in.Check(); err != nil {
		return usage("%s", err)
	}
	return nil
}

// whatToRegister reads what the flags say beside who one is.
func whatToRegister(c *cli.Context) (name string, in place, base *url.URL, err error) {
	if c.NArg() != 1 {
		return "", in, nil, usage("register takes one NAME for the gateway, got %d", c.NArg())
	}
	if err := given(c, "organization", "environment", "anypoint-url", "output-directory"); err != nil {
		return "", in, nil, err
	}
	name = c.Args().First()
	if name != diag.Visible(diag.OneLine(name)) || strings.TrimSpace(name) != name || name == "" {
		return "", in, nil, usage("the name %q has characters that nobody sees", name)
	}
	if c.Bool("connected") {
		return "", in, nil, usage("--connected: flexgw runs gateways in Local Mode, which have their declarations from you; one in Connected Mode has them from the platform, and needs the product")
	}
	in = place{anypoint.In{Organization: c.String("organization"), Environment: c.String("environment")}}
	if in.Organization == "" {
		return "", in, nil, usage("--organization is needed: the id of the organization (business group) that the gateway belongs to")
	}
	if base, err = controlPlane(c.String("anypoint-url")); err != nil {
		return "", in, nil, usage("--anypoint-url: %s", err)
	}
	return name, in, base, nil
}

// vacant says in time that a registration could not be written; advice is for where there is one.
func vacant(dir string, split, force bool, advice string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return world(fmt.Errorf("--output-directory %s: %w", dir, disk.Cause(err)))
	}
	if !info.IsDir() {
		return world(fmt.Errorf("--output-directory %s: it is no folder", dir))
	}
	probe, err := os.CreateTemp(dir, ".flexgw-")
	if err != nil {
		return world(fmt.Errorf("--output-directory %s takes no files: %w", dir, disk.Cause(err)))
	}
	probe.Close()
	_ = os.Remove(probe.Name())
	exists := (*anypoint.ExistsError)(nil)
	err = anypoint.Vacant(dir, split)
	switch {
	case errors.As(err, &exists) && !force:
		return world(fmt.Errorf("%w: it is the registration of a gateway, and whoever writes over it loses that\n%s", err, advice))
	case errors.As(err, &exists):
		return nil
	}
	return worldly(err)
}

// registered registers. Nothing is said to a server that does not know the request, not even who one is.
func registered(ctx context.Context, env Env, p *anypoint.Client, id caller, in place, name string, product func() string) (*anypoint.File, error) {
	if err := p.Hello(ctx); err != nil {
		return nil, unspoken(err, product())
	}
	fmt.Fprintln(env.Stderr, "flexgw: registering; this may take a while")
	token := id.secret
	if id.who != byToken {
		access, err := id.login(ctx, p)
		if err == nil {
			token, err = p.Mint(ctx, access, in.In)
		}
		if err != nil {
			return nil, refused(err)
		}
	}
	key, csr, err := anypoint.NewKey(name)
	if err != nil {
		return nil, world(err)
	}
	r, err := p.Register(ctx, token, in.Organization, anypoint.RegisterRequest{Schema: anypoint.RegistrationSchema, Name: name, Mode: "local", CSR: csr, IdempotencyKey: anypoint.NewUUID()})
	if err != nil {
		return nil, refused(err)
	}
	f, err := anypoint.NewFile(r, key, env.clock())
	if err == nil && (f.OrganizationID != in.Organization || in.Environment != "" && f.EnvironmentID != in.Environment) {
		err = &anypoint.AnswerError{Why: fmt.Sprintf("the gateway is in organization %s and environment %s, and not where it was to be: is the token of another one?", f.OrganizationID, f.EnvironmentID)}
	}
	if err != nil {
		return nil, world(fmt.Errorf("%w\nthe platform has registered it as %q: delete it with flexgw gateways delete", err, r.AgentID))
	}
	return f, nil
}

// expiry is how the product's tool writes a time.
func expiry(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 -0700 MST") }

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
		}, wayFlags()),
		Action: func(c *cli.Context) error { return renew(c, env) },
	}
}

func renew(c *cli.Context, env Env) error {
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
	return keepRenewed(c, env, old, f, dir)
}

// writtenTo are the files of a registration that was written to a folder.
func writtenTo(dir string, split bool) []string {
	files := []string{filepath.Join(dir, anypoint.FileName)}
	if split {
		files = append(files, filepath.Join(dir, anypoint.CertificateName))
	}
	return files
}

// keepRenewed writes a renewed registration, and says what has changed.
func keepRenewed(c *cli.Context, env Env, old, f *anypoint.File, dir string) error {
	written, err := writtenTo(dir, f.Split), error(nil)
	if dir != "" {
		err = f.Write(dir, anypoint.WriteOptions{Split: f.Split})
	} else {
		written, err = f.Rewrite()
	}
	if err != nil {
		return world(fmt.Errorf("the renewed registration cannot be written, and the old one stays: %w", err))
	}
	fmt.Fprintf(env.Stdout, "renewed %s, gateway %s\nwrote %s", f.AssetName, f.AgentID, strings.Join(written, " and "))
	if dir == "" {
		fmt.Fprint(env.Stdout, "; the old one is beside it as .bak, with the old key")
	}
	fmt.Fprintf(env.Stdout, "\nthe certificate expires at %s, %s\n", expiry(f.NotAfter), inWords(f.NotAfter.Sub(env.clock())))
	if !f.NotAfter.After(old.NotAfter) {
		fmt.Fprintln(env.Stdout, "renewed but not extended: it expires no later than the old one did, because the platform ends all of its certificates at the same time; try again when that is nearer")
	}
	if old.Metering != f.Metering {
		fmt.Fprintf(env.Stdout, "usage goes to %s from now on, and went to %s\n", f.Metering, old.Metering)
	}
	if dir == "" {
		fmt.Fprintln(env.Stdout, "a daemon that runs on it takes it over; the product's gateway needs a restart before its versions 1.12.9 and 1.13.5")
	}
	return nil
}

// platformOf is the control plane of a registration, and where in it the gateway is.
func platformOf(c *cli.Context, env Env, f *anypoint.File) (*anypoint.Client, anypoint.In, error) {
	in := anypoint.In{Organization: f.OrganizationID, Environment: f.EnvironmentID}
	if err := in.Check(); err != nil {
		return nil, in, world(fmt.Errorf("%s: its certificate does not say where the gateway is: %w", f.Path, err))
	}
	base, err := controlPlane(f.Anypoint)
	if err != nil {
		return nil, in, world(fmt.Errorf("%s: anypoint: %w", f.Path, err))
	}
	ca, err := ownAuthorities(c)
	if err != nil {
		return nil, in, err
	}
	if ca == nil {
		ca = f.CA
	}
	p, err := platformAt(c, env, base, f.Path, ca)
	return p, in, err
}

func unregisterCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "unregister",
		Usage:     "delete the gateway of a registration from the platform",
		ArgsUsage: "REGISTRATION",
		Description: "Waits until the platform has deleted it, which takes a while. The file stays, and is worth nothing then; a gateway that\n" +
			"runs goes on running, and its usage is not taken any more. Needs the permission Manage Servers.",
		Flags:  slices.Concat(userFlags(), []cli.Flag{yesFlag(), deletionFlag(), &cli.StringFlag{Name: "token", Hidden: true}, &cli.StringFlag{Name: "token-file", Hidden: true}}, wayFlags()),
		Action: func(c *cli.Context) error { return unregister(c, env) },
	}
}

func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
}

func deletionFlag() cli.Flag {
	return &cli.DurationFlag{Name: "wait", Value: 2 * time.Minute, Usage: "how long the platform may take to delete; 0: do not wait"}
}

func unregister(c *cli.Context, env Env) error {
	if c.NArg() != 1 {
		return usage("unregister takes one REGISTRATION, the file registration.yaml; got %d", c.NArg())
	}
	if tokenFlags.set(c) {
		return usage("a registration token registers, and cannot delete: log in as a user (--username and --password-file) or as a connected app (--client-id and --client-secret-file)")
	}
	f, err := registrationAt(env, c.Args().First())
	if err != nil {
		return err
	}
	if !c.Bool("yes") {
		if !asks(env) {
			return usage("unregister deletes the gateway %s (%s) from the platform, and asks first; nobody can be asked here, so say --yes", f.AssetName, f.AgentID)
		}
		if !agreed(env, fmt.Sprintf("delete the gateway %s (%s) from %s?", diag.Visible(f.AssetName), f.AgentID, f.Anypoint)) {
			return world(errors.New("nothing was deleted"))
		}
	}
	id, err := callerOf(c, env, false)
	if err != nil {
		return err
	}
	p, in, err := platformOf(c, env, f)
	if err != nil {
		return err
	}
	access, err := id.login(c.Context, p)
	if err != nil {
		return refused(err)
	}
	if err := deleted(c, env, p, access, in, anypoint.Gateway{ID: f.AgentID, Name: f.AssetName}); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "%s stays where it is, and is worth nothing now\n", f.Path)
	return nil
}

// deleted has the platform delete a gateway and waits for it. One that is not there any more is deleted.
func deleted(c *cli.Context, env Env, p *anypoint.Client, access anypoint.Token, in anypoint.In, g anypoint.Gateway) error {
	name := diag.Visible(diag.OneLine(g.Name))
	err := p.Delete(c.Context, access, in, g.ID)
	e := (*anypoint.Error)(nil)
	switch {
	case errors.As(err, &e) && (e.Kind == anypoint.Deleted || e.Kind == anypoint.NotFound):
		fmt.Fprintf(env.Stdout, "the gateway %s (%s) was deleted already\n", name, g.ID)
		return nil
	case err != nil:
		return refused(err)
	}
	limit := c.Duration("wait")
	if limit == 0 {
		fmt.Fprintf(env.Stdout, "the platform deletes the gateway %s (%s), and takes its time for it: flexgw gateways list says when it is gone\n", name, g.ID)
		return nil
	}
	fmt.Fprintf(env.Stderr, "flexgw: the platform deletes %s, and takes its time for it\n", name)
	ctx, cancel := context.WithTimeout(c.Context, limit)
	defer cancel()
	if err := p.WaitDeleted(ctx, access, in, g.ID); err != nil {
		if ctx.Err() != nil {
			return world(fmt.Errorf("the platform has taken the order to delete %s (%s), and has not done it within %s; flexgw gateways list says when it has", name, g.ID, limit))
		}
		return refused(err)
	}
	fmt.Fprintf(env.Stdout, "the gateway %s (%s) is deleted\n", name, g.ID)
	return nil
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
			},
			Action: func(c *cli.Context) error { return inspect(c, env) },
		}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("no command %q: registration inspect [FILE]", "registration "+c.Args().First())
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

func inspect(c *cli.Context, env Env) error {
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
	if f.Exposed != "" {
		fmt.Fprintf(env.Stderr, "flexgw: warning: others than its owner can read or write %s, which has the gateway's key: chmod 600 it\n", f.Exposed)
	}
	out := inspection{Expiration: expiry(f.NotAfter)}
	if !c.Bool("verbose") {
		b, err := json.Marshal(out)
		if err != nil {
			return world(err)
		}
		_, err = fmt.Fprintln(env.Stdout, string(b))
		return worldly(err)
	}
	mode := "connected"
	if f.Local {
		mode = "local"
	}
	out.inspected = &inspected{Expired: !env.clock().Before(f.NotAfter), Version: f.Version, Mode: mode, Split: f.Split, AssetName: f.AssetName, AgentID: f.AgentID,
		Organization: f.OrganizationID, Environment: f.EnvironmentID, Master: f.MasterOrganizationID, Region: f.Region, Subject: f.CommonName, Schema: f.MeteringSchemaID,
		Anypoint: f.Anypoint, Metering: f.Metering, CA: f.CA != nil}
	return worldly(report.Indented(env.Stdout, out))
}
