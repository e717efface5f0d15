package preflight_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/ports"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/preflight"
)

// tool is a program of Debian's; its absence fails the test, unless -short leaves the test out.
func tool(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs " + name)
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin"} {
		if path := filepath.Join(dir, name); isFile(path) {
			return path
		}
	}
	t.Fatalf("%s is missing: .ci/run names its package", name)
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// open is a folder that another user may write to.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "preflight")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// hash is a password as crypt(3) keeps it.
func hash(t *testing.T, kind, password string) string {
	t.Helper()
	out, err := exec.Command("openssl", "passwd", kind, password).Output()
	if err != nil {
		t.Fatalf("openssl passwd: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// accept takes connections until the listener is closed, one after the other.
func accept(l net.Listener, do func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		do(c)
		c.Close()
	}
}

// start runs a proxy until the test ends, and waits until it takes connections.
func start(t *testing.T, cmd *exec.Cmd, addr string) {
	t.Helper()
	out := &strings.Builder{}
	var mu sync.Mutex
	cmd.Stdout = writer(func(b []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return out.Write(b) })
	cmd.Stderr = cmd.Stdout
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	})
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
		select {
		case <-ended:
			mu.Lock()
			defer mu.Unlock()
			t.Fatalf("%s ended: %s", cmd.Path, out)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s takes no connections at %s", cmd.Path, addr)
		}
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// throughEgress gives a world the process's own dialer, as the command has it, with who may be called.
func throughEgress(t *testing.T, n *internet, w *preflight.World, o preflight.Options) {
	t.Helper()
	w.Roots = x509.NewCertPool()
	w.Roots.AddCert(n.public.cert)
	e := egress.New(egress.Options{})
	var allowed []egress.Destination
	for _, addr := range preflight.Called(o) {
		allowed = append(allowed, egress.Destination{Host: addr})
	}
	if o.Proxy != nil {
		allowed = append(allowed, egress.Destination{Host: o.Proxy.Addr()})
	}
	if !o.Forward.IsZero() {
		allowed = append(allowed, egress.Destination{Host: o.Forward.Addr()})
	}
	w.Tunnel = func(ctx context.Context, through egress.Proxy, addr string) (net.Conn, error) {
		return e.Tunnel(ctx, egress.Preflight, through, addr)
	}
	if o.Socks != nil {
		allowed = append(allowed, egress.Destination{Host: o.Socks.Addr()})
	}
	e.Set(egress.Preflight, allowed)
	w.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		t.Error("a name was looked up here, and not by the proxy")
		return nil, os.ErrPermission
	}
	w.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return e.Dial(ctx, egress.Preflight, network, addr)
	}
}

// behind are options for the internet of a test behind a proxy: the platform, which the proxy allows, and usage, which it does not.
func behind(n *internet, forbidden string) (o preflight.Options, platform, usage string) {
	_, port, _ := net.SplitHostPort(n.addr)
	platform, usage = "platform.example:"+port, "usage.example:"+forbidden
	o.Registration = preflight.Registration{Platform: platform, Usage: usage}
	return o, platform, usage
}

