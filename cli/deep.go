package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/deep"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// deepFlags are those of deep mode.
func deepFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "deep", Usage: "ask the real Envoy too, in a sandbox: nothing is served, and no network reached"},
		known(&cli.StringFlag{Name: "envoy", Usage: "with --deep: auto, or the `PATH` of an Envoy " + envoy.Series + ".x"}, "auto"),
		&cli.StringFlag{Name: "deep-cache", Usage: "with --deep: keep Envoy's answers in `DIR` (default: $XDG_CACHE_HOME/flexgw/deep)"},
	}
}

// deepMode asks Envoy about what a check has rendered.
type deepMode struct {
	env    Env
	find   envoy.FindOptions
	cache  *deep.Cache // nil: nothing is kept
	failed bool        // Envoy came to no verdict on something
	err    error       // nothing came of it
	ran    bool        // there was something to ask
	asked  string      // identity of the Envoy that was asked; "": it has none

	unsettled bool // too many runs: the next call finds more, for it knows what this one was told

	found  envoy.Found // once looked for
	lost   error       // of looking
	looked bool
}

// readDeep is nil without --deep.
func readDeep(c *cli.Context, env Env) (*deepMode, error) {
	choice := c.String("envoy")
	switch {
	case !c.Bool("deep") && (choice != "" || c.String("deep-cache") != ""):
		return nil, usage("--envoy and --deep-cache are of use with --deep only")
	case !c.Bool("deep"):
		return nil, nil
	case choice == "none":
		return nil, usage("--deep needs an Envoy: --envoy takes auto or a path here")
	}
	d := &deepMode{env: env}
	d.find = envoy.FindOptions{Choice: choice, Getenv: env.Getenv, Log: func(s string) { fmt.Fprintln(env.Stderr, "flexgw: "+s) }}
	dir := c.String("deep-cache")
	if dir == "" {
		if home, err := envoy.CacheDir(env.Getenv); err == nil {
			dir = filepath.Join(home, "deep")
		}
	}
	if dir != "" {
		d.cache = deep.OpenCache(dir)
		d.find.Version = d.cache.Version
	}
	return d, nil
}

// judge has Envoy judge resources; what it does not take is reported where it was declared in set.
func (d *deepMode) judge(set source.Set, g *ir.Gateway, r *render.Resources) diag.List {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) // what is in temporary folders must go
	defer stop()
	t := render.NewTrial(g, all.Catalog{}, r)
	v, err := d.ask(ctx, t)
	if err != nil {
		d.err = errors.Join(d.err, err)
		return nil
	}
	d.failed, d.unsettled = d.failed || v.Fell(), d.unsettled || v.Unsettled > 0
	return schema.Attribute(set, v.Diagnostics(t, func(at diag.Range, words string) (diag.Range, bool) { return schema.Quoted(set, at, words) }))
}

func (d *deepMode) ask(ctx context.Context, t *render.Trial) (deep.Verdict, error) {
	if t.Empty() {
		return deep.Verdict{}, nil
	}
	d.ran = true
	found, err := d.envoy(ctx)
	if err != nil {
		return deep.Verdict{Failed: err}, ctx.Err()
	}
	d.asked = d.cache.Identity(found)
	return deep.Judge(ctx, t, deep.Options{Envoy: found, Cache: d.cache})
}

// envoy looks for an Envoy, once: it may have much to say.
func (d *deepMode) envoy(ctx context.Context) (envoy.Found, error) {
	if !d.looked {
		d.found, d.lost = envoy.Find(ctx, d.find)
		d.looked = true
	}
	return d.found, d.lost
}

// identity tells the Envoy that would be asked from all others; "": it cannot be told, or there is none.
func (d *deepMode) identity() string {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	found, err := d.envoy(ctx)
	if err != nil {
		return ""
	}
	return d.cache.Identity(found)
}

// verdict is the exit of a check with deep mode: what it could not do is a failure of the world, whatever else is wrong.
func (d *deepMode) verdict(err error) error {
	switch {
	case d == nil:
		return err
	case d.err != nil:
		return world(fmt.Errorf("deep: %w", d.err))
	case d.failed:
		return &exit{code: ExitWorld}
	}
	return err
}
