package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Whom the daemon may call: docs/anypoint.md, "Egress".

func egressFlags() []cli.Flag {
	return []cli.Flag{
		strictFlag(), airGappedFlag(),
		proxyFromEnvFlag(),
		&cli.StringFlag{Name: "proxy-ca-file", Usage: "trust the authorities in `FILE` too where the forward proxy is an https:// one"},
	}
}

func strictFlag() cli.Flag {
	return &cli.BoolFlag{Name: "strict-egress", Usage: "call nobody but Anypoint: the source is local, and a declaration that needs another host is refused"}
}

func airGappedFlag() cli.Flag {
	return &cli.BoolFlag{Name: "air-gapped", Usage: "call nobody, not to report usage either: usage is counted and kept, and taken away with flexgw usage export"}
}

func proxyFromEnvFlag() cli.Flag {
	return &cli.BoolFlag{Name: "proxy-from-env", Usage: "report usage through the proxy of $HTTPS_PROXY and $NO_PROXY where no Configuration has a forwardProxy; without this flag they are not looked at"}
}

// outward is whom a daemon may call, beside what single declarations name.
type outward struct {
	mode  string       // as in api.Egress
	flag  string       // that asked for it; "": none did
	proxy egress.Proxy // of the environment

	mu       sync.Mutex
	inUse    egress.Proxy // that Anypoint's hosts are called through now
	inUseWhy string
	proxyTLS egress.TLS // how it is met, where it is an https:// one

	runs bool   // the daemon has begun: what changes is said
	said string // the line that was logged last
}

// egressOf is what the flags say of whom the daemon may call.
func (d *daemon) egressOf(c *cli.Context) error {
	d.airGapped = c.Bool("air-gapped")
	d.outward.mode, d.outward.flag = egressMode(c)
	restrict(d.egress, d.outward.mode)
	if d.outward.flag != "" {
		if err := d.abroad(c); err != nil {
			return err
		}
	}
	if err := reportsOf(c); err != nil {
		return err
	}
	if c.Bool("proxy-from-env") {
		p, err := egress.ProxyFromEnv(d.env.Getenv)
		if err != nil {
			return usage("--proxy-from-env: %w", err)
		}
		d.outward.proxy = p
	}
	if file := c.String("proxy-ca-file"); file != "" {
		roots, err := authorities(file)
		if err != nil {
			return world(fmt.Errorf("--proxy-ca-file: %w", err))
		}
		d.outward.proxyTLS = egress.TLS{Roots: roots}
		d.egress.SetProxyTLS(d.outward.proxyTLS)
	}
	// Nothing is reported past a proxy that is named in declarations that were not read yet.
	d.goThrough(egress.Pending("the declarations, which may name a forward proxy, were not accepted yet"), "")
	return nil
}

// goThrough has Anypoint's hosts called through a proxy; that of the control plane is called while a registration is renewed. other: it is
// another one than before.
func (d *daemon) goThrough(p egress.Proxy, why string) (other bool) {
	d.outward.mu.Lock()
	other = !p.Equal(d.outward.inUse)
	d.outward.inUse, d.outward.inUseWhy = p, why
	d.outward.mu.Unlock()
	d.egress.SetProxy(egress.Usage, p, why)
	d.egress.SetProxy(egress.Registration, p, why)
	if d.registrar != nil {
		d.registrar.renewal.poke()
	}
	return other
}

// wayKnown reports whether it is known how Anypoint's hosts are called: declarations may name a proxy.
func (d *daemon) wayKnown() bool {
	d.outward.mu.Lock()
	defer d.outward.mu.Unlock()
	return !d.outward.inUse.IsPending()
}

// egressMode is the mode that the flags ask for, and the flag that does; "": none does.
func egressMode(c *cli.Context) (mode, flag string) {
	switch {
	case c.Bool("air-gapped"):
		return api.EgressAirGapped, "--air-gapped"
	case c.Bool("strict-egress"):
		return api.EgressStrict, "--strict-egress"
	}
	return api.EgressOpen, ""
}

// reportsOf refuses flags about reports of usage where none are sent.
func reportsOf(c *cli.Context) error {
	if c.Bool("air-gapped") && (c.IsSet("proxy-from-env") || c.IsSet("proxy-ca-file")) {
		return usage("--proxy-from-env and --proxy-ca-file are about reports of usage, and --air-gapped sends none")
	}
	return nil
}

// restrict leaves the purposes of a mode. Probes stay on this host in every one.
func restrict(e *egress.Egress, mode string) {
	switch mode {
	case api.EgressStrict:
		e.Only(egress.Registration, egress.Usage, egress.Probe)
	case api.EgressAirGapped:
		e.Only(egress.Probe)
	}
}

// abroad refuses the flags that have the daemon call somebody.
func (d *daemon) abroad(c *cli.Context) error {
	if d.git != nil {
		for i, u := range d.git.options.URLs {
			if u.Host == "" { // file://
				continue
			}
			flag := "SOURCE"
			if i > 0 {
				flag = "--remote"
			}
			return usage("%s leaves no way to %s, which %s names: follow a local directory or a file:// repository that something else fetches", d.outward.flag, u.Host, flag)
		}
	}
	for _, flag := range []string{"webhook", "commit-status"} {
		if c.IsSet(flag) {
			return usage("%s leaves no way to the host that --%s names: leave one of the two out", d.outward.flag, flag)
		}
	}
	return nil
}

