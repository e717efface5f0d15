package anypoint

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// call is one request.
type call struct {
	op           string
	method, path string
	query        url.Values
	body         any // nil: none
	bearer       Secret
	in           In
	scopes       []string
	hide         []string // what must not be in a message, beside bearer
	login        bool
	registers    bool
	empty        bool // the answer may have no JSON
	any          bool // whatever the status is
	once         bool // it is not tried again
	adds         bool // made twice, there are two: it is not tried again where it may have been done
}

// answer is one that was not refused.
type answer struct {
	op     string
	status int
	header http.Header
	body   []byte
}

func (a *answer) json(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return &Error{Op: a.op, Kind: NoPlatform, Status: a.status, Doubt: true}
	}
	return nil
}

// The patience of a call.
const (
	maxTries  = 4
	firstWait = time.Second
	maxWait   = 30 * time.Second // that the platform may ask for; for more, the user decides
	maxTrying = 2 * time.Minute  // after which no try begins
	maxAnswer = 4 << 20          // bytes
)

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// do makes a call, and makes it again when it can be hoped to succeed.
func (c *Client) do(ctx context.Context, x call) (*answer, error) {
	wait, doubt, begun := firstWait, false, c.now()
	for try := 1; ; try++ {
		a, err := c.try(ctx, x)
		e := (*Error)(nil)
		if err == nil || !errors.As(err, &e) {
			return a, err
		}
		doubt = doubt || e.undecided()
		e.Doubt = doubt
		if unknown := (x509.UnknownAuthorityError{}); errors.As(e.Err, &unknown) {
			e.Trust = c.Trust
		}
		d := max(wait, e.After)
		if e.Kind != Busy && e.Kind != Unavailable || try == maxTries || x.once || x.adds && doubt || ctx.Err() != nil || permanent(e.Err) || d > maxWait || c.now().Add(d).Sub(begun) > maxTrying {
			return nil, err
		}
		if c.Wait != nil {
			c.Wait(e.Error(), d)
		}
		if c.sleep(ctx, d) != nil {
			return nil, err
		}
		wait *= 2
	}
}

// undecided reports whether what was asked for may have been done all the same. A 503 says that it was not (RFC 9110, 15.6.4); a 502 or
// 504 is of who lost the answer, and of a 2xx or 408 that is not the platform's nobody knows.
func (e *Error) undecided() bool {
	switch {
	case e.Status == 0:
		return !unsent(e.Err)
	case e.Status == http.StatusServiceUnavailable:
		return false
	}
	return e.Status/100 == 5 || e.Status/100 == 2 || e.Status == http.StatusRequestTimeout
}

// unsent reports whether an error is from before the request left: who is called was not found, not reached, or not who they should be.
func unsent(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	var untrusted *tls.CertificateVerificationError
	var between interface{ MayPass() bool } // of egress: nobody was called
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial" || errors.As(err, &untrusted) || errors.As(err, &between)
}

// permanent reports whether an error stays the same when it is tried again: a certificate that is not trusted, a host that is not
// allowed or has no address.
func permanent(err error) bool {
	if err == nil {
		return false
	}
	var between interface{ MayPass() bool }
	if errors.As(err, &between) {
		return !between.MayPass()
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsNotFound
	}
	var op *net.OpError
	var timeout net.Error
	text := reason(err)
	return !errors.As(err, &op) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !(errors.As(err, &timeout) && timeout.Timeout()) &&
		!strings.HasPrefix(text, "http2: ") && !strings.HasPrefix(text, "stream error: ") // the library has no types for a connection of HTTP/2 that breaks
}

func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	if c.Sleep != nil {
		return c.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) try(ctx context.Context, x call) (*answer, error) {
	var body io.Reader = http.NoBody
	if x.body != nil {
		b, err := json.Marshal(x.body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.op, err)
		}
		body = bytes.NewReader(b)
	}
	to := strings.TrimSuffix(c.Base, "/") + x.path
	if x.query != nil {
		to += "?" + x.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, x.method, to, body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.op, err)
	}
	r.Header.Set("Accept", "application/json")
	if x.method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.UserAgent != "" {
		r.Header.Set("User-Agent", c.UserAgent)
	}
	if !x.bearer.IsZero() {
		r.Header.Set("Authorization", "Bearer "+x.bearer.Reveal())
	}
	if x.in.Organization != "" {
		r.Header.Set(HeaderOrganization, x.in.Organization)
	}
	if x.in.Environment != "" {
		r.Header.Set(HeaderEnvironment, x.in.Environment)
	}
	h := *c.HTTP
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	h.Jar = nil
	resp, err := h.Do(r)
	if err != nil {
		return nil, &Error{Op: x.op, Kind: Unavailable, Err: err}
	}
	defer resp.Body.Close()
	c.date, _ = http.ParseTime(resp.Header.Get("Date")) // zero where it can not be read
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, &Error{Op: x.op, Kind: Unavailable, Err: fmt.Errorf("the answer breaks off: %w", err)}
	}
	if len(b) > maxAnswer {
		return nil, &Error{Op: x.op, Kind: NoPlatform, Status: resp.StatusCode}
	}
	a := &answer{op: x.op, status: resp.StatusCode, header: resp.Header, body: b}
	busy := a.status/100 == 5 || a.status == http.StatusTooManyRequests
	if x.any && !busy || a.status/100 == 2 && (x.empty || json.Valid(b)) {
		return a, nil
	}
	return nil, c.refusal(x, a)
}

// retryAfter is how long the platform wants to be left alone: seconds or a date (RFC 9110, 10.2.3); 0: it does not say.
func (c *Client) retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return time.Duration(min(n, 24*60*60)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(c.now()).Round(time.Second))
	}
	return 0
}
