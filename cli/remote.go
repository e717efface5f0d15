package cli

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/deliver/xds"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/enforce"
	"github.com/flexgw/flexgw/reconcile/gate"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/render"
)

// Envoys on other hosts: they reach the daemon over TCP, by mutual TLS.

// remoteFlags are those of a daemon that serves them.
func remoteFlags() []cli.Flag {
	return append(doorFlags("xds", "serve Envoys on other hosts at `HOST:PORT`, by mutual TLS"), doorFlags("api", "answer flexgw on other hosts (status --all, rollout) at `HOST:PORT`, by mutual TLS: whoever is let in may ask for everything")...)
}

// doorFlags are those of one way in.
func doorFlags(name, what string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: name + "-listen", Usage: what},
		&cli.StringFlag{Name: name + "-cert", Usage: "the certificate chain in `FILE` that they are shown, PEM; read again when it changes"},
		&cli.StringFlag{Name: name + "-key", Usage: "the key of --" + name + "-cert in `FILE`"},
		&cli.StringFlag{Name: name + "-client-ca", Usage: "the authorities in `FILE` that sign their certificates"},
		&cli.GenericFlag{Name: name + "-allow", Value: &values{}, Usage: "let in who has the DNS name or URI `NAME`, may repeat (default: any certificate of --" + name + "-client-ca)"},
	}
}

// door is a way in for other hosts.
type door struct {
	name   string // of its flags: xds, api
	listen string // HOST:PORT; "": there is none
	gate   *gate.Gate
}

// doorOf is what the flags ask for; who are those that come in, and hints what is said of those that may not.
func (d *daemon) doorOf(c *cli.Context, name, who string, hints map[string]string) (door, error) {
	x := door{name: name, listen: c.String(name + "-listen")}
	allow, _ := c.Generic(name + "-allow").(*values)
	files := []string{name + "-cert", name + "-key", name + "-client-ca"}
	if x.listen == "" {
		for _, flag := range append(files, name+"-allow") {
			if c.IsSet(flag) {
				return x, usage("--%s is about --%s-listen, and it is not given", flag, name)
			}
		}
		return x, nil
	}
	if _, _, err := net.SplitHostPort(x.listen); err != nil {
		return x, usage("--%s-listen %s: HOST:PORT is expected", name, x.listen)
	}
	for _, flag := range files {
		if c.String(flag) == "" {
			return x, usage("--%s-listen needs --%s: there is no way in without certificates of both sides", name, flag)
		}
	}
	var names []string
	if allow != nil {
		names = *allow
	}
	g, err := gate.New(gate.Options{For: who, Hints: hints, Cert: c.String(files[0]), Key: c.String(files[1]), ClientCA: c.String(files[2]), Allow: names, Log: d.log, Refused: func(r gate.Refusal) {
		message := r.Message
		if r.Address != "" { // else it is about several
			message = "a peer at " + r.Address + " was refused: " + message
		}
		d.told(reconcile.Event{Type: reconcile.PeerRefused, At: r.At, By: r.Identity, Reason: r.Reason, Message: message})
	}})
	if err != nil {
		return x, world(fmt.Errorf("--%s-listen: %w", name, err))
	}
	x.gate = g
	d.unit.onReload("certificates for "+who, func() error { g.Refresh(); return nil })
	return x, nil
}

// doorsOf makes both.
func (d *daemon) doorsOf(c *cli.Context) (err error) {
	if d.observe && c.IsSet("xds-listen") {
		return usage("--observe speaks to no Envoy: it can not go with --xds-listen")
	}
	if d.remote, err = d.doorOf(c, "xds", "Envoys on other hosts", envoyHints()); err != nil {
		return err
	}
	d.apiDoor, err = d.doorOf(c, "api", "operators on other hosts", operatorHints())
	return err
}

