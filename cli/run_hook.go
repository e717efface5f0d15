package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/hook"
)

// Webhooks of forges, by which the daemon looks at its repository at once.

// minSecret is how long a secret must be, in bytes: one form shows it as it is, so strangers may guess it.
const minSecret = 16

func hookFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "hook-listen", Usage: "take webhooks of GitHub, GitLab, Gitea, Forgejo and Bitbucket at `HOST:PORT`, unix:PATH, or on the socket hook of the service manager (systemd); a push makes the daemon look at its Git repository at once"},
		&cli.StringFlag{Name: "hook-secret-file", Usage: "`FILE` with the secret of these webhooks (or systemd's credential hook-secret), one a line while it changes; read at each use"},
		&cli.StringFlag{Name: "hook-tls-cert", Usage: "the certificate chain of --hook-listen in `FILE`, PEM; read again when it changes"},
		&cli.StringFlag{Name: "hook-tls-key", Usage: "the key of --hook-tls-cert in `FILE`"},
	}
}

// hookSocket is the name of the socket that a service manager listens on for us (FileDescriptorName=).
const hookSocket = "hook"

// receiver takes webhooks.
type receiver struct {
	*hook.Hook
	network, address string      // address "": the service manager has the socket
	tls              *tls.Config // nil: without
}

// hookOf makes the receiver that the flags ask for.
func (d *daemon) hookOf(c *cli.Context) error {
	listen := c.String("hook-listen")
	cert, key := c.String("hook-tls-cert"), c.String("hook-tls-key")
	if listen == "" {
		for _, f := range hookFlags() {
			if name := f.Names()[0]; c.IsSet(name) {
				return usage("--%s is about --hook-listen, and it is not given", name)
			}
		}
		return nil
	}
	if d.git == nil {
		return usage("--hook-listen is for pushes, and the source is no URL of a Git repository")
	}
	r := &receiver{network: "tcp", address: listen}
	if path, ok := strings.CutPrefix(listen, "unix:"); ok && path != "" {
		r.network, r.address = "unix", path
	} else if listen == "systemd" {
		r.address = ""
	} else if _, port, err := net.SplitHostPort(listen); err != nil || port == "" {
		return usage("--hook-listen %s: HOST:PORT, unix:PATH or systemd is expected", listen)
	}
	secret := credential(c, d.env, "hook-secret-file", "hook-secret")
	if secret == "" {
		return usage("--hook-listen needs --hook-secret-file: without a secret anybody could make the daemon look")
	}
	if _, err := hookSecrets(secret); err != nil {
		return usage("--hook-secret-file: %s", err)
	}
	if (cert == "") != (key == "") {
		return usage("--hook-tls-cert and --hook-tls-key go together: give both, or neither")
	}
	if cert != "" {
		var err error
		if r.tls, err = hook.TLS(cert, key, d.log); err != nil {
			return world(fmt.Errorf("--hook-tls-cert: %w", err))
		}
	}
	o := hook.Options{Secrets: func() ([][]byte, error) { return hookSecrets(secret) }, Ref: d.git.options.Ref, Poke: func() { d.git.source.Poke() }, Log: d.log}
	for _, u := range d.git.options.URLs {
		o.Remotes = append(o.Remotes, u.String())
	}
	r.Hook = hook.New(o)
	d.hook = r
	return nil
}

// hookSecrets reads the secrets of a file, one a line.
func hookSecrets(file string) ([][]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, disk.Cause(err))
	}
	var list [][]byte
	for line := range bytes.Lines(b) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			continue
		}
		if len(line) < minSecret {
			return nil, fmt.Errorf("a secret in %s has %d bytes, expected %d or more: openssl rand -hex 32 makes one", file, len(line), minSecret)
		}
		list = append(list, line)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("there is nothing in %s", file)
	}
	return list, nil
}

// serveHook begins to take webhooks; serve runs what ends with ctx.
func (d *daemon) serveHook(ctx context.Context, serve func(func() error)) error {
	r := d.hook
	if r == nil {
		return nil
	}
	list := d.unit.Sockets.Named(hookSocket)
	if len(list) == 0 {
		if r.address == "" {
			return fmt.Errorf("--hook-listen systemd: the service manager gave no socket of the name %s", hookSocket)
		}
		l, err := r.listen()
		if err != nil {
			return fmt.Errorf("--hook-listen: %w", err)
		}
		list = append(list, l)
	}
	for _, l := range list {
		d.log.Info("webhooks are taken", "address", l.Addr().String(), "tls", r.tls != nil)
		if r.tls != nil {
			l = tls.NewListener(l, r.tls)
		}
		serve(func() error { return r.Serve(ctx, l) })
	}
	return nil
}

// listen takes a socket. One of a daemon before us is taken over, and our group may connect: a proxy is of another user.
func (r *receiver) listen() (net.Listener, error) {
	if r.network == "unix" {
		if s, err := os.Lstat(r.address); err == nil && s.Mode()&os.ModeSocket != 0 {
			if err := os.Remove(r.address); err != nil {
				return nil, err
			}
		}
	}
	l, err := net.Listen(r.network, r.address)
	if err == nil && r.network == "unix" {
		err = os.Chmod(r.address, 0o660)
	}
	return l, err
}
