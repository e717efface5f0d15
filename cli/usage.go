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
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/status"
	metering "github.com/flexgw/flexgw/reconcile/usage"
	"github.com/flexgw/flexgw/schema/diag"
)

func usageCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:  "usage",
		Usage: "show how often APIs were called, and report it",
		Subcommands: []*cli.Command{
			usageShowCommand(env), usageFlushCommand(env), usageExportCommand(env), usageImportCommand(env), usageForgetCommand(env),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("no command %q%s: usage has show, flush, export, import and forget", "usage "+c.Args().First(), suggest(c.Args().First(), []string{"show", "flush", "export", "import", "forget"}))
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func usageShowCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show how often each API was called in each hour, and what of it the platform has",
		ArgsUsage: "[SOURCE]",
		Description: "Asks the daemon that --socket, --state-dir or SOURCE finds; without any of them, the only one that runs. When none runs, a\n" +
			"--state-dir or SOURCE is read from the disk.",
		Flags: daemonFlags(outputFlag("text", "json")),
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			if err != nil {
				return err
			}
			source, err := oneSource(c)
			if err != nil {
				return err
			}
			var shown api.Usage
			err = withUsage(c, env, source,
				func(ctx context.Context, d api.Client) (err error) { shown, err = d.Usage(ctx); return err },
				func(l *metering.Ledger) error { shown = usageOf(l, nil); return nil })
			if err != nil {
				return err
			}
			return each(outs, env.Stdout, func(format string, w io.Writer) error {
				if format == "json" {
					return writeJSON(w, shown)
				}
				return writeUsage(w, shown)
			})
		},
	}
}

func usageFlushCommand(env Env) *cli.Command {
	return &cli.Command{
		Name:      "flush",
		Usage:     "have a running daemon report all usage now",
		ArgsUsage: "[SOURCE]",
		Description: "The daemon reads the access log to its end and sends all that waits, whatever it waits for. Exit code 0: the platform has\n" +
			"acknowledged it. 3: it has not, and why; the daemon goes on trying.",
		Flags: daemonFlags(outputFlag("text", "json"), &cli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "how long to wait for the platform"}),
		Action: func(c *cli.Context) error {
			outs, err := outputsOf(c, "text", "json")
			if err != nil {
				return err
			}
			source, err := oneSource(c)
			if err != nil {
				return err
			}
			d, err := daemonOf(c, env, source)
			if err != nil {
				return err
			}
			ctx, cancel, seconds := limited(c)
			defer cancel()
			u, err := d.FlushUsage(ctx, api.UsageFlushRequest{Wait: seconds})
			if err != nil {
				return answered(err)
			}
			words := fmt.Sprintf("reported: the platform has %s of %s, up to batch %d", requestsWord(reportedOf(u)), diag.Visible(gatewayName(u.Registration)), u.Spool.AckedSeq) + asideWords(u.Requests.SetAside)
			agent := ""
			if u.Registration != nil {
				agent = u.Registration.AgentID
			}
			return tell(env, outs, words+"\n", usageFactsOf("reported", u, agent))
		},
	}
}

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
	unlock, err := disk.Lock(ctx, filepath.Dir(to))
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

// asideWords end a sentence about what the platform has.
func asideWords(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d set aside (flexgw usage show says why)", n)
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
			&cli.BoolFlag{Name: "unsigned", Usage: "take a bundle that nobody signed"},
		},
		Action: func(c *cli.Context) error {
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
		},
	}
}

