package preflight

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/flexgw/flexgw/reconcile/egress"
)

// target is a host that somebody needs: the gateway, the product, or Runtime Fabric.
type target struct {
	addr        string // host:port
	role        string // registration, usage, or never
	mode        string // both, connected
	protocol    string // of the table; it says whether TLS and a client certificate are spoken
	purpose     string
	passthrough bool // TLS must not be opened on the way
	since       string
	fabric      bool
	source      string
}

func (t target) host() string { h, _, _ := net.SplitHostPort(t.addr); return h }
func (t target) mutual() bool { return strings.Contains(t.protocol, "mTLS") }

// plain reports whether the table does not say that TLS is spoken.
func (t target) plain() bool { return strings.HasPrefix(t.protocol, "TCP") }

const never = "never"

// PlaneOf is the plane that was asked for, else the one whose control plane the registration names, else US.
func (o Options) PlaneOf() string {
	if o.Plane != "" {
		return o.Plane
	}
	for _, x := range table("hosts") {
		if x["flexgw"] == "registration" && x["host"]+":"+x["port"] == o.Registration.Platform {
			return x["plane"]
		}
	}
	return "US"
}

// targets are the hosts of the tables for a plane and a profile, and those that the registration names. The registration's have the
// roles: what the tables say of them then is only what is usual.
func (o Options) targets() []target {
	var all []target
	for _, x := range table("hosts") {
		if x["plane"] == o.PlaneOf() {
			all = append(all, target{addr: x["host"] + ":" + x["port"], role: x["flexgw"], mode: x["mode"], protocol: x["protocol"], purpose: x["purpose"],
				passthrough: x["passthrough"] == "yes", since: x["since"], source: "[D] hosts of plane " + x["plane"] + ", releases " + x["since"] + " on"})
		}
	}
	if o.Profile == Fabric {
		for _, x := range table("fabric_hosts") {
			if x["plane"] != o.PlaneOf() && x["plane"] != "ALL" {
				continue
			}
			t := target{addr: x["host"] + ":" + x["port"], role: never, mode: "both", protocol: x["protocol"], purpose: x["purpose"], passthrough: x["passthrough"] == "yes",
				fabric: true, source: "[D] S-RTF, allowlist of Runtime Fabric"}
			if x["plane"] == "ALL" {
				t.source += ", printed without a plane"
			}
			i := slices.IndexFunc(all, func(a target) bool { return a.addr == t.addr })
			if i < 0 {
				all = append(all, t)
				continue
			}
			a := &all[i]
			a.fabric, a.passthrough, a.mode, a.since = true, a.passthrough || t.passthrough, "both", ""
			a.purpose += "; " + t.purpose
			a.source += "; " + t.source
		}
	}
	for _, x := range [][2]string{{"registration", o.Registration.Platform}, {"usage", o.Registration.Usage}} {
		role, addr := x[0], x[1]
		if addr == "" {
			continue
		}
		for i := range all {
			if all[i].role == role {
				all[i].role = never
			}
		}
		if i := slices.IndexFunc(all, func(a target) bool { return a.addr == addr }); i >= 0 {
			all[i].role = role
			continue
		}
		t := target{addr: addr, role: role, mode: "both", protocol: "HTTPS", purpose: role, source: "the registration file; no table of plane " + o.PlaneOf() + " has it"}
		if t.passthrough = role == "usage"; t.passthrough {
			t.protocol = "mTLS"
		}
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(a, b target) int { return rank(a) - rank(b) })
	return all
}

// rank has the two that flexgw calls first.
func rank(t target) int {
	return map[string]int{"registration": 0, "usage": 1}[t.role] + map[bool]int{true: 2}[t.role == never]
}

// probed reports whether a target is one that this preflight may call.
func (o Options) probed(t target) bool {
	return !o.NoNetwork && (t.role != never || o.AllHosts && (t.since == "" || !o.Release.Before(release(t.since))))
}

// carrier is the proxy that carries what goes to a target, as who calls it does: an HTTP proxy, or the SOCKS5 one; the zero Proxy and
// false: none does. The daemon reports usage through the proxy of its Configuration (or of the environment) and no other, and nothing
// but what is not HTTP, such as the Monitoring of Runtime Fabric, goes through SOCKS5.
func (o Options) carrier(t target) (p egress.Proxy, socks bool) {
	switch {
	case t.role == "usage":
		if o.Forward.Carries(t.addr) {
			return o.Forward, false
		}
	case t.role != "registration" && t.plain():
		return egress.Proxy{}, o.Socks != nil
	case o.Proxy != nil:
		return *o.Proxy, false
	}
	return egress.Proxy{}, false
}

