package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/deliver/files"
	"github.com/flexgw/flexgw/reconcile/deliver/flex"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/probe"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// The targets of apply that are folders: there is no daemon to ask.

// applyToFolder applies to one of them.
func applyToFolder(c *cli.Context, env Env, target string, outs []output) error {
	dir, err := filepath.Abs(c.String("to"))
	if err != nil {
		return world(err)
	}
	if n := c.Int("max-delete"); c.IsSet("max-delete") && n < 0 {
		return usage("--max-delete %d: 0 or more is expected", n)
	}
	x := &folderTarget{env: env, dir: dir, dryRun: c.Bool("dry-run"), most: c.Int("max-delete"), settle: c.Duration("settle"), silent: c.Bool("no-probes")}
	if target == "flex" && (x.settle < 0 || x.settle >= c.Duration("timeout")) {
		return usage("--settle %s: expected less than --timeout, which is %s", x.settle, c.Duration("timeout"))
	}
	if x.window, err = errorWindow(c, target); err != nil {
		return err
	}
	if x.window != nil {
		if x.window.Length >= c.Duration("timeout") {
			return usage("--error-window %s: expected less than --timeout, which is %s", x.window.Length, c.Duration("timeout"))
		}
		if x.window.Log, err = logger(env.Stderr, "text", false); err != nil {
			return err
		}
	}
	if !c.IsSet("max-delete") {
		x.most = int(^uint(0) >> 1)
	}
	ctx, cancel := context.WithTimeout(c.Context, c.Duration("timeout"))
	defer cancel()
	apply := x.files
	if target == "flex" {
		apply = x.flex
	}
	o, set, err := apply(ctx, c.Args().Slice())
	if err != nil {
		return answered(err)
	}
	o.SchemaVersion, o.Revision, o.Held, o.Objects = api.SchemaVersion, set.Revision, []api.Held{}, []status.Object{}
	if o.Deleted == nil {
		o.Deleted = []string{}
	}
	if o.Diagnostics == nil {
		o.Diagnostics = diag.List{}
	}
	return showOutcome(env, outs, o, set.Bytes)
}

// folderTarget is one apply to a folder.
type folderTarget struct {
	env    Env
	dir    string
	dryRun bool
	most   int           // how many deletions are fine
	settle time.Duration // how long a gateway that tells nothing may take to read its folder
	silent bool          // no probes are asked
	window *probe.Window // nil: the error rate is not watched

	against diag.List // what the proof said
}

// prove asks the probes of a gateway, and watches what it answers. Nothing is proven when ctx ends.
func (x *folderTarget) prove(ctx context.Context, g *ir.Gateway) error {
	p := prover{window: x.window}
	if !x.silent {
		e := egress.New(egress.Options{})
		e.Set(egress.Probe, probe.Destinations(g))
		asker := newProber(e)
		p.prober = &asker
	}
	list := p.prove(ctx, g)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("its proof had no end in time: %w", ctx.Err())
	case list.HasErrors():
		x.against = list
		return errors.New(firstOf(list))
	}
	return nil
}

// unproven adds to an answer that the proof failed. What was there before, of the revision back, is now, in the words of again;
// "": there was nothing.
func (x *folderTarget) unproven(o *api.Outcome, set source.Set, back, again string) {
	o.Result, o.Reason, o.Message, o.Diagnostics, o.Served = api.ProofFailed, "ProofFailed", firstOf(x.against), x.against.WithoutSecrets(set.Bytes), set.Revision
	if again != "" {
		o.Result, o.Served, o.Previous = api.RolledBack, back, back
		o.Message += fmt.Sprintf("; revision %s is %s again", back, again)
	}
}

// refuses is the answer when too much would go.
func (x *folderTarget) refuses(gone []string) error {
	if len(gone) <= x.most {
		return nil
	}
	return &api.Error{Status: http.StatusConflict, Code: api.CodeTooMany, Message: fmt.Sprintf("%d would be deleted, and %d may be: %s", len(gone), x.most, some(gone))}
}

// files brings resources to the folder of an Envoy without a daemon.
func (x *folderTarget) files(ctx context.Context, paths []string) (o api.Outcome, set source.Set, err error) {
	set, err = readPaths(paths, x.env)
	if err != nil {
		return o, set, err
	}
	p := onePass(x.env)
	p.load.RequireEnv = true
	p.render.Files = filepath.Join(x.dir, "files")
	g, r, list := p.build(set)
	if !list.HasErrors() {
		list = append(list, needDaemon(g, r)...).Sort()
	}
	if list.HasErrors() {
		return api.Outcome{Result: api.Invalid, Message: firstOf(list), Diagnostics: list.WithoutSecrets(set.Bytes)}, set, nil
	}
	admin, err := envoy.SocketPath(x.dir, "envoy-admin.sock")
	if err != nil {
		return o, set, err
	}
	d, err := render.Discover(r, render.BootstrapOptions{NodeID: "flexgw/" + sourceID(x.dir), AdminSocket: admin}, x.dir)
	if err != nil {
		return o, set, err
	}
	target := files.Target{Dir: x.dir, Admin: admin, Proof: func(ctx context.Context) error { return x.prove(ctx, g) }}
	change, err := target.Plan(d)
	if err != nil {
		return o, set, err
	}
	o.Served, o.Deleted, o.ChangesText = change.Base, change.Removed, change.String()
	if err := x.refuses(change.Removed); err != nil {
		return o, set, err
	}
	if x.dryRun {
		o.Result, o.Reason = api.Accepted, "DryRun"
		return o, set, nil
	}
	if x.window != nil {
		x.window.Stats = envoy.NewAdmin(admin).Stats
		x.window.Begin(ctx)
	}
	switch err = target.Apply(ctx, d); {
	case err == nil:
		o.Result, o.Served = api.Programmed, set.Revision
	case x.against != nil && errors.Is(err, files.ErrUnproven):
		x.unproven(&o, set, change.Base, "served")
	case x.against != nil && errors.Is(err, files.ErrKept):
		x.unproven(&o, set, "", "")
	case errors.Is(err, files.ErrRefused):
		o.Result, o.Reason, o.Message, o.Previous = api.RolledBack, "Rejected", err.Error(), change.Base
	case errors.Is(err, files.ErrNoEnvoy):
		o.Result, o.Reason, o.Message = api.Accepted, "NoEnvoy", err.Error()+"; start one with: envoy -c "+filepath.Join(x.dir, render.BootstrapFile)
	default:
		return o, set, err
	}
	return o, set, nil
}

