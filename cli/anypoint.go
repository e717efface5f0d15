package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/preflight"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// What the commands that talk to Anypoint Platform share: who one is, and how it is reached. docs/anypoint.md, "Registration".

// secretFlags are the three ways to hand over a secret in flags, and beside them.
type secretFlags struct {
	flag, file string // of a visible value; of a file
	variable   string // of the environment
	credential string // of the service manager
	what       string
}

var (
	tokenFlags    = secretFlags{"token", "token-file", "FLEXGW_ANYPOINT_TOKEN", "anypoint-token", "registration token"}
	passwordFlags = secretFlags{"password", "password-file", "FLEXGW_ANYPOINT_PASSWORD", "anypoint-password", "password"}
	appFlags      = secretFlags{"client-secret", "client-secret-file", "FLEXGW_ANYPOINT_CLIENT_SECRET", "anypoint-client-secret", "client secret"}
)

func (s secretFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: s.file, Usage: fmt.Sprintf("the %s is in `FILE`; - is standard input (default: $%s, the credential %s of the unit, a question on a terminal)", s.what, s.variable, s.credential)},
		&cli.StringFlag{Name: s.flag, Usage: fmt.Sprintf("the %s itself, which everybody on this host can read in the list of processes", s.what)},
	}
}

// set reports whether a flag of it is.
func (s secretFlags) set(c *cli.Context) bool { return c.IsSet(s.flag) || c.IsSet(s.file) }

// beside reports whether it is handed over in no flag.
func (s secretFlags) beside(c *cli.Context, env Env) bool {
	v, ok := env.Getenv(s.variable)
	return ok && v != "" || credential(c, env, s.file, s.credential) != ""
}

// read gets the secret from where it is; question is what is asked on a terminal.
func (s secretFlags) read(c *cli.Context, env Env, question string) (anypoint.Secret, error) {
	secret, err := s.find(c, env, question)
	if err != nil {
		return secret, err
	}
	text := secret.Reveal()
	lines := strings.Count(strings.TrimRight(text, "\r\n"), "\n") + 1
	switch {
	case strings.TrimSpace(text) == "":
		return anypoint.Secret{}, usage("the %s has blanks alone", s.what)
	case lines > 1:
		return anypoint.Secret{}, usage("the %s has %d lines, and one is expected", s.what, lines)
	case s == tokenFlags && strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }): // it goes into a header
		return anypoint.Secret{}, usage("the %s has a blank or another character that no token has", s.what)
	}
	return secret, nil
}

// find is the secret as it stands where it is.
func (s secretFlags) find(c *cli.Context, env Env, question string) (anypoint.Secret, error) {
	if c.IsSet(s.flag) && c.IsSet(s.file) {
		return anypoint.Secret{}, usage("--%s and --%s say the same thing twice: give one", s.flag, s.file)
	}
	if err := given(c, s.flag, s.file); err != nil {
		return anypoint.Secret{}, err
	}
	switch {
	case c.IsSet(s.flag):
		fmt.Fprintf(env.Stderr, "flexgw: warning: everybody on this host can read --%s in the list of processes, and your shell remembers it; --%s FILE, or --%s - for standard input, shows it to nobody\n", s.flag, s.file, s.file)
		return ir.NewSecret(c.String(s.flag)), nil
	case c.String(s.file) == "-":
		b, err := io.ReadAll(io.LimitReader(env.Stdin, maxSecret+1))
		if err != nil {
			return anypoint.Secret{}, world(fmt.Errorf("--%s -: %w", s.file, disk.Cause(err)))
		}
		if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 || len(b) > maxSecret {
			return anypoint.Secret{}, usage("--%s -: the %s is expected on standard input, and there are %d bytes", s.file, s.what, len(b))
		}
		return ir.NewSecret(string(b)), nil
	}
	if f := secretOf(c, env, s.file, s.variable, s.credential); f != nil {
		text, err := f()
		return ir.NewSecret(text), worldly(err)
	}
	text, err := prompt(env, question)
	if errors.Is(err, errNoTerminal) {
		return anypoint.Secret{}, usage("there is no %s: give it in --%s FILE, in --%s - for standard input, or in $%s", s.what, s.file, s.file, s.variable)
	}
	if err != nil {
		return anypoint.Secret{}, world(err)
	}
	if text == "" {
		return anypoint.Secret{}, usage("the %s that was given is empty", s.what)
	}
	return ir.NewSecret(text), nil
}