// via is host:port of the carrier; "": the target is called directly.
func (o Options) via(t target) string {
	p, socks := o.carrier(t)
	if socks {
		return o.Socks.Addr()
	}
	return p.Addr()
}

// Called are the hosts ("host:port") that Run may call: for the list of who may be called, and for a firewall.
func Called(o Options) []string {
	var all []string
	for _, t := range o.targets() {
		if o.probed(t) {
			all = append(all, t.addr)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// network lists the hosts of the plane, and probes those that may be.
func (r *run) network() {
	r.planes()
	targets := r.targets()
	r.proxyReach()
	outcomes := r.probe(targets)
	var stamps []stamp
	for i, t := range targets {
		if !r.probed(t) {
			r.needed(t)
			continue
		}
		r.results = append(r.results, outcomes[i].results...)
		if s := outcomes[i].stamp; s != nil {
			stamps = append(stamps, *s)
		}
	}
	r.stamps(stamps)
}

// planes says whether anybody knows which hosts the plane has.
func (r *run) planes() {
	documented, _ := Planes()
	expected := "a plane whose hosts are documented for the gateway: " + strings.Join(documented, ", ")
	p := r.PlaneOf()
	for _, x := range table("other_planes") {
		if name, _, _ := strings.Cut(x["plane"], " "); name != p {
			continue
		}
		r.add(Result{"network.plane", Warn, p, expected, "not documented (" + x["status"] + ")", "[D] hosts by plane", "ask the vendor for the plane's list; with --registration the two hosts that flexgw calls are known: the file names them"})
		for _, host := range append([]string{x["control_plane"]}, strings.Split(x["others"], ";")...) {
			if host = strings.TrimSpace(host); host != "" {
				r.add(Result{"network.host", Info, host, "documented for the platform, not for the gateway", "not probed: nobody says that a gateway needs it", "[D] hosting pages, plane " + x["plane"], ""})
			}
		}
		return
	}
	res := Result{"network.plane", OK, p, expected, "documented", "[D] hosts by plane", ""}
	for _, x := range table("hosts") {
		if x["plane"] != p && x["flexgw"] == "registration" && x["host"]+":"+x["port"] == r.Registration.Platform {
			res.Severity, res.Observed, res.Hint = Warn, "the registration is for plane "+x["plane"], "ask with --plane "+x["plane"]
		}
	}
	r.add(res)
}

// needed tells of a host that is not called.
func (r *run) needed(t target) {
	res := Result{"network.host", Info, t.addr, "open to " + t.addr + "/tcp (" + t.protocol + "): " + t.purpose, "", t.source, ""}
	if t.passthrough {
		res.Expected += "; TLS must not be opened on the way"
	}
	switch {
	case t.since != "" && r.Release.Before(release(t.since)):
		res.Severity, res.Observed = Skipped, "release "+r.release()+" does not need it"
	case r.NoNetwork:
		res.Observed = "not probed: --no-network"
	default:
		res.Observed = "not probed: flexgw never calls it (--all-hosts probes it)"
	}
	switch {
	case t.role != never:
		res.Hint = "flexgw calls it: " + t.role
	case t.mode == "connected":
		res.Hint = "Connected Mode alone needs it"
	case t.fabric:
		res.Hint = "Runtime Fabric needs it"
	default:
		res.Hint = "the product needs it; flexgw never calls it"
	}
	r.add(res)
}

// failed is how bad it is that a target cannot be reached.
func (r *run) failed(t target) Severity {
	switch {
	case t.role != never, t.fabric:
		return Error
	case t.mode == "connected":
		return Warn
	}
	return r.product()
}

// outcome is what the probe of one target found.
type outcome struct {
	results []Result
	stamp   *stamp
}

// together is how many targets are probed at once.
const together = 8

// probe asks all targets that may be asked. A proxy that wants other credentials is asked once: the answer would be the same each
// time, and many refused attempts lock accounts.
func (r *run) probe(targets []target) []outcome {
	outcomes := make([]outcome, len(targets))
	var asked sync.WaitGroup
	slots := make(chan struct{}, together)
	tried, locked := map[string]bool{}, map[string]bool{} // by proxy
	for i, t := range targets {
		if !r.probed(t) {
			continue
		}
		via := r.via(t)
		if locked[via] {
			p := &prober{run: r, t: t}
			p.skip("network.dns", "network.tcp", "network.tls", "network.chain")
			outcomes[i] = outcome{results: p.results}
			continue
		}
		if via != "" && !tried[via] {
			p := &prober{run: r, t: t}
			p.probe()
			outcomes[i] = outcome{p.results, p.stamp}
			tried[via], locked[via] = true, p.locked
			continue
		}
		asked.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			p := &prober{run: r, t: t}
			p.probe()
			outcomes[i] = outcome{p.results, p.stamp}
		})
	}
	asked.Wait()
	return outcomes
}

// prober asks one target, stage by stage. After a stage that failed the later ones are skipped.
type prober struct {
	*run
	t       target
	results []Result
	stamp   *stamp
	locked  bool // the proxy does not take the credentials
}

var stageWords = map[string]string{
	"network.dns": "the name has addresses", "network.tcp": "the port takes connections", "network.tls": "TLS 1.2 or newer",
	"network.passthrough": "TLS reaches the platform unopened",
	"network.chain":       "a certificate for the name, from an authority that this host knows",
}

func (p *prober) say(id string, sev Severity, observed, hint string) {
	p.results = append(p.results, Result{id, sev, p.t.addr, stageWords[id], observed, p.t.source, hint})
}

func (p *prober) skip(ids ...string) {
	for _, id := range ids {
		p.say(id, Skipped, "an earlier step failed", "")
	}
}

// The bounds of one probe.
const (
	lookLimit = 5 * time.Second
	dialLimit = 10 * time.Second
	tlsLimit  = 10 * time.Second
)

func (p *prober) probe() {
	conn, ok := p.connect()
	if !ok {
		return
	}
	defer conn.Close()
	if p.t.plain() {
		p.say("network.tls", Skipped, "the table does not say that "+p.t.protocol+" is TLS", "")
		return
	}
	p.handshake(conn)
}

// connect opens the way to the target: directly, or through the proxy that carries it.
func (p *prober) connect() (net.Conn, bool) {
	if p.via(p.t) != "" {
		return p.through()
	}
	if p.Proxy != nil && p.t.plain() {
		p.say("network.tcp", p.failed(p.t), "not tried: a forward proxy for HTTP does not carry "+p.t.protocol, "name a SOCKS5 proxy with --socks5-proxy, or open "+p.t.addr+" directly")
		return nil, false
	}
	ctx, cancel := context.WithTimeout(p.ctx, lookLimit)
	defer cancel()
	if _, err := netip.ParseAddr(p.t.host()); err != nil {
		addrs, err := p.Resolve(ctx, p.t.addr)
		if err != nil || len(addrs) == 0 {
			p.say("network.dns", p.failed(p.t), lookError(err), "see the name servers of /etc/resolv.conf; where names are looked up by a proxy alone, "+p.proxyHint())
			p.skip("network.tcp", "network.tls", "network.chain")
			return nil, false
		}
		p.say("network.dns", OK, addresses(addrs), "")
	}
	start := time.Now()
	dial, stop := context.WithTimeout(p.ctx, dialLimit)
	defer stop()
	conn, err := p.Dial(dial, "tcp", p.t.addr)
	if err != nil {
		p.say("network.tcp", p.failed(p.t), dialError(err), "open the firewall for "+p.t.addr+"/tcp (flexgw preflight --firewall nft writes the rules); where a proxy calls it, "+p.proxyHint())
		p.skip("network.tls", "network.chain")
		return nil, false
	}
	p.say("network.tcp", OK, "connected to "+conn.RemoteAddr().String()+" in "+time.Since(start).Round(time.Millisecond).String(), "")
	return conn, true
}

// proxyHint says how the proxy for a target is named.
func (p *prober) proxyHint() string {
	switch {
	case p.t.role == "usage":
		return "declare it: a Configuration with spec.forwardProxy (or --proxy-from-env); --https-proxy does not carry usage"
	case p.t.plain():
		return "name it with --socks5-proxy"
	}
	return "name it with --https-proxy"
}

// through opens a tunnel.
func (p *prober) through() (net.Conn, bool) {
	p.say("network.dns", Skipped, "the proxy looks it up", "")
	ctx, cancel := context.WithTimeout(p.ctx, 2*dialLimit)
	defer cancel()
	start := time.Now()
	var conn net.Conn
	var err error
	via := ""
	if proxy, socks := p.carrier(p.t); socks {
		via = p.Socks.String()
		conn, err = p.Socks.connect(ctx, p.Dial, p.t.addr)
	} else {
		via = proxy.String()
		conn, err = p.Tunnel(ctx, proxy, p.t.addr)
	}
	if err == nil {
		p.say("network.tcp", OK, "connected through "+via+" in "+time.Since(start).Round(time.Millisecond).String(), "")
		return conn, true
	}
	sev, hint := p.failed(p.t), "see that the proxy runs and may reach "+p.t.addr
	var auth *egress.ProxyAuthError
	var refused *egress.ProxyError
	var socks *socksError
	switch {
	case errors.As(err, &auth):
		p.locked, sev = true, Error
		hint = "put user and password in --https-proxy or its --proxy-password-file (for usage: in the Configuration's forwardProxy); nothing else was tried, so that no account is locked"
	case errors.As(err, &refused) && refused.Status != 0:
		hint = "have " + p.t.addr + " allowed on the proxy"
	case errors.As(err, &socks) && socks.credentials:
		p.locked, sev = true, Error
		hint = "put user and password in --socks5-proxy or --proxy-password-file; nothing else was tried, so that no account is locked"
	case errors.As(err, &socks) && socks.rules:
		hint = "have " + p.t.addr + " allowed on the proxy"
	}
	p.say("network.tcp", sev, err.Error(), hint)
	p.skip("network.tls", "network.chain")
	return nil, false
}

func lookError(err error) string {
	var d *net.DNSError
	switch {
	case err == nil:
		return "the name has no addresses"
	case errors.As(err, &d) && d.IsNotFound:
		return "no such host"
	case errors.As(err, &d) && d.IsTimeout, errors.Is(err, context.DeadlineExceeded):
		return "no answer from the name server within " + lookLimit.String()
	}
	return err.Error()
}

func dialError(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused: nothing listens there, or a firewall says no"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "no route to it"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer: a firewall that drops packets looks like this"
	}
	return err.Error()
}

