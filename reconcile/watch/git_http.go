package watch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// overHTTP is a remote behind smart HTTP (gitprotocol-http(5)). Connections are kept between looks.
type overHTTP struct {
	url  GitURL
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	auth GitAuth
	max  GitLimits

	mu     sync.Mutex
	ca     string // what client trusts
	client *http.Client
}

const handshakeTimeout = 10 * time.Second

func (h *overHTTP) open(context.Context) (session, error) {
	c, err := h.trusting()
	if err != nil {
		return nil, err
	}
	user, secret, err := h.auth.basic()
	if err != nil {
		return nil, err
	}
	if secret != "" && h.url.Scheme == "http" && !Loopback(h.url.Host) {
		return nil, &misuse{"credentials are not sent over http://, where everybody on the way reads them; use https://"}
	}
	return &httpSession{client: c, base: h.url.base(), user: user, secret: secret, max: h.max}, nil
}

// Loopback says whether credentials may go to host:port in clear: nobody is on the way.
func Loopback(hostport string) bool {
	host, _, _ := net.SplitHostPort(hostport)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// trusting is the client for the authorities that are trusted now. A file of them that has changed makes another.
func (h *overHTTP) trusting() (*http.Client, error) {
	var pem string
	if h.auth.CA != nil {
		var err error
		if pem, err = h.auth.CA(); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client != nil && h.ca == pem {
		return h.client, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if pem != "" {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM([]byte(pem)) {
			return nil, &misuse{"there is no certificate in the file of --git-ca-file; expected PEM"}
		}
	}
	if h.client != nil {
		h.client.CloseIdleConnections()
	}
	h.ca = pem
	h.client = &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := h.dial(ctx, network, addr)
				if err != nil {
					return nil, err
				}
				return &lively{c, h.max.Idle}, nil
			},
			TLSClientConfig: conf, TLSHandshakeTimeout: handshakeTimeout, ResponseHeaderTimeout: h.max.Idle, IdleConnTimeout: 5 * time.Minute,
			MaxIdleConnsPerHost: 1, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			first := via[0].URL
			switch {
			case r.URL.Scheme != first.Scheme || !strings.EqualFold(r.URL.Host, first.Host):
				return &redirected{r.URL.Scheme + "://" + r.URL.Host}
			case len(via) > 3:
				return errors.New("it redirects without end")
			}
			return nil
		},
	}
	return h.client, nil
}

// redirected refuses to be sent elsewhere.
type redirected struct{ to string }

func (e *redirected) Error() string {
	return "it redirects to " + said(e.to) + ", another host: if that is where the repository is now, give its URL"
}

// Reason is the word for conditions and events.
func (*redirected) Reason() string { return "Redirected" }

// misuse is a mistake of whoever set this up.
type misuse struct{ what string }

func (e *misuse) Error() string { return e.what }

// Reason is the word for conditions and events.
func (*misuse) Reason() string { return "Misconfigured" }

// lively ends a connection that brings nothing for a while.
type lively struct {
	net.Conn
	idle time.Duration
}

func (l *lively) Read(p []byte) (int, error) {
	if err := l.SetReadDeadline(time.Now().Add(l.idle)); err != nil {
		return 0, err
	}
	return l.Conn.Read(p)
}

func (l *lively) Write(p []byte) (int, error) {
	if err := l.SetWriteDeadline(time.Now().Add(l.idle)); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}

type httpSession struct {
	client       *http.Client
	base         string // without a slash at its end
	user, secret string
	max          GitLimits
	adv          *advertised
}

func (*httpSession) close() {}

const service = "git-upload-pack"

func (s *httpSession) refs(ctx context.Context) (*advertised, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/info/refs?service="+service, nil)
	if err != nil {
		return nil, err
	}
	res, err := s.do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if kind := res.Header.Get("Content-Type"); kind != "application/x-"+service+"-advertisement" {
		return nil, fmt.Errorf("it is no Git server: it answers with %q", said(kind))
	}
	s.base = strings.TrimSuffix(strings.TrimSuffix(res.Request.URL.String(), "?"+res.Request.URL.RawQuery), "/info/refs") // where the host sent us
	s.adv, err = readAdvertised(res.Body, s.max.Refs)
	return s.adv, err
}

func (s *httpSession) pack(ctx context.Context, w wanted) (io.ReadCloser, []plumbing.Hash, error) {
	body, err := request(s.adv, w)
	if err != nil {
		return nil, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/"+service, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Content-Type", "application/x-"+service+"-request")
	r.Header.Set("Accept", "application/x-"+service+"-result")
	res, err := s.do(r)
	if err != nil {
		return nil, nil, err
	}
	pack, shallow, err := readPack(res.Body, s.adv, w)
	if err != nil {
		res.Body.Close()
		return nil, nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{pack, res.Body}, shallow, nil
}

// do sends a request, with who we are. What is wrong is said without the URL, which the caller says.
func (s *httpSession) do(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", "git/flexgw") // forges go by "git/"
	if s.secret != "" {
		r.SetBasicAuth(s.user, s.secret)
	}
	res, err := s.client.Do(r)
	if err != nil {
		return nil, plainly(err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	res.Body.Close()
	with := "no credentials were given: --git-token-file or --git-password-file"
	if s.secret != "" {
		with = "the credentials that were given are wrong, or have expired"
	}
	switch res.StatusCode {
	case http.StatusUnauthorized:
		return nil, fmt.Errorf("it wants to know who we are (401): %s", with)
	case http.StatusForbidden:
		return nil, fmt.Errorf("it does not let us read the repository (403): %s", with)
	case http.StatusNotFound:
		return nil, errors.New("it has no such repository, or does not show it to us (404)")
	}
	return nil, fmt.Errorf("it answers with status %d", res.StatusCode)
}