// serveRemote begins to serve them; serve runs what ends with ctx. stop ends it before policies are stopped: a call that finds
// nobody is made again, one that finds a policy gone is refused.
func (d *daemon) serveRemote(ctx context.Context, target *xds.Server, policies *enforce.Server, serve func(func() error)) (stop func(), err error) {
	if d.remote.gate == nil {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", d.remote.listen)
	if err != nil {
		return nil, fmt.Errorf("--xds-listen: %w", err)
	}
	d.log.Info("Envoys on other hosts are served", "address", l.Addr().String())
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	serve(func() error { d.remote.gate.Run(ctx); return nil })
	serve(func() error {
		defer close(ended)
		return target.ServeRemote(ctx, l, d.remote.gate, policies.Register)
	})
	return func() { cancel(); <-ended }, nil
}

// serveAPI begins to answer flexgw on other hosts; serve runs what ends with ctx.
func (d *daemon) serveAPI(ctx context.Context, h http.Handler, serve func(func() error)) error {
	if d.apiDoor.gate == nil {
		return nil
	}
	l, err := net.Listen("tcp", d.apiDoor.listen)
	if err != nil {
		return fmt.Errorf("--api-listen: %w", err)
	}
	d.log.Info("flexgw on other hosts is answered", "address", l.Addr().String())
	serve(func() error { d.apiDoor.gate.Run(ctx); return nil })
	serve(func() error { return api.Serve(ctx, d.apiDoor.gate.Listen(l), h) })
	return nil
}

// refusedPeers are those of the last hour.
func (r door) refusedPeers() []status.RefusedPeer {
	if r.gate == nil {
		return nil
	}
	var out []status.RefusedPeer
	for _, x := range r.gate.Refusals() {
		out = append(out, status.RefusedPeer(x))
	}
	return out
}

// remoteBootstrapFlags are those of `render --form bootstrap` for an Envoy on another host.
func remoteBootstrapFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "remote", Usage: "with --form bootstrap: for an Envoy on another host, which finds the daemon's --xds-listen at `HOST:PORT`"},
		&cli.StringFlag{Name: "to", Usage: "with --remote: write the files into `DIR`, to be copied to that host"},
		&cli.StringFlag{Name: "node-id", Usage: "with --remote: what status calls that Envoy; one of its own for each"},
		&cli.StringFlag{Name: "installed-in", Value: "/etc/flexgw", Usage: "with --remote: the `DIR` of the files on that host, tls.crt, tls.key and ca.crt among them"},
		&cli.StringFlag{Name: "server-name", Usage: "with --remote: the `NAME` that the daemon's certificate must have (default: HOST)"},
		&cli.StringFlag{Name: "system-ca", Usage: "with --remote: that host's bundle of authorities in `FILE`, for https upstreams (default: where Debian has it)"},
	}
}

// renderRemote writes what an Envoy on another host is started with.
func renderRemote(c *cli.Context, env Env) error {
	if c.String("form") != "bootstrap" {
		return usage("--remote makes a bootstrap: say --form bootstrap")
	}
	if c.NArg() > 0 {
		return usage("a bootstrap for another host depends on no declarations; got %s", c.Args().First())
	}
	host, text, err := net.SplitHostPort(c.String("remote"))
	port, bad := strconv.ParseUint(text, 10, 16)
	if err != nil || bad != nil || host == "" || port == 0 {
		return usage("--remote %s: HOST:PORT is expected", c.String("remote"))
	}
	for _, name := range []string{"to", "node-id"} {
		if c.String(name) == "" {
			return usage("--remote needs --%s", name)
		}
	}
	if dir := c.String("installed-in"); !filepath.IsAbs(dir) {
		return usage("--installed-in %s: an absolute path is expected", dir)
	}
	o := render.RemoteOptions{BootstrapOptions: renderedBootstrap(env), Host: host, Port: uint16(port), ServerName: c.String("server-name"),
		Dir: filepath.Clean(c.String("installed-in")), SystemCA: c.String("system-ca")}
	o.NodeID = c.String("node-id")
	files, err := render.Remote(o)
	if err != nil {
		return world(err)
	}
	if err := os.MkdirAll(c.String("to"), 0o755); err != nil {
		return world(err)
	}
	for name, m := range files {
		text, err := render.JSON(m)
		if err == nil {
			err = disk.Write(filepath.Join(c.String("to"), name), text, 0o644)
		}
		if err != nil {
			return world(err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintln(env.Stdout, filepath.Join(c.String("to"), name))
	}
	fmt.Fprintf(env.Stderr, "copy them to %s on that host, with %s and %s of that Envoy and %s of the authority that signed the daemon's certificate; then: envoy -c %s\n",
		o.Dir, render.CertFile, render.KeyFile, render.AuthorityFile, filepath.Join(o.Dir, render.RemoteBootstrapFile))
	return nil
}
