package cli

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/diag"
)

// What `flexgw run URL` adds to run.

// minInterval keeps a typing mistake from asking a server all the time.
const minInterval = time.Second

func gitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ref", Usage: "follow `REF` of a Git repository: a branch, refs/…, tag:NAME, semver:RANGE or commit:HASH (default: the remote's HEAD)"},
		&cli.StringFlag{Name: "path", Usage: "the `FOLDER` of the declarations in a Git repository (default: all of it)"},
		&cli.DurationFlag{Name: "interval", Value: time.Minute, Usage: "how often a Git repository is looked at, give or take a tenth"},
		&cli.StringSliceFlag{Name: "remote", Usage: "another `URL` of the same Git repository, for when SOURCE cannot be reached; may repeat"},
		&cli.StringFlag{Name: "git-username", Usage: "`NAME` for HTTPS (default: git with a password, x-access-token with a token) and for SSH URLs without one"},
		&cli.StringFlag{Name: "git-password-file", Usage: "`FILE` with a password for HTTPS (or $FLEXGW_GIT_PASSWORD, or systemd's credential git-password)"},
		&cli.StringFlag{Name: "git-token-file", Usage: "`FILE` with a token for HTTPS (or $FLEXGW_GIT_TOKEN, or systemd's credential git-token)"},
		&cli.StringFlag{Name: "git-ca-file", Usage: "PEM `FILE` of the authorities of HTTPS, in place of the system's"},
		&cli.StringFlag{Name: "ssh-key-file", Usage: "private key `FILE` for SSH (or systemd's credential ssh-key; default: ~/.ssh/id_ed25519, id_ecdsa or id_rsa)"},
		&cli.StringFlag{Name: "ssh-known-hosts-file", Usage: "`FILE` with the host's key (or systemd's credential known-hosts; default: ~/.ssh/known_hosts, /etc/ssh/ssh_known_hosts)"},
	}
}

// repository is the Git repository that a daemon follows.
type repository struct {
	options watch.GitOptions
	source  *watch.GitSource // nil until it is followed
}

// folder is that of the declarations, for the state folder to belong to; "": all of it.
func (r *repository) folder() string {
	if r == nil || r.options.Path == "" || filepath.Clean(r.options.Path) == "." {
		return ""
	}
	return filepath.Clean(r.options.Path)
}

func (r *repository) diagnostics(revision string) diag.List {
	if r == nil || r.source == nil {
		return nil
	}
	return r.source.Diagnostics(revision)
}

// remote is which of several remotes was read last.
func (r *repository) remote() string {
	if r == nil || r.source == nil || len(r.options.URLs) == 1 {
		return ""
	}
	return r.source.Remote()
}

// gitOf reads the flags; nil when the source is no repository.
func gitOf(c *cli.Context, env Env, src string) (*repository, error) {
	if src == "" || !watch.IsGitURL(src) || exists(src) {
		for _, f := range gitFlags() {
			if name := f.Names()[0]; c.IsSet(name) {
				return nil, usage("--%s is about a Git repository, and the source is none: expected https://host/path, user@host:path or file:///path", name)
			}
		}
		return nil, nil
	}
	o := watch.GitOptions{Ref: c.String("ref"), Path: c.String("path"), Interval: c.Duration("interval")}
	for i, text := range append([]string{src}, c.StringSlice("remote")...) {
		u, err := watch.ParseGitURL(text)
		if err != nil && i == 0 {
			return nil, usage("SOURCE is no URL of a Git repository that can be followed: %s", err) // text may hold a password
		}
		if err != nil {
			return nil, usage("--remote number %d is no URL of a Git repository that can be followed: %s", i, err)
		}
		o.URLs = append(o.URLs, u)
	}
	if err := watch.CheckRef(o.Ref); err != nil {
		return nil, usage("--ref: %s", err)
	}
	if filepath.IsAbs(o.Path) || !filepath.IsLocal(filepath.Clean(o.Path)) && o.Path != "" {
		return nil, usage("--path %s: a folder in the repository is expected, from its root", o.Path)
	}
	if o.Interval < minInterval {
		return nil, usage("--interval %s: a second at least is expected", o.Interval)
	}
	var err error
	o.Auth, err = gitAuth(c, env)
	return &repository{options: o}, err
}

