package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/deliver/xds"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/echo"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/enforce"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/fetch"
	"github.com/flexgw/flexgw/reconcile/probe"
	"github.com/flexgw/flexgw/reconcile/rollout"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/reconcile/store"
	"github.com/flexgw/flexgw/reconcile/systemd"
	"github.com/flexgw/flexgw/reconcile/trust"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/render/policy/all"
	contract "github.com/flexgw/flexgw/render/policy/enforce"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// firstFetch bounds how long a new revision waits for what its policies need from the network; what comes later is
// rendered when it comes.
const firstFetch = 2 * time.Second

// maxShown bounds how many problems of a refused revision the daemon prints; validate prints all.
const maxShown = 20

func runCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "keep an Envoy equal to a directory or a Git repository of declarations, for ever",
		ArgsUsage: "SOURCE | --no-source",
		Description: "SOURCE is a directory, or the URL of a Git repository: https://host/path, ssh://user@host/path, user@host:path or file:///path.\n" +
			"Prints `ready HOST:PORT…` on standard error once the first revision is programmed. A revision with an error changes\n" +
			"nothing; one that Envoy refuses is rolled back. With --no-source the daemon serves what flexgw apply gives it. SIGTERM\n" +
			"drains and ends with 0.",
		Flags: append([]cli.Flag{
			known(&cli.StringFlag{Name: "envoy", Value: "auto", Usage: "`auto|none|PATH`: find or install one, use one that somebody else runs, or this one"}, "auto", "none"),
			known(&cli.StringFlag{Name: "on-invalid", Value: "reject", Usage: "`reject|hold`: a revision with an error changes nothing, or only what is wrong stays as it was"}, "reject", "hold"),
			&cli.BoolFlag{Name: "no-source", Usage: "follow nothing, and serve what flexgw apply gives"},
			&cli.BoolFlag{Name: "observe", Usage: "judge revisions and report, and change nothing: no Envoy is started or spoken to"},
			stateDirFlag(), socketFlag(),
			&cli.DurationFlag{Name: "drain-time", Value: 25 * time.Second, Usage: "how long connections may take to end"},
			&cli.DurationFlag{Name: "debounce", Value: 10 * time.Millisecond, Usage: "wait until the source was quiet for so long"},
			&cli.IntFlag{Name: "concurrency", Usage: "worker threads of Envoy (default: one per CPU)"},
			known(&cli.StringFlag{Name: "log-format", Value: "text", Usage: "`text|json`"}, "text", "json"),
			verboseFlag(),
		}, slices.Concat(gitFlags(), trustFlags(), hookFlags(), proofFlags(), rolloutFlags(), watchFlags(), remoteFlags(), egressFlags(), registrationFlags(), renewalFlags(), usageFlags())...),
		Action: func(c *cli.Context) error {
			if runtime.GOOS != "linux" {
				return usage("run needs Linux, and this is %s; validate, fmt, diff, render and apply --target flex work here", runtime.GOOS)
			}
			d, err := newDaemon(c, env)
			if err != nil {
				return err
			}
			defer collectBy(d.scribe.percent)()
			// Only here: a command that does not drain must end at once when it is told to.
			ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) }) // a second Ctrl-C does not wait for the drain
			return d.run(ctx)
		},
	}
}

// daemon is one `flexgw run`: it owns the servers, the Envoy and the loop, and ends them in the right order.
type daemon struct {
	env     Env
	source  string
	choice  string // of --envoy
	at      places
	drain   time.Duration
	quiet   time.Duration
	workers int
	verbose bool
	log     *slog.Logger
	jsonLog bool

	pipeline *pipeline
	egress   *egress.Egress
	fetcher  *fetch.Fetcher
	echoes   *echo.Server
	last     *store.Store
	scribe   *scribe
	loop     *reconcile.Loop
	git      *repository   // that is followed; nil: a directory is, or nothing
	trust    *trust.Policy // nil: whoever may push is trusted
	hook     *receiver     // of forges' webhooks; nil: none are taken
	watchers watchers
	remote   door          // for Envoys
	apiDoor  door          // for operators
	self     status.Daemon // as it is told
	unit     *unit
	ageKeys  string // of --age-key-file
	prober   probe.Prober
	plan     rollout.Plan  // of revisions of the source
	window   *probe.Window // nil: the error rate is not watched
	hold     bool
	observe  bool
	warned   map[string]bool // warnings of the revision before, that were shown
	needy    render.Needy
	served   []policy.Need // of the revision that was published last; used by the loop alone
	mu       sync.Mutex    // guards hints
	hints    []string

	usageLog   string            // folder that --usage-log names, absolute; "": ours
	usage      *metering.Ledger  // nil: requests are not counted
	counter    *metering.Counter // into it
	identified chan struct{}     // closed when it is known for whom is counted
	delivery   delivery          // of it

	shares    shares
	registrar *registrar
	airGapped bool // Anypoint is not called: usage stays in the spool
	outward   outward
}

