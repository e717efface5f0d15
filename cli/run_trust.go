package cli

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/trust"
)

// Who may change what is served: whose commits are taken.

func trustFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "trust-signers", Usage: "take commits of a Git repository only when SSH keys in `FILE` signed them all, written as ALLOWED SIGNERS of ssh-keygen(1); read again when it changes"},
		&cli.StringFlag{Name: "trust-openpgp", Usage: "likewise, OpenPGP public keys in `FILE`, as gpg --export writes them; with more than one of these, either will do"},
		&cli.StringFlag{Name: "trust-x509", Usage: "likewise, certificates of X.509 authorities in `FILE`, as PEM; the certificate of the committer is in the signature, and revocation lists are not looked at"},
		&cli.StringFlag{Name: "verify-since", Usage: "trust `COMMIT`, and all that it reaches, by name; what comes after it must be signed"},
	}
}

// trustOf has every commit verified before it is taken, when the flags ask for it.
func (d *daemon) trustOf(c *cli.Context) error {
	o := trust.Options{Signers: c.String("trust-signers"), OpenPGP: c.String("trust-openpgp"), X509: c.String("trust-x509"), Since: strings.ToLower(c.String("verify-since"))}
	if o.Signers == "" && o.OpenPGP == "" && o.X509 == "" {
		for _, f := range trustFlags() {
			if name := f.Names()[0]; c.IsSet(name) {
				return usage("--%s: who may sign is to be said by --trust-signers FILE, --trust-openpgp FILE, --trust-x509 FILE or more than one", name)
			}
		}
		return nil
	}
	if d.git == nil {
		return usage("--trust-signers, --trust-openpgp and --trust-x509 are about commits, and the source is no URL of a Git repository")
	}
	if o.Since != "" && (len(o.Since) != 40 || strings.Trim(o.Since, "0123456789abcdef") != "") {
		return usage("--verify-since %s: all 40 digits of a commit's hash are expected", o.Since)
	}
	kind, _, _ := strings.Cut(d.git.options.Ref, ":")
	o.Tagged = kind == "tag" || kind == "semver" || strings.HasPrefix(d.git.options.Ref, "refs/tags/")
	p, err := trust.Load(o)
	if err != nil {
		return world(fmt.Errorf("who may sign: %w", err))
	}
	d.trust, d.git.options.Verify = p, p.Verify
	return nil
}

// required is what a commit needs to be taken; "": nothing.
func (d *daemon) required() string {
	if d.trust == nil {
		return ""
	}
	return d.trust.Required()
}
