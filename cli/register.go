package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

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
	if err := callerNamed(c, env, true); err != nil { // called wrongly, whatever is in the folder
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
	before := atRisk(dir)
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
	f, pending, err := registered(c.Context, env, p, id, in, name, dir, flagsAgain(c), begun, func() string {
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
	if before != nil && before.AgentID != f.AgentID {
		fmt.Fprintf(env.Stderr, "flexgw: warning: %s (%s) stays registered, and its name is taken; its registration is kept as .bak until another takes that place, too\n"+
			"  flexgw unregister %s deletes it from the platform, as flexgw gateways delete %s does\n", diag.Visible(diag.OneLine(before.AssetName)), before.AgentID, before.Path+".bak", before.AgentID)
	}
	said.WriteString("flexgw run reads it beside the declarations, or where --registration says\n")
	return tell(env, outs, said.String(), registrationFacts{SchemaVersion: factsVersion, Result: "registered", Resumed: begun != nil, Files: files, inspection: inspectionOf(f, env.clock(), o.Split)})
}

// atRisk is the registration in a folder that another one is to replace; nil: there is none that can be read.
func atRisk(dir string) *anypoint.File {
	f, err := anypoint.ReadFile(filepath.Join(dir, anypoint.FileName))
	if err != nil {
		return nil
	}
	return f
}

// flagsAgain are those without which the command that finishes a registration would not go the same way, or write the same files.
func flagsAgain(c *cli.Context) (flags []string) {
	if path := c.String("ca-file"); path != "" {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		flags = append(flags, "--ca-file="+path)
	}
	if c.Bool("split") {
		flags = append(flags, "--split")
	}
	return flags
}

// aloneIn keeps another register or renew out of a folder until unlock is called: what one of them has pending is not the other's to
// overwrite, or to remove.
func aloneIn(dir string) (unlock func(), err error) {
	soon, cancel := context.WithTimeout(context.Background(), 2*time.Second) // nobody waits for minutes without a word
	defer cancel()
	unlock, err = disk.LockFolder(soon, dir)
	switch {
	case errors.Is(err, disk.ErrHeld):
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
	args = append(args, begun.Flags...)
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
func registered(ctx context.Context, env Env, p *anypoint.Client, id caller, in place, name, dir string, flags []string, begun *anypoint.Pending, product func() string) (*anypoint.File, *anypoint.Pending, error) {
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
			pending.Flags = flags
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

// writtenTo are the files of a registration that was written to a folder.
func writtenTo(dir string, split bool) []string {
	files := []string{filepath.Join(dir, anypoint.FileName)}
	if split {
		files = append(files, filepath.Join(dir, anypoint.CertificateName))
	}
	return files
}