func newDaemon(c *cli.Context, env Env) (*daemon, error) {
	if c.NArg() != 1 && !c.Bool("no-source") {
		return nil, usage("run takes one SOURCE, a directory of declarations, or --no-source; got %d", c.NArg())
	}
	if c.Bool("no-source") && c.NArg() > 0 {
		return nil, usage("run --no-source takes no SOURCE, got %s", c.Args().First())
	}
	src := c.Args().First()
	repository, err := gitOf(c, env, src)
	if err != nil {
		return nil, err
	}
	unit, err := systemd.Of(env.Getenv)
	if err != nil {
		return nil, world(err)
	}
	systemd.Forget()
	if v := c.String("on-invalid"); v != "reject" && v != "hold" {
		return nil, usage("--on-invalid %s: known are reject and hold", v)
	}
	if src == "" && c.Bool("observe") {
		return nil, usage("--observe judges the revisions of a SOURCE; none was given")
	}
	at, err := findPlaces(env, src, c.String("state-dir"), c.String("socket"))
	if err != nil {
		return nil, world(err)
	}
	d := &daemon{
		env: env, source: src, choice: c.String("envoy"), at: at, drain: c.Duration("drain-time"), quiet: c.Duration("debounce"),
		workers: c.Int("concurrency"), verbose: c.Bool("verbose"), pipeline: newPipeline(env), egress: egress.New(egress.Options{}),
		hold: c.String("on-invalid") == "hold", observe: c.Bool("observe"), git: repository, unit: newUnit(unit), ageKeys: c.String("age-key-file"),
	}
	if d.observe {
		d.choice = "none"
	}
	if dir := c.String("usage-log"); dir != "" {
		if d.usageLog, err = filepath.Abs(dir); err != nil {
			return nil, world(err)
		}
		if !isDir(d.usageLog) { // one that is made here is one that an Envoy of somebody else can not write to
			return nil, usage("--usage-log %s: it is no folder; make it first, so that Envoy and this user can write to it", dir)
		}
	}
	if d.log, err = logger(env.Stderr, c.String("log-format"), d.verbose); err != nil {
		return nil, err
	}
	if d.window, err = errorWindow(c, d.choice); err != nil {
		return nil, err
	}
	if d.plan, err = planOf(c); err != nil {
		return nil, err
	}
	if d.window != nil {
		d.window.Log = d.log
	}
	d.prober = newProber(d.egress)
	d.jsonLog = c.String("log-format") == "json"
	d.pipeline.load.RequireEnv = true
	d.pipeline.render.Files = filepath.Join(at.state, "files")
	d.fetcher = fetch.New(d.egress.HTTPClient(egress.JWKS), usable, filepath.Join(at.state, "fetched"), d.log)
	d.pipeline.render.Got = d.fetcher.Got
	d.echoes = echo.New(d.log)
	d.last = store.New(filepath.Join(at.state, "last-good"))
	if _, err := os.Stat(src); src != "" && repository == nil && err != nil {
		if kept, _ := d.last.Revisions(); len(kept) == 0 { // a typing mistake, and not a source that is away for a while
			return nil, world(fmt.Errorf("source: %w", err))
		}
	}
	d.scribe = newScribe(d.last, d.log)
	if err := d.egressOf(c); err != nil {
		return nil, err
	}
	if err := d.registrationOf(c); err != nil {
		return nil, err
	}
	if err := d.trustOf(c); err != nil {
		return nil, err
	}
	if err := d.hookOf(c); err != nil {
		return nil, err
	}
	d.self = status.Daemon{Version: version(), Started: time.Now().UTC()}
	if d.self.StateDir, err = filepath.Abs(at.state); err != nil {
		return nil, world(err)
	}
	if src != "" {
		d.self.Follows = nameOf(src)
	}
	d.self.Host, _ = os.Hostname() // a host without a name has none
	if err := d.watch(c); err != nil {
		return nil, err
	}
	return d, d.doorsOf(c)
}