// importer calls the metering host of a registration, and nobody else.
func importer(c *cli.Context, env Env, f *anypoint.File) (*egress.Egress, error) {
	if f.Metering == "" {
		return nil, world(errors.New(noMetering(f)))
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

// withUsage asks a daemon, or reads the ledger itself where one is named and no daemon has it.
func withUsage(c *cli.Context, env Env, source string, ask func(context.Context, api.Client) error, read func(*metering.Ledger) error) error {
	d, err := daemonOf(c, env, source)
	if err == nil {
		ctx, cancel := context.WithTimeout(c.Context, 30*time.Second)
		defer cancel()
		err = ask(ctx, d)
	}
	var refused *api.Error
	if err == nil || errors.As(err, &refused) || c.IsSet("socket") || source == "" && c.String("state-dir") == "" && !under(env, "STATE_DIRECTORY") {
		return answered(err)
	}
	at, e := findPlaces(env, source, c.String("state-dir"), "")
	if e != nil {
		return world(e)
	}
	dir := filepath.Join(at.state, "usage")
	switch _, e := os.Stat(dir); {
	case errors.Is(e, fs.ErrNotExist):
		return world(fmt.Errorf("%w, and there is no usage in %s", err, at.state))
	case e != nil: // it is somebody else's, and so is the socket
		return answered(err)
	}
	l, e := metering.Open(dir, metering.Options{Now: env.now, Existing: true})
	if e != nil {
		if errors.Is(e, metering.ErrInUse) || errors.Is(e, fs.ErrPermission) {
			return answered(err)
		}
		return world(e)
	}
	defer l.Close()
	return read(l)
}

func under(env Env, name string) bool {
	v, ok := env.Getenv(name)
	return ok && v != ""
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

// usageOf is what a ledger has, and how delivery goes; nil: nobody delivers.
func usageOf(l *metering.Ledger, d *metering.Delivery) api.Usage {
	s := l.State()
	u := api.Usage{SchemaVersion: api.SchemaVersion, Hours: []api.UsageHour{}, NoAPI: []api.UsageHour{}, SetAside: []api.UsageBatch{}, Alarms: []api.UsageAlarm{},
		Condition: status.Condition{Type: status.UsageReported, Status: status.Unknown, Reason: "NotRunning", Message: "no daemon runs that would report it"},
		Spool:     api.UsageSpool{ReplicaID: s.Replica, BootEpoch: s.Epoch, LastSeq: s.LastSeq, AckedSeq: s.AckedSeq, Batches: s.Pending, Bytes: s.Bytes, MaxBytes: s.MaxBytes}}
	if d != nil {
		u.Condition = usageCondition(*d)
		u.Since, u.NextTry = timeOrNil(d.Since), timeOrNil(d.NextTry)
	}
	if s.Identity.Agent != "" {
		u.Registration = &api.UsageRegistration{AgentID: s.Identity.Agent, AssetName: s.Identity.Asset}
	}
	noAPI := map[time.Time]uint64{} // whoever was registered
	for _, t := range l.Totals() {
		row := api.UsageHour{Hour: t.Hour, API: t.API, AgentID: t.Identity.Agent, AssetName: t.Identity.Asset, Counted: t.Counted, Reported: t.Acknowledged, SetAside: t.Quarantined, GivenUp: t.GivenUp, Final: t.Final}
		switch {
		case t.API == "":
			u.Requests.NoAPI += t.Counted
			noAPI[t.Hour] += t.Counted
			continue
		case t.Identity == metering.Identity{}:
			u.Requests.Unregistered += t.Counted
		default:
			row.Waiting = t.Counted - t.Acknowledged - t.Quarantined - t.GivenUp
			u.Requests.Counted += t.Counted
			u.Requests.Reported += t.Acknowledged
			u.Requests.SetAside += t.Quarantined
			u.Requests.GivenUp += t.GivenUp
			u.Requests.Waiting += row.Waiting
		}
		u.Hours = append(u.Hours, row)
	}
	for h, n := range noAPI {
		u.NoAPI = append(u.NoAPI, api.UsageHour{Hour: h, Counted: n})
	}
	u.Requests.Lost = s.Lost
	byHour := func(a, b api.UsageHour) int {
		return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.API, b.API), cmp.Compare(a.AgentID, b.AgentID))
	}
	slices.SortFunc(u.Hours, byHour)
	slices.SortFunc(u.NoAPI, byHour)
	batches, whys := l.Quarantined()
	for i, b := range batches {
		u.SetAside = append(u.SetAside, api.UsageBatch{AgentID: b.AgentID, AssetName: b.AssetName, Seq: b.Seq, Requests: metering.Requests(b), Why: whys[i]})
	}
	for _, a := range s.Alarms {
		u.Alarms = append(u.Alarms, api.UsageAlarm(a))
	}
	return u
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// usageCondition is how delivery goes, as status has it.
func usageCondition(d metering.Delivery) status.Condition {
	c := status.Condition{Type: status.UsageReported, Status: d.Status, Reason: string(d.Reason), Message: d.Message}
	if d.Status == status.False && !d.Since.IsZero() {
		c.Message = "since " + d.Since.UTC().Format(time.RFC3339) + ": " + c.Message
	}
	return c
}

func requestsWord[N ~uint64](n N) string { return plural(n, "request", "requests") }

func plural[N ~int | ~uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// gatewayName is what a gateway was registered under.
func gatewayName(r *api.UsageRegistration) string {
	if r == nil {
		return "nobody"
	}
	return r.AssetName
}

// reportedOf is what the platform has of the gateway that counts belong to now.
func reportedOf(u api.Usage) uint64 {
	if u.Registration == nil {
		return u.Requests.Reported
	}
	return gatewayOf(u, u.Registration.AgentID).sum.Reported
}

// gatewayOf is what was counted for one registration.
func gatewayOf(u api.Usage, agent string) gateway {
	for _, g := range gatewaysOf(u) {
		if g.id == agent {
			return *g
		}
	}
	return gateway{id: agent, label: diag.Visible(agent)}
}

// gateway is what was counted for one of several registrations.
type gateway struct {
	id, name string
	label    string // the name, with the ID where another one has the same
	sum      api.UsageHour
}

// gatewaysOf are those that counts belong to, sorted by name and ID, the one that they belong to now among them.
func gatewaysOf(u api.Usage) []*gateway {
	by, named := map[string]*gateway{}, map[string]int{}
	var all []*gateway
	of := func(id, name string) *gateway {
		if by[id] == nil {
			by[id] = &gateway{id: id, name: name}
			all = append(all, by[id])
			named[name]++
		}
		return by[id]
	}
	if u.Registration != nil {
		of(u.Registration.AgentID, u.Registration.AssetName)
	}
	for _, h := range u.Hours {
		if h.AgentID == "" {
			continue
		}
		x := &of(h.AgentID, h.AssetName).sum
		x.Counted, x.Reported, x.Waiting, x.SetAside, x.GivenUp = x.Counted+h.Counted, x.Reported+h.Reported, x.Waiting+h.Waiting, x.SetAside+h.SetAside, x.GivenUp+h.GivenUp
	}
	for _, b := range u.SetAside { // rows may be gone, and an empty batch has none
		of(b.AgentID, b.AssetName)
	}
	for _, g := range all {
		if g.label = diag.Visible(g.name); named[g.name] > 1 {
			g.label += " (" + diag.Visible(g.id) + ")"
		}
	}
	slices.SortFunc(all, func(a, b *gateway) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id)) })
	return all
}

