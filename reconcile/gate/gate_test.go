package gate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	return patient(t, time.Minute, allow...) // a busy host makes nobody a stranger
}

// patient is a door that waits so long for a handshake.
func patient(t *testing.T, limit time.Duration, allow ...string) *door {
	t.Helper()
	d := &door{t: t, dir: t.TempDir(), authority: gatetest.New(t, "ours"), log: &lines{}}
	server := d.authority.Issue(time.Hour, "127.0.0.1")
	gatetest.Put(t, d.path("crt"), server.Cert)
	gatetest.Put(t, d.path("key"), server.Key)
	gatetest.Put(t, d.path("ca"), d.authority.PEM)
	var err error
	hints := map[string]string{gate.NodeTaken: "give each Envoy a node id", gate.BadHandshake: "look into its log"}
	d.gate, err = gate.New(gate.Options{Hints: hints, Cert: d.path("crt"), Key: d.path("key"), ClientCA: d.path("ca"), Allow: allow, Log: slog.New(slog.NewTextHandler(d.log, nil)),
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
	d.gate.Patient(limit)
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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
			d.until(func() bool { // what is noted is told a moment later
				got = d.gate.Refusals()
				d.mu.Lock()
				defer d.mu.Unlock()
				return len(got) > 0 && got[0].Count > 1 && len(d.told) > 0
			})
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

// Who connects meets the certificates that there are; who is inside and of no authority any more is sent away.
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
		t.Errorf("the connection of before, before anybody looked: %v", err)
	}
	d.look()
	if r := d.gate.Refusals(); len(r) == 0 || r[0].Reason != gate.UnknownAuthority || r[0].Identity != "edge" || !strings.Contains(r[0].Message, "its connection was ended: ") {
		t.Errorf("%+v", r)
	}
	if _, err := ask(conn); err == nil {
		t.Error("the connection of before is still open")
	}
	if err := os.Remove(d.path("ca")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.call(next.Client(next.Issue(time.Hour, "edge"))); err != nil {
		t.Errorf("without a file: %v", err)
	}
}

// until waits for what comes sooner or later.
func (d *door) until(ok func() bool) {
	d.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("never, but %+v", d.gate.Refusals())
		}
	}
}

// look has the gate look after everything once.
func (d *door) look() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d.gate.Run(ctx)
}

func (d *door) later(x time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = time.Now().Add(x)
}

// Whoever connects has no file read that did not change by what the disk says of it; the look every 10 s reads them all.
func TestConnectingReadsNoFile(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	was, err := os.Stat(d.path("crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.path("crt"), bytes.Repeat([]byte("x"), int(was.Size())), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(d.path("crt"), was.ModTime(), was.ModTime()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.call(d.authority.Client(d.authority.Issue(time.Hour, "edge"))); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(d.log.String(), "can not be used") {
		t.Errorf("logged:\n%s", d.log)
	}
	d.look()
	if !strings.Contains(d.log.String(), "can not be used") {
		t.Errorf("logged:\n%s", d.log)
	}
}

func TestConnectionEndsWithItsCertificate(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	open := func(valid time.Duration) (*grpc.ClientConn, error) {
		conn, err := grpc.NewClient(d.address, grpc.WithTransportCredentials(credentials.NewTLS(d.authority.Client(d.authority.Issue(valid, "edge")))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_, err = ask(conn)
		return conn, err
	}
	long, err := open(30 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	valid := 3 * time.Second
	short, err := open(valid)
	for ; err != nil && valid < time.Minute; short, err = open(valid) { // a busy host may not be inside before it is over
		valid *= 2
	}
	if err != nil {
		t.Fatal(err)
	}
	d.until(func() bool {
		return slices.ContainsFunc(d.gate.Refusals(), func(r gate.Refusal) bool {
			return r.Reason == gate.Expired && strings.Contains(r.Message, "its connection was ended: its certificate is valid from ")
		})
	})
	if _, err := ask(short); err == nil {
		t.Error("it is still inside")
	}
	if _, err := ask(long); err != nil {
		t.Error(err)
	}
	d.later(40 * time.Minute) // the clock was set
	d.look()
	if _, err := ask(long); err == nil {
		t.Error("it is inside after the clock was set")
	}
}

// Whoever reaches the port can make no more noise than a little, and does not push out who is known.
func TestStrangersMakeLittleNoise(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.later(0) // and stays so: all within one minute
	d.gate.Refuse(gate.Peer{Address: "192.0.2.1:1", Identity: "edge"}, gate.NodeTaken, "m")
	for range 60 {
		stranger := gatetest.New(t, "x\x1b[2J\n"+strings.Repeat("y", 3000))
		if _, err := d.call(d.authority.Client(stranger.Issue(time.Hour, time.Now().Format("h150405.000000000")))); err == nil {
			t.Fatal("it was let in")
		}
	}
	for i := range 60 {
		d.gate.Fail("192.0.2."+strconv.Itoa(i)+":1", errors.New("\x1b[2J\n"+strings.Repeat("z", 3000)))
	}
	r := d.gate.Refusals()
	if last := r[1]; last.Reason != gate.BadHandshake || !strings.Contains(last.Message, "·[2J·zzz") || !strings.Contains(last.Message, "look into its log") {
		t.Errorf("%+v", last)
	}
	if len(r) != 33 || r[0].Reason != gate.NodeTaken || !strings.Contains(r[0].Message, "give each Envoy") {
		t.Errorf("%d: %+v", len(r), r)
	}
	for _, x := range r {
		if strings.ContainsAny(x.Message+x.Identity, "\x1b\n") || len(x.Message)+len(x.Identity) > 1200 {
			t.Fatalf("%+v", x)
		}
	}
	d.mu.Lock()
	n, first := len(d.told), d.told[1]
	d.mu.Unlock()
	if n != 11 || first.Reason != gate.UnknownAuthority || !strings.Contains(first.Message, `x\x1b[2J\nyyy`) { // ten and the one who is known
		t.Errorf("told %d, %+v", n, first)
	}
	d.look()
	d.later(61 * time.Second)
	d.look()
	d.look()
	d.mu.Lock()
	defer d.mu.Unlock()
	if last := d.told[len(d.told)-1]; len(d.told) != 12 || last.Reason != gate.LeftOut || last.Count != 51 || last.Address != "" || !strings.HasPrefix(last.Message, "51 refusals more") {
		t.Errorf("%d, %+v", len(d.told), last)
	}
}

// Handshakes that nobody goes on with shut out nobody.
func TestHandshakesThatHang(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	for range 300 {
		c, err := net.Dial("tcp", d.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	d.until(func() bool { return len(d.gate.Refusals()) > 0 })
	if r := d.gate.Refusals(); len(r) != 1 || r[0].Reason != gate.TooMany {
		t.Errorf("%+v", r)
	}
	if _, err := d.call(d.authority.Client(d.authority.Issue(time.Hour, "edge"))); err != nil {
		t.Error(err)
	}
	d = patient(t, 200*time.Millisecond)
	c, err := net.Dial("tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("a handshake is open for ever")
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