func logger(w io.Writer, format string, verbose bool) (*slog.Logger, error) {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
	}
	return nil, usage("--log-format %s: known are text and json", format)
}

func usable(n policy.Need, answer []byte) error {
	t, ok := all.Catalog{}.Type(n.Policy)
	if !ok {
		return fmt.Errorf("no policy %s", n.Policy)
	}
	return t.Usable(n, answer)
}

// run works until ctx is done, then drains. The order of ending is the reverse of the order of beginning: Envoy may ask
// the servers until it is gone.
func (d *daemon) run(ctx context.Context) (err error) {
	lock, mark, err := d.at.claim(d.env, d.source, d.git.folder())
	if err != nil {
		return world(err)
	}
	defer lock.Unlock()
	if d.scribe.before = mark; mark != nil {
		d.log.Error("the disk is full: nothing is kept until there is room, and a restart before serves what the source then has")
	}
	withdraw, err := d.at.announce(d.env)
	if err != nil {
		d.log.Warn("flexgw status finds this daemon only by --socket or --state-dir", "error", err)
	}
	defer withdraw()
	sockets, err := d.sockets()
	if err != nil {
		return world(err)
	}
	var src watch.Source
	if d.source != "" {
		if src, err = d.follow(); err != nil {
			return world(err)
		}
		defer src.Close()
	}
	defer d.fetcher.Close()
	defer d.echoes.Close()

	serving, stopServing := context.WithCancel(context.Background())
	var servers sync.WaitGroup
	defer servers.Wait()
	defer stopServing()
	target := xds.New(xds.Config{Own: d.nodeID(), Drain: d.drain + 5*time.Second, Files: d.pipeline.render.Files, Log: d.log})
	policies := enforce.New(start, contract.Env{
		Store: enforce.NewMemory(time.Now), HTTP: d.egress.HTTPClient("policy"), Now: time.Now, Log: d.log,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return d.egress.Dial(ctx, "policy", network, addr)
		},
	})
	if err := d.countUsage(); err != nil {
		return err
	}
	d.registrar.uncounted = d.usage == nil
	d.deliverUsage()
	defer d.startCounting()()
	go d.scribe.run()
	defer d.scribe.stop()
	serve := func(f func() error) {
		servers.Go(func() {
			if err := f(); err != nil {
				d.log.Error("server ended", "error", err)
			}
		})
	}
	serve(func() error { return target.Serve(serving, sockets.xds) })
	serve(func() error { return policies.Serve(sockets.enforce) })
	defer func() {
		limit, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		policies.Stop(limit)
	}()

	d.loop = d.newLoop(src, target, enforcer{policies})
	d.registrar.start(serving, serve)
	if d.usage != nil {
		close(d.identified)
	}
	defer d.manage(ctx)()
	serve(func() error { return api.Serve(serving, sockets.status, d.watchers.beside(api.Handler(d))) })
	if err := d.serveAPI(serving, api.Handler(d), serve); err != nil {
		return world(err)
	}
	if err := d.watchers.start(serving, d.log, serve); err != nil {
		return world(err)
	}
	if err := d.serveHook(serving, serve); err != nil {
		return world(err)
	}
	stopRemote, err := d.serveRemote(serving, target, policies, serve)
	if err != nil {
		return world(err)
	}
	defer stopRemote()
	d.beginEgress()
	if d.choice != "none" {
		supervisor, err := d.startEnvoy(ctx, d.loop)
		if err != nil || supervisor == nil {
			return err
		}
		defer func() {
			if e := supervisor.Stop(context.Background(), d.drain); e != nil && err == nil {
				err = world(e)
			}
		}()
	}
	return d.loop.Run(ctx)
}

// newLoop is the loop of the daemon; without a source it serves what it is given.
func (d *daemon) newLoop(src watch.Source, target deliver.Target, policies reconcile.Enforcer) *reconcile.Loop {
	l := &reconcile.Loop{
		Name: d.source, Source: src, Again: d.fetcher.Changed(), Build: d.build, Render: d.render, Published: d.published, Target: target, Enforce: policies,
		LastGood: d.lastGood, HeldAt: d.heldAt, Blame: blame, Past: d.last.Find, Remember: d.remember, Control: d.remembered(), Observe: d.observe, Proof: d.proof, Before: d.beforeProof,
		Tell: d.told, Ready: d.ready, Looked: d.unit.saw, Log: d.log, Quiet: d.quiet, MaxWait: 2 * d.quiet, Drain: d.drain,
	}
	if d.hold {
		l.Hold = d.holdBack
	}
	if !d.plan.Zero() {
		l.When = d.plan.When
	}
	return l
}

