package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/egress"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/diag"
)

func usageExportCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "put what is not reported into a file to be carried to a station that reaches the platform",
		ArgsUsage: "[SOURCE]",
		Description: "The file is a gzipped tar of the reports that would be sent, with a manifest that has their SHA-256, signed with the key of the\n" +
			"registration. What is exported still waits: --ack FILE brings back what flexgw usage import says of it. Works without a running\n" +
			"daemon too, with --state-dir and --registration. Usage of an earlier registration needs that one's --registration.",
		Flags: daemonFlags(outputFlag("text", "json"),
			&cli.StringFlag{Name: "output-file", Usage: "write it to `FILE`; - is standard output (default: a name of its own in this folder)"},
			&cli.StringFlag{Name: "ack", Usage: "export nothing: take `FILE`, which flexgw usage import wrote, and forget what the platform has"},
			&cli.StringFlag{Name: "registration", Usage: "the registration in `FILE` is the one whose usage it is, signs the bundle, and must have signed the acknowledgement (default: the daemon's)"},
			&cli.BoolFlag{Name: "unsigned", Usage: "take an acknowledgement that nobody signed"},
			&cli.BoolFlag{Name: "force", Usage: "write a bundle that nobody signs over one that somebody has signed"}),
		Action: func(c *cli.Context) error {
			outs, err := factsBeside(c, "output-file")
			if err != nil {
				return err
			}
			source, err := oneSource(c)
			if err != nil {
				return err
			}
			if err := given(c, "ack", "output-file", "registration"); err != nil {
				return err
			}
			if c.IsSet("ack") {
				return takeAck(c, env, source, outs)
			}
			key, agent, err := signerOf(c.String("registration"), env)
			if err != nil {
				return err
			}
			var b api.UsageBundle
			err = withUsage(c, env, source,
				func(ctx context.Context, d api.Client) (err error) {
					b, err = d.ExportUsage(ctx, api.UsageExportRequest{AgentID: agent})
					if err == nil && key != nil && b.Name != "" && !b.Signed {
						b, err = signBundle(b, key)
					}
					return err
				},
				func(l *metering.Ledger) (err error) { b, err = bundleOf(l, key, agent, env.now()); return err })
			if err != nil {
				return err
			}
			return writeBundle(c, env, b, outs)
		},
	}
}

// writeBundle writes what is exported, and says what it is. Where it goes to standard output itself, nothing else does.
func writeBundle(c *cli.Context, env Env, b api.UsageBundle, outs []output) error {
	path := c.String("output-file")
	facts := exportFacts{SchemaVersion: factsVersion, Result: "exported", File: cmp.Or(path, b.Name), Batches: b.Batches, Requests: b.Requests, Signed: b.Signed}
	switch {
	case b.Name == "":
		fmt.Fprintln(env.Stderr, "flexgw: nothing waits to be reported: no file was written")
		facts = exportFacts{SchemaVersion: factsVersion, Result: "nothing"}
		return tell(env, outs, "", facts)
	case path == "-":
		if _, err := env.Stdout.Write(b.Content); err != nil {
			return world(err)
		}
	default:
		if err := putBundle(c.Context, b, facts.File, c.Bool("force")); err != nil {
			return world(err)
		}
	}
	signed := "signed"
	if !b.Signed {
		signed = "not signed"
	}
	fmt.Fprintf(env.Stderr, "flexgw: %s in %s, %s; flexgw usage import delivers them\n", requestsWord(b.Requests), plural(b.Batches, "batch", "batches"), signed)
	if path == "-" {
		return tellFiles(env, outs, facts)
	}
	return tell(env, outs, facts.File+"\n", facts)
}

// putBundle writes a bundle to a file. One that is not signed does not take the place of one that is, which another process may be
// writing there now.
func putBundle(ctx context.Context, b api.UsageBundle, path string, force bool) error {
	to := path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		to = real
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	unlock, err := disk.LockFolder(ctx, filepath.Dir(to))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, disk.Cause(err))
	}
	defer unlock()
	if !b.Signed && !force && isSigned(to) {
		return fmt.Errorf("%s is there and signed, and this bundle is not: nothing was written\n--registration FILE signs it, --output-file names another file, and --force writes over it", path)
	}
	return disk.Write(path, b.Content, 0o600)
}