func addresses(list []netip.Addr) string {
	var text []string
	for _, a := range list {
		text = append(text, a.Unmap().String())
	}
	slices.Sort(text)
	return strings.Join(text, ", ")
}

// handshake speaks TLS and judges the chain. No request follows.
func (p *prober) handshake(conn net.Conn) {
	asked, verified := false, false
	config := &tls.Config{
		ServerName: p.t.host(), MinVersion: tls.VersionTLS12, RootCAs: p.Roots, Time: p.Now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil // none: who we are is nobody's business yet
		},
		VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { verified = true; return nil },
	}
	c := tls.Client(conn, config)
	ctx, cancel := context.WithTimeout(p.ctx, tlsLimit)
	defer cancel()
	err := c.HandshakeContext(ctx)
	state := c.ConnectionState()
	var unverified *tls.CertificateVerificationError
	switch {
	case err == nil:
		p.say("network.tls", OK, tls.VersionName(state.Version), "")
		p.chain(state)
	case errors.As(err, &unverified):
		p.say("network.tls", OK, "it speaks TLS, and shows a certificate", "")
		p.unverified(unverified)
	case verified && asked: // TLS 1.2: the server ends what has no client certificate
		p.say("network.tls", OK, "it speaks TLS, and ends it without a client certificate", "")
		p.say("network.chain", OK, "verified", "")
		p.say("network.passthrough", OK, "the server itself asks for a client certificate", "")
	default:
		p.say("network.tls", p.failed(p.t), tlsError(err), "something on the way answers in its place, or cuts TLS by name: ask who runs the firewall or the proxy")
		p.skip("network.chain")
		return
	}
	if p.t.mutual() && err == nil {
		sev, observed, hint := OK, "it asks for one", ""
		if !asked {
			sev, observed, hint = Warn, "it does not ask for one", "the documentation says mTLS: something on the way may answer in its place"
		}
		p.results = append(p.results, Result{"network.client_certificate", sev, p.t.addr, "the server asks for a client certificate", observed, p.t.source, hint})
	}
}