type sockets struct{ xds, enforce, status net.Listener }

// sockets listens on every socket of the daemon; only our user may connect.
func (d *daemon) sockets() (s sockets, err error) {
	for _, x := range []struct {
		to   *net.Listener
		path func() (string, error)
	}{
		{&s.xds, func() (string, error) { return envoy.SocketPath(d.at.run, "xds.sock") }},
		{&s.enforce, func() (string, error) { return envoy.SocketPath(d.at.run, "enforce.sock") }},
		{&s.status, func() (string, error) { return d.at.socket, nil }},
	} {
		path, err := x.path()
		if err != nil {
			return s, err
		}
		if *x.to = d.unit.Sockets.At(path); *x.to != nil {
			continue
		}
		if *x.to, err = listen(path); err != nil {
			return s, err
		}
	}
	return s, nil
}

// listen takes over a socket that a daemon before us left behind: the state folder's lock says that it is gone.
func listen(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	defer syscall.Umask(syscall.Umask(0o177)) // nothing else runs yet
	return net.Listen("unix", path)
}

// nodeID is that of the Envoy beside the daemon.
func (d *daemon) nodeID() string { return "flexgw/" + sourceID(d.source) }

// bootstrap writes the file that Envoy begins with. inline is its content where the disk is too full for that.
func (d *daemon) bootstrap() (o render.BootstrapOptions, path string, inline []byte, err error) {
	o = render.BootstrapOptions{NodeID: d.nodeID()}
	for _, x := range []struct {
		to   *string
		name string
	}{{&o.XDSSocket, "xds.sock"}, {&o.EnforceSocket, "enforce.sock"}, {&o.AdminSocket, "envoy-admin.sock"}} {
		if *x.to, err = envoy.SocketPath(d.at.run, x.name); err != nil {
			return o, "", nil, err
		}
	}
	b, err := render.JSON(render.Bootstrap(o))
	if err != nil {
		return o, "", nil, err
	}
	path = filepath.Join(d.at.state, "bootstrap.json")
	if was, err := os.ReadFile(path); err == nil && bytes.Equal(was, b) {
		return o, path, nil, nil // a full disk has no room for it twice
	}
	if err = disk.Write(path, b, 0o600); disk.Full(err) {
		d.log.Error("the bootstrap of Envoy can not be written; Envoy is given it on its command line", "error", err)
		return o, path, b, nil
	}
	return o, path, nil, err
}

func (d *daemon) startEnvoy(ctx context.Context, loop *reconcile.Loop) (*envoy.Supervisor, error) {
	found, err := envoy.Find(ctx, envoy.FindOptions{Choice: d.choice, Getenv: d.env.Getenv, Local: d.outward.flag != "", Log: func(s string) { fmt.Fprintln(d.env.Stderr, "flexgw: "+s) }})
	if ctx.Err() != nil {
		return nil, nil // told to stop while one was being installed
	}
	if err != nil {
		return nil, world(err)
	}
	o, path, inline, err := d.bootstrap()
	if err != nil {
		return nil, world(err)
	}
	s, err := envoy.Supervise(ctx, envoy.Options{
		StateDir: d.at.state, Binary: found.Path, BootstrapPath: path, Bootstrap: inline, AdminSocket: o.AdminSocket, Concurrency: d.workers, DrainTime: d.drain,
	}, d.tell)
	if err != nil {
		if running := (*envoy.RunningError)(nil); ctx.Err() != nil && !errors.As(err, &running) {
			return nil, nil // told to stop while it began: it is gone
		}
		return nil, world(err)
	}
	admin := envoy.NewAdmin(o.AdminSocket)
	if d.window != nil {
		d.window.Stats = admin.Stats
	}
	loop.Warming = func(ctx context.Context) error {
		w, err := admin.Warming(ctx)
		if err != nil {
			return err
		}
		if !w.Done() {
			return warming(w)
		}
		return nil
	}
	return s, nil
}

