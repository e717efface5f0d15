package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/regex"
)

const (
	maxHeader = 64 << 10 // bytes of the answer's head
	maxBody   = 64 << 10 // bytes in which a text is looked for
	shown     = 100      // characters of an answer in a message
)

// fault is what was wrong. Its text continues a sentence that began with what was asked.
type fault struct {
	error
	tls    bool // the certificate or the handshake is to blame
	answer bool // there was an answer, and not what was expected
	hint   string
}

// once makes one attempt.
func (p Prober) once(ctx context.Context, t target) error {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	var err error
	switch {
	case t.GRPC != nil:
		err = p.call(ctx, t)
	case t.HTTP != nil:
		err = p.request(ctx, t)
	default:
		err = p.handshake(ctx, t)
	}
	var f fault
	if err != nil && !(errors.As(err, &f) && f.answer) && (errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil) {
		return fmt.Errorf("had no answer within %s", t.Timeout)
	}
	return err
}

func (p Prober) handshake(ctx context.Context, t target) error {
	c, err := p.connect(ctx, t, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	s, ok := c.(*tls.Conn)
	if !ok || t.TLS == nil || t.TLS.Client == nil {
		return nil
	}
	// In TLS 1.3 a client is through with the handshake before the port has judged its certificate: it says so, or it ends the
	// connection as it was asked to (RFC 8446, 4.4.2.4 and 6.1).
	ended := s.CloseWrite() // the port may have ended it before; then what it said of it is still to be read
	if _, err := io.Copy(io.Discard, io.LimitReader(s, maxBody)); err != nil {
		return tlsFault(err)
	}
	if ended != nil {
		return tlsFault(ended)
	}
	return nil
}

// listening is a connection to a port that may end it before a request is written, because it did not like the certificate: then what it
// said of that is the error of the write. It is read by whoever waits for the answer meanwhile.
type listening struct {
	*tls.Conn
	once sync.Once
	read chan struct{} // closed when the first read is over
	said error         // of that read
}

func (l *listening) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	l.once.Do(func() { l.said = err; close(l.read) })
	return n, err
}

func (l *listening) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	if err == nil || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return n, err
	}
	late := time.NewTimer(time.Second) // the other side is gone: what it said is there
	defer late.Stop()
	select {
	case <-l.read:
		if l.said != nil && fromPort(l.said) {
			err = l.said
		}
	case <-late.C:
	}
	return n, err
}

const fromPeer = "remote error: tls: "

// fromPort reports whether an error is what the other side said in TLS.
func fromPort(err error) bool {
	return errors.As(err, new(tls.AlertError)) || strings.Contains(err.Error(), fromPeer)
}

// tlsFault is an error of a connection after its handshake, when TLS may be to blame.
func tlsFault(err error) error {
	var alert tls.AlertError
	switch {
	case errors.As(err, &alert):
		return fault{error: fmt.Errorf("failed in TLS: %w", alert), tls: true}
	case strings.Contains(err.Error(), fromPeer): // what comes after the handshake
		_, why, _ := strings.Cut(err.Error(), fromPeer) // what stands before depends on which of two reads came first
		return fault{error: errors.New("failed in TLS: " + fromPeer + why), tls: true}
	}
	return fmt.Errorf("failed: %w", err)
}

// connect opens a connection to the port, with TLS where it has that, for one of some protocols (ALPN; nil: none is asked for).
// The certificate is judged when the probe has a TLS part.
func (p Prober) connect(ctx context.Context, t target, protocols []string) (net.Conn, error) {
	c, err := p.Dial(ctx, "tcp", t.addr())
	if err != nil {
		return nil, noConnection(err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline) // a connection that takes none fails at the first read
	}
	if t.proxied {
		// https://www.haproxy.org/download/3.1/doc/proxy-protocol.txt, 2.1: the receiver uses the connection's own addresses.
		if _, err := io.WriteString(c, "PROXY UNKNOWN\r\n"); err != nil {
			_ = c.Close()
			return nil, noConnection(err)
		}
	}
	if t.port.TLS == nil {
		return c, nil
	}
	name := t.serverName()
	// Judged below, in words of our own. The oldest version is what a port may be limited to by its policy.
	config := &tls.Config{ServerName: name, NextProtos: protocols, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10} //nolint:gosec
	if t.TLS != nil && t.TLS.Client != nil {
		pair, err := tls.X509KeyPair([]byte(t.TLS.Client.Certificate), []byte(t.TLS.Client.Key.Reveal()))
		if err != nil {
			_ = c.Close()
			return nil, fault{error: errors.New("has no client certificate to show: its certificate and key are no pair"), tls: true}
		}
		// Also to a port that names other authorities: it says what it has against the certificate, and not that there is none.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	s := tls.Client(c, config)
	if err := s.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fault{error: fmt.Errorf("failed in the TLS handshake: %w", err), tls: true}
	}
	if t.TLS != nil {
		if err := judge(s.ConnectionState().PeerCertificates, name, p.Now()); err != nil {
			_ = c.Close()
			return nil, fault{error: err, tls: true}
		}
	}
	return s, nil
}

// noConnection says why there is none, without the addresses that the sentence has already.
func noConnection(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fault{error: fmt.Errorf("found no listener: %w", err)}
}

