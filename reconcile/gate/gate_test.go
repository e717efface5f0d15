package gate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/flexgw/flexgw/reconcile/gate"
	"github.com/flexgw/flexgw/reconcile/gate/gatetest"
)

// door is a gate in front of a gRPC server on loopback.
type door struct {
	t         *testing.T
	dir       string
	authority *gatetest.Authority
	gate      *gate.Gate
	address   string
	log       *lines

	mu   sync.Mutex
	told []gate.Refusal
	now  time.Time // zero: the time
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (d *door) path(name string) string { return filepath.Join(d.dir, name) }

func newDoor(t *testing.T, allow ...string) *door {
	t.Helper()
	d := &door{t: t, dir: t.TempDir(), authority: gatetest.New(t, "ours"), log: &lines{}}
	server := d.authority.Issue(time.Hour, "127.0.0.1")
	gatetest.Put(t, d.path("crt"), server.Cert)
	gatetest.Put(t, d.path("key"), server.Key)
	gatetest.Put(t, d.path("ca"), d.authority.PEM)
	var err error
	d.gate, err = gate.New(gate.Options{Cert: d.path("crt"), Key: d.path("key"), ClientCA: d.path("ca"), Allow: allow, Log: slog.New(slog.NewTextHandler(d.log, nil)),
		Now: func() time.Time {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.now.IsZero() {
				return time.Now()
			}
			return d.now
		},
		Refused: func(r gate.Refusal) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.told = append(d.told, r)
		}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.address = l.Addr().String()
	s := grpc.NewServer(grpc.Creds(d.gate.Credentials()), grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		p, ok := gate.From(ctx)
		if !ok || p.Address == "" {
			t.Errorf("a call without a peer: %+v", p)
		}
		grpc.SetHeader(ctx, map[string][]string{"identity": {p.Identity}})
		return h(ctx, req)
	}))
	healthv1.RegisterHealthServer(s, health.NewServer())
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return d
}

// call asks through the gate, once, and says as whom it was taken.
func (d *door) call(c *tls.Config) (string, error) {
	conn, err := grpc.NewClient(d.address, grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	return ask(conn)
}

func ask(conn *grpc.ClientConn) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var md metadata.MD
	_, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{}, grpc.Header(&md))
	return strings.Join(md.Get("identity"), " "), err
}

func TestWhoIsLetIn(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "edge-1.example.com", "spiffe://example.com/edge")
	for _, c := range []struct{ name, want string }{
		{"edge-1.example.com", "edge-1.example.com"}, {"EDGE-1.example.com", "EDGE-1.example.com"}, {"spiffe://example.com/edge", "spiffe://example.com/edge"},
	} {
		got, err := d.call(d.authority.Client(d.authority.Issue(time.Hour, "other.example.com", c.name)))
		if err != nil || got != c.want {
			t.Errorf("%s: %q %v", c.name, got, err)
		}
	}
	if r := d.gate.Refusals(); r != nil {
		t.Errorf("%+v", r)
	}
	open := newDoor(t)
	if got, err := open.call(open.authority.Client(open.authority.Issue(time.Hour, "a", "b"))); err != nil || got != "a" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := open.call(open.authority.Client(open.authority.Issue(time.Hour))); err != nil || got != "CN=common" {
		t.Errorf("%q %v", got, err)
	}
}