func (d *daemon) tell(e envoy.Event) {
	args := []any{}
	if e.Process != nil {
		args = append(args, "pid", e.Process.PID, "version", e.Process.Version)
	}
	if e.Err != nil {
		args = append(args, "error", e.Err)
	}
	if e.Wait > 0 {
		args = append(args, "wait", e.Wait)
	}
	switch e.Kind {
	case envoy.Died, envoy.Failed:
		d.log.Error("envoy "+e.Kind.String(), args...)
	case envoy.Differs:
		d.log.Warn("envoy runs with another bootstrap; it is used as it is until it is restarted", args...)
	default:
		d.log.Info("envoy "+e.Kind.String(), args...)
	}
}

// build is the pipeline, with what its policies need fetched in between. Until the revision is published, what the one
// that is served needs is fetched too; a revision that is refused leaves nothing behind.
func (d *daemon) build(ctx context.Context, set source.Set) (reconcile.Built, diag.List) {
	g, list := d.pipeline.model(set)
	list = append(list, d.git.diagnostics(set.Revision)...)
	if g == nil || list.HasErrors() {
		return reconcile.Built{}, list
	}
	built, more := d.finish(ctx, g)
	list = append(list, more...).Sort()
	if !list.HasErrors() {
		d.warn(set, list)
	}
	return built, list
}

// finish fetches what a model's policies need, and renders it.
func (d *daemon) finish(ctx context.Context, g *ir.Gateway) (reconcile.Built, diag.List) {
	if list := d.permitted(g); len(list) > 0 {
		return reconcile.Built{}, list
	}
	d.want(append(d.needs(g), d.served...))
	limit, cancel := context.WithTimeout(ctx, firstFetch)
	defer cancel()
	d.fetcher.Tried(limit)
	built, list := d.render(ctx, g)
	if list.HasErrors() {
		d.want(d.served)
	}
	return built, list
}

// blame finds what the user wrote in Envoy's words about a resource.
func blame(b reconcile.Built, k render.Key, words string) (diag.Object, diag.Range, bool) {
	x, ok := render.Culprit(b.Gateway, all.Catalog{}, b.Resources, k, words)
	if !ok {
		return diag.Object{}, diag.Range{}, false
	}
	return x.Place()
}

// holdBack builds a set with what is wrong in it as an older one declares it: the newest of those that leave the fewest
// objects out, for an object that is held for longer is not in the newest.
func (d *daemon) holdBack(ctx context.Context, set source.Set, good []source.Set, wrong []diag.Object) (reconcile.Built, []reconcile.Held, diag.List) {
	var best struct {
		g    *ir.Gateway
		held []schema.Held
		list diag.List
		good source.Set
		out  int
	}
	for _, old := range good {
		old, ok := d.scribe.readable(old, set)
		if !ok {
			continue
		}
		g, held, list := schema.LoadHeld(set, old, wrong, d.pipeline.load)
		out := 0
		for _, h := range held {
			if h.Place.IsZero() || slices.Contains(wrong, h.Object) && alike(set, old, h.Place.File) {
				out++ // nothing is served of it, or what was refused
			}
		}
		if best.list == nil || g != nil && (best.g == nil || out < best.out) {
			best.g, best.held, best.list, best.good, best.out = g, held, list, old, out
		}
		if g != nil && out == 0 {
			break
		}
	}
	if best.g == nil {
		return reconcile.Built{}, nil, best.list // the caller has the errors
	}
	built, more := d.finish(ctx, best.g)
	list := append(best.list, more...).Sort()
	if more.HasErrors() {
		return reconcile.Built{}, nil, list
	}
	built.HoldAt = schema.NextGood(set, best.good, best.g, best.held, best.list, d.pipeline.load)
	held := make([]reconcile.Held, len(best.held))
	for i, h := range best.held {
		held[i] = reconcile.Held{Object: h.Object, Place: h.Place, Why: h.Why}
	}
	return built, held, list
}

// alike says whether two sets have the same content in a file.
func alike(a, b source.Set, name string) bool {
	find := func(s source.Set) (source.Hash, bool) {
		i, ok := slices.BinarySearchFunc(s.Files, name, func(f source.File, name string) int { return strings.Compare(f.Name, name) })
		if !ok {
			return source.Hash{}, false
		}
		return s.Files[i].Hash, true
	}
	x, inA := find(a)
	y, inB := find(b)
	return inA && inB && x == y
}

// warn shows the warnings of an accepted revision that the one before did not have.
func (d *daemon) warn(set source.Set, list diag.List) {
	now := map[string]bool{}
	var fresh diag.List
	for _, x := range list {
		if x.Severity != diag.Warning {
			continue
		}
		line := x.String()
		now[line] = true
		if !d.warned[line] {
			fresh = append(fresh, x)
		}
	}
	d.warned = now
	d.show(set, fresh)
}

