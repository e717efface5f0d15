package envoy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/peercred"
)

// Admin asks one Envoy through the Unix socket of its admin interface. Every answer costs Envoy's main thread time: never
// ask for a whole config dump (seconds at 10,000 APIs).
type Admin struct {
	socket string
	client *http.Client
}

// NewAdmin opens nothing yet.
func NewAdmin(socket string) *Admin {
	return &Admin{socket: socket, client: &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
			// An idle connection would be counted as one to be drained, and be dead after a restart.
			DisableKeepAlives: true,
		},
	}}
}

// StatusError is an answer other than 200.
type StatusError struct {
	Path   string
	Status int
	Body   string // cut to 300 bytes
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("envoy admin %s: status %d: %s", e.Path, e.Status, e.Body)
}

// Get asks; path begins with a slash and has its query.
func (a *Admin) Get(ctx context.Context, path string) ([]byte, error) {
	return a.ask(ctx, http.MethodGet, path)
}

// Post changes something, as Envoy's admin interface demands.
func (a *Admin) Post(ctx context.Context, path string) ([]byte, error) {
	return a.ask(ctx, http.MethodPost, path)
}

func (a *Admin) ask(ctx context.Context, method, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://envoy"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("envoy admin: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("envoy admin %s: %w", path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return body, &StatusError{Path: path, Status: answer.StatusCode, Body: string(body[:min(len(body), 300)])}
	}
	return body, nil
}

// ServerInfo is what is used of Envoy's own answer of that name.
type ServerInfo struct {
	Version string // "1.40.0"
	State   string
	BaseID  uint32
	NodeID  string
}

// ServerInfo asks who it is.
func (a *Admin) ServerInfo(ctx context.Context) (ServerInfo, error) {
	body, err := a.Get(ctx, "/server_info")
	if err != nil {
		return ServerInfo{}, err
	}
	var raw struct {
		Version string
		State   string
		Node    struct{ ID string }
		Options struct {
			BaseID string `json:"base_id"` // a 64-bit number, so a string in JSON
		} `json:"command_line_options"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return ServerInfo{}, fmt.Errorf("envoy admin /server_info: %w", err)
	}
	base, _ := strconv.ParseUint(raw.Options.BaseID, 10, 32)
	return ServerInfo{Version: version(raw.Version), State: raw.State, BaseID: uint32(base), NodeID: raw.Node.ID}, nil
}

// Listener is what the admin interface says of one dynamic listener.
type Listener struct {
	Name    string
	Active  string // version that serves; "" when none does
	Warming string // version that waits for something it names; "" when none does
	IsWarm  bool   // nothing waits
	Error   string // why the last update was refused; cleared by the next accepted listener update, of whatever listener
}

// Warming is what Envoy has accepted but does not use yet.
type Warming struct {
	Clusters  []string   // sorted
	Listeners []Listener // all dynamic ones, sorted by name
}

// Done reports whether nothing warms.
func (w Warming) Done() bool {
	return len(w.Clusters) == 0 && !slices.ContainsFunc(w.Listeners, func(l Listener) bool { return !l.IsWarm })
}

// Warming asks masked questions only: they are cheap, and unknown types in a refused listener cannot break the answer.
func (a *Admin) Warming(ctx context.Context) (Warming, error) {
	var w Warming
	var clusters struct {
		Configs []struct{ Cluster struct{ Name string } }
	}
	if err := a.dump(ctx, "dynamic_warming_clusters", "version_info,cluster.name", &clusters); err != nil {
		return w, err
	}
	for _, c := range clusters.Configs {
		w.Clusters = append(w.Clusters, c.Cluster.Name)
	}
	slices.Sort(w.Clusters)
	var listeners struct {
		Configs []struct {
			Name   string
			Active *struct {
				Version string `json:"version_info"`
			} `json:"active_state"`
			Warming *struct {
				Version string `json:"version_info"`
			} `json:"warming_state"`
			Error *struct{ Details string } `json:"error_state"`
		}
	}
	if err := a.dump(ctx, "dynamic_listeners", "name,active_state.version_info,warming_state.version_info,error_state.details", &listeners); err != nil {
		return w, err
	}
	for _, c := range listeners.Configs {
		if c.Name == "" {
			continue // a refusal leaves one entry more, without a name
		}
		l := Listener{Name: c.Name, IsWarm: c.Warming == nil}
		if c.Active != nil {
			l.Active = c.Active.Version
		}
		if c.Warming != nil {
			l.Warming = c.Warming.Version
		}
		if c.Error != nil {
			l.Error = c.Error.Details
		}
		w.Listeners = append(w.Listeners, l)
	}
	slices.SortFunc(w.Listeners, func(a, b Listener) int { return strings.Compare(a.Name, b.Name) })
	return w, nil
}

func (a *Admin) dump(ctx context.Context, resource, mask string, into any) error {
	body, err := a.Get(ctx, "/config_dump?resource="+resource+"&mask="+mask)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("envoy admin: dump of %s: %w", resource, err)
	}
	return nil
}

// Stats are the counters and gauges whose names match an RE2 expression. Envoy looks at all it has, so this takes up to
// 0.3 s at 10,000 APIs.
func (a *Admin) Stats(ctx context.Context, filter string) (map[string]uint64, error) {
	body, err := a.Get(ctx, "/stats?filter="+url.QueryEscape(filter))
	if err != nil {
		return nil, err
	}
	stats := map[string]uint64{}
	for line := range bytes.Lines(body) {
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), ": ")
		if n, err := strconv.ParseUint(value, 10, 64); ok && err == nil {
			stats[name] = n
		}
	}
	return stats, nil
}

// Drain fails the health check and begins to close the listeners: for the drain time that Envoy was started with it
// still takes connections, and asks clients to go; then it takes none.
func (a *Admin) Drain(ctx context.Context) error {
	if _, err := a.Post(ctx, "/healthcheck/fail"); err != nil {
		return err
	}
	_, err := a.Post(ctx, "/drain_listeners?graceful")
	return err
}

// Traffic is what the listeners have to do.
type Traffic struct {
	Connections uint64 // open now
	Requests    uint64 // being answered now, websockets included
	Total       uint64 // requests ever
}

const adminPrefix = "http.admin." // these questions are not traffic

// Traffic sums over all listeners but the admin interface.
func (a *Admin) Traffic(ctx context.Context) (Traffic, error) {
	stats, err := a.Stats(ctx, `^(http|tcp)\..*\.downstream_(cx_active|rq_active|rq_total)$`)
	if err != nil {
		return Traffic{}, err
	}
	var t Traffic
	for name, n := range stats {
		switch {
		case strings.HasPrefix(name, adminPrefix):
		case strings.HasSuffix(name, ".downstream_cx_active"):
			t.Connections += n
		case strings.HasSuffix(name, ".downstream_rq_active"):
			t.Requests += n
		default:
			t.Total += n
		}
	}
	return t, nil
}

// PID is the process behind the socket: SO_PEERCRED, unix(7).
func (a *Admin) PID(ctx context.Context) (pid int, err error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", a.socket)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	pid, _, err = peercred.Of(c.(*net.UnixConn))
	return pid, err
}