// isSigned reports whether a file is a bundle that somebody has signed.
func isSigned(path string) bool {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	b, err := metering.ReadBundle(io.LimitReader(f, maxCarried))
	return err == nil && b.Signed()
}

func takeAck(c *cli.Context, env Env, source string, outs []output) error {
	if c.IsSet("output-file") {
		return usage("--ack takes an acknowledgement and exports nothing: leave --output-file out")
	}
	text, err := readSmall(c.String("ack"), env)
	if err != nil {
		return world(fmt.Errorf("--ack: %w", err))
	}
	r, err := metering.ReadResult(text)
	if err != nil {
		return world(fmt.Errorf("--ack: %w", err))
	}
	asked := api.UsageAckRequest{Content: text, Unsigned: c.Bool("unsigned")}
	var of *x509.Certificate
	if path := c.String("registration"); path != "" {
		f, leaf, _, err := identityOf(path, env)
		if err != nil {
			return err
		}
		of, asked.AgentID, asked.Certificate = leaf, f.AgentID, leaf.Raw
	}
	var after api.Usage
	err = withUsage(c, env, source,
		func(ctx context.Context, d api.Client) (err error) { after, err = d.AckUsage(ctx, asked); return err },
		func(l *metering.Ledger) error {
			if err := applyAck(l, text, of, asked.AgentID, asked.Unsigned); err != nil {
				return world(err)
			}
			after = usageOf(l, nil)
			return nil
		})
	if err != nil {
		return err
	}
	g := gatewayOf(after, r.Ack.AgentID)
	words := fmt.Sprintf("the platform has %s of %s; %d still to be reported", requestsWord(g.sum.Reported), g.label, g.sum.Waiting) + asideWords(g.sum.SetAside)
	return tell(env, outs, words+"\n", usageFactsOf("acknowledged", after, r.Ack.AgentID))
}

func usageImportCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "report what flexgw usage export wrote, from a station that reaches the platform",
		ArgsUsage: "BUNDLE",
		Description: "Holds the bundle against its manifest and its signature, and sends its reports with the certificate of the registration. Doing it\n" +
			"twice does no harm. What became of it is written to a file for flexgw usage export --ack.",
		Flags: []cli.Flag{
			outputFlag("text", "json"),
			&cli.StringFlag{Name: "registration", Usage: "the registration of the gateway, a copy of it, in `FILE`"},
			&cli.StringFlag{Name: "output-file", Usage: "write what became of it to `FILE`; - is standard output (default: the name of the bundle with .ack.json)"},
			&cli.StringFlag{Name: "https-proxy", Usage: "go through the forward proxy at `URL`, http://[USER@]HOST:PORT or https://… (default: $FLEXGW_HTTPS_PROXY)"},
			proxyPasswordFlag(),
			&cli.StringFlag{Name: "ca-file", Usage: "trust the authorities in `PEM` in place of those beside the registration"},
			&cli.BoolFlag{Name: "unsigned", Usage: "take a bundle that nobody signed"},
		},
		Action: func(c *cli.Context) error { return importUsage(c, env) },
	}
}

func importUsage(c *cli.Context, env Env) error {
	outs, err := factsBeside(c, "output-file")
	if err != nil {
		return err
	}
	if c.NArg() != 1 {
		return usage("usage import takes one BUNDLE, got %d", c.NArg())
	}
	if err := given(c, "registration", "output-file"); err != nil {
		return err
	}
	if !c.IsSet("registration") {
		return usage("usage import needs --registration FILE: the gateway's own registration, whose certificate the platform knows")
	}
	if c.Args().First() == "-" && !c.IsSet("output-file") {
		return usage("usage import - needs --output-file FILE: a bundle on standard input has no name to call the acknowledgement after")
	}
	f, leaf, key, err := identityOf(c.String("registration"), env)
	if err != nil {
		return err
	}
	b, err := openBundle(c.Args().First(), env)
	if err != nil {
		return world(fmt.Errorf("%s: %w", c.Args().First(), err))
	}
	if err := belongs(b, f, leaf, c.Bool("unsigned")); err != nil {
		return world(fmt.Errorf("%s: %w", c.Args().First(), err))
	}
	e, err := importer(c, env, f)
	if err != nil {
		return err
	}
	sink := sinkOf(e, f, env.now)
	ack, failed := metering.Import(func(x anypoint.Batch) (uint64, error) { return sink.Deliver(c.Context, x) }, b, env.now)
	path := cmp.Or(c.String("output-file"), c.Args().First()+".ack.json")
	if err := writeAck(env, ack, key, path); err != nil {
		return err
	}
	return tellImport(env, outs, f, b, ack, path, failed)
}