// needDaemon is what a host without a daemon can not serve.
func needDaemon(g *ir.Gateway, r *render.Resources) diag.List {
	asked := map[string]bool{}
	for _, in := range r.Instances() {
		asked[in.Policy] = true
	}
	for _, n := range new(render.Needy).Needs(g, all.Catalog{}) {
		asked[n.Policy] = true
	}
	var list diag.List
	add := func(o ir.Origin, what string) {
		list = append(list, diag.Diagnostic{Severity: diag.Error, Code: "envoy/needs-daemon", Object: o.Object, Subject: o.Range,
			Summary: what + " needs the daemon, and the target files has none",
			Hint:    "run the daemon on that host (flexgw run), or leave it out there"})
	}
	for _, b := range g.Bindings() {
		if asked[b.Policy] {
			add(b.Origin, "policy "+b.Policy)
		}
	}
	for _, e := range g.Echoes {
		add(e.Origin, "Echo")
	}
	return list
}

// flex brings declarations to the folder of a real Flex Gateway.
func (x *folderTarget) flex(ctx context.Context, paths []string) (o api.Outcome, set source.Set, err error) {
	if set, err = declaredIn(ctx, paths, x.env); err != nil {
		return o, set, err
	}
	p := onePass(x.env)
	list, g := p.look(set)
	list = list.WithoutConsequences()
	for i, d := range list {
		ofProbe := func(p *ir.Probe) bool { return p.Origin.Object == d.Object }
		if d.Code == "link/unset-variable" && !x.silent && g != nil && slices.ContainsFunc(g.Probes, ofProbe) { // others are the gateway's to resolve
			list[i].Severity, list[i].Hint = diag.Error, "set it here, where the Probe is asked, or ask none (--no-probes)"
		}
	}
	if list.HasErrors() {
		return api.Outcome{Result: api.Invalid, Message: firstOf(list), Diagnostics: list.WithoutSecrets(set.Bytes)}, set, nil
	}
	copied, left, err := leaveOut(set, ownOf(g))
	if err != nil {
		return o, set, err
	}
	target := flex.Target{Dir: x.dir}
	change, err := target.Plan(copied)
	if err != nil {
		return o, set, usage("%s", err)
	}
	o.Served, o.Deleted = change.Base, change.Removed
	var text strings.Builder
	for _, name := range change.Written {
		fmt.Fprintf(&text, "writes    %s\n", name)
	}
	o.ChangesText = text.String() + leftOut(left)
	if err := x.refuses(change.Removed); err != nil {
		return o, set, err
	}
	o.Result, o.Reason = api.Accepted, "DryRun"
	if x.dryRun {
		return o, set, nil
	}
	asks := len(g.Probes) > 0 && !x.silent
	if asks {
		target.Proof = func() error {
			select { // it does not tell when it has read them
			case <-time.After(x.settle):
			case <-ctx.Done():
			}
			return x.prove(ctx, g)
		}
	}
	switch _, err = target.Apply(copied); {
	case err == nil:
		o.Reason, o.Served = "Copied", set.Revision
		o.Message = "copied; whether the gateway takes it, its own log says"
		if asks {
			o.Message = "copied, and its Probes are answered; whether the gateway took every file, its own log says"
		}
	case x.against != nil && errors.Is(err, flex.ErrUnproven):
		x.unproven(&o, set, change.Base, "in the folder")
	case x.against != nil && errors.Is(err, flex.ErrKept):
		x.unproven(&o, set, "", "")
	default:
		return o, set, err
	}
	return o, set, nil
}

// declaredIn reads declarations by the names that they have within the one folder, or as single files.
func declaredIn(ctx context.Context, paths []string, env Env) (source.Set, error) {
	if len(paths) == 1 && paths[0] != "-" {
		if info, err := os.Stat(paths[0]); err == nil && info.IsDir() {
			dir, err := watch.Dir(paths[0], watch.Options{})
			if err != nil {
				return source.Set{}, world(err)
			}
			defer dir.Close()
			set, err := dir.Fetch(ctx)
			if err != nil {
				return source.Set{}, world(err)
			}
			return set, nil
		}
	}
	set, err := readPaths(paths, env)
	if err != nil {
		return set, err
	}
	files := slices.Clone(set.Files)
	seen := map[string]string{}
	for i, f := range files {
		name := filepath.Base(f.Name)
		if other := seen[name]; other != "" {
			return set, usage("%s and %s would be one file in the folder; give the folder that holds both", other, f.Name)
		}
		seen[name], files[i].Name = f.Name, name
	}
	return source.NewSet(files), nil
}
