package watch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/go-git/go-git/v5/plumbing"
)

// overSSH is a remote behind SSH. Each look is a connection of its own.
type overSSH struct {
	url  GitURL
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	auth GitAuth
	max  GitLimits
}

func (o *overSSH) open(ctx context.Context) (session, error) {
	conf, err := o.config()
	if err != nil {
		return nil, err
	}
	c, err := o.dial(ctx, "tcp", o.url.Host)
	if err != nil {
		return nil, plainly(err)
	}
	quit := context.AfterFunc(ctx, func() { c.Close() })
	done := func() { quit(); c.Close() }
	conn, channels, requests, err := ssh.NewClientConn(&lively{c, o.max.Idle}, o.url.Host, conf)
	if err != nil {
		done()
		return nil, o.handshakeError(err)
	}
	client := ssh.NewClient(conn, channels, requests)
	s := &sshSession{client: client, done: func() { client.Close(); done() }, max: o.max}
	if err := s.begin(o.url.Path); err != nil {
		s.done()
		return nil, plainly(err)
	}
	return s, nil
}

// config reads the key and the known hosts.
func (o *overSSH) config() (*ssh.ClientConfig, error) {
	var files []string
	for _, f := range o.auth.KnownHosts {
		if _, err := os.Stat(f); err == nil {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, &misuse{"nothing says which key the host has: --ssh-known-hosts-file names a file as `ssh-keyscan " + o.hostName() + "` writes it (looked for " + strings.Join(o.auth.KnownHosts, ", ") + ")"}
	}
	known, err := knownhosts.New(files...)
	if err != nil {
		return nil, &misuse{"the known hosts: " + said(strings.ReplaceAll(err.Error(), "knownhosts: ", ""))}
	}
	if o.auth.Key == nil {
		return nil, &misuse{"there is no key to log in with: --ssh-key-file names one"}
	}
	b, err := o.auth.Key()
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(b)
	var locked *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &locked):
		return nil, &misuse{fmt.Sprintf("the key %s is encrypted, and nobody is there to type its passphrase: make a key for this host alone (ssh-keygen -t ed25519 -N '' -f FILE), or keep it as an encrypted credential of systemd's (systemd-creds encrypt)", o.auth.KeyName)}
	case err != nil && bytes.HasPrefix(bytes.TrimSpace(b), []byte("ssh-")):
		return nil, &misuse{fmt.Sprintf("the key %s is a public key; expected the private one, whose file has the same name without .pub", o.auth.KeyName)}
	case err != nil:
		return nil, &misuse{fmt.Sprintf("the key %s cannot be read: expected a private key in OpenSSH's or PEM form", o.auth.KeyName)}
	}
	return &ssh.ClientConfig{
		User:              cmp.Or(o.url.User, o.auth.Username, "git"),
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback:   o.checkHost(known),
		HostKeyAlgorithms: knownAlgorithms(known, o.url.Host),
		Timeout:           handshakeTimeout,
	}, nil
}

func (o *overSSH) hostName() string {
	host, port, _ := net.SplitHostPort(o.url.Host)
	if port != "22" {
		return "-p " + port + " " + host
	}
	return host
}

// untrustedHost refuses a host whose key is not the known one.
type untrustedHost struct{ what string }

func (e *untrustedHost) Error() string { return e.what }

// Reason is the word for conditions and events.
func (*untrustedHost) Reason() string { return "HostKeyRefused" }

// checkHost is strict, and says what to do.
func (o *overSSH) checkHost(known ssh.HostKeyCallback) ssh.HostKeyCallback {
	return func(host string, at net.Addr, key ssh.PublicKey) error {
		err := known(host, at, key)
		var wrong *knownhosts.KeyError
		var revoked *knownhosts.RevokedError
		shown := key.Type() + " " + ssh.FingerprintSHA256(key)
		switch {
		case err == nil:
			return nil
		case errors.As(err, &revoked):
			return &untrustedHost{"its host key " + shown + " is revoked in the known hosts"}
		case !errors.As(err, &wrong):
			return &untrustedHost{"its host key " + shown + ": " + said(err.Error())}
		case len(wrong.Want) == 0:
			return &untrustedHost{"its host key " + shown + " is not among the known hosts: if it is the right one, add the line that `ssh-keyscan " + o.hostName() + "` prints"}
		}
		for _, w := range wrong.Want {
			if !isAuthority(w) {
				continue
			}
			return &untrustedHost{fmt.Sprintf("its host key is %s, and %s:%d names an authority that certifies keys of hosts, which is not read here: add the line that `ssh-keyscan %s` prints, if it is right", shown, w.Filename, w.Line, o.hostName())}
		}
		want := wrong.Want[0]
		return &untrustedHost{fmt.Sprintf("its host key is %s, and %s:%d says %s: somebody may be in between, or the host has a new key", shown, want.Filename, want.Line, ssh.FingerprintSHA256(want.Key))}
	}
}

