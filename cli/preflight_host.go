package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/preflight"
)

// registrationOf is the registration of --registration, or the one that lies beside the declarations.
func registrationOf(c *cli.Context) preflight.Registration {
	r := preflight.Registration{Path: c.String("registration"), Named: c.IsSet("registration")}
	there := func(file string) bool { return exists(file) || anypoint.OldConf(file) != "" }
	if !r.Named {
		for _, p := range c.Args().Slice() {
			if file := registrationBeside(p); p != "-" && there(file) {
				r.Path = file
				break
			}
		}
	}
	if r.Path == "" && there(preflight.ProductRegistration) {
		r.Path = preflight.ProductRegistration
	}
	if r.Path == "" {
		return r
	}
	f, err := anypoint.ReadFile(r.Path)
	if err != nil {
		r.Problem, r.Old, r.Exposed = err.Error(), anypoint.OldConf(r.Path), exposedOf(anypoint.Exposed(r.Path, false))
		return r
	}
	r.Path, r.Exposed = f.Path, exposedOf(f.Exposed)
	r.Platform, r.Usage, r.NotAfter, r.CA = hostPortOf(f.Anypoint), hostPortOf(f.Metering), f.NotAfter, f.CA
	return r
}

func exposedOf(list []anypoint.Exposure) (all []preflight.Exposed) {
	for _, e := range list {
		all = append(all, preflight.Exposed{Text: e.String(), Path: e.Path, Everybody: e.Everybody})
	}
	return all
}

// proxiesOf reads the flags about proxies, and the authority of one that opens TLS.
func proxiesOf(c *cli.Context, env Env, o *preflight.Options) error {
	if c.Bool("proxy-from-env") {
		p, err := egress.ProxyFromEnv(env.Getenv)
		if err != nil {
			return usage("--proxy-from-env: %w", err)
		}
		o.Forward = p
	}
	named, err := proxiesNamed(c, env)
	if err != nil {
		return err
	}
	if !named.http.IsZero() {
		o.Proxy = &named.http
	}
	o.Socks, o.PasswordShown = named.socks, named.shown != ""
	flag := "inspection-ca-file"
	if c.IsSet("ca-file") {
		if c.IsSet(flag) {
			return usage("--ca-file is the name of before of --%s: give one", flag)
		}
		fmt.Fprintf(env.Stderr, "flexgw: warning: --ca-file of preflight is called --%s now: elsewhere --ca-file says who is trusted, and here it says who opens TLS\n", flag)
		flag = "ca-file"
	}
	if file := c.String(flag); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return world(fmt.Errorf("--%s: read %s: %w", flag, file, disk.Cause(err)))
		}
		if o.PrivateCA, err = anypoint.Chain(b); err != nil {
			return usage("--%s: %s: %v", flag, file, err)
		}
	}
	return nil
}

// hostWorld is this host, and the network as far as the options let it be asked.
func hostWorld(c *cli.Context, env Env, o preflight.Options) (preflight.World, error) {
	w := preflight.World{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Now: env.now, Getenv: env.Getenv, Held: envoy.Held, Kernel: preflight.AskKernel,
		Run: func(ctx context.Context, name string, args ...string) ([]byte, error) {
			path, err := exec.LookPath(name)
			if err != nil {
				return nil, exec.ErrNotFound
			}
			return exec.CommandContext(ctx, path, args...).Output()
		},
		Need: preflight.Need{Arch: envoy.PinnedArch, Glibc: envoy.PinnedGlibc(), Requirement: envoy.PinnedRequirement, WheelPlatform: envoy.PinnedPlatform},
	}
	if o.NoNetwork {
		return w, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return w, world(fmt.Errorf("read the authorities of this host: %w", err))
	}
	for _, ca := range o.PrivateCA {
		roots.AddCert(ca)
	}
	if len(bytes.TrimSpace(o.Registration.CA)) > 0 && !roots.AppendCertsFromPEM(o.Registration.CA) {
		return w, world(errors.New("no certificate in " + anypoint.CAPath(o.Registration.Path)))
	}
	w.Roots = roots
	e := egress.New(egress.Options{RootCAs: roots})
	e.SetProxyTLS(egress.TLS{Roots: roots})
	var allowed []egress.Destination
	for _, addr := range preflight.Called(o) {
		allowed = append(allowed, egress.Destination{Host: addr, Why: "flexgw preflight"})
	}
	if o.Proxy != nil {
		allowed = append(allowed, egress.Destination{Host: o.Proxy.Addr(), Why: "--https-proxy"})
	}
	if !o.Forward.IsZero() {
		allowed = append(allowed, egress.Destination{Host: o.Forward.Addr(), Why: "the forward proxy of usage"})
	}
	w.Tunnel = func(ctx context.Context, through egress.Proxy, addr string) (net.Conn, error) {
		return e.Tunnel(ctx, egress.Preflight, through, addr)
	}
	if o.Socks != nil {
		allowed = append(allowed, egress.Destination{Host: o.Socks.Addr(), Why: "--socks5-proxy"})
	}
	e.Set(egress.Preflight, allowed)
	w.Resolve = func(ctx context.Context, addr string) ([]netip.Addr, error) {
		return e.Resolve(ctx, egress.Preflight, addr)
	}
	w.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return e.Dial(ctx, egress.Preflight, network, addr)
	}
	return w, nil
}

// lookLimit is how long one name may take.
const lookLimit = 5 * time.Second

// writeFirewall writes rules, with the addresses of names as far as they may be looked up and are found.
func writeFirewall(c *cli.Context, env Env, w preflight.World, o preflight.Options, format string, declared []preflight.Result) error {
	for _, r := range declared {
		if r.Severity == preflight.Error { // rules for half of the ports are worse than none
			return &exit{ExitDiagnostics, fmt.Errorf("the declarations have mistakes: %s; flexgw validate says all", r.Observed)}
		}
	}
	found := map[string][]netip.Addr{}
	if !o.NoNetwork {
		for _, addr := range preflight.Outward(o) {
			ctx, cancel := context.WithTimeout(c.Context, lookLimit)
			addrs, err := w.Resolve(ctx, addr)
			cancel()
			if err != nil {
				fmt.Fprintf(env.Stderr, "flexgw: %s was not found by its name: the rules have a place for its addresses\n", addr)
				continue
			}
			found[addr] = addrs
		}
	}
	_, err := io.WriteString(env.Stdout, preflight.Firewall(format, o, found, preflight.Nameservers(w)))
	return err
}