// gitAuth finds out where credentials are. None is read yet.
func gitAuth(c *cli.Context, env Env) (watch.GitAuth, error) {
	a := watch.GitAuth{Username: c.String("git-username")}
	if c.IsSet("git-token-file") && c.IsSet("git-password-file") {
		return a, usage("--git-token-file and --git-password-file are two ways to log in: give one")
	}
	if ca := c.String("git-ca-file"); ca != "" {
		a.CA = func() (string, error) { b, err := readCredential(ca, "--git-ca-file"); return string(b), err }
	}
	a.Token = secretOf(c, env, "git-token-file", "FLEXGW_GIT_TOKEN", "git-token")
	a.Password = secretOf(c, env, "git-password-file", "FLEXGW_GIT_PASSWORD", "git-password")
	if c.IsSet("git-password-file") {
		a.Token = nil // what a flag says goes before the environment
	}
	home, _ := env.Getenv("HOME")
	key := credential(c, env, "ssh-key-file", "ssh-key")
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		if file := filepath.Join(home, ".ssh", name); key == "" && home != "" && exists(file) {
			key = file
		}
	}
	if key != "" {
		a.KeyName = key
		a.Key = func() ([]byte, error) { return readCredential(key, "--ssh-key-file") }
	}
	if known := credential(c, env, "ssh-known-hosts-file", "known-hosts"); known != "" {
		a.KnownHosts = []string{known}
		return a, nil
	}
	if home != "" {
		a.KnownHosts = append(a.KnownHosts, filepath.Join(home, ".ssh", "known_hosts"))
	}
	a.KnownHosts = append(a.KnownHosts, "/etc/ssh/ssh_known_hosts")
	return a, nil
}

// follow begins to follow the source.
func (d *daemon) follow() (watch.Source, error) {
	if d.git == nil {
		if !isDir(d.source) && isThere(d.source) {
			return watch.Later(d.source, watch.Options{}), nil
		}
		b := d.withoutRegistration(d.source)
		return folderBesides{watch.Later(d.source, watch.Options{Spare: b.mayBeUnreadable}), b}, nil
	}
	o := d.git.options
	o.Dir = filepath.Join(d.at.state, "git")
	o.Log = d.log
	d.egress.Set(egress.Config, gitHosts(o.URLs, "SOURCE", "--remote"))
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return d.egress.Dial(ctx, egress.Config, network, addr)
	}
	var err error
	if d.git.source, err = watch.Git(o); err != nil {
		return nil, err
	}
	return gitBesides{d.git.source, d.withoutRegistration("")}, nil
}

// gitHosts are whom repositories are read from, and who named the first and the others.
func gitHosts(urls []watch.GitURL, first, others string) []egress.Destination {
	var out []egress.Destination
	why := first
	for _, u := range urls {
		if u.Host != "" {
			out = append(out, egress.Destination{Host: u.Host, Why: why})
		}
		why = others
	}
	return out
}

// allowRewrite has a head taken once, whatever it rewrites.
func (d *daemon) allowRewrite(commit string) error {
	err := errors.New("the daemon follows no Git repository, so no history is rewritten")
	if d.git != nil {
		if err = d.git.source.Allow(commit); err == nil {
			return nil
		}
	}
	return &api.Error{Status: http.StatusBadRequest, Code: api.CodeBadRequest, Message: err.Error()}
}

// notTheHead says of a commit that an operator allowed, and that is not what the repository has now, that it was not taken.
func (d *daemon) notTheHead(ctx context.Context, allowed string) error {
	set, err := d.git.source.Fetch(context.WithoutCancel(ctx)) // which was looked at, and waits for nobody
	if allowed = strings.ToLower(strings.TrimSpace(allowed)); err != nil || set.Revision == allowed {
		return nil // of an error sync tells
	}
	return &api.Error{Status: http.StatusNotFound, Code: api.CodeNotThere, Message: "commit " + allowed + " was not taken: it is not the head of what this daemon follows, which is " + set.Revision + " and was taken as it is"}
}

// knownCommit fills in the commit of a revision that was served before this process began, as the history has it.
func (d *daemon) knownCommit(r *status.Report) {
	if d.git == nil || r.Commit != nil || r.Revision == "" {
		return
	}
	records, err := d.scribe.history(historyLimit)
	if err != nil {
		return
	}
	for _, x := range records {
		if x.Revision == r.Revision && x.Commit != nil {
			r.Commit = x.Commit
			return
		}
	}
}
