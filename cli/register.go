package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
				&cli.BoolFlag{Name: "force", Usage: "write over a registration that is there, and keep it as .bak"},
				outputFlag("text", "json"),
			}),
		Action: func(c *cli.Context) error { return register(c, env) },
	}
}

func register(c *cli.Context, env Env) error {
	outs, err := outputsOf(c, "text", "json")
	if err != nil {
		return err
	}
	name, in, base, err := whatToRegister(c)
	if err != nil {
		return err
	}
	ca, err := ownAuthorities(c)
	if err != nil {
		return err
	}
	dir, o := c.String("output-directory"), anypoint.WriteOptions{Split: c.Bool("split"), Force: c.Bool("force")}
	unlock, err := aloneIn(dir)
	if err != nil {
		return err
	}
	defer unlock()
	begun, err := vacantFor(dir, o, name, in.In, base.String())
	if err != nil {
		return err
	}
	o.Force = o.Force || begun != nil && begun.WrittenTo(dir)
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
	p, err := platformAt(c, env, base, "--anypoint-url", ca, trustBy(c))
	if err != nil {
		return err
	}
	f, pending, err := registered(c.Context, env, p, id, in, name, dir, begun, func() string {
		args := append([]string{"flexctl", "registration", "create"}, id.flexctl()...)
		if id.who != byToken {
			args = append(args, "--environment="+in.Environment)
		}
		args = append(args, "--organization="+in.Organization, "--anypoint-url="+base.String(), "--output-directory="+dir)
		if o.Split {
			args = append(args, "--split=true")
		}
		return product(append(args, name)...)
	})
	if err != nil {
		return err
	}
	f.CA = ca
	if err := f.Write(dir, o); err != nil {
		return world(fmt.Errorf("the gateway is registered as %s, and its registration is not written: %w\nits key is in %s: the same command finishes it when the folder takes files again", f.AgentID, err, pending.Path))
	}
	if err := pending.Remove(); err != nil {
		fmt.Fprintf(env.Stderr, "flexgw: warning: %s; the registration is written, and nothing is pending any more\n", err)
	}
	warnOfTime(env, f, p.Date())
	files := writtenTo(dir, o.Split)
	var said strings.Builder
	fmt.Fprintf(&said, "registered %s as gateway %s, for Local Mode\n", diag.Visible(diag.OneLine(f.AssetName)), f.AgentID)
	if id.who == byToken {
		fmt.Fprintf(&said, "it is in environment %s, that of the registration token\n", f.EnvironmentID)
	}
	if len(files) == 1 {
		fmt.Fprintf(&said, "wrote %s, which its owner alone may read: it has the gateway's key\n", files[0])
	} else {
		fmt.Fprintf(&said, "wrote %s and %s, which their owner alone may read: the latter has the gateway's key\n", files[0], files[1])
	}
	fmt.Fprintf(&said, "the certificate expires at %s, %s\n", expiry(f.NotAfter), inWords(f.NotAfter.Sub(env.clock())))
	said.WriteString("flexgw run reads it beside the declarations, or where --registration says\n")
	return tell(env, outs, said.String(), registrationFacts{SchemaVersion: factsVersion, Result: "registered", Resumed: begun != nil, Files: files, inspection: inspectionOf(f, env.clock(), o.Split)})
}

// aloneIn keeps another register or renew out of a folder until unlock is called: what one of them has pending is not the other's to
// overwrite, or to remove.
func aloneIn(dir string) (unlock func(), err error) {
	now, cancel := context.WithCancel(context.Background())
	cancel() // nobody waits for minutes without a word
	unlock, err = disk.Lock(now, dir)
	switch {
	case errors.Is(err, disk.ErrLocked):
		return nil, world(fmt.Errorf("another flexgw register or renew is at work in %s: nothing was asked of the platform; try again when it has ended", dir))
	case err != nil: // there is no such folder, or it cannot be read: who writes to it says so
		return func() {}, nil
	}
	return unlock, nil
}

// vacantFor says in time that a registration could not be written, and finds the one that was begun and is to be finished; nil: none.
func vacantFor(dir string, o anypoint.WriteOptions, name string, in anypoint.In, base string) (*anypoint.Pending, error) {
	begun, err := anypoint.ReadPending(dir)
	if err != nil {
		if err := vacant(dir, o.Split, true, ""); err != nil { // it is no folder, perhaps
			return nil, err
		}
		return nil, world(err)
	}
	if begun != nil && begun.WrittenTo(dir) {
		o.Force = true // what is there is what was begun
	}
	if err := vacant(dir, o.Split, o.Force, "name another folder with --output-directory, or write over it with --force; flexgw renew renews one"); err != nil {
		return nil, err
	}
	if begun == nil || begun.Is(name, in, base) {
		return begun, nil
	}
	args := []string{"flexgw", "register", "--organization=" + begun.Organization}
	if begun.Environment != "" {
		args = append(args, "--environment="+begun.Environment)
	}
	args = append(args, "--anypoint-url="+begun.Anypoint, "--output-directory="+dir)
	return nil, world(fmt.Errorf("%s is of another registration, which began at %s and was not finished: the platform may have made that gateway, and its key is in this file alone\n"+
		"finish it, with your token, user or connected app:\n  %s\nor remove the file, and the gateway if flexgw gateways list has it; or name another folder with --output-directory",
		begun.Path, begun.Since.UTC().Format(time.RFC3339), product(append(args, begun.Name)...)))
}

