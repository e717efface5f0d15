package usage

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// What a Sink answers when a batch was not taken, each a type that says what happens next.
type (
	// RetryError goes away: the same batch is sent again later.
	RetryError struct {
		After time.Duration // what the server asked for; 0: nothing
		Err   error
	}
	// RefusedError is about this batch alone: the server will not take it, ever.
	RefusedError struct {
		Status int // 400, 413 or 422
		Err    error
	}
	// StoppedError lasts until somebody does something: nothing is sent any more.
	StoppedError struct {
		Reason Reason
		Err    error
	}
)

func (e *RetryError) Error() string   { return e.Err.Error() }
func (e *RetryError) Unwrap() error   { return e.Err }
func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }
func (e *StoppedError) Error() string { return e.Err.Error() }
func (e *StoppedError) Unwrap() error { return e.Err }

const (
	gzipAbove     = 1 << 10 // bytes of a body that is sent as it is
	maxAnswer     = 64 << 10
	maxRetryAfter = time.Hour
)

// Sink sends batches to the metering service of one registration. One goroutine uses it at a time.
type Sink struct {
	URL      string       // of the metering service, as the registration has it
	Client   *http.Client // that shows the registration's certificate
	NotAfter time.Time    // of that certificate; zero: not known
	Now      func() time.Time
	// Lasting says of an error of Client what an operator has to change, because trying again does not help; nil: of none.
	Lasting func(error) (why string, ok bool)
	Trust   string // what is said when the server's certificate is not trusted: whose would be; "": nothing

	known bool // the server has said that it understands what is invented here
	skew  time.Duration
}

// leastSkew is how far clocks are apart at least: a Date is a moment old when it is read.
const leastSkew = 2 * time.Second

// Skew is how far the server's clock was ahead of ours when it answered last, in whole seconds; 0: by less than two.
func (s *Sink) Skew() time.Duration { return s.skew }

// Deliver sends one batch, and returns up to which one the server has them all. Errors are of the types above, or ctx is done.
func (s *Sink) Deliver(ctx context.Context, b anypoint.Batch) (acked uint64, err error) {
	if err := s.Hello(ctx); err != nil {
		return 0, err
	}
	if err := b.Check(); err != nil { // whatever is in it does not leave the host
		return 0, &RefusedError{Status: http.StatusUnprocessableEntity, Err: fmt.Errorf("not sent, for it is no report as batch.schema.json has it: %w", err)}
	}
	body, err := json.Marshal(b)
	if err != nil {
		return 0, &RefusedError{Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, nil)
	if err != nil {
		return 0, &StoppedError{Misconfigured, fmt.Errorf("the metering URL of the registration cannot be called: %w", err)}
	}
	if len(body) > gzipAbove {
		body = compressed(body)
		req.Header.Set("Content-Encoding", "gzip")
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(anypoint.IdempotencyKey, b.BatchID)
	res, answer, err := s.do(req)
	if err != nil {
		return 0, err
	}
	return s.judge(res, answer, b.Seq)
}

// Hello asks once whether the server understands what is invented here. A server that does not is told nothing. Errors are those of
// Deliver, which asks too.
func (s *Sink) Hello(ctx context.Context) error {
	if !s.NotAfter.IsZero() && !s.Now().Before(s.NotAfter) {
		return &StoppedError{Rejected, fmt.Errorf("the certificate of the registration expired on %s: renew the registration (flexgw renew)", s.NotAfter.UTC().Format(time.DateOnly))}
	}
	if s.known {
		return nil
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return &StoppedError{Misconfigured, fmt.Errorf("the metering URL of the registration is %q, and https://HOST/PATH is expected", s.URL)}
	}
	to := url.URL{Scheme: u.Scheme, Host: u.Host, Path: anypoint.PathHello}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return &StoppedError{Misconfigured, err}
	}
	res, answer, err := s.do(req)
	if err != nil {
		return err
	}
	switch {
	case temporary(res.StatusCode):
		_, err := s.judge(res, answer, 0)
		return err
	case !understands(res):
		return s.stranger()
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusGone:
		_, err := s.judge(res, answer, 0)
		return err
	}
	s.known = true
	return nil
}

func understands(res *http.Response) bool {
	return res.Header.Get(anypoint.WireHeader) == anypoint.WireSim
}

func temporary(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500
}

func (s *Sink) stranger() error {
	s.known = false
	host := s.URL
	if u, err := url.Parse(s.URL); err == nil {
		host = u.Host
	}
	return &StoppedError{WireUnknown, fmt.Errorf("%s does not say that it understands flexgw's usage reports (header %s: %s): how the real platform wants them is not public, and flexgw does not guess. "+
		"Requests are counted all the same; flexgw usage export takes the counts away", host, anypoint.WireHeader, anypoint.WireSim)}
}

// do sends a request and reads the answer. Redirects are answers.
func (s *Sink) do(req *http.Request) (*http.Response, []byte, error) {
	req.Header.Set("User-Agent", "flexgw")
	c := *s.Client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := c.Do(req)
	if err != nil {
		return nil, nil, s.failed(req, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, nil, s.failed(req, err)
	}
	if at, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		ahead := at.Add(time.Second / 2).Sub(s.Now()) // a Date has whole seconds
		if s.skew = ahead.Round(time.Second); ahead.Abs() < leastSkew {
			s.skew = 0
		}
	}
	return res, answer, nil
}

// failed sorts what kept a request from being answered.
func (s *Sink) failed(req *http.Request, err error) error {
	if req.Context().Err() != nil {
		return req.Context().Err()
	}
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err // what was asked is said by who tells it
	}
	if s.Lasting != nil {
		if why, ok := s.Lasting(err); ok {
			return &StoppedError{Misconfigured, errors.New(why)}
		}
	}
	if alert := clientAlert(err); alert != "" {
		return &StoppedError{Rejected, fmt.Errorf("%s refuses the certificate of the registration (%s): renew the registration (flexgw renew)", req.URL.Host, alert)}
	}
	var unknown *tls.CertificateVerificationError
	if errors.As(err, &unknown) {
		err = fmt.Errorf("%s shows a certificate that is not trusted: %w", req.URL.Host, unknown.Err)
		if s.Trust != "" {
			err = fmt.Errorf("%w; %s", err, s.Trust)
		}
	}
	return &RetryError{Err: err}
}