// maxSecret is how many bytes a secret has at most.
const maxSecret = 64 << 10

// who is a way to show the platform who one is.
type who int

const (
	byToken who = iota + 1
	byUser
	byApp
)

// caller is what one shows to the platform.
type caller struct {
	who    who
	name   string // of the user, or the id of the app
	secret anypoint.Secret
}

// userFlags are the two ways to get an access token.
func userFlags() []cli.Flag {
	flags := []cli.Flag{&cli.StringFlag{Name: "username", Usage: "log in as `USER`: a user without second factor and single sign-on"}}
	flags = append(flags, passwordFlags.flags()...)
	flags = append(flags, &cli.StringFlag{Name: "client-id", Usage: "log in as the connected app with this `ID`"})
	return append(flags, appFlags.flags()...)
}

// callerOf is the one caller that the flags give; withToken: a registration token will do.
func callerOf(c *cli.Context, env Env, withToken bool) (caller, error) {
	if err := callerNamed(c, env, withToken); err != nil {
		return caller{}, err
	}
	switch {
	case c.IsSet("username"):
		s, err := passwordFlags.read(c, env, "password of "+c.String("username"))
		return caller{byUser, c.String("username"), s}, err
	case c.IsSet("client-id"):
		s, err := appFlags.read(c, env, "secret of the connected app "+c.String("client-id"))
		return caller{byApp, c.String("client-id"), s}, err
	}
	s, err := tokenFlags.read(c, env, "registration token")
	return caller{byToken, "", s}, err
}

// callerNamed refuses flags of which it is not clear who is meant. It reads no secret, and asks nobody for one.
func callerNamed(c *cli.Context, env Env, withToken bool) error {
	if err := given(c, "username", "client-id"); err != nil {
		return err
	}
	token, user, app := withToken && tokenFlags.set(c), c.IsSet("username"), c.IsSet("client-id")
	ways := "a user (--username and --password-file) or a connected app (--client-id and --client-secret-file)"
	if withToken {
		ways = "a registration token (--token-file), a user (--username and --password-file) or a connected app (--client-id and --client-secret-file)"
	}
	switch {
	case token && user, token && app, user && app:
		return usage("more than one of them is given: %s", ways)
	case passwordFlags.set(c) && !user:
		return usage("a password needs --username")
	case appFlags.set(c) && !app:
		return usage("a client secret needs --client-id")
	case user, app, withToken && (token || tokenFlags.beside(c, env) || asks(env)):
		return nil
	}
	return usage("one of them is expected: %s", ways)
}

// login gets an access token.
func (i caller) login(ctx context.Context, p *anypoint.Client) (anypoint.Token, error) {
	if i.who == byUser {
		return p.Login(ctx, i.name, i.secret)
	}
	return p.Connect(ctx, i.name, i.secret)
}

// flexctl are the flags of the product's own tool for the same caller, with a word where the secret was.
func (i caller) flexctl() []string {
	switch i.who {
	case byUser:
		return []string{"--username=" + i.name, "--password=<password>"}
	case byApp:
		return []string{"--client-id=" + i.name, "--client-secret=<client-secret>"}
	}
	return []string{"--token=<registration-token>"}
}

// platformFlags say how the platform is reached.
func platformFlags() []cli.Flag {
	return append([]cli.Flag{&cli.StringFlag{Name: "anypoint-url", Value: anypoint.US, Usage: "the control plane at `URL`; that of Europe is " + anypoint.EU}}, wayFlags()...)
}

func wayFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "ca-file", Usage: "trust the authorities in `PEM` too"},
		&cli.StringFlag{Name: "https-proxy", Usage: "go through the forward proxy `http://[USER@]HOST:PORT` (default: $FLEXGW_HTTPS_PROXY); no other way names one"},
		proxyPasswordFlag(),
	}
}

func proxyPasswordFlag() cli.Flag {
	return &cli.StringFlag{Name: "proxy-password-file", Usage: "`FILE` with the password of the proxy's user"}
}

// proxyURL is the URL of the forward proxy, and what names it: the flag, or a variable of ours. "": none.
func proxyURL(c *cli.Context, env Env) (text, by string) {
	const variable = "FLEXGW_HTTPS_PROXY"
	if v, _ := env.Getenv(variable); v != "" && !c.IsSet("https-proxy") {
		return v, "$" + variable
	}
	return c.String("https-proxy"), "--https-proxy"
}