// serverName is what is sent as SNI, and the certificate must be for; "": nothing.
func (t target) serverName() string {
	if t.TLS != nil && t.TLS.ServerName != "" {
		return t.TLS.ServerName
	}
	host := ""
	switch {
	case t.HTTP != nil:
		host = t.HTTP.Host
	case t.GRPC != nil:
		host = t.GRPC.Host
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if net.ParseIP(strings.Trim(host, "[]")) != nil {
		return ""
	}
	return host
}

// judge looks at a served chain: it must be valid now, be for name ("": any), and each certificate signed by the next. Who
// signed the last one is not asked: a gateway's authority is often one that only its clients know.
func judge(chain []*x509.Certificate, name string, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("was shown no certificate")
	}
	o := x509.VerifyOptions{DNSName: name, CurrentTime: now, Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	o.Roots.AddCert(chain[len(chain)-1])
	for _, c := range chain {
		o.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(o)
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.After(invalid.Cert.NotAfter):
		return fmt.Errorf("was shown a certificate of %q that expired on %s", invalid.Cert.Subject.CommonName, invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("was shown a certificate of %q that is valid from %s on", invalid.Cert.Subject.CommonName, invalid.Cert.NotBefore.UTC().Format(time.RFC3339))
	case errors.As(err, &host):
		return fmt.Errorf("was shown a certificate that is not for %q but for %s", name, namesOf(chain[0]))
	}
	return fmt.Errorf("was shown a certificate that can not be verified: %s", strings.TrimPrefix(err.Error(), "x509: "))
}

func namesOf(c *x509.Certificate) string {
	var names []string
	for _, n := range c.DNSNames {
		names = append(names, strconv.Quote(n))
	}
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no host"
	}
	return strings.Join(names, ", ")
}

func (p Prober) request(ctx context.Context, t target) error {
	h := t.HTTP
	u, err := url.Parse("http://" + t.addr() + t.API.BasePath + h.Path) // TLS is connect's
	if err != nil {
		return fmt.Errorf("has a path that is no URL: %w", err)
	}
	r := (&http.Request{Method: h.Method, URL: u, Host: h.Host, Header: http.Header{"User-Agent": {"flexgw-probe"}}}).WithContext(ctx)
	for _, x := range h.Headers {
		r.Header.Set(x.Name, x.Value.Reveal())
	}
	if body := h.Body.Reveal(); body != "" {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := p.connect(ctx, t, nil)
		if s, ok := c.(*tls.Conn); ok {
			return &listening{Conn: s, read: make(chan struct{})}, err
		}
		return c, err
	}
	tr := &http.Transport{DialContext: dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader}
	answer, err := tr.RoundTrip(r) // and no client, which would follow redirects
	if err != nil {
		var f fault
		if errors.As(err, &f) {
			return f
		}
		return tlsFault(err)
	}
	defer answer.Body.Close()
	if err := t.right(answer); err != nil {
		return fault{error: err, answer: true}
	}
	return nil
}

// right says what is wrong with an answer; nil: nothing. Of its body no more is read than is asked about.
func (t target) right(answer *http.Response) error {
	h := t.HTTP
	if !within(h.Status, answer.StatusCode) {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, maxBody)) // what came is enough
		if to := answer.Header.Get("Location"); to != "" {
			body = []byte(to) // which is not followed
		}
		return fmt.Errorf("answered %d%s, expected %s", answer.StatusCode, t.excerpt(body), rangesOf(h.Status))
	}
	for _, w := range h.Wanted {
		values := answer.Header.Values(w.Name)
		if len(values) == 0 {
			return fmt.Errorf("answered %d without a header %q", answer.StatusCode, w.Name)
		}
		value := strings.Join(values, ", ")
		if !matches(w.Text, value) {
			return fmt.Errorf("answered with header %s%s, expected a value that matches %q", w.Name, t.excerpt([]byte(value)), w.Text)
		}
	}
	if h.Contains == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	switch {
	case strings.Contains(string(body), h.Contains):
		return nil
	case err != nil:
		return fmt.Errorf("answered %d%s and broke off: %w", answer.StatusCode, t.excerpt(body), err)
	}
	return fmt.Errorf("answered %d%s, expected a body with %q in it", answer.StatusCode, t.excerpt(body), h.Contains)
}

// excerpt is the beginning of an answer in quotes, with a space before it; "" of nothing. What the probe itself sent in secret
// is not in it: many services answer with what they got.
func (t target) excerpt(text []byte) string {
	s := strings.ToValidUTF8(string(text), "\uFFFD")
	var hidden []ir.Secret
	var headers []ir.ProbeHeader
	if t.HTTP != nil {
		hidden, headers = append(hidden, t.HTTP.Body), t.HTTP.Headers
	} else {
		headers = t.GRPC.Headers
	}
	for _, h := range headers {
		if h.Hidden {
			hidden = append(hidden, h.Value)
		}
	}
	for _, secret := range hidden {
		if v := secret.Reveal(); v != "" {
			s = strings.ReplaceAll(s, v, diag.Redacted)
		}
	}
	if diag.Secret([]byte(s)) {
		return " " + diag.Redacted
	}
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		return ""
	}
	if r := []rune(s); len(r) > shown {
		s = string(r[:shown]) + "…"
	}
	return " " + strconv.Quote(s)
}

// matches reports whether an expression of RE2 matches a whole value.
func matches(pattern, value string) bool {
	tree, err := regex.Parse(pattern)
	if err != nil {
		return false
	}
	re, err := regexp.Compile(`^(?:` + tree.String() + `)$`)
	return err == nil && re.MatchString(value)
}
