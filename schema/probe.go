package schema

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// The defaults of a Probe: those of Kubernetes (timeoutSeconds, periodSeconds, failureThreshold), but for shorter waits between
// attempts and a longer one for an answer, for a probe is asked once and not for ever.
const (
	probeTimeout  = 5 * time.Second
	probePeriod   = time.Second
	probeAttempts = 3
)

// probeDecl is one Probe document.
type probeDecl struct {
	*v1alpha1.Object[v1alpha1.ProbeSpec]
	ask ir.Probe   // without its API
	tls diag.Range // of the key; zero when absent
}

func (d *docDecoder) probe(spec *syntax.Node) {
	p := &probeDecl{Object: decodeSpec[v1alpha1.ProbeSpec](d, spec), tls: spec.KeyRange("tls")}
	p.Spec.TargetRef = targetRef(spec)
	d.out.probes = append(d.out.probes, p)
	s := p.Spec
	p.ask = ir.Probe{Origin: ir.Origin{Object: p.ID, Range: p.Name.Range}, Timeout: wait(s.TimeoutSeconds, probeTimeout), Period: wait(s.PeriodSeconds, probePeriod), Attempts: probeAttempts}
	if s.FailureThreshold != nil {
		p.ask.Attempts = int(*s.FailureThreshold)
	}
	if s.HTTP != nil {
		p.ask.HTTP = d.probeHTTP(*s.HTTP, spec)
	}
	if s.GRPC != nil {
		p.ask.GRPC = d.probeGRPC(*s.GRPC, spec)
	}
	if s.HTTP != nil && s.GRPC != nil {
		x := d.report(diag.Error, "probe/two-requests", spec.KeyRange("grpc"), fmt.Sprintf("Probe %q has both http and grpc, expected one of them", d.id.Name), "write a Probe for each: every one has attempts of its own")
		x.Related = []diag.Related{{Subject: spec.KeyRange("http"), Summary: "http"}}
	}
	if s.TLS != nil {
		p.ask.TLS = &ir.ProbeTLS{At: p.tls, ServerName: s.TLS.ServerName.Value}
		if name := s.TLS.ServerName; name.Value != "" && (strings.ContainsAny(name.Value, ":/ ") || net.ParseIP(name.Value) != nil) {
			d.report(diag.Error, "probe/bad-server-name", name.Range, fmt.Sprintf("serverName %s is no host name", quoteShort(name.Value)), "write the name that clients connect to, without a scheme or a port; an address is never sent as SNI")
		}
		p.ask.TLS.Client = d.probePair(spec.Get("tls").Get("certificate"))
	}
	if s.HTTP == nil && s.GRPC == nil && s.TLS == nil && !d.broken {
		at := spec.KeyRange("targetRef")
		d.report(diag.Error, "probe/nothing-asked", at, fmt.Sprintf("Probe %q has no http, grpc or tls, so it asks nothing", d.id.Name), "add http: {path: /health}, grpc: {}, or tls: {} for a port with TLS")
	}
}

// probePair is a client certificate; nil: there is none, or a wrong one, which is said.
func (d *docDecoder) probePair(n *syntax.Node) *ir.ProbePair {
	crt, key := n.Get("crt"), n.Get("key")
	if crt == nil || key == nil {
		return nil // the shape wants both
	}
	path := []string{"spec", "tls", "certificate"}
	c := d.probeText(crt, append(path, "crt"), func(string) bool { return false })
	k := d.probeText(key, append(path, "key"), func(string) bool { return true })
	if !d.broken {
		if at, what, hint := badPair(c, k); what != "" {
			d.report(diag.Error, "probe/bad-certificate", n.Get(at).Range, at+" "+what, hint)
			return nil
		}
	}
	return &ir.ProbePair{Certificate: c.text, Key: ir.NewSecret(k.text)}
}

