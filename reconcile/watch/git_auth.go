package watch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/flexgw/flexgw/reconcile/disk"
)

// GitAuth are credentials, as functions that read them anew at each use, so that one that was renewed counts at once; nil: there is none.
// Nothing of it is in a log, a status or an error.
type GitAuth struct {
	Username     string                 // of HTTP with Password (git when it is empty) or Token (x-access-token), and of SSH where the URL has none
	Password     func() (string, error) // of HTTP
	Token        func() (string, error) // of HTTP; sent as the password, which is what forges take; goes before Password
	CA           func() (string, error) // PEM of the authorities of HTTPS, in place of the system's
	Key          func() ([]byte, error) // private key of SSH, not encrypted
	KeyName      string                 // what to call it: its file
	KnownHosts   []string               // files, see sshd(8); those that are not there are left out, but one must be
	secretsKnown func(string)           // is told of each secret, so that it is left out of what is said
}

// String says nothing.
func (GitAuth) String() string { return "[redacted]" }

// GoString likewise.
func (GitAuth) GoString() string { return "[redacted]" }

// basic are the user and the secret of HTTP; "": none.
func (a GitAuth) basic() (user, secret string, err error) {
	read, standard := a.Token, "x-access-token"
	if read == nil {
		read, standard = a.Password, "git"
	}
	if read == nil {
		return "", "", nil
	}
	if secret, err = read(); err != nil {
		return "", "", err
	}
	if a.secretsKnown != nil {
		a.secretsKnown(secret)
	}
	if user = a.Username; user == "" {
		user = standard
	}
	return user, secret, nil
}

// isWorld reports whether an error is the network's or the disk's.
func isWorld(err error) bool {
	var op *net.OpError
	var no syscall.Errno
	return errors.As(err, &op) || errors.As(err, &no) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || hasReason(err)
}

// hasReason reports whether an error is a refusal.
func hasReason(err error) bool {
	var r interface{ Reason() string }
	return errors.As(err, &r)
}

// plainly says what went wrong with a connection, without the URL.
func plainly(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case hasReason(err):
		return err
	case errors.As(err, &unknown):
		return errors.New("nobody that this host trusts vouches for its certificate: --git-ca-file names its authority")
	case errors.As(err, &name):
		return errors.New("its certificate is for another name: " + said(name.Error()))
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return errors.New("it does not speak TLS: is it http:// ?")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("it sent nothing for a while")
	case errors.As(err, &dns):
		return errors.New("no host of this name is found: " + said(dns.Name))
	case errors.As(err, &op):
		return errors.New(op.Op + ": " + disk.Cause(op.Err).Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errEarly
	}
	return errors.New(said(strings.TrimPrefix(err.Error(), "net/http: ")))
}