// proxies are those that the flags of a command name, with their credentials.
type proxies struct {
	http  egress.Proxy     // the forward proxy; zero: none
	socks *preflight.Socks // nil: none
	shown string           // the flag whose URL has a password, which everybody on this host can list; "": none has
}

// proxiesNamed reads --https-proxy (or its variable), --socks5-proxy where a command has it, and --proxy-password-file. The file is the
// password of the proxies that have a user; a URL with a password of its own, or no user at all, contradicts it.
func proxiesNamed(c *cli.Context, env Env) (p proxies, err error) {
	if err := given(c, "https-proxy", "proxy-password-file"); err != nil {
		return p, err
	}
	text, by := proxyURL(c, env)
	socks, file := c.String("socks5-proxy"), c.String("proxy-password-file")
	if text != "" {
		if p.http, err = egress.ParseProxy(text); err != nil {
			return p, usage("%s: %s", by, err)
		}
	}
	if socks != "" {
		if p.socks, err = preflight.ParseSocks(socks); err != nil {
			return p, usage("--socks5-proxy: %s", err)
		}
	}
	users := map[string]string{} // by what names the proxy
	for _, x := range [][4]string{{"https-proxy", by, text, "http://USER@HOST:PORT"}, {"socks5-proxy", "--socks5-proxy", socks, "socks5://USER@HOST:PORT"}} {
		u, err := url.Parse(x[2])
		if err != nil {
			return p, usage("%s: %s", x[1], errors.Unwrap(err))
		}
		if _, has := u.User.Password(); has && file != "" {
			return p, usage("--proxy-password-file and %s both have a password: write %s", x[1], x[3])
		} else if has && c.IsSet(x[0]) && p.shown == "" {
			p.shown = "--" + x[0]
		}
		if u.User.Username() != "" {
			users[x[1]] = u.User.Username()
		}
		if _, has := u.User.Password(); u.User.Username() != "" && !has && file == "" { // an empty one would be refused, and nobody would know why
			return p, usage("%s names a user and no password: --proxy-password-file FILE has it (a user without one is written %s)", x[1], strings.Replace(x[3], "USER", "USER:", 1))
		}
	}
	switch {
	case file == "":
		return p, nil
	case text == "" && socks == "":
		return p, usage("--proxy-password-file needs --https-proxy")
	case len(users) == 0:
		if text == "" {
			by = "--socks5-proxy"
		}
		return p, usage("--proxy-password-file needs a user: %s SCHEME://USER@HOST:PORT", by)
	}
	b, err := readCredential(file, "--proxy-password-file")
	if err != nil {
		return p, world(err)
	}
	if user := users[by]; user != "" {
		if p.http, err = p.http.WithCredentials(user, string(b)); err != nil {
			return p, usage("%s: %s", by, err)
		}
	}
	if user := users["--socks5-proxy"]; user != "" {
		if p.socks, err = p.socks.WithCredentials(user, string(b)); err != nil {
			return p, usage("--socks5-proxy: %s", err)
		}
	}
	return p, nil
}

// httpsProxy is the forward proxy that is named; the zero Proxy: none. It warns of a password that is shown.
func httpsProxy(c *cli.Context, env Env) (egress.Proxy, error) {
	p, err := proxiesNamed(c, env)
	if err == nil && p.shown != "" {
		fmt.Fprintf(env.Stderr, "flexgw: warning: everybody on this host can read the password in %s in the list of processes, and your shell remembers it; --proxy-password-file FILE, or the URL in $FLEXGW_HTTPS_PROXY, shows it to nobody\n", p.shown)
	}
	return p.http, err
}

// controlPlane reads the URL of a control plane.
func controlPlane(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return nil, fmt.Errorf("a URL is expected, such as %s or, in Europe, %s", anypoint.US, anypoint.EU)
	case u.Scheme != "https":
		return nil, fmt.Errorf("%s://: credentials are sent over https:// alone", u.Scheme)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, errors.New("a URL of a host is expected, with no user, path or query")
	}
	u.Path = ""
	return u, nil
}

// trustBy is what is advised of a control plane whose certificate is not trusted, where no registration says more.
func trustBy(c *cli.Context) string {
	if file := c.String("ca-file"); file != "" {
		return "trusted are the authorities of this host, and those in " + file + " (--ca-file)"
	}
	return "trusted are the authorities of this host: --ca-file PEM names others, such as ca.pem in the folder of flexgw sim, or that of a proxy that opens TLS"
}

