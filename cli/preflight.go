package cli

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/preflight"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

func preflightCommand(env Env) *cli.Command {
	documented, others := preflight.Planes()
	planes := slices.Concat(documented, others)
	return &cli.Command{
		Name:      "preflight",
		Usage:     "say whether this host can run a gateway and reach the platform",
		ArgsUsage: "[PATH…]",
		Description: "Looks at system, resources, ports (those of the declarations too), files, clock and network, and says what is in the way. Nothing on the host is changed.\n" +
			"Probing is name look-up, TCP and TLS, of the two hosts that the daemon itself may call; no HTTP request is sent. Exit code 0: no error; 1: an error; 3: it could not look.",
		Flags: []cli.Flag{
			outputFlag("text", "json", "junit"),
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "show what is in order too"},
			known(&cli.StringFlag{Name: "plane", Usage: "`PLANE` of the platform: " + strings.Join(planes, ", ") + " (default: the registration's, else US)"}, planes...),
			known(&cli.StringFlag{Name: "profile", Value: preflight.Gateway, Usage: "what the host is for: " + preflight.Gateway + ", or " + preflight.Fabric + " (a node of both)"}, preflight.Gateway, preflight.Fabric),
			known(&cli.StringFlag{Name: "flex-version", Usage: "the product's `RELEASE`, such as 1.9, is to run here: what it needs is then an error where it is missing, not a warning"}, ir.Releases()...),
			known(&cli.StringFlag{Name: "size", Usage: "the product's size that the host must hold: " + strings.Join(preflight.Sizes(), ", ")}, preflight.Sizes()...),
			&cli.StringFlag{Name: "user", Usage: "`NAME` or number of who will run the gateway (default: who asks)"},
			&cli.StringFlag{Name: "registration", Usage: "`FILE` of the registration (default: registration.yaml beside the declarations, else the product's)"},
			stateDirFlag(),
			&cli.BoolFlag{Name: "no-network", Aliases: []string{"offline"}, Usage: "ask nobody: list the hosts and ports that have to be open"},
			&cli.BoolFlag{Name: "all-hosts", Usage: "probe every documented host of the plane, also those that flexgw never calls"},
			&cli.StringFlag{Name: "https-proxy", Usage: "`URL` of the forward proxy of registration: http://[USER@]HOST:PORT (default: $FLEXGW_HTTPS_PROXY); usage goes through the forwardProxy of the declarations"},
			proxyFromEnvFlag(),
			&cli.StringFlag{Name: "socks5-proxy", Usage: "`URL` of a SOCKS5 proxy for what is not HTTP (Monitoring of Runtime Fabric); flexgw itself calls nobody through it: socks5://[USER@]HOST:PORT"},
			proxyPasswordFlag(),
			&cli.StringFlag{Name: "inspection-ca-file", Usage: "PEM `FILE` of an authority with which something on the way, such as this site's proxy, opens TLS: what it has signed reaches nobody unopened"},
			&cli.StringFlag{Name: "ca-file", Hidden: true}, // its name of before
			known(&cli.StringFlag{Name: "firewall", Usage: "in place of the report, write `RULES` that let through what is needed: " + strings.Join(preflight.Firewalls(), ", ") + "; names are looked up unless --no-network says no"}, preflight.Firewalls()...),
			&cli.BoolFlag{Name: "cluster", Usage: "let kubectl and oc ask the cluster that they are set up for; with --no-network, list what they would be asked"},
		},
		Action: func(c *cli.Context) error { return runPreflight(c, env, planes) },
	}
}

