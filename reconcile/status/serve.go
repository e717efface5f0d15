package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Path is where the report is, below the socket's root.
const Path = "/v1/status"

// Serve answers GET Path on l with what report returns, until ctx is done. The socket's permissions are the only guard.
func Serve(ctx context.Context, l net.Listener, report func() Report) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, func(w http.ResponseWriter, _ *http.Request) {
		b, err := report().JSON()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(append(b, '\n'))
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(limit) != nil {
			s.Close()
		}
	})
	defer stop()
	if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve status on %s: %w", l.Addr(), err)
	}
	return nil
}

// Get asks the daemon behind a Unix socket.
func Get(ctx context.Context, socket string) (Report, error) {
	c := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://flexgw"+Path, nil)
	if err != nil {
		return Report{}, err
	}
	res, err := c.Do(req)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // who was dialled is said already
		}
		return Report{}, fmt.Errorf("no daemon answers at %s: %w", socket, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return Report{}, fmt.Errorf("ask the daemon at %s: %w", socket, err)
	}
	if res.StatusCode != http.StatusOK {
		return Report{}, fmt.Errorf("ask the daemon at %s: status %s", socket, res.Status)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return Report{}, fmt.Errorf("ask the daemon at %s: %w", socket, err)
	}
	return r, nil
}
