package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/flexgw/flexgw/reconcile/status"
)

// Client asks the daemon behind a Unix socket, or one on another host. Its methods return an *Error for what the daemon would
// not do, and other errors when none answers.
type Client struct {
	Socket string // path of the Unix socket; with Dial, what messages call the daemon
	// Dial opens a connection of TLS to a daemon on another host, on which HTTP/2 was agreed; nil: it is the one behind Socket.
	Dial func(ctx context.Context) (*tls.Conn, error)
	// Unsettled has answers list only the objects of which a condition is not True: of ten thousand APIs, all of them are 30 MB.
	Unsettled bool
}

// transport reaches the daemon.
func (c Client) transport() *http.Transport {
	if c.Dial != nil {
		return &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.Dial(ctx) },
			DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.ErrUnsupported }}
	}
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.Socket)
	}}
}

// Status is the report of the daemon.
func (c Client) Status(ctx context.Context) (r status.Report, err error) {
	return r, c.call(ctx, http.MethodGet, StatusPath, nil, &r)
}

// History lists what happened, the newest first, limit at most; 0: all.
func (c Client) History(ctx context.Context, limit int) (h History, err error) {
	path := HistoryPath
	if limit > 0 {
		path += "?limit=" + strconv.Itoa(limit)
	}
	return h, c.call(ctx, http.MethodGet, path, nil, &h)
}

// Egress lists whom the daemon calls.
func (c Client) Egress(ctx context.Context) (e Egress, err error) {
	return e, c.call(ctx, http.MethodGet, EgressPath, nil, &e)
}

// Apply has declarations served, and waits for what Envoy makes of them.
func (c Client) Apply(ctx context.Context, r ApplyRequest) (o Outcome, err error) {
	return o, c.call(ctx, http.MethodPost, ApplyPath, r, &o)
}

// Rollback has an older revision served.
func (c Client) Rollback(ctx context.Context, r RollbackRequest) (o Outcome, err error) {
	return o, c.call(ctx, http.MethodPost, RollbackPath, r, &o)
}

// Sync has the source looked at now.
func (c Client) Sync(ctx context.Context, r SyncRequest) (o Outcome, err error) {
	return o, c.call(ctx, http.MethodPost, SyncPath, r, &o)
}

// Suspend stops the following of the source.
func (c Client) Suspend(ctx context.Context, q SuspendRequest) (r status.Report, err error) {
	return r, c.call(ctx, http.MethodPost, SuspendPath, q, &r)
}

// Resume follows the source again.
func (c Client) Resume(ctx context.Context, q OperatorRequest) (r status.Report, err error) {
	return r, c.call(ctx, http.MethodPost, ResumePath, q, &r)
}

// Cordon sets one Envoy aside.
func (c Client) Cordon(ctx context.Context, q CordonRequest) (r status.Report, err error) {
	return r, c.call(ctx, http.MethodPost, CordonPath, q, &r)
}

// Uncordon has it count again.
func (c Client) Uncordon(ctx context.Context, q UncordonRequest) (r status.Report, err error) {
	return r, c.call(ctx, http.MethodPost, UncordonPath, q, &r)
}

func (c Client) call(ctx context.Context, method, path string, in, out any) error {
	var met atomic.Bool // the handshake with a daemon on another host was done
	scheme := "http"
	if dial := c.Dial; dial != nil {
		scheme = "https"
		c.Dial = func(ctx context.Context) (*tls.Conn, error) {
			conn, err := dial(ctx)
			met.Store(err == nil)
			return conn, err
		}
	}
	h := &http.Client{Transport: c.transport()}
	defer h.CloseIdleConnections()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	if c.Unsettled && path != HistoryPath && !strings.Contains(path, "?") {
		path += "?objects=" + unsettledObjects
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+"://flexgw"+path, body)
	if err != nil {
		return err
	}
	res, err := h.Do(req)
	if err != nil {
		var op *net.OpError
		var asked *url.Error
		if errors.As(err, &op) {
			err = op.Err // who was dialled is said already
		} else if errors.As(err, &asked) {
			err = asked.Err // so is what was asked
		}
		if met.Load() && ctx.Err() == nil && !strings.Contains(err.Error(), "tls: ") { // which would say why
			err = fmt.Errorf("it ended the connection as soon as it knew the certificate, as a daemon does with names that its --api-allow does not have (its own flexgw status says whom it turned away): %w", err)
		}
		return fmt.Errorf("no daemon answers at %s: %w", c.Socket, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("ask the daemon at %s: %w", c.Socket, err)
	}
	if res.StatusCode != http.StatusOK {
		var e Error
		if json.Unmarshal(b, &e) == nil && e.Code != "" {
			return &e
		}
		return fmt.Errorf("ask the daemon at %s: status %s", c.Socket, res.Status)
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("ask the daemon at %s: %w", c.Socket, err)
	}
	return nil
}