// isAuthority reports whether a line of known hosts is one of @cert-authority: the key in it is no host's.
func isAuthority(k knownhosts.KnownKey) bool {
	b, err := os.ReadFile(k.Filename)
	if err != nil {
		return false
	}
	lines := strings.Split(string(b), "\n")
	return k.Line <= len(lines) && strings.HasPrefix(strings.TrimSpace(lines[k.Line-1]), "@cert-authority")
}

// knownAlgorithms are those of the keys that are known of a host: it has several, and must show one that can be checked.
func knownAlgorithms(known ssh.HostKeyCallback, host string) []string {
	var wrong *knownhosts.KeyError
	if !errors.As(known(host, &net.TCPAddr{IP: net.IPv4zero}, noKey{}), &wrong) {
		return nil
	}
	var out []string
	for _, w := range wrong.Want {
		names := []string{w.Key.Type()}
		if names[0] == ssh.KeyAlgoRSA { // the same key, signed with what is not SHA-1
			names = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, n := range names {
			if !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// noKey is a key that nobody has.
type noKey struct{}

func (noKey) Type() string                            { return "none" }
func (noKey) Marshal() []byte                         { return []byte("none") }
func (noKey) Verify(_ []byte, _ *ssh.Signature) error { return errors.New("no key") }

func (o *overSSH) handshakeError(err error) error {
	var refused *untrustedHost
	switch {
	case errors.As(err, &refused):
		return refused
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("it does not let %s log in with the key %s", said(cmp.Or(o.url.User, o.auth.Username, "git")), o.auth.KeyName)
	case strings.Contains(err.Error(), "no common algorithm for host key"):
		return &untrustedHost{"it has no key of a kind that is known of it: add the lines that `ssh-keyscan " + o.hostName() + "` prints, if they are right"}
	}
	return plainly(err)
}

type sshSession struct {
	client *ssh.Client
	done   func()
	max    GitLimits
	in     io.Writer
	out    io.Reader
	errs   *bytes.Buffer // of the other side; read when it has ended
	end    func() error
	adv    *advertised
}

func (s *sshSession) close() { s.done() }

func (s *sshSession) begin(path string) error {
	x, err := s.client.NewSession()
	if err != nil {
		return err
	}
	s.errs = &bytes.Buffer{}
	x.Stderr = &limited{s.errs, 4 << 10}
	if s.in, err = x.StdinPipe(); err != nil {
		return err
	}
	if s.out, err = x.StdoutPipe(); err != nil {
		return err
	}
	s.end = x.Wait
	return x.Start(service + " " + quoted(path))
}

// quoted is a word for the shell of the other side, as git writes it.
func quoted(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}

func (s *sshSession) refs(context.Context) (*advertised, error) {
	var err error
	if s.adv, err = readAdvertised(s.out, s.max.Refs); err != nil {
		ended := make(chan struct{})
		go func() { _ = s.end(); close(ended) }()
		select { // what it wrote says more, when it comes
		case <-ended:
			if text := said(s.errs.String()); text != "" {
				return nil, errors.New("it says: " + text)
			}
		case <-time.After(time.Second):
		}
		return nil, err
	}
	return s.adv, nil
}

func (s *sshSession) pack(_ context.Context, w wanted) (io.ReadCloser, []plumbing.Hash, error) {
	body, err := request(s.adv, w)
	if err != nil {
		return nil, nil, err
	}
	if _, err := s.in.Write(body); err != nil {
		return nil, nil, plainly(err)
	}
	pack, shallow, err := readPack(s.out, s.adv, w)
	if err != nil {
		return nil, nil, err
	}
	return io.NopCloser(pack), shallow, nil
}