// badPair says which of the two is wrong, and what is wrong with it; "": nothing that is known. It shows nothing of either.
func badPair(crt, key probeValue) (at, what, hint string) {
	const whole = "write $NAME of an environment variable that holds the text, or the whole text with its BEGIN and END lines; the name of a file is not read"
	if crt.known {
		block, _ := pem.Decode([]byte(crt.text))
		switch {
		case block == nil:
			return "crt", "is no PEM text", whole
		case block.Type != "CERTIFICATE":
			return "crt", "does not begin with a certificate", "write the client's certificate first, then those of its issuers; the private key belongs into key"
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "crt", "holds a certificate that can not be read", whole
		}
	}
	if !key.known {
		return "", "", ""
	}
	block, _ := pem.Decode([]byte(key.text))
	switch {
	case block == nil:
		return "key", "is no PEM text", whole
	case strings.Contains(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != "":
		return "key", "is encrypted with a passphrase, which can not be given here", "decrypt it first: openssl pkey -in key.pem -out plain.pem"
	case !crt.known:
		return "", "", ""
	}
	switch _, err := tls.X509KeyPair([]byte(crt.text), []byte(key.text)); {
	case err == nil:
		return "", "", ""
	case strings.Contains(err.Error(), "does not match"):
		return "key", "is not the private key of the certificate crt", "write the two that belong together"
	}
	return "key", "is no private key that can be read", "write one private key, of RSA, ECDSA or Ed25519, and nothing else"
}

func wait(s *float64, otherwise time.Duration) time.Duration {
	if s == nil {
		return otherwise
	}
	return time.Duration(*s * float64(time.Second))
}

func (d *docDecoder) probeHTTP(s v1alpha1.ProbeHTTP, spec *syntax.Node) *ir.ProbeHTTP {
	out := &ir.ProbeHTTP{At: spec.KeyRange("http"), Method: cmp.Or(s.Method.Value, "GET"), Path: cmp.Or(s.Path.Value, "/")}
	http := spec.Get("http")
	if strings.Contains(out.Path, "#") {
		d.report(diag.Error, "probe/bad-path", s.Path.Range, fmt.Sprintf("path %s has a fragment, which no request carries", quoteShort(out.Path)), "leave out # and what follows it")
	}
	out.Host, out.Headers = d.probeHeaders(http.Get("headers"), "http", connectionHeaders)
	if body := http.Get("body"); body != nil {
		out.Body = ir.NewSecret(d.probeText(body, []string{"spec", "http", "body"}, looksSecret).text)
	}
	if s.Expect != nil {
		d.probeExpect(out, *s.Expect, http.Get("expect"))
	}
	if len(out.Status) == 0 {
		out.Status = []ir.StatusRange{{From: 200, To: 299}}
	}
	return out
}

// connectionHeaders are written by whoever makes a request.
func connectionHeaders(name string) bool {
	return slices.Contains([]string{"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}, name)
}

// callHeaders are those of connections, and those that gRPC keeps to itself (PROTOCOL-HTTP2.md, "Custom-Metadata"). Ones with
// binary values are among them, which no text of a declaration is.
func callHeaders(name string) bool {
	return connectionHeaders(name) || name == "content-type" || name == "user-agent" || strings.HasPrefix(name, "grpc-") || strings.HasSuffix(name, "-bin")
}

// probeHeaders are the headers of a request of a part ("http") of a Probe, and what Host is among them.
func (d *docDecoder) probeHeaders(headers *syntax.Node, part string, reserved func(name string) bool) (host string, out []ir.ProbeHeader) {
	if headers == nil {
		return "", nil
	}
	seen := map[string]bool{}
	for _, f := range headers.Fields {
		name, ok := d.headerName(syntax.Text{Value: f.Name, Range: f.Range}, false, seen)
		v := d.probeText(f.Value, []string{"spec", part, "headers", f.Name}, func(text string) bool { return looksSecret(f.Name + ": " + text) })
		switch {
		case !ok:
			continue
		case reserved(name):
			owner := "the connection, not to a request"
			if !connectionHeaders(name) {
				owner = "gRPC itself, or has a binary value"
			}
			d.report(diag.Error, "probe/bad-header", f.Range, fmt.Sprintf("header %q belongs to %s", f.Name, owner), "leave it out: what is needed is written by the probe")
			continue
		case strings.ContainsFunc(v.text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			d.report(diag.Error, "probe/bad-header", f.Value.Range, fmt.Sprintf("the value of header %q has a line break or another control character", f.Name), "write it on one line")
			continue
		}
		if name == "host" {
			host = v.text
			continue
		}
		out = append(out, ir.ProbeHeader{Name: name, Value: ir.NewSecret(v.text), Hidden: v.hidden})
	}
	slices.SortFunc(out, func(a, b ir.ProbeHeader) int { return strings.Compare(a.Name, b.Name) })
	return host, out
}

func (d *docDecoder) probeGRPC(s v1alpha1.ProbeGRPC, spec *syntax.Node) *ir.ProbeGRPC {
	out := &ir.ProbeGRPC{At: spec.KeyRange("grpc"), Service: s.Service.Value}
	out.Host, out.Headers = d.probeHeaders(spec.Get("grpc").Get("headers"), "grpc", callHeaders)
	if s.Expect != nil {
		for _, t := range s.Expect.Status {
			out.Status = append(out.Status, t.Value)
		}
	}
	if len(out.Status) == 0 {
		out.Status = []string{"SERVING"}
	}
	return out
}

// probeValue is a text in which $NAME is an environment variable.
type probeValue struct {
	text   string
	hidden bool // it must not be shown
	known  bool // no variable in it is unset
}

func (d *docDecoder) probeText(n *syntax.Node, path []string, secret func(string) bool) probeValue {
	v := view{want: tString, hidden: secret(text(n).Value)}
	z := &normal{getenv: d.getenv, require: d.o.RequireEnv, path: path}
	out := z.node(v, n)
	d.out.ds = append(d.out.ds, z.ds...)
	_, fromEnv := z.vars[out]
	return probeValue{text(out).Value, v.hidden || fromEnv, len(z.unresolved) == 0}
}

func (d *docDecoder) probeExpect(out *ir.ProbeHTTP, s v1alpha1.ProbeExpect, expect *syntax.Node) {
	for _, t := range s.Status {
		r, ok := statusRange(t.Value)
		switch {
		case !ok: // the shape says so
		case r.From > r.To:
			d.report(diag.Error, "probe/empty-range", t.Range, fmt.Sprintf("the range %s is empty: %d is above %d", t.Value, r.From, r.To), fmt.Sprintf("write %d-%d", r.To, r.From)).Edits =
				[]diag.Edit{{Op: diag.Set, At: t.Range, Value: fmt.Sprintf("%d-%d", r.To, r.From)}}
		default:
			out.Status = append(out.Status, r)
		}
	}
	seen := map[string]bool{}
	if headers := expect.Get("headers"); headers != nil {
		for _, f := range headers.Fields {
			name, ok := d.headerName(syntax.Text{Value: f.Name, Range: f.Range}, false, seen)
			if !ok {
				continue
			}
			if p := d.pattern("header "+f.Name, text(f.Value), false, false); !p.IsZero() {
				out.Wanted = append(out.Wanted, ir.HeaderPattern{Name: name, Pattern: p})
			}
		}
	}
	slices.SortFunc(out.Wanted, func(a, b ir.HeaderPattern) int { return strings.Compare(a.Name, b.Name) })
	out.Contains = s.Body.Value
	if out.Contains != "" && out.Method == "HEAD" {
		d.report(diag.Error, "probe/no-body", s.Body.Range, "the answer to HEAD has no body, and one is expected", "write method: GET")
	}
}

// statusRange reads 200, 200-299 or 2xx.
func statusRange(s string) (ir.StatusRange, bool) {
	if len(s) == 3 && strings.HasSuffix(s, "xx") {
		n := int(s[0]-'0') * 100
		return ir.StatusRange{From: n, To: n + 99}, true
	}
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		to = from
	}
	a, err := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	return ir.StatusRange{From: a, To: b}, err == nil && err2 == nil
}

// linkProbes finds the APIs that probes are for.
func (s *state) linkProbes(listeners []*ir.Listener) ([]*ir.Probe, diag.List) {
	ports := map[*ir.API]*ir.Listener{}
	if len(s.probes) > 0 {
		for _, l := range listeners {
			for _, a := range l.APIs {
				ports[a] = l
			}
		}
	}
	var out []*ir.Probe
	var ds diag.List
	for _, o := range s.probes {
		t := o.Spec.TargetRef
		if t.Name.Value == "" {
			continue
		}
		id := apiID(cmp.Or(t.Namespace.Value, o.ID.Namespace), t.Name.Value)
		e := s.objects[id]
		if e == nil || len(e.apis) == 0 {
			d := s.noSuch(id, t.Name.Range)
			d.Object = o.ID
			ds = append(ds, d)
			continue
		}
		if e.api == nil || e.api.api == nil || ports[e.api.api] == nil {
			continue // it is wrong, and said to be
		}
		p := o.ask
		p.API = e.api.api
		port := ports[p.API]
		if p.TLS != nil && port.TLS == nil && e.api.listen.scheme != "https" {
			ds = append(ds, diag.Diagnostic{Severity: diag.Error, Code: "probe/plain-text-port", Subject: o.tls, Object: o.ID, Path: "/spec/tls",
				Summary: fmt.Sprintf("port %d of ApiInstance %q has no TLS, so a handshake with it always fails", port.Addr.Port(), id.Name), Hint: "leave out tls, or bind the policy tls to the API",
				Related: []diag.Related{{Subject: p.API.Address, Summary: "the address"}}})
			continue
		}
		out = append(out, &p)
	}
	slices.SortFunc(out, func(a, b *ir.Probe) int {
		return cmp.Or(strings.Compare(a.Origin.Object.Namespace, b.Origin.Object.Namespace), strings.Compare(a.Origin.Object.Name, b.Origin.Object.Name))
	})
	return out, ds
}

// linkContracts wants the APIs of contracts to be there.
func (s *state) linkContracts() diag.List {
	var ds diag.List
	for _, o := range s.contracts {
		if o.Spec.APIID.Value == "" {
			continue
		}
		id := apiID(o.ID.Namespace, o.Spec.APIID.Value)
		if e := s.objects[id]; e == nil || len(e.apis) == 0 {
			d := s.noSuch(id, o.Spec.APIID.Range)
			d.Object = o.ID
			ds = append(ds, d)
		}
	}
	return ds
}