func runPreflight(c *cli.Context, env Env, planes []string) error {
	outs, err := outputsOf(c, "text", "json", "junit")
	if err != nil {
		return err
	}
	if err := given(c, "plane", "profile", "flex-version", "size", "user", "state-dir", "registration", "https-proxy", "socks5-proxy", "proxy-password-file", "inspection-ca-file", "ca-file", "firewall"); err != nil {
		return err
	}
	o, err := preflightOptions(c, env, planes)
	if err != nil {
		return err
	}
	var extra []preflight.Result
	if c.Args().Present() {
		set, err := readJudged(c.Args().Slice(), env)
		if err != nil {
			return err
		}
		extra = asksOf(env, set, &o)
	}
	w, err := hostWorld(c, env, o)
	if err != nil {
		return err
	}
	if format := c.String("firewall"); format != "" {
		if !slices.Contains(preflight.Firewalls(), format) {
			return usage("--firewall %s: expected one of %s%s", format, strings.Join(preflight.Firewalls(), ", "), suggest(format, preflight.Firewalls()))
		}
		if c.IsSet("output") {
			return usage("--firewall writes rules to standard output: --output has no say in them")
		}
		return writeFirewall(c, env, w, o, format, extra)
	}
	found := append(extra, preflight.Run(c.Context, w, o)...)
	if err := each(outs, env.Stdout, func(format string, w io.Writer) error {
		return writePreflight(w, format, o, found, c.Bool("verbose"), colour(w, env))
	}); err != nil {
		return err
	}
	if slices.ContainsFunc(found, func(r preflight.Result) bool { return r.Severity == preflight.Error }) {
		return &exit{code: ExitDiagnostics}
	}
	return nil
}

// preflightOptions reads the flags.
func preflightOptions(c *cli.Context, env Env, planes []string) (o preflight.Options, err error) {
	one := func(flag string, known []string) string {
		v := c.String(flag)
		if i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, v) }); i >= 0 {
			return known[i]
		}
		if v != "" && err == nil {
			err = usage("--%s %s: expected one of %s%s", flag, v, strings.Join(known, ", "), suggest(v, known))
		}
		return ""
	}
	o.Plane = one("plane", planes)
	o.Profile = one("profile", []string{preflight.Gateway, preflight.Fabric})
	o.Size = one("size", preflight.Sizes())
	if err != nil {
		return o, err
	}
	if v := c.String("flex-version"); v != "" {
		if o.Release, err = ir.ParseRelease(v); err != nil {
			return o, usage("--flex-version: %v", err)
		}
		o.Product = true
	}
	o.User, o.Cluster = c.String("user"), c.Bool("cluster")
	if _, e := strconv.Atoi(o.User); o.User != "" && e != nil { // a number needs no account
		if _, e := user.Lookup(o.User); errors.As(e, new(user.UnknownUserError)) {
			return o, usage("--user %s: there is no such user on this host", o.User)
		}
	}
	if o.StateDirs, err = stateDirs(env, c.String("state-dir")); err != nil {
		return o, err
	}
	if path, ok := env.Getenv("FLEXGW_ENVOY"); ok && path != "" {
		o.Envoy = "$FLEXGW_ENVOY"
	}
	o.NoNetwork, o.AllHosts = c.Bool("no-network"), c.Bool("all-hosts")
	o.Registration = registrationOf(c)
	return o, proxiesOf(c, env, &o)
}