func TestSquid(t *testing.T) {
	t.Parallel()
	squid := tool(t, "squid")
	n := newInternet(t)
	dir, addr := open(t), ports.Addr(t)
	_, allowed, err := net.SplitHostPort(n.addr)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "passwd"), "gateway:"+hash(t, "-1", "secret")+"\n")
	write(t, filepath.Join(dir, "hosts"), "127.0.0.1 platform.example usage.example\n")
	write(t, filepath.Join(dir, "squid.conf"), strings.NewReplacer("DIR", dir, "ADDR", addr).Replace(`http_port ADDR
pid_filename none
cache deny all
cache_mem 8 MB
cache_log DIR/cache.log
access_log stdio:DIR/access.log
coredump_dir DIR
hosts_file DIR/hosts
dns_nameservers 127.0.0.1
visible_hostname proxy.example
shutdown_lifetime 0 seconds
auth_param basic program /usr/lib/squid/basic_ncsa_auth DIR/passwd
auth_param basic children 1
acl known proxy_auth REQUIRED
acl platform dstdomain platform.example
http_access deny !known
http_access allow CONNECT platform
http_access deny all
`))
	cmd := exec.Command(squid, "-N", "-f", filepath.Join(dir, "squid.conf"))
	if os.Getuid() == 0 { // it refuses to run as root
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	start(t, cmd, addr)

	judge := func(credentials string) ([]preflight.Result, string, string) {
		o, platform, usage := behind(n, allowed)
		p, err := egress.ParseProxy("http://" + credentials + addr)
		if err != nil {
			t.Fatal(err)
		}
		o.Proxy, o.Forward = &p, p
		w := world(t, good())
		throughEgress(t, n, &w, o)
		found := run(t, w, o)
		for _, r := range found {
			if text := fmt.Sprint(r); strings.Contains(text, "secret") || strings.Contains(text, "wrong") {
				t.Errorf("the password is shown: %s", text)
			}
		}
		want(t, find(t, found, "proxy.reach", p.String()), preflight.OK, "connected to "+addr)
		return found, platform, usage
	}
	found, platform, usage := judge("gateway:secret@")
	want(t, find(t, found, "network.dns", platform), preflight.Skipped, "the proxy looks it up")
	want(t, find(t, found, "network.tcp", platform), preflight.OK, "connected through http://[redacted]@"+addr)
	want(t, find(t, found, "network.tls", platform), preflight.OK, "TLS 1.3")
	want(t, find(t, found, "network.chain", platform), preflight.OK, "Everybody Knows CA")
	r := find(t, found, "network.tcp", usage)
	if want(t, r, preflight.Error, "refused a tunnel to "+usage+": 403"); !strings.Contains(r.Hint, "allowed on the proxy") {
		t.Errorf("hint %q", r.Hint)
	}
	want(t, find(t, found, "network.tls", usage), preflight.Skipped, "an earlier step")

	found, platform, usage = judge("gateway:wrong@")
	want(t, find(t, found, "network.tcp", platform), preflight.Error, "does not take the credentials")
	want(t, find(t, found, "network.tcp", usage), preflight.Skipped, "an earlier step") // asked once
	found, platform, _ = judge("")
	want(t, find(t, found, "network.tcp", platform), preflight.Error, "wants credentials (407), and none are configured")

	// The proxy of the declarations carries usage alone, and not what noProxy says.
	o, platform, usage := behind(n, allowed)
	if o.Forward, err = egress.ParseProxy("http://gateway:secret@" + addr); err != nil {
		t.Fatal(err)
	}
	w := world(t, good())
	throughEgress(t, n, &w, o)
	tunnel := w.Tunnel
	n.join(&w)
	w.Tunnel = tunnel
	found = run(t, w, o)
	want(t, find(t, found, "network.tcp", platform), preflight.OK, "connected to "+n.addr)
	want(t, find(t, found, "network.tcp", usage), preflight.Error, "refused a tunnel to "+usage+": 403")
	// That of --https-proxy carries registration alone: the daemon does not know it.
	named := o
	named.Proxy, named.Forward = &o.Forward, egress.Proxy{}
	found = run(t, w, named)
	want(t, find(t, found, "network.tcp", platform), preflight.OK, "connected through http://[redacted]@"+addr)
	want(t, find(t, found, "network.tcp", usage), preflight.OK, "connected to "+n.addr)
	o.Forward = o.Forward.Except([]string{".example"})
	want(t, find(t, run(t, w, o), "network.tcp", usage), preflight.OK, "connected to "+n.addr)

	log, err := os.ReadFile(filepath.Join(dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	requests := 0
	for line := range strings.Lines(string(log)) {
		if requests++; !strings.Contains(line, " CONNECT ") && !strings.Contains(line, "error:transaction-end-before-headers") {
			t.Errorf("the proxy was asked for something else: %s", line)
		}
	}
	if requests == 0 {
		t.Error("the proxy has logged nothing")
	}
}

func TestDante(t *testing.T) {
	t.Parallel()
	danted, unshare := tool(t, "danted"), tool(t, "unshare")
	n := newInternet(t)
	dir, addr := open(t), ports.Addr(t)
	_, port, _ := net.SplitHostPort(addr)
	const us, eu = "dias-ingestor-nginx.prod.cloudhub.io:5044", "dias-ingestor-nginx.prod-eu.msap.io:5044"
	l, err := net.Listen("tcp", "127.83.77.5:5044") // the first of them
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go accept(l, func(net.Conn) {})
	// It takes users, passwords and names from files of the host: in a mount namespace they are the test's.
	write(t, filepath.Join(dir, "passwd"), "root:x:0:0::/:/bin/sh\ngateway:x:0:0::/:/bin/sh\n")
	write(t, filepath.Join(dir, "shadow"), "gateway:"+hash(t, "-6", "secret")+":20000:0:99999:7:::\n")
	write(t, filepath.Join(dir, "hosts"), "127.0.0.1 localhost\n127.83.77.5 "+host(us)+"\n127.83.77.6 "+host(eu)+"\n")
	write(t, filepath.Join(dir, "danted.conf"), strings.NewReplacer("DIR", dir, "PORT", port).Replace(`logoutput: DIR/danted.log
internal: 127.0.0.1 port = PORT
external: 127.0.0.1
clientmethod: none
socksmethod: username
user.privileged: root
user.unprivileged: root
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks pass { from: 127.0.0.0/8 to: 127.83.77.5/32 port = 5044 }
socks block { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`))
	write(t, filepath.Join(dir, "start"), "set -e\nfor f in passwd shadow hosts; do mount --bind "+dir+"/$f /etc/$f; done\nexec "+danted+" -f "+dir+"/danted.conf -N 1\n")
	start(t, exec.Command(unshare, "--user", "--map-root-user", "--mount", "/bin/sh", filepath.Join(dir, "start")), addr)

	judge := func(credentials, plane string) []preflight.Result {
		o, platform, usage := behind(n, "443")
		o.Plane, o.Profile, o.AllHosts = plane, preflight.Fabric, true
		var err error
		if o.Socks, err = preflight.ParseSocks("socks5://" + credentials + addr); err != nil {
			t.Fatal(err)
		}
		w := world(t, good())
		throughEgress(t, n, &w, o)
		socks := w.Dial
		n.join(&w)
		direct := w.Dial
		w.Dial = func(ctx context.Context, network, to string) (net.Conn, error) {
			if to == addr {
				return socks(ctx, network, to)
			}
			return direct(ctx, network, to)
		}
		found := run(t, w, o)
		for _, r := range found {
			text := fmt.Sprint(r)
			if strings.Contains(text, "secret") || strings.Contains(text, "wrong") {
				t.Errorf("the password is shown: %s", text)
			}
			if strings.Contains(text, "connected through socks5") && r.Subject != us {
				t.Errorf("nobody calls it through SOCKS5: %s", text)
			}
		}
		for _, addr := range []string{platform, usage} { // flexgw's own two
			want(t, find(t, found, "network.tcp", addr), preflight.OK, "connected to "+n.addr)
		}
		return found
	}
	found := judge("gateway:secret@", "US")
	want(t, find(t, found, "proxy.reach", "socks5://[redacted]@"+addr), preflight.OK, "connected to "+addr)
	want(t, find(t, found, "proxy.socks5", "socks5://[redacted]@"+addr), preflight.Info, "carries "+us)
	want(t, find(t, found, "network.dns", us), preflight.Skipped, "the proxy looks it up")
	want(t, find(t, found, "network.tcp", us), preflight.OK, "connected through socks5://[redacted]@"+addr)
	r := find(t, judge("gateway:secret@", "EU"), "network.tcp", eu)
	if want(t, r, preflight.Error, "does not allow it (its rules): "+eu); !strings.Contains(r.Hint, "allowed on the proxy") {
		t.Errorf("hint %q", r.Hint)
	}
	want(t, find(t, judge("gateway:wrong@", "US"), "network.tcp", us), preflight.Error, "does not take the credentials")
	want(t, find(t, judge("", "US"), "network.tcp", us), preflight.Error, "wants credentials, and none are configured")
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range []string{host(us), host(eu)} {
		if slices.Contains(n.looked, name) {
			t.Errorf("%s was looked up here, and not by the proxy", name)
		}
	}
}

// What proxies answer that no real one of the tests does.
func TestOddProxies(t *testing.T) {
	t.Parallel()
	answers := func(bytes ...string) string { // one answer to each write of the client
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go accept(l, func(c net.Conn) {
			for _, b := range bytes {
				if _, err := c.Read(make([]byte, 1024)); err != nil {
					break
				}
				_, _ = c.Write([]byte(b))
			}
		})
		return l.Addr().String()
	}
	n := newInternet(t)
	judge := func(addr string) preflight.Result {
		o := preflight.Options{Profile: preflight.Fabric, AllHosts: true}
		var err error
		if o.Socks, err = preflight.ParseSocks("socks5://u:p@" + addr); err != nil {
			t.Fatal(err)
		}
		w := world(t, good())
		n.join(&w)
		direct := w.Dial
		w.Dial = func(ctx context.Context, network, to string) (net.Conn, error) {
			if to == addr {
				return new(net.Dialer).DialContext(ctx, network, to)
			}
			return direct(ctx, network, to)
		}
		return find(t, run(t, w, o), "network.tcp", "dias-ingestor-nginx.prod.cloudhub.io:5044")
	}
	for name, c := range map[string]struct {
		addr, observed string
	}{
		"HTTP":          {answers("HTTP/1.1 400 Bad Request\r\n\r\n"), "speaks no SOCKS5"},
		"silence":       {answers(""), "before it said how to log in"},
		"no method":     {answers("\x05\xff"), "takes no user and password"},
		"unreachable":   {answers("\x05\x00", "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"), "cannot reach the host"},
		"unknown reply": {answers("\x05\x00", "\x05\x63\x00\x01\x00\x00\x00\x00\x00\x00"), "answered 99"},
		"cut short":     {answers("\x05\x00", "\x05\x00\x00\x01\x00"), "ended its answer early"},
		"nobody":        {ports.Addr(t), "cannot be reached"},
	} {
		r := judge(c.addr)
		if want(t, r, preflight.Error, c.observed); strings.Contains(fmt.Sprintf("%+v %q", r, r), "u:p") {
			t.Errorf("%s: the password is shown", name)
		}
	}

	// HTTP proxies do not carry what is not HTTP.
	n2 := newInternet(t)
	w := world(t, good())
	n2.join(&w)
	p, err := egress.ParseProxy("http://proxy.example:3128")
	if err != nil {
		t.Fatal(err)
	}
	w.Tunnel = func(ctx context.Context, _ egress.Proxy, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", n2.addr)
	}
	o := preflight.Options{Profile: preflight.Fabric, AllHosts: true, Proxy: &p}
	r := find(t, run(t, w, o), "network.tcp", "dias-ingestor-nginx.prod.cloudhub.io:5044")
	want(t, r, preflight.Error, "does not carry TCP (Lumberjack)")
}

func TestProxySettings(t *testing.T) {
	t.Parallel()
	rows := preflight.Table("proxy")
	if len(rows) != 3 {
		t.Errorf("the table has %d rows, the reference has 3", len(rows))
	}
	p, err := egress.ParseProxy("http://proxy.example:3128")
	if err != nil {
		t.Fatal(err)
	}
	none := offline()
	right := offline()
	right.Proxy, right.Forward, right.Counts = &p, p, &preflight.Counts{}
	wrong := right
	wrong.Direct = []string{"the shared storage (Redis)"}
	if wrong.Forward, err = egress.ParseProxy("http://other.example:8888"); err != nil {
		t.Fatal(err)
	}
	for _, x := range rows {
		for _, o := range []preflight.Options{none, right, wrong} {
			r := find(t, run(t, world(t, good()), o), x["id"], "forward proxy")
			if r.Expected != x["expected"] || !strings.HasPrefix(r.Source, "[D]") {
				t.Errorf("%+v", r)
			}
		}
	}
	judge := func(o preflight.Options, id string, sev preflight.Severity, observed string) {
		t.Helper()
		want(t, find(t, run(t, world(t, good()), o), id, "forward proxy"), sev, observed)
	}
	judge(none, "proxy.scope", preflight.Info, "no proxy")
	judge(right, "proxy.scope", preflight.Info, "nothing declared goes past the proxy")
	judge(wrong, "proxy.scope", preflight.Warn, "the shared storage (Redis)")
	judge(none, "proxy.configuration", preflight.Info, "none declared")
	judge(right, "proxy.configuration", preflight.OK, "usage goes through proxy.example:3128")
	judge(wrong, "proxy.configuration", preflight.Warn, "usage goes through other.example:8888, and registration through proxy.example:3128")
	missing := right
	missing.Forward = egress.Proxy{}
	judge(missing, "proxy.configuration", preflight.Warn, "none declared: usage goes directly, and registration through proxy.example:3128")
	missing.Counts = nil
	judge(missing, "proxy.configuration", preflight.Warn, "usage goes directly")
	judge(none, "proxy.registration", preflight.Info, "no proxy")
	judge(right, "proxy.registration", preflight.OK, "http://proxy.example:3128")
	alone := none
	alone.Forward = p
	judge(alone, "proxy.registration", preflight.Warn, "registering does not read declarations")

	w := world(t, good())
	w.Getenv = func(name string) (string, bool) { return "http://x", name == "HTTPS_PROXY" }
	want(t, find(t, run(t, w, none), "proxy.environment", "$HTTPS_PROXY"), preflight.Info, "not followed")
	shown := right
	shown.PasswordShown = true
	want(t, find(t, run(t, w, shown), "proxy.credentials", "command line"), preflight.Warn, "everybody on this host")
	useless := none
	if useless.Socks, err = preflight.ParseSocks("socks5://proxy.example"); err != nil {
		t.Fatal(err)
	}
	want(t, find(t, run(t, world(t, good()), useless), "proxy.socks5", "socks5://proxy.example:1080"), preflight.Warn, "registration and usage do not go through SOCKS5")
	for _, bad := range []string{"http://x", "socks5://", "socks4://x", "socks5://%zz:secret@h"} {
		if _, err := preflight.ParseSocks(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}