func tlsError(err error) string {
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &record):
		return "what answers there speaks no TLS"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the connection was cut within the handshake"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer within " + tlsLimit.String()
	}
	return err.Error()
}

// chain judges a chain that verifies.
func (p *prober) chain(state tls.ConnectionState) {
	leaf := state.PeerCertificates[0]
	p.stamp = &stamp{host: p.t.addr, from: leaf.NotBefore, until: leaf.NotAfter}
	if chain := state.VerifiedChains[0]; len(chain) > 1 && len(state.OCSPResponse) > 0 {
		if answer, err := ocsp.ParseResponseForCert(state.OCSPResponse, leaf, chain[1]); err == nil {
			p.stamp.answered, p.stamp.expiry = answer.ThisUpdate, answer.NextUpdate
		}
	}
	by := "issued by " + issuer(leaf)
	p.say("network.chain", OK, by+", until "+leaf.NotAfter.UTC().Format(time.DateOnly), "")
	private := "" // by every chain
	for _, chain := range state.VerifiedChains {
		if private = p.private(chain); private == "" {
			break
		}
	}
	p.passthrough(by, private)
}

// private says which certificate of a chain belongs to somebody on the way rather than to an authority that everybody knows.
func (p *prober) private(chain []*x509.Certificate) string {
	for _, c := range chain[1:] {
		if slices.ContainsFunc(p.siteCAs, c.Equal) {
			return "an authority of this site (" + name(c) + ")"
		}
	}
	if who := interceptor(chain[0]); who != "" {
		return "a product that opens TLS (" + who + ")"
	}
	return ""
}

