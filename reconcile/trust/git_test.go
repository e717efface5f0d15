package trust_test

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/trust"
	"github.com/flexgw/flexgw/reconcile/watch"
)

// desk is somebody's machine with real git, ssh-keygen and gpg, and one repository.
type desk struct {
	t    *testing.T
	dir  string // of the repository
	keys string // of SSH keys
	env  []string
}

// who signs and commits.
type who struct {
	name, mail string
	author     string // "Name <e-mail>"; "": the same
	ssh        string // path of an SSH key
	pgp        string // fingerprint of an OpenPGP key
	at         time.Time
	thief      bool // gpg would not sign any more with the key
}

var day = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func newDesk(t *testing.T) *desk {
	t.Helper()
	for _, tool := range []string{"git", "ssh-keygen", "gpg"} {
		if _, err := exec.LookPath(tool); err != nil {
			if testing.Short() {
				t.Skip(err)
			}
			t.Fatal(err)
		}
	}
	home, err := os.MkdirTemp("", "desk") // t.TempDir is too long for the socket of gpg-agent
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, dir: filepath.Join(home, "repo"), keys: home}
	d.env = append(os.Environ(), "HOME="+home, "GNUPGHOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "TZ=UTC", "LC_ALL=C", "SSH_AUTH_SOCK=")
	t.Cleanup(func() {
		stop := exec.Command("gpgconf", "--kill", "all")
		stop.Env = d.env
		_ = stop.Run()
		os.RemoveAll(home)
	})
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d.git("init", "-q", "-b", "main")
	return d
}