func TestWhoIsRefused(t *testing.T) {
	t.Parallel()
	strangers := gatetest.New(t, "theirs")
	for _, c := range []struct {
		name     string
		connect  func(d *door) error
		reason   string
		identity string
		message  string
	}{
		{"no certificate", func(d *door) error { _, err := d.call(d.authority.Client(gatetest.Pair{})); return err }, gate.NoCertificate, "", "showed no certificate"},
		{"wrong authority", func(d *door) error {
			_, err := d.call(d.authority.Client(strangers.Issue(time.Hour, "edge")))
			return err
		}, gate.UnknownAuthority, "edge", `signed by "CN=theirs"`},
		{"expired", func(d *door) error {
			_, err := d.call(d.authority.Client(d.authority.Issue(-time.Minute, "edge")))
			return err
		}, gate.Expired, "edge", "valid from "},
		{"not allowed", func(d *door) error {
			_, err := d.call(d.authority.Client(d.authority.Issue(time.Hour, "edge.example.com", "spiffe://x/y")))
			return err
		}, gate.NotAllowed, "spiffe://x/y", "none of its names is allowed: spiffe://x/y, edge.example.com"},
		{"the common name is no name", func(d *door) error {
			_, err := d.call(d.authority.Client(d.authority.Issue(time.Hour)))
			return err
		}, gate.NotAllowed, "CN=common", "no DNS name and no URI"},
		{"distrusts us", func(d *door) error {
			_, err := d.call(strangers.Client(d.authority.Issue(time.Hour, "edge")))
			return err
		}, gate.DistrustsUs, "", "bad certificate"},
		{"TLS 1.2", func(d *door) error {
			c := d.authority.Client(d.authority.Issue(time.Hour, "edge"))
			c.MaxVersion = tls.VersionTLS12
			_, err := d.call(c)
			return err
		}, gate.OldTLS, "", "TLS 1.3"},
		{"plaintext", func(d *door) error {
			c, err := net.Dial("tcp", d.address)
			if err != nil {
				return nil
			}
			defer c.Close()
			io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
			b, _ := io.ReadAll(c)
			if bytes.Contains(b, []byte("HTTP")) {
				return nil
			}
			return io.EOF
		}, gate.NotTLS, "", "does not speak TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, "edge")
			for range 2 {
				if err := c.connect(d); err == nil {
					t.Fatal("it was let in")
				}
			}
			var got []gate.Refusal
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
				if got = d.gate.Refusals(); len(got) > 0 && got[0].Count > 1 {
					break
				}
			}
			if len(got) != 1 || got[0].Reason != c.reason || got[0].Identity != c.identity || got[0].Address != "127.0.0.1" || got[0].Count < 2 || !strings.Contains(got[0].Message, c.message) {
				t.Fatalf("%+v", got)
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if len(d.told) != 1 || strings.Count(d.log.String(), "a peer was refused") != 1 {
				t.Errorf("told %d times, logged:\n%s", len(d.told), d.log)
			}
			if !strings.Contains(d.log.String(), "reason="+c.reason) {
				t.Errorf("logged:\n%s", d.log)
			}
		})
	}
}

func TestSilenceIsNoNews(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	c, err := net.Dial("tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := d.call(d.authority.Client(d.authority.Issue(time.Hour, "edge"))); err != nil {
		t.Fatal(err)
	}
	if r := d.gate.Refusals(); r != nil {
		t.Errorf("%+v", r)
	}
}

// A connection outlives the certificates with which it was made; who connects next meets those that there are.
func TestFilesThatChange(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	old := d.authority
	conn, err := grpc.NewClient(d.address, grpc.WithTransportCredentials(credentials.NewTLS(old.Client(old.Issue(time.Hour, "edge")))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := ask(conn); err != nil {
		t.Fatal(err)
	}
	next := gatetest.New(t, "next")
	server := next.Issue(time.Hour, "127.0.0.1")
	gatetest.Put(t, d.path("crt"), server.Cert) // the key of another certificate, for a moment
	if _, err := d.call(old.Client(old.Issue(time.Hour, "edge"))); err != nil {
		t.Errorf("between two files: %v", err)
	}
	if !strings.Contains(d.log.String(), "can not be used") {
		t.Errorf("logged:\n%s", d.log)
	}
	gatetest.Put(t, d.path("key"), server.Key)
	gatetest.Put(t, d.path("ca"), next.PEM)
	if got, err := d.call(next.Client(next.Issue(time.Hour, "edge"))); err != nil || got != "edge" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := d.call(old.Client(old.Issue(time.Hour, "edge"))); err == nil {
		t.Error("the authority of before is still taken")
	}
	if _, err := ask(conn); err != nil {
		t.Errorf("the connection of before: %v", err)
	}
	if err := os.Remove(d.path("ca")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.call(next.Client(next.Issue(time.Hour, "edge"))); err != nil {
		t.Errorf("without a file: %v", err)
	}
}

func TestRefusalsAreForgotten(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	for i := range 40 {
		d.gate.Refuse(gate.Peer{Address: "192.0.2.1:1", Identity: strings.Repeat("x", i)}, gate.NodeTaken, "m")
	}
	if r := d.gate.Refusals(); len(r) != 32 || len(r[0].Identity) != 39 {
		t.Errorf("%d, the newest %+v", len(r), r[0])
	}
	d.mu.Lock()
	d.now = time.Now().Add(2 * time.Hour)
	d.mu.Unlock()
	if r := d.gate.Refusals(); r != nil {
		t.Errorf("%+v", r)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	for want, o := range map[string]gate.Options{
		"no such file":    {Cert: d.path("none"), Key: d.path("key"), ClientCA: d.path("ca")},
		"no certificate":  {Cert: d.path("crt"), Key: d.path("key"), ClientCA: d.path("key")},
		"failed to find":  {Cert: d.path("key"), Key: d.path("key"), ClientCA: d.path("ca")},
		"without wildcar": {Cert: d.path("crt"), Key: d.path("key"), ClientCA: d.path("ca"), Allow: []string{"*.example.com"}},
	} {
		if _, err := gate.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