// tellImport says what became of a bundle. failed is why the rest of it was not delivered; nil: there is none.
func tellImport(env Env, outs []output, f *anypoint.File, b metering.Bundle, ack metering.BundleAck, path string, failed error) error {
	facts := importFacts{SchemaVersion: factsVersion, Result: "delivered", AgentID: f.AgentID, AssetName: f.AssetName, File: path, Batches: len(b.Usage), Acknowledged: len(ack.Acked), Refused: []refusedBatch{}}
	for _, r := range ack.Refused {
		facts.Refused = append(facts.Refused, refusedBatch{r.Seq, r.Why})
		fmt.Fprintf(env.Stderr, "flexgw: batch %d was refused, and is not to be sent again: %s\n", r.Seq, diag.Visible(r.Why))
	}
	switch {
	case failed != nil:
		facts.Result = "failed"
	case len(ack.Refused) > 0:
		facts.Result = "refused"
	}
	var err error
	if path == "-" {
		err = tellFiles(env, outs, facts)
	} else {
		err = tell(env, outs, path+"\n", facts)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "flexgw: the platform has %d of %s\n", len(ack.Acked), plural(len(b.Usage), "batch", "batches"))
	switch {
	case failed != nil:
		return world(failed)
	case len(ack.Refused) > 0:
		return world(errors.New("some batches were refused"))
	}
	return nil
}

// importer calls the metering host of a registration, and nobody else.
func importer(c *cli.Context, env Env, f *anypoint.File) (*egress.Egress, error) {
	if f.Metering == "" {
		return nil, world(errors.New(noMetering(f)))
	}
	ca, err := ownAuthorities(c)
	if err != nil {
		return nil, err
	}
	if ca != nil {
		f.CA = ca
	}
	e := egress.New(egress.Options{})
	t, err := meeting(f)
	if err != nil {
		return nil, world(err)
	}
	e.SetTLS(egress.Usage, t)
	e.Set(egress.Usage, []egress.Destination{{Host: hostPortOf(f.Metering), Why: f.Path + ": metering"}})
	p, err := httpsProxy(c, env)
	if err != nil {
		return nil, err
	}
	_, by := proxyURL(c, env)
	e.SetProxy(egress.Usage, p, by)
	return e, nil
}

func writeAck(env Env, ack metering.BundleAck, key crypto.Signer, path string) error {
	r, err := ack.Sign(key)
	if err != nil {
		return world(err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return world(err)
	}
	text = append(text, '\n')
	if path == "-" {
		_, err = env.Stdout.Write(text)
		return worldly(err)
	}
	return worldly(disk.Write(path, text, 0o600))
}

// belongs says why a bundle is not one of a registration.
func belongs(b metering.Bundle, f *anypoint.File, leaf *x509.Certificate, unsigned bool) error {
	if b.AgentID != f.AgentID {
		return fmt.Errorf("it is of the registration of %s (%s), and --registration is that of %s (%s)", b.AgentID, b.AssetName, f.AgentID, f.AssetName)
	}
	if !b.Signed() && unsigned {
		return nil
	}
	err := b.Verify(leaf)
	if err != nil && !b.Signed() {
		return fmt.Errorf("%w: it was exported without --registration; --unsigned takes it if you know where it is from", err)
	}
	return err
}

// maxCarried bounds what is read of a stick, compressed.
const maxCarried = 256 << 20

func openBundle(path string, env Env) (metering.Bundle, error) {
	in := env.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return metering.Bundle{}, disk.Cause(err)
		}
		defer f.Close()
		in = f
	}
	return metering.ReadBundle(io.LimitReader(in, maxCarried))
}

// readSmall reads a file that people carry; - is standard input.
func readSmall(path string, env Env) ([]byte, error) {
	const most = 64 << 20
	in := env.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, disk.Cause(err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, most))
	if err == nil && len(b) == most {
		err = fmt.Errorf("it is larger than %d bytes", most)
	}
	return b, err
}

