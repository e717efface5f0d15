package egress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
)

// Anypoint's two purposes. Their rules are those of a gateway that is known for talking to the platform for nothing else: exactly the
// host and the port that the registration has, https, no redirect, nothing fetched beside (no revocation list, no OCSP).

// platform reports whether a purpose is one of the two.
func (p Purpose) platform() bool { return p == Registration || p == Usage }

const ruleHTTPS = "only https is spoken to Anypoint"

// callable reports whether a destination allows anything: one of the platform without a port would be all of its ports.
func (d Destination) callable() bool {
	_, _, err := net.SplitHostPort(d.Host)
	return err == nil || !d.Purpose.platform()
}

// TLS is how the hosts of one purpose are met. The zero value: with the roots of Options, and without a certificate of ours.
type TLS struct {
	Roots *x509.CertPool // in place of those of Options; nil: those. Roots adds to the system's
	// Certificate is shown to who asks for one. It is called at each handshake, so that a renewed one is shown without a restart, and
	// may be called from several goroutines. nil, or a nil certificate: none is shown.
	Certificate func() (*tls.Certificate, error)
}

// Roots are the system's, and the certificates in a PEM.
func Roots(pem []byte) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in it: PEM is expected, with BEGIN CERTIFICATE")
	}
	return pool, nil
}

// SetTLS says how the hosts of a purpose are met from the next connection on. Kept connections end: they may have been opened with
// a certificate that is no longer ours. For the purpose of proxies, see SetProxyTLS.
func (e *Egress) SetTLS(purpose Purpose, t TLS) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tls[purpose] = t
	e.renew(purpose)
}

// SetProxyTLS says how https:// proxies are met. A certificate of ours that SetTLS has for a purpose is not shown to a proxy.
func (e *Egress) SetProxyTLS(t TLS) { e.SetTLS(proxied, t) }

// tlsConfig is called while the lock is held.
func (e *Egress) tlsConfig(purpose Purpose) *tls.Config {
	t := e.tls[purpose]
	c := &tls.Config{RootCAs: e.options.RootCAs, MinVersion: tls.VersionTLS12}
	if t.Roots != nil {
		c.RootCAs = t.Roots
	}
	if t.Certificate != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := t.Certificate()
			if cert == nil && err == nil {
				cert = &tls.Certificate{}
			}
			return cert, err
		}
	}
	return c
}

var _ http.RoundTripper = (*guard)(nil)