// try runs a tool and says what it printed.
func (d *desk) try(stdin []byte, env []string, name string, args ...string) (string, error) {
	d.t.Helper()
	c := exec.Command(name, args...)
	c.Dir, c.Env, c.Stdin = d.dir, append(d.env[:len(d.env):len(d.env)], env...), bytes.NewReader(stdin)
	var out, says bytes.Buffer
	c.Stdout, c.Stderr = &out, &says
	if err := c.Run(); err != nil {
		return out.String() + says.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, out.String(), says.String())
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

func (d *desk) run(stdin []byte, env []string, name string, args ...string) string {
	d.t.Helper()
	out, err := d.try(stdin, env, name, args...)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

func (d *desk) git(args ...string) string { d.t.Helper(); return d.run(nil, nil, "git", args...) }

// sshKey makes a key and gives its path; args are of ssh-keygen.
func (d *desk) sshKey(name string, args ...string) string {
	d.t.Helper()
	path := filepath.Join(d.keys, name)
	d.run(nil, nil, "ssh-keygen", append([]string{"-q", "-N", "", "-C", name, "-f", path}, args...)...)
	return path
}

// pub is the public half of a key, without its comment.
func (d *desk) pub(path string) string {
	d.t.Helper()
	f := strings.Fields(d.read(path + ".pub"))
	return f[0] + " " + f[1]
}

func (d *desk) read(path string) string {
	d.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// file writes a file beside the repository.
func (d *desk) file(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.keys, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// pgpKey makes an OpenPGP key and gives its fingerprint; made is its time, "": now.
func (d *desk) pgpKey(id, algo, usage, expire, made string) string {
	d.t.Helper()
	args := []string{"--batch", "--quiet", "--passphrase", "", "--status-fd", "1"}
	if made != "" {
		args = append(args, "--faked-system-time", made)
	}
	out := d.run(nil, nil, "gpg", append(args, "--quick-gen-key", id, algo, usage, expire)...)
	f := strings.Fields(out[strings.Index(out, "KEY_CREATED"):])
	return f[2]
}

// export is a keyring of keys.
func (d *desk) export(name string, keys ...string) string {
	d.t.Helper()
	return d.file(name, d.run(nil, nil, "gpg", append([]string{"--armor", "--export"}, keys...)...)+"\n")
}

func (w who) env() []string {
	author := w.name + " <" + w.mail + ">"
	if w.author != "" {
		author = w.author
	}
	name, mail, _ := strings.Cut(author, " <")
	at := fmt.Sprintf("%d +0000", w.time().Unix())
	return []string{"GIT_COMMITTER_NAME=" + w.name, "GIT_COMMITTER_EMAIL=" + w.mail, "GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + strings.TrimSuffix(mail, ">"),
		"GIT_COMMITTER_DATE=" + at, "GIT_AUTHOR_DATE=" + at}
}

func (w who) time() time.Time {
	if w.at.IsZero() {
		return day
	}
	return w.at
}

// signing are the arguments that make git sign.
func (d *desk) signing(w who) []string {
	switch {
	case w.ssh != "":
		return []string{"-c", "gpg.format=ssh", "-c", "user.signingkey=" + w.ssh}
	case w.pgp != "":
		faked := w.time().UTC().Format("20060102T150405")
		gpg := d.file("gpg-at", "#!/bin/sh\nexec gpg --batch --faked-system-time "+faked+" \"$@\"\n")
		if err := os.Chmod(gpg, 0o700); err != nil {
			d.t.Fatal(err)
		}
		return []string{"-c", "gpg.program=" + gpg, "-c", "user.signingkey=" + w.pgp + "!"}
	}
	return nil
}

// commit commits a change, signed if w has a key, and gives its hash.
func (d *desk) commit(w who, args ...string) string {
	d.t.Helper()
	cmd := append(d.signing(w), "commit", "-q", "--allow-empty", "-m", "change by "+w.name)
	if w.ssh != "" || w.pgp != "" {
		cmd = append(cmd, "-S")
	}
	d.run(nil, w.env(), "git", append(cmd, args...)...)
	return d.git("rev-parse", "HEAD")
}

// raw writes a commit of any bytes, and puts main there.
func (d *desk) raw(text string) string {
	d.t.Helper()
	id := d.run([]byte(text), nil, "git", "hash-object", "-t", "commit", "--literally", "-w", "--stdin")
	d.git("update-ref", "refs/heads/main", id)
	return id
}

// parts splits a commit into what is signed, and its header gpgsig with its line end.
func (d *desk) parts(id string) (unsigned, sig string) {
	d.t.Helper()
	text := d.run(nil, nil, "git", "cat-file", "commit", id) + "\n"
	from := strings.Index(text, "gpgsig ")
	if from < 0 {
		return text, ""
	}
	end := from
	for line := range strings.Lines(text[from:]) {
		if end > from && line[0] != ' ' {
			break
		}
		end += len(line)
	}
	return text[:from] + text[end:], text[from:end]
}

// withHeader puts headers at the end of the head of a commit.
func withHeader(text, header string) string {
	head, rest, _ := strings.Cut(text, "\n\n")
	return head + "\n" + header + "\n" + rest
}

// folded is a signature as the header gpgsig.
func folded(sig string) string {
	return "gpgsig " + strings.ReplaceAll(strings.TrimSuffix(sig, "\n"), "\n", "\n ") + "\n"
}

// history is what the source would hand to a policy.
func (d *desk) history(since, head string) (watch.History, error) {
	d.t.Helper()
	r, err := watch.OpenRepo(d.dir, "", func(string) (string, bool) { return "", false })
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { r.Close() })
	c, err := r.Commit(head)
	h := watch.History{Head: c, Since: since, Look: r.Commit}
	h.From = func(since string) iter.Seq2[watch.Commit, error] { return r.Range(since, c.ID) }
	h.Commits = func() iter.Seq2[watch.Commit, error] { return h.From(since) }
	return h, err
}

// verify asks a policy about what main has, since a commit.
func (d *desk) verify(o trust.Options, since string) error {
	d.t.Helper()
	p, err := trust.Load(o)
	if err != nil {
		return err
	}
	h, err := d.history(since, "main")
	if err != nil {
		return err
	}
	return p.Verify(d.t.Context(), h)
}