// render is the back half alone.
func (d *daemon) render(_ context.Context, g *ir.Gateway) (reconcile.Built, diag.List) {
	r, list := render.Render(g, all.Catalog{}, d.pipeline.render, &d.pipeline.memo)
	list = list.Hiding(g.Sealed)
	if r == nil || list.HasErrors() {
		return reconcile.Built{}, list
	}
	return reconcile.Built{Gateway: g, Resources: r}, list
}

// needs are what the policies of a gateway have fetched.
func (d *daemon) needs(g *ir.Gateway) []policy.Need {
	return slices.Clone(d.needy.Needs(g, all.Catalog{}))
}

// want allows the daemon to call whom the needs name, and fetches them.
func (d *daemon) want(needs []policy.Need) {
	d.egress.Set(egress.JWKS, destinations(needs))
	d.fetcher.Want(needs)
}

// published follows a revision that the target took over.
func (d *daemon) published(b reconcile.Built) {
	d.served = d.needs(b.Gateway)
	d.want(d.served)
	d.egress.Set(egress.Probe, probe.Destinations(b.Gateway))
	d.usageServed(d.throughProxy(b.Gateway))
	d.listensNow(b.Gateway)
	if err := d.echoes.Set(b.Gateway.Echoes); err != nil {
		d.log.Error("echo not served", "error", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hints = requestsToTry(b.Gateway)
}

func destinations(needs []policy.Need) []egress.Destination {
	var out []egress.Destination
	for _, n := range needs {
		if u, err := url.Parse(n.URL); err == nil {
			out = append(out, egress.Destination{Host: egress.HostPort(u), Why: "policy " + n.Policy + ": " + n.URL})
		}
	}
	return out
}

// show prints the first of a list, as lines of the log where that is JSON.
func (d *daemon) show(set source.Set, list diag.List) {
	if d.jsonLog {
		logProblems(d.log, set.Revision, list[:min(len(list), maxShown)])
		return
	}
	more := len(list) - maxShown
	p := diag.Printer{Sources: set.Bytes, Color: colour(d.env.Stderr, d.env), Notes: d.verbose}
	if err := p.Print(d.env.Stderr, list[:min(len(list), maxShown)]); err != nil {
		d.log.Error("problems could not be shown", "error", err)
	}
	if more > 0 {
		what := d.source
		if d.git != nil {
			what = "on a checkout"
		}
		fmt.Fprintf(d.env.Stderr, "and %d more: flexgw validate %s shows them all\n", more, what)
	}
}

// logProblems writes a line for each problem.
func logProblems(log *slog.Logger, revision string, list diag.List) {
	level := map[diag.Severity]slog.Level{diag.Error: slog.LevelError, diag.Warning: slog.LevelWarn, diag.Note: slog.LevelInfo}
	for _, x := range list {
		args := []any{"code", x.Code, "revision", revision, "place", x.Subject.String()}
		if !x.Object.IsZero() {
			args = append(args, "object", x.Object.String())
		}
		if x.Hint != "" {
			args = append(args, "hint", x.Hint)
		}
		log.Log(context.Background(), level[x.Severity], x.Summary, args...)
	}
}

// ready is the line that scripts wait for, and for people what to try.
func (d *daemon) ready(addresses []string) {
	fmt.Fprintln(d.env.Stderr, strings.TrimSpace("ready "+strings.Join(addresses, " ")))
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.hints {
		fmt.Fprintln(d.env.Stderr, "try: "+h)
	}
}

func start(name string) contract.Start {
	t, ok := all.Catalog{}.Type(name)
	if !ok {
		return nil
	}
	return t.Start()
}

// enforcer hands the renderer's instances to the request-time server.
type enforcer struct{ *enforce.Server }

func (e enforcer) Load(instances map[string]render.Instance) error {
	m := make(map[string]enforce.Instance, len(instances))
	for id, in := range instances {
		m[id] = enforce.Instance{Policy: in.Policy, ID: in.ID, Config: in.Config}
	}
	return e.Server.Load(m)
}

// warming says who is not live yet.
func warming(w envoy.Warming) error {
	names := append([]string(nil), w.Clusters...)
	for _, l := range w.Listeners {
		if !l.IsWarm {
			names = append(names, l.Name)
		}
	}
	return fmt.Errorf("acknowledged, but not live yet: %s", strings.Join(names, ", "))
}