// interceptor is the known name in the issuer of a certificate; "" when there is none.
func interceptor(c *x509.Certificate) string {
	for _, x := range table("interceptors") {
		if strings.Contains(strings.ToLower(c.Issuer.String()), strings.ToLower(x["name"])) {
			return x["name"]
		}
	}
	return ""
}

func (p *prober) passthrough(by, private string) {
	res := Result{"network.passthrough", OK, p.t.addr, "TLS reaches the platform unopened", by, p.t.source, ""}
	if !p.t.passthrough {
		res.Expected = "TLS may be opened on the way if this host trusts who does it"
	}
	if private != "" {
		res.Observed = by + ": " + private
		res.Severity, res.Hint = Info, "who opens TLS sees what is sent: leave the platform's hosts out of it where you can"
		if p.t.passthrough {
			res.Severity, res.Hint = Error, "leave "+p.t.host()+" out of TLS inspection: a client certificate does not get through it"
			if p.t.role == never && !p.t.fabric {
				res.Severity = p.failed(p.t)
			}
		}
	}
	p.results = append(p.results, res)
}

// unverified judges a chain that does not verify, by what the server showed.
func (p *prober) unverified(err *tls.CertificateVerificationError) {
	leaf := err.UnverifiedCertificates[0]
	by := "issued by " + issuer(leaf)
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	observed, hint := by+": "+err.Err.Error(), ""
	switch {
	case errors.As(err, &host):
		observed = by + " for " + strings.Join(names(leaf), ", ") + ", not for " + p.t.host()
		hint = "something on the way answers in its place: a login page of the network, or a proxy"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		observed = fmt.Sprintf("%s, valid from %s to %s; this clock says %s", by, leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339), p.Now().UTC().Format(time.RFC3339))
		hint = "compare this host's clock with another one"
		p.stamp = &stamp{host: p.t.addr, from: leaf.NotBefore, until: leaf.NotAfter}
	case errors.As(err, &unknown):
		observed = by + ", which this host does not know"
		hint = "either something on the way opens TLS (leave " + p.t.host() + " out of it), or the host's authorities are old (ca-certificates)"
		if !p.t.passthrough {
			hint += "; the authority of a proxy that may open it is named with --inspection-ca-file"
		}
	}
	p.say("network.chain", p.failed(p.t), observed, hint)
	if errors.As(err, &unknown) {
		private := "an authority that nobody here knows"
		if who := interceptor(leaf); who != "" {
			private = "a product that opens TLS (" + who + ")"
		}
		p.passthrough(by, private)
	}
}

func issuer(c *x509.Certificate) string {
	if o := c.Issuer.Organization; len(o) > 0 && c.Issuer.CommonName != "" {
		return c.Issuer.CommonName + " (" + o[0] + ")"
	}
	return c.Issuer.String()
}

func name(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	return c.Subject.String()
}

// names are those of a certificate, not all of them where there are many.
func names(c *x509.Certificate) []string {
	if len(c.DNSNames) > 3 {
		return append(slices.Clone(c.DNSNames[:3]), "…")
	}
	return c.DNSNames
}

// authorities are the certificates of the site that this host trusts.
func (r *run) authorities() []*x509.Certificate {
	var all []*x509.Certificate
	for _, f := range r.anchors() {
		text, _ := r.read(f)
		all = append(all, certificates([]byte(text))...)
	}
	return append(all, r.PrivateCA...)
}

// certificates are those of a PEM text, as far as they can be read.
func certificates(text []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return all
		}
		if c, err := x509.ParseCertificate(b.Bytes); err == nil {
			all = append(all, c)
		}
	}
}