// ownAuthorities is the PEM of --ca-file; nil: there is none.
func ownAuthorities(c *cli.Context) ([]byte, error) {
	if err := given(c, "ca-file"); err != nil || c.String("ca-file") == "" {
		return nil, err
	}
	b, err := os.ReadFile(c.String("ca-file"))
	if err != nil {
		return nil, world(fmt.Errorf("--ca-file: read %s: %w", c.String("ca-file"), disk.Cause(err)))
	}
	if _, err := egress.Roots(b); err != nil {
		return nil, usage("--ca-file %s: %s", c.String("ca-file"), err)
	}
	return b, nil
}

// platformAt is the client of a control plane: it calls that host and no other, and goes through no proxy but that of httpsProxy. trust is
// what is advised where nobody who is trusted vouches for it.
func platformAt(c *cli.Context, env Env, base *url.URL, why string, ca []byte, trust string) (*anypoint.Client, error) {
	e := egress.New(egress.Options{})
	e.Only(egress.Registration)
	e.Set(egress.Registration, []egress.Destination{{Host: egress.HostPort(base), Why: why}})
	if ca != nil {
		roots, err := egress.Roots(ca)
		if err != nil {
			return nil, world(err)
		}
		e.SetTLS(egress.Registration, egress.TLS{Roots: roots})
	}
	p, err := httpsProxy(c, env)
	if err != nil {
		return nil, err
	}
	_, by := proxyURL(c, env)
	e.SetProxy(egress.Registration, p, by)
	return &anypoint.Client{Base: base.String(), HTTP: e.HTTPClient(egress.Registration), UserAgent: "flexgw/" + version(), Now: env.Now, Trust: trust,
		Wait: func(why string, d time.Duration) {
			fmt.Fprintf(env.Stderr, "flexgw: %s; again in %s\n", diag.Visible(why), d)
		}}, nil
}

// refused is how a failure of the platform is told: what, and what to do about it.
func refused(err error) error {
	if e := (*anypoint.Error)(nil); errors.As(err, &e) && e.Advice() != "" {
		return world(fmt.Errorf("%w\n%s", err, e.Advice()))
	}
	return worldly(err)
}

// product is a command line of the product's own tool, as a shell takes it.
func product(args ...string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = a
		if strings.ContainsFunc(a, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+%", r)
		}) || a == "" {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// unspoken tells that what is not documented is not said to a server that may be the real platform, and who can say it.
func unspoken(err error, command string) error {
	no := (*anypoint.NoWireError)(nil)
	if !errors.As(err, &no) {
		return refused(err)
	}
	return world(fmt.Errorf("%w\nhow the platform signs a certificate is documented nowhere, and flexgw does not guess it with your account; nothing was sent\nthe product's own tool can, and flexgw reads what it writes:\n  %s", err, command))
}

// registrationAt reads a registration file for a command; what is wrong or doubtful in it is shown.
func registrationAt(env Env, path string) (*anypoint.File, error) {
	f, err := anypoint.ReadFile(path)
	if err != nil {
		return nil, showWrong(env, err)
	}
	return f, printProblems(env, f.Doubts, nil)
}

// showWrong shows what is wrong in a registration file, without the lines around it: they may be of a key.
func showWrong(env Env, err error) error {
	wrong := (*anypoint.FileError)(nil)
	if !errors.As(err, &wrong) {
		return worldly(err)
	}
	if err := printProblems(env, wrong.List, nil); err != nil {
		return err
	}
	return &exit{code: ExitDiagnostics}
}

// clock is the time of this run.
func (env Env) clock() time.Time {
	if env.Now != nil {
		return env.Now()
	}
	return time.Now()
}

// inWords says how long it is until a time, or since it: for people.
func inWords(d time.Duration) string {
	days := int(d.Abs() / (24 * time.Hour))
	text := d.Abs().Truncate(time.Minute).String()
	switch {
	case days == 1:
		text = "1 day"
	case days > 1:
		text = fmt.Sprintf("%d days", days)
	default:
		text = cmp.Or(strings.TrimSuffix(text, "0s"), "0m")
	}
	if d < 0 {
		return text + " ago"
	}
	return "in " + text
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