// clientAlert is the TLS alert with which a server turns down a client's certificate; "": err is another one. crypto/tls has no
// type for alerts over TCP, only these words.
func clientAlert(err error) string {
	_, alert, ok := strings.Cut(err.Error(), "remote error: tls: ")
	if ok && (strings.Contains(alert, "certificate") || strings.Contains(alert, "access denied")) { // required, bad, expired, revoked, unsupported, unknown, of an unknown authority
		return alert
	}
	return ""
}

// judge reads an answer: the table in docs/anypoint.md, "Usage".
func (s *Sink) judge(res *http.Response, answer []byte, seq uint64) (acked uint64, err error) {
	said := s.said(res, answer)
	switch status := res.StatusCode; {
	case status >= 300 && status < 400:
		return 0, &StoppedError{Misconfigured, fmt.Errorf("%s sends us elsewhere, which is never followed: does the registration have the right metering URL?", said)}
	case temporary(status):
		return 0, &RetryError{s.retryAfter(res.Header.Get("Retry-After")), errors.New(said)}
	case !understands(res):
		return 0, s.stranger()
	case status == http.StatusOK || status == http.StatusAccepted:
		var ack anypoint.Ack
		if err := json.Unmarshal(answer, &ack); err != nil || !ack.Accepted {
			return 0, &RetryError{Err: fmt.Errorf("%s, and not that the batch was accepted", said)}
		}
		return ack.AckedSeq, nil
	case status == http.StatusConflict:
		return seq, nil
	case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity:
		return 0, &RefusedError{status, errors.New(said)}
	case status == http.StatusGone || status == http.StatusForbidden && strings.Contains(said, "deleted"):
		return 0, &StoppedError{Gone, fmt.Errorf("%s: the gateway was deleted on the platform; register it anew, what waits can be taken away with flexgw usage export", said)}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return 0, &StoppedError{Rejected, fmt.Errorf("%s: renew the registration (flexgw renew)", said)}
	}
	return 0, &StoppedError{Misconfigured, fmt.Errorf("%s, which no metering service answers: does the registration have the right metering URL?", said)}
}

// said is an answer in few words, with the server's own when it has some.
func (s *Sink) said(res *http.Response, answer []byte) string {
	text := fmt.Sprintf("%s answered %d", res.Request.URL.Host, res.StatusCode)
	if words := anypoint.Message(answer, nil); words != "" {
		text += fmt.Sprintf(" (%s)", words)
	}
	return text
}

// retryAfter reads seconds or a date; nobody makes us wait for longer than an hour.
func (s *Sink) retryAfter(text string) time.Duration {
	var wait time.Duration
	if n, err := strconv.ParseUint(text, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		wait = time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(s.Now())
	}
	return min(max(wait, 0), maxRetryAfter)
}

func compressed(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	if err = cmp.Or(err, w.Close()); err != nil {
		panic(err) // a buffer takes everything
	}
	return out.Bytes()
}