func writeUsage(w io.Writer, u api.Usage) error {
	writeCondition(w, "", u.Condition)
	r := u.Requests
	if u.Registration == nil {
		fmt.Fprintln(w, "registration  none: what is counted now is never reported")
	} else {
		fmt.Fprintf(w, "registration  %s (%s)\n", diag.Visible(u.Registration.AssetName), diag.Visible(u.Registration.AgentID))
	}
	fmt.Fprintf(w, "requests      %d counted, %d reported, %d waiting", r.Counted, r.Reported, r.Waiting)
	for _, x := range []struct {
		n    uint64
		text string
	}{{r.SetAside, "set aside"}, {r.GivenUp, "given up"}, {r.Lost, "lost"}, {r.Unregistered, "without a registration"}, {r.NoAPI, "on paths of no API"}} {
		if x.n > 0 {
			fmt.Fprintf(w, ", %d %s", x.n, x.text)
		}
	}
	fmt.Fprintln(w)
	labels, several := map[string]string{}, false
	if all := gatewaysOf(u); len(all) > 1 {
		several = true
		for _, g := range all {
			labels[g.id] = diag.Visible(g.label)
			fmt.Fprintf(w, "gateway       %s (%s): %d counted, %d reported, %d waiting", diag.Visible(g.name), diag.Visible(g.id), g.sum.Counted, g.sum.Reported, g.sum.Waiting)
			if g.sum.SetAside > 0 {
				fmt.Fprintf(w, ", %d set aside", g.sum.SetAside)
			}
			if g.sum.GivenUp > 0 {
				fmt.Fprintf(w, ", %d given up", g.sum.GivenUp)
			}
			fmt.Fprintln(w)
		}
	}
	for _, a := range u.Alarms {
		fmt.Fprintf(w, "alarm         %s since %s: %s\n", a.Code, a.Since.Format(time.RFC3339), oneLine(a.Message))
	}
	for _, b := range u.SetAside {
		fmt.Fprintf(w, "set aside     batch %d of %s, %s: %s\n", b.Seq, diag.Visible(b.AgentID), requestsWord(b.Requests), oneLine(b.Why))
	}
	if len(u.Hours)+len(u.NoAPI) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	hours := append(slices.Clone(u.Hours), u.NoAPI...)
	slices.SortStableFunc(hours, func(a, b api.UsageHour) int { return a.Hour.Compare(b.Hour) })
	columns := []usageColumn{
		{"HOUR (UTC)", func(h api.UsageHour) string { return h.Hour.UTC().Format("2006-01-02 15:04") }},
		{"API", func(h api.UsageHour) string {
			switch {
			case h.API == "":
				return "(no API)"
			case h.AgentID == "":
				return diag.Visible(h.API) + " (unregistered)"
			}
			return diag.Visible(h.API)
		}},
	}
	if several {
		columns = append(columns, usageColumn{"GATEWAY", func(h api.UsageHour) string { return cmp.Or(labels[h.AgentID], "-") }})
	}
	columns = append(columns, usageColumn{"COUNTED", func(h api.UsageHour) string { return fmt.Sprint(h.Counted) }},
		reportable("REPORTED", func(h api.UsageHour) uint64 { return h.Reported }), reportable("WAITING", func(h api.UsageHour) uint64 { return h.Waiting }))
	if r.SetAside > 0 {
		columns = append(columns, reportable("SET ASIDE", func(h api.UsageHour) uint64 { return h.SetAside }))
	}
	if r.GivenUp > 0 {
		columns = append(columns, reportable("GIVEN UP", func(h api.UsageHour) uint64 { return h.GivenUp }))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cell func(usageColumn) string) {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = cell(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	line(func(c usageColumn) string { return c.head })
	for _, h := range hours {
		line(func(c usageColumn) string { return c.cell(h) })
	}
	return t.Flush()
}

// usageColumn is one of the table of usage show.
type usageColumn struct {
	head string
	cell func(api.UsageHour) string
}

// reportable is a column of numbers that rows of nobody, which are never reported, do not have.
func reportable(head string, n func(api.UsageHour) uint64) usageColumn {
	return usageColumn{head, func(h api.UsageHour) string {
		if h.API == "" || h.AgentID == "" {
			return "-"
		}
		return fmt.Sprint(n(h))
	}}
}