// warnOfTime warns of a certificate that is not valid by this host's clock; platform is the time by the platform's, zero where it does
// not say. The registration is as good as written: it is the clock that is to be put right, or the certificate to be renewed.
func warnOfTime(env Env, f *anypoint.File, platform time.Time) {
	const slack = time.Minute // no clocks agree, and the certificate is a moment old
	now := env.clock()
	early, late := now.Add(slack).Before(f.NotBefore), !now.Before(f.NotAfter)
	if !early && !late {
		return
	}
	words := "has expired at " + expiry(f.NotAfter)
	if early {
		words = "is valid from " + expiry(f.NotBefore) + " on"
	}
	advice := "if the clock is wrong, set it; if it is right, get another certificate with flexgw renew"
	switch valid := !platform.Add(slack).Before(f.NotBefore) && platform.Before(f.NotAfter); {
	case platform.IsZero():
	case valid:
		off := now.Sub(platform)
		side := "ahead"
		if off < 0 {
			side = "behind"
		}
		advice = fmt.Sprintf("it is %s by the platform's: this host's clock is %s %s; set it (timedatectl set-ntp true), and nothing else is to be done", expiry(platform), off.Abs().Round(time.Second), side)
	default:
		advice = "nor is it valid by the platform's clock: get another certificate with flexgw renew"
	}
	fmt.Fprintf(env.Stderr, "flexgw: warning: the certificate %s, and by this host's clock it is %s: usage cannot be reported with it now\nflexgw: %s\n", words, expiry(now), advice)
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
		return world(fmt.Errorf("%w: whoever writes over the registration of a gateway loses it\n%s", err, advice))
	case errors.As(err, &exists):
		return nil
	}
	return worldly(err)
}

// registered registers. Nothing is said to a server that does not know the request, not even who one is. What it takes is on the disk
// before it is asked for, and stays there until pending.Remove: begun is that of a run before; nil: there is none.
func registered(ctx context.Context, env Env, p *anypoint.Client, id caller, in place, name, dir string, begun *anypoint.Pending, product func() string) (*anypoint.File, *anypoint.Pending, error) {
	if err := p.Hello(ctx); err != nil {
		return nil, nil, unspoken(err, product())
	}
	fmt.Fprintln(env.Stderr, "flexgw: registering; this may take a while")
	token := id.secret
	if id.who != byToken {
		access, err := id.login(ctx, p)
		if err == nil {
			token, err = p.Mint(ctx, access, in.In)
		}
		if err != nil {
			return nil, nil, refused(err)
		}
	}
	pending := begun
	if begun != nil {
		fmt.Fprintf(env.Stderr, "flexgw: going on with what began at %s: the key and the request are those of %s\n", begun.Since.UTC().Format(time.RFC3339), begun.Path)
	} else {
		var err error
		if pending, err = anypoint.NewPending(name, in.In, p.Base, env.clock()); err == nil {
			err = pending.Write(dir)
		}
		if err != nil {
			return nil, nil, world(fmt.Errorf("nothing was asked of the platform: %w", err))
		}
	}
	r, err := p.Register(ctx, token, in.Organization, pending.Request())
	if err != nil {
		return nil, nil, unfinished(err, pending)
	}
	f, err := anypoint.NewFile(r, pending.Key)
	if err == nil && (f.OrganizationID != in.Organization || in.Environment != "" && f.EnvironmentID != in.Environment) {
		err = &anypoint.AnswerError{Why: fmt.Sprintf("the gateway is in organization %s and environment %s, and not where it was to be: is the token of another one?", f.OrganizationID, f.EnvironmentID)}
	}
	if err != nil { // asked again, the platform would answer the same
		return nil, nil, world(errors.Join(fmt.Errorf("%w\nthe platform has registered it as %q: delete it with flexgw gateways delete", err, r.AgentID), pending.Remove()))
	}
	return f, pending, nil
}

