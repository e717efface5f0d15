package watch_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// sshd is Debian's, on loopback, as whoever runs the tests.
type sshd struct {
	t    testing.TB
	dir  string
	addr string
	user string
}

func newSSHD(t testing.TB) *sshd {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: no sshd is started")
	}
	bin := "/usr/sbin/sshd"
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v: apt-get install openssh-server", err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" { // it wants this folder then, which its unit makes
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sshd{t: t, dir: t.TempDir(), addr: l.Addr().String(), user: me.Username}
	s.keygen("ed25519", "host_ed25519", "")
	s.keygen("rsa", "host_rsa", "")
	s.keygen("ed25519", "user", "")
	s.file("authorized", s.read("user.pub"))
	s.file("conf", fmt.Sprintf("HostKey %[1]s/host_ed25519\nHostKey %[1]s/host_rsa\nAuthorizedKeysFile %[1]s/authorized\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n", s.dir))
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	// One for each connection, as inetd starts it: the port is ours all the while.
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.TCPConn).File()
			c.Close()
			if err != nil {
				t.Error(err)
				continue
			}
			cmd := exec.CommandContext(ctx, bin, "-i", "-e", "-f", filepath.Join(s.dir, "conf"))
			cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, log
			err = cmd.Start()
			f.Close()
			if err != nil {
				t.Error(err)
				continue
			}
			all.Go(func() { _ = cmd.Wait() }) // how it ends is the client's matter
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		all.Wait()
		log.Close()
		if t.Failed() {
			t.Logf("sshd:\n%s", s.read("log"))
		}
	})
	return s
}

func (s *sshd) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *sshd) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *sshd) keygen(kind, name, passphrase string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	os.Remove(path)
	if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", path).CombinedOutput(); err != nil {
		s.t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
}

// known is a line of known hosts for a key of the host.
func (s *sshd) known(host, key string) string { return host + " " + s.read(key+".pub") }

// auth reads key and known hosts from files, as the command line does.
func (s *sshd) auth() watch.GitAuth {
	key := filepath.Join(s.dir, "key")
	return watch.GitAuth{KeyName: "the-key", KnownHosts: []string{filepath.Join(s.dir, "known")}, Key: func() ([]byte, error) { return os.ReadFile(key) }}
}

func TestARepositoryIsFollowedOverSSH(t *testing.T) {
	t.Parallel()
	d := newSSHD(t)
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	host, port, _ := net.SplitHostPort(d.addr)
	bracketed := "[" + host + "]:" + port
	d.file("key", d.read("user"))
	d.file("known", d.known(bracketed, "host_rsa")) // of its two keys, the one that it would not show by itself
	s := follow(t, watch.GitOptions{Auth: d.auth()}, "ssh://"+d.user+"@"+d.addr+r.bare)
	if set, err := looked(t, s); err != nil || set.Revision != first {
		t.Fatal(set.Revision, err)
	}
	second := r.push("a.yaml", "2")
	set, err := looked(t, s)
	if err != nil || set.Revision != second || contents(t, set)["a.yaml"] != "2" {
		t.Fatal(set.Revision, err)
	}

	// As scp(1) writes it, through a dialer that knows where the host is.
	d.file("known-name", d.known("git.example.org", "host_ed25519"))
	auth := d.auth()
	auth.KnownHosts = []string{filepath.Join(d.dir, "none"), filepath.Join(d.dir, "known-name")}
	var asked string
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		asked = addr
		return new(net.Dialer).DialContext(ctx, network, d.addr)
	}
	scp := follow(t, watch.GitOptions{Auth: auth, Dial: dial}, d.user+"@git.example.org:"+r.bare)
	if set, err := looked(t, scp); err != nil || set.Revision != second || asked != "git.example.org:22" {
		t.Errorf("asked %s: %v %v", asked, set.Revision, err)
	}

	// Whatever goes wrong, what was taken stays, and each is mended without a restart.
	d.keygen("ed25519", "locked", "secret")
	d.keygen("ed25519", "stranger", "")
	d.keygen("ed25519", "other-host", "")
	right := map[string]string{"key": d.read("user"), "known": d.read("known")}
	for _, c := range []struct{ name, text, want, reason string }{
		{"key", d.read("locked"), "the key the-key is encrypted, and nobody is there to type its passphrase: make a key for this host alone (ssh-keygen -t ed25519 -N '' -f FILE)", "Misconfigured"},
		{"key", d.read("user.pub"), "the key the-key is a public key; expected the private one", "Misconfigured"},
		{"key", "garbage", "the key the-key cannot be read: expected a private key", "Misconfigured"},
		{"key", d.read("stranger"), "it does not let " + d.user + " log in with the key the-key", "SourceUnavailable"},
		{"known", d.known("elsewhere.example.org", "host_rsa"), "is not among the known hosts: if it is the right one, add the line that `ssh-keyscan -p " + port + " 127.0.0.1` prints", "HostKeyRefused"},
		{"known", d.known(bracketed, "other-host"), "somebody may be in between, or the host has a new key", "HostKeyRefused"},
		{"known", "@revoked " + d.known(bracketed, "host_rsa") + d.known(bracketed, "host_rsa"), "is revoked in the known hosts", "HostKeyRefused"},
		{"known", "# of us\n@cert-authority " + d.known(bracketed, "other-host"), "known:2 names an authority that certifies keys of hosts, which is not read here: add the line that `ssh-keyscan -p " + port + " 127.0.0.1` prints", "HostKeyRefused"},
		{"known", "not a line\n", "the known hosts: " + filepath.Join(d.dir, "known") + ":1: ", "Misconfigured"},
	} {
		d.file(c.name, c.text)
		_, err := looked(t, s)
		var e *watch.GitError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || e.Reason() != c.reason || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("got %v, want %q (%s)", err, c.want, c.reason)
		}
		d.file(c.name, right[c.name])
		if set, err := looked(t, s); err != nil || set.Revision != second {
			t.Errorf("after %q was mended: %v %v", c.want, set.Revision, err)
		}
	}
	os.Remove(filepath.Join(d.dir, "known"))
	if _, err := looked(t, s); err == nil || !strings.Contains(err.Error(), "nothing says which key the host has") {
		t.Errorf("got %v", err)
	}
	d.file("known", right["known"])
	if err := os.Rename(r.bare, r.bare+".gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := looked(t, s); err == nil || !strings.Contains(err.Error(), "does not appear to be a git repository") {
		t.Errorf("got %v", err)
	}
	if err := os.Rename(r.bare+".gone", r.bare); err != nil {
		t.Fatal(err)
	}
	if set, err := looked(t, s); err != nil || set.Revision != second {
		t.Error(set.Revision, err)
	}
}

// TestAPathIsNoCommand: what stands in a URL is one word for the other side's shell.
func TestAPathIsNoCommand(t *testing.T) {
	t.Parallel()
	d := newSSHD(t)
	d.file("key", d.read("user"))
	host, port, _ := net.SplitHostPort(d.addr)
	d.file("known", d.known("["+host+"]:"+port, "host_ed25519"))
	mark := filepath.Join(d.dir, "mark")
	s := follow(t, watch.GitOptions{Auth: d.auth()}, "ssh://"+d.user+"@"+d.addr+"/x';touch%20"+mark+";'")
	if _, err := looked(t, s); err == nil {
		t.Error("such a repository is there")
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the path was run as a command")
	}
}
