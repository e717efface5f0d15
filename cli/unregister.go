package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/schema/diag"
)

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
