package hook

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// TLS is a configuration that shows the certificate of two PEM files, which are read again when they change. While they do
// not fit each other the last that did is shown.
func TLS(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	p := &pair{certFile: certFile, keyFile: keyFile, log: log}
	if _, err := p.load(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := p.load()
		if err != nil && c != nil {
			return c, nil
		}
		return c, err
	}}, nil
}

// pair is a certificate and its key, as they were read last.
type pair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu        sync.Mutex
	cert, key []byte
	value     *tls.Certificate
	failed    string // what was logged last
}

// load reads the files; with an error it gives what was read before, or nil.
func (p *pair) load() (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cert, err := os.ReadFile(p.certFile)
	if err != nil {
		return p.broken(err)
	}
	key, err := os.ReadFile(p.keyFile)
	if err != nil {
		return p.broken(err)
	}
	if p.value != nil && bytes.Equal(cert, p.cert) && bytes.Equal(key, p.key) {
		return p.value, nil
	}
	v, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return p.broken(fmt.Errorf("%s with %s: %w", p.certFile, p.keyFile, err))
	}
	p.cert, p.key, p.value, p.failed = cert, key, &v, ""
	return p.value, nil
}

// broken says once what is wrong.
func (p *pair) broken(err error) (*tls.Certificate, error) {
	if p.value != nil && p.failed != err.Error() {
		p.failed = err.Error()
		p.log.Error("hook: the certificate cannot be read again; the last one is shown", "error", err)
	}
	return p.value, err
}