// stateDirs are the folders in which daemons of this host may keep their state, and those in which the ones that run say that they do.
func stateDirs(env Env, named string) ([]string, error) {
	live, err := liveDaemons(env)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, d := range live {
		if d.state != "" {
			dirs = append(dirs, d.state)
		}
	}
	if named != "" {
		dirs = append(dirs, named)
	}
	if dir, ok := env.Getenv("STATE_DIRECTORY"); ok && dir != "" {
		dirs = append(dirs, strings.Split(dir, ":")[0])
	}
	if home, err := stateHome(env); err == nil {
		found, _ := filepath.Glob(filepath.Join(home, "flexgw", "*")) // the pattern is right
		dirs = append(dirs, found...)
	}
	found, _ := filepath.Glob("/var/lib/flexgw*")
	dirs = append(dirs, found...)
	for i := range dirs {
		if dirs[i], err = filepath.Abs(dirs[i]); err != nil {
			return nil, world(err)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

// asksOf tells the options what declarations ask of the host. The result is what is wrong with the declarations themselves;
// what is right in them is looked at all the same.
func asksOf(env Env, set source.Set, o *preflight.Options) []preflight.Result {
	p := onePass(env)
	p.load.Salvage, p.load.AllowUnenforced, p.load.AllowReserved = true, true, true // ports are a check of their own
	p.load.Target = o.Release
	g, list := p.model(set)
	if g != nil {
		o.Counts = countsOf(g)
		o.Declared = listenersOf(g)
		if p, _, err := proxyOf(g, o.Forward); err == nil {
			o.Forward = p
		}
		o.Direct = past(g)
	}

	res := preflight.Result{CheckID: "declarations.valid", Severity: preflight.OK, Subject: "declarations", Expected: "no mistake", Source: "ours: flexgw validate",
		Observed: fmt.Sprintf("APIs: %d, ports: %d", counted(o.Counts), len(o.Declared))}
	if list.HasErrors() {
		res.Severity, res.Observed, res.Hint = preflight.Error, firstOf(list.WithoutSecrets(set.Bytes)), "flexgw validate says all; what is wrong was left out of the checks below"
	}
	return []preflight.Result{res}
}

func counted(c *preflight.Counts) int {
	if c == nil {
		return 0
	}
	return c.APIs
}

func listenersOf(g *ir.Gateway) []preflight.Declared {
	var all []preflight.Declared
	for _, l := range g.Listeners {
		if len(l.APIs) == 0 {
			continue
		}
		o := l.APIs[0].Origin
		by := fmt.Sprintf("%s/%s (%s:%d)", o.Object.Namespace, o.Object.Name, o.Range.File, o.Range.Start.Line)
		if more := len(l.APIs) - 1; more > 0 {
			by += fmt.Sprintf(" and %d more", more)
		}
		all = append(all, preflight.Declared{Addr: netip.AddrPortFrom(l.Addr.Addr(), l.Addr.Port()), By: by})
	}
	if r := g.Readiness; r != nil {
		o := r.Origin
		all = append(all, preflight.Declared{Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), r.Port), Product: true,
			By: fmt.Sprintf("the readiness endpoint of Configuration %s/%s (%s:%d)", o.Object.Namespace, o.Object.Name, o.Range.File, o.Range.Start.Line)})
	}
	slices.SortStableFunc(all, func(a, b preflight.Declared) int { return a.Addr.Compare(b.Addr) })
	return slices.CompactFunc(all, func(a, b preflight.Declared) bool { return a.Addr == b.Addr }) // both on one port: validate has said so
}

// past are what declarations name that no forward proxy carries, in words.
func past(g *ir.Gateway) []string {
	var all []string
	if g.Settings.SharedStorage {
		all = append(all, "the shared storage (Redis)")
	}
	for _, b := range g.Bindings() {
		if strings.Contains(b.Policy, "ldap") {
			all = append(all, "LDAP of "+b.Policy)
		}
	}
	for _, l := range g.LogOutputs {
		if slices.Contains(plainOutputs[:], l.Type) {
			all = append(all, "the log output "+l.Name+" ("+l.Type+")")
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// plainOutputs are the types of log outputs that speak to another host, and not HTTP (flex-resources.md, appendix A).
var plainOutputs = [...]string{"forward", "gelf", "kafka", "nats", "pgsql", "syslog", "tcp", "udp"}

func countsOf(g *ir.Gateway) *preflight.Counts {
	c := &preflight.Counts{}
	most := func(n int, who string, to *int, name *string) {
		if n > *to {
			*to, *name = n, who
		}
	}
	for _, l := range g.Listeners {
		for _, a := range l.APIs {
			c.APIs++
			name := a.Origin.Object.Namespace + "/" + a.Origin.Object.Name
			most(len(upstreams(a)), name, &c.UpstreamsPerAPI, &c.MostUpstreams)
			most(len(a.Routes), name, &c.RoutesPerAPI, &c.MostRoutes)
			for _, r := range a.Routes {
				most(len(r.To), name, &c.UpstreamsPerRoute, &c.MostSplits)
			}
		}
	}
	return c
}

// preflightTally counts results by severity.
type preflightTally struct {
	OK      int `json:"ok"`
	Info    int `json:"info"`
	Warn    int `json:"warn"`
	Error   int `json:"error"`
	Skipped int `json:"skipped"`
	Manual  int `json:"manual"`
}

func tallyOf(found []preflight.Result) preflightTally {
	n := map[preflight.Severity]int{}
	for _, r := range found {
		n[r.Severity]++
	}
	return preflightTally{n[preflight.OK], n[preflight.Info], n[preflight.Warn], n[preflight.Error], n[preflight.Skipped], n[preflight.Manual]}
}

func writePreflight(w io.Writer, format string, o preflight.Options, found []preflight.Result, verbose, colour bool) error {
	switch format {
	case "json":
		return report.Indented(w, struct {
			SchemaVersion int                `json:"schemaVersion"`
			Profile       string             `json:"profile"`
			Plane         string             `json:"plane"`
			FlexVersion   string             `json:"flexVersion"`
			Summary       preflightTally     `json:"summary"`
			Checks        []preflight.Result `json:"checks"`
		}{1, o.Profile, o.PlaneOf(), o.Release.String(), tallyOf(found), found})
	case "junit":
		return report.JUnit(w, "flexgw preflight", preflightCases(found))
	}
	return writePreflightText(w, found, verbose, colour)
}

// preflightCases are the results as tests: an error fails, a warning and what needs a person are skipped with their words, for no other
// word of JUnit's says "look at this".
func preflightCases(found []preflight.Result) []report.Case {
	var cases []report.Case
	for _, r := range found {
		area, _, _ := strings.Cut(r.CheckID, ".")
		c := report.Case{Suite: "preflight." + area, Name: r.Subject + " [" + r.CheckID + "]", Kind: string(r.Severity)}
		text := fmt.Sprintf("\n%s: %s\nexpected: %s (%s)\n", r.Severity, r.Observed, r.Expected, r.Source)
		if r.Hint != "" {
			text += "hint: " + r.Hint + "\n"
		}
		switch r.Severity {
		case preflight.Error:
			c.Message, c.Text = r.Observed, text
		case preflight.Warn, preflight.Manual, preflight.Skipped:
			c.Skipped, c.Text = true, text
		}
		cases = append(cases, c)
	}
	return cases
}

// writePreflightText shows the worst last, next to the prompt, and within that the order of the checks. What is in order or was not
// asked shows with --verbose.
func writePreflightText(w io.Writer, found []preflight.Result, verbose, colour bool) error {
	paint := map[preflight.Severity]string{preflight.Error: "\x1b[31m", preflight.Warn: "\x1b[33m", preflight.OK: "\x1b[32m"}
	var b strings.Builder
	for _, sev := range preflight.Severities() {
		if (sev == preflight.OK || sev == preflight.Skipped) && !verbose {
			continue
		}
		for _, r := range found {
			if r.Severity != sev {
				continue
			}
			word := fmt.Sprintf("%-7s", sev)
			if code := paint[sev]; colour && code != "" {
				word = code + word + "\x1b[0m"
			}
			fmt.Fprintf(&b, "%s %s: %s [%s]\n", word, diag.Visible(r.Subject), diag.Visible(r.Observed), r.CheckID)
			loud := sev == preflight.Error || sev == preflight.Warn
			if loud || verbose || sev == preflight.Manual {
				fmt.Fprintf(&b, "        expected: %s (%s)\n", diag.Visible(r.Expected), diag.Visible(r.Source))
			}
			if r.Hint != "" && sev != preflight.OK {
				fmt.Fprintf(&b, "        hint: %s\n", diag.Visible(r.Hint))
			}
		}
	}
	t := tallyOf(found)
	fmt.Fprintf(&b, "%s, %s, %d to see to by hand, %d to know, %d in order, %d not asked\n", plural(t.Error, "error", "errors"), plural(t.Warn, "warning", "warnings"), t.Manual, t.Info, t.OK, t.Skipped)
	_, err := io.WriteString(w, b.String())
	return err
}