func authorities(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := egress.Roots(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return pool, nil
}

// reportTo has usage reported where a registration says, and with its certificate, from now on; nil: nowhere. It may be called at
// any time, and again when the file has changed.
func (d *daemon) reportTo(f *anypoint.File) error {
	if f == nil || f.Metering == "" {
		d.egress.Set(egress.Usage, nil)
		d.sayEgress()
		return nil
	}
	t, err := meeting(f)
	if err != nil {
		return err
	}
	d.egress.SetTLS(egress.Usage, t)
	d.egress.Set(egress.Usage, []egress.Destination{{Host: hostPortOf(f.Metering), Why: f.Path + ": metering"}})
	d.sayEgress()
	return nil
}

// meeting is how the hosts of a registration are met.
func meeting(f *anypoint.File) (egress.TLS, error) {
	cert, err := f.TLS()
	if err != nil {
		return egress.TLS{}, err
	}
	t := egress.TLS{Certificate: func() (*tls.Certificate, error) { return cert, nil }}
	if f.CA != nil {
		if t.Roots, err = egress.Roots(f.CA); err != nil {
			return egress.TLS{}, fmt.Errorf("%s: %w", anypoint.CAPath(f.Path), err)
		}
	}
	return t, nil
}

// hostPortOf is the host and port of a URL that was checked; "" when it is not there.
func hostPortOf(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	return egress.HostPort(u)
}

// throughProxy reports usage through the proxy of a gateway's declarations, or that of the environment. other: it is another one than before.
func (d *daemon) throughProxy(g *ir.Gateway) (other bool) {
	p, why, err := proxyOf(g, d.outward.proxy)
	if err != nil { // build has refused it
		p = egress.Pending(err.Error())
	}
	other = d.goThrough(p, why)
	d.sayEgress()
	return other
}

// proxyOf is the proxy for reports of usage, and who named it: a Configuration, else the environment.
func proxyOf(g *ir.Gateway, fromEnv egress.Proxy) (p egress.Proxy, why string, err error) {
	f := g.ForwardProxy
	if f == nil {
		return fromEnv, "$HTTPS_PROXY", nil
	}
	if p, err = egress.ParseProxy(f.Address); err == nil {
		p, err = p.WithCredentials(f.Username, f.Password.Reveal())
	}
	return p.Except(f.NoProxy), f.Origin.Range.String(), err
}

// permitted judges whom a gateway has the daemon call.
func (d *daemon) permitted(g *ir.Gateway) (list diag.List) {
	if _, _, err := proxyOf(g, egress.Proxy{}); err != nil {
		f := g.ForwardProxy
		list = append(list, diag.Diagnostic{Severity: diag.Error, Code: "link/bad-address", Subject: f.Origin.Range, Object: f.Origin.Declared(),
			Summary: "the forward proxy: " + err.Error(), Hint: "write http://HOST:PORT"})
	}
	if d.outward.flag != "" {
		list = append(list, beyond(g, d.outward.flag)...)
	}
	return list
}

// beyond refuses what of a gateway needs a host that the mode, which flag asks for, leaves no way to.
func beyond(g *ir.Gateway, flag string) (list diag.List) {
	for _, w := range render.Wanted(g, all.Catalog{}) {
		o := w.Binding.Origin
		list = append(list, diag.Diagnostic{Severity: diag.Error, Code: "egress/strict", Subject: o.Range, Object: o.Declared(),
			Summary: fmt.Sprintf("policy %s needs %s from %s, and %s leaves no way to it", w.Policy, whatFor[w.Purpose], hostPortOf(w.URL), flag),
			Hint:    "write the keys into the policy, or start the daemon without " + flag})
	}
	return list.Sort()
}

// whatFor are the things that policies need, in words.
var whatFor = map[string]string{"jwks": "a key set"}

// Egress implements api.Daemon.
func (d *daemon) Egress() api.Egress {
	return api.Egress{SchemaVersion: api.SchemaVersion, Mode: d.outward.mode, Destinations: d.egress.List()}
}

// beginEgress has whom the daemon calls said, now and when it changes.
func (d *daemon) beginEgress() {
	d.outward.mu.Lock()
	d.outward.runs = true
	d.outward.mu.Unlock()
	d.sayEgress()
}

// sayEgress logs whom the daemon calls, when that is not what was said before.
func (d *daemon) sayEgress() {
	line := egressLine(d.egress.List())
	d.outward.mu.Lock()
	defer d.outward.mu.Unlock()
	if d.outward.runs && line != d.outward.said {
		d.outward.said = line
		d.log.Info(line, "mode", d.outward.mode)
	}
}

// egressLine is a list in one line. Probes are left out: they do not leave the host.
func egressLine(list []egress.Destination) string {
	var parts []string
	for _, x := range list {
		if part := string(x.Purpose) + " -> " + x.Host; x.Purpose != egress.Probe && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return "egress: nobody is called"
	}
	return "egress: " + strings.Join(parts, "; ") + "; everything else denied"
}