// unfinished tells why a gateway is not registered, and whether it may be all the same.
func unfinished(err error, pending *anypoint.Pending) error {
	if pending.Settled(err) {
		again := ""
		if e := (*anypoint.Error)(nil); pending.Again && errors.As(err, &e) && e.Kind == anypoint.Deleted {
			again = "; it is the gateway of the run before: register again for a new one"
		}
		return world(errors.Join(fmt.Errorf("%w%s", refused(err), again), pending.Remove()))
	}
	return world(fmt.Errorf("%w\nthe platform may have registered it all the same: the key and the request are kept in %s, and the same command goes on with them, and makes no second gateway", refused(err), pending.Path))
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

// writtenTo are the files of a registration that was written to a folder.
func writtenTo(dir string, split bool) []string {
	files := []string{filepath.Join(dir, anypoint.FileName)}
	if split {
		files = append(files, filepath.Join(dir, anypoint.CertificateName))
	}
	return files
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
	fmt.Fprintf(&said, "renewed %s, gateway %s\nwrote %s", f.AssetName, f.AgentID, strings.Join(written, " and "))
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
	trust := trustBy(c)
	if ca == nil {
		ca, trust = f.CA, f.Trust()
	}
	p, err := platformAt(c, env, base, f.Path, ca, trust)
	return p, in, err
}

func unregisterCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "unregister",
		Usage:     "delete the gateway of a registration from the platform",
		ArgsUsage: "REGISTRATION",
		Description: "Waits until the platform has deleted it, which takes a while. The file stays, and is worth nothing then; a gateway that\n" +
			"runs goes on running, and its usage is not taken any more. Needs the permission Manage Servers.",
		Flags:  slices.Concat(userFlags(), []cli.Flag{yesFlag(), deletionFlag(), outputFlag("text", "json"), &cli.StringFlag{Name: "token", Hidden: true}, &cli.StringFlag{Name: "token-file", Hidden: true}}, wayFlags()),
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
	outs, err := outputsOf(c, "text", "json")
	if err != nil {
		return err
	}
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
		if !agreed(env, fmt.Sprintf("delete the gateway %s (%s) from %s?", f.AssetName, f.AgentID, f.Anypoint)) {
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
	result, err := deleted(c, env, p, access, in, anypoint.Gateway{ID: f.AgentID, Name: f.AssetName})
	if result == "" {
		return err
	}
	facts := deletionFacts{SchemaVersion: factsVersion, Result: result, AssetName: f.AssetName, AgentID: f.AgentID, Organization: in.Organization, Environment: in.Environment, Anypoint: p.Base, File: f.Path}
	if e := tell(env, outs, facts.words()+fmt.Sprintf("%s stays where it is, and is worth nothing now\n", f.Path), facts); e != nil {
		return e
	}
	return err
}

// deleted has the platform delete a gateway and waits for it. One that is not there any more is deleted; one that the platform is deleting
// since an order of before is waited for like any other. beingDeleted with an error: --wait was too short.
func deleted(c *cli.Context, env Env, p *anypoint.Client, access anypoint.Token, in anypoint.In, g anypoint.Gateway) (deletion, error) {
	name := diag.Visible(diag.OneLine(g.Name))
	err := p.Delete(c.Context, access, in, g.ID)
	e := (*anypoint.Error)(nil)
	switch {
	case errors.As(err, &e) && e.Kind == anypoint.Deleted: // or still at it: both are answered alike
		switch gone, err := p.IsDeleted(c.Context, access, in, g.ID); {
		case err != nil:
			return "", refused(err)
		case gone:
			return alreadyDeleted, nil
		}
	case errors.As(err, &e) && e.Kind == anypoint.NotFound:
		return forgotten(c.Context, p, access, in, err)
	case err != nil:
		return "", refused(err)
	}
	limit := c.Duration("wait")
	if limit == 0 {
		return beingDeleted, nil
	}
	fmt.Fprintf(env.Stderr, "flexgw: the platform deletes %s, and takes its time for it\n", name)
	ctx, cancel := context.WithTimeout(c.Context, limit)
	defer cancel()
	if err := p.WaitDeleted(ctx, access, in, g.ID); err != nil {
		if ctx.Err() != nil {
			return beingDeleted, world(fmt.Errorf("the platform has taken the order to delete %s (%s), and has not done it within %s; flexgw gateways list says when it has", name, g.ID, limit))
		}
		return "", refused(err)
	}
	return isDeleted, nil
}

// forgotten finds out what a 404 is about. A gateway that was deleted is remembered, and answered with a 400 [C]; so a 404 means that the
// organization or environment is none, or that in it there never was such a gateway, or is not any more. That it was there a registration
// shows: its certificate names all three.
func forgotten(ctx context.Context, p *anypoint.Client, access anypoint.Token, in anypoint.In, err error) (deletion, error) {
	known, asked := p.Known(ctx, access, in)
	switch {
	case asked != nil:
		return "", refused(fmt.Errorf("%w\nwhether the organization and the environment are there cannot be found out: %w", err, asked))
	case !known:
		return "", world(fmt.Errorf("organization %s has no environment %s, or %s knows neither (404): nothing was deleted\ncheck the ids, and --anypoint-url: those of Europe are on %s", in.Organization, in.Environment, p.Base, anypoint.EU))
	}
	return unknownNow, nil
}

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