// identityOf is a registration with what it proves itself by.
func identityOf(path string, env Env) (f *anypoint.File, leaf *x509.Certificate, key crypto.Signer, err error) {
	f, err = registrationAt(env, path)
	if err != nil {
		return nil, nil, nil, err
	}
	pair, err := f.TLS()
	if err != nil {
		return nil, nil, nil, world(fmt.Errorf("%s: %w", path, err))
	}
	key, _ = pair.PrivateKey.(crypto.Signer)
	return f, leafOf(f), key, nil
}

// leafOf is the certificate of a registration; nil: of none.
func leafOf(f *anypoint.File) *x509.Certificate {
	if f == nil {
		return nil
	}
	pair, err := f.TLS()
	if err != nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// signerOf is the key of a registration and whose it is; without a path, nobody's.
func signerOf(path string, env Env) (crypto.Signer, string, error) {
	if path == "" {
		return nil, "", nil
	}
	f, _, key, err := identityOf(path, env)
	if err != nil {
		return nil, "", err
	}
	return key, f.AgentID, nil
}

// bundleOf seals what was counted and puts what waits, and what was set aside, into a bundle. agent "": of the only registration.
func bundleOf(l *metering.Ledger, key crypto.Signer, agent string, now time.Time) (api.UsageBundle, error) {
	if err := l.SealAll(now); err != nil {
		return api.UsageBundle{}, world(err)
	}
	all, _ := l.Quarantined()
	all = append(all, l.Batches()...)
	slices.SortFunc(all, func(a, b anypoint.Batch) int { return cmp.Compare(a.Seq, b.Seq) })
	if agent != "" {
		all = slices.DeleteFunc(all, func(b anypoint.Batch) bool { return b.AgentID != agent })
	}
	if !slices.ContainsFunc(all, func(b anypoint.Batch) bool { return len(b.Points) > 0 || b.Lost != anypoint.Lost{} }) {
		return api.UsageBundle{}, nil // heartbeats say nothing on a stick
	}
	for _, b := range all {
		if b.AgentID != all[0].AgentID {
			return api.UsageBundle{}, usage("there is usage of the registrations of %s and %s: --registration says whose is exported", all[0].AgentID, b.AgentID)
		}
	}
	return packed(all, key)
}

// signBundle signs what a daemon exported without the key.
func signBundle(b api.UsageBundle, key crypto.Signer) (api.UsageBundle, error) {
	x, err := metering.ReadBundle(bytes.NewReader(b.Content))
	if err != nil {
		return api.UsageBundle{}, world(fmt.Errorf("the daemon's bundle: %w", err))
	}
	return packed(x.Usage, key)
}

func packed(all []anypoint.Batch, key crypto.Signer) (api.UsageBundle, error) {
	b, err := metering.NewBundle(all, key)
	if err != nil {
		return api.UsageBundle{}, world(err)
	}
	var out bytes.Buffer
	if err := b.Write(&out); err != nil {
		return api.UsageBundle{}, world(err)
	}
	return api.UsageBundle{Name: b.Name(), Content: out.Bytes(), Batches: len(b.Usage), Requests: b.Requests, Signed: b.Signed()}, nil
}

var errNotSigned = errors.New("it must be signed with the key of the registration")

// applyAck forgets what the platform has. of is the certificate of the registration of agent; nil: it is not known.
func applyAck(l *metering.Ledger, text []byte, of *x509.Certificate, agent string, unsigned bool) error {
	r, err := metering.ReadResult(text)
	if err != nil {
		return err
	}
	switch {
	case of != nil && r.Signature != nil && r.Ack.AgentID != agent:
		err = fmt.Errorf("it is for the registration of %s, and not for that of %s: --registration FILE names the other one", r.Ack.AgentID, agent)
	case of != nil && r.Signature != nil:
		err = r.Verify(of)
	case r.Signature == nil && unsigned:
	case of == nil:
		err = fmt.Errorf("%w: --registration FILE says which", errNotSigned)
	default:
		err = errNotSigned
	}
	if err != nil {
		return err
	}
	return l.Settle(r.Ack)
}
