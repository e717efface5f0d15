package schema

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// linkSettings makes the settings of the gateway: the product's defaults, then its environment variables, then the
// Configuration objects, which are the layer that can be adjusted (flex-resources.md, 6.7).
func (s *state) linkSettings() diag.List {
	slices.SortFunc(s.configs, func(a, b *v1alpha1.Object[v1alpha1.ConfigurationSpec]) int {
		return cmp.Or(later(s.isFresh(a.ID), s.isFresh(b.ID)), a.Range.Compare(b.Range), strings.Compare(a.ID.String(), b.ID.String()))
	})
	out := &ir.Settings{StreamIdle: 300 * time.Second, UpstreamIdle: 60 * time.Second, UpstreamResponse: 15 * time.Second,
		ConnectionIdle: 60 * time.Second, RewriteHost: true, ForwardClientCert: "SANITIZE"}
	ds := fromEnvironment(out, s.decoder.getenv)
	s.proxy, s.readiness, s.logs = nil, nil, nil
	owner := map[string]*v1alpha1.Object[v1alpha1.ConfigurationSpec]{}
	where := map[string]diag.Range{}
	for _, o := range s.configs {
		out.Origins = append(out.Origins, ir.Origin{Object: o.ID, Range: o.Name.Range})
		for _, k := range o.Spec.Keys {
			if first, ok := owner[k.Value]; ok {
				ds = append(ds, diag.Diagnostic{Severity: diag.Error, Code: "link/duplicate-setting", Subject: k.Range, Object: o.ID,
					Summary: fmt.Sprintf("%q is set by %s too", k.Value, first.ID), Hint: "set it in one Configuration",
					Related: []diag.Related{{Subject: where[k.Value], Summary: "set here first"}}})
				continue
			}
			owner[k.Value], where[k.Value] = o, k.Range
		}
		apply(out, &o.Spec)
		if s.proxy == nil {
			s.proxy = forwardProxy(o)
		}
		if s.readiness == nil {
			s.readiness = readiness(o)
		}
		if l := o.Spec.Logging; l != nil {
			for _, out := range l.Outputs {
				s.logs = append(s.logs, ir.LogOutput{Name: out.Name.Value, Type: strings.ToLower(out.Type.Value)})
			}
		}
	}
	slices.SortFunc(out.Origins, func(a, b ir.Origin) int {
		return cmp.Or(a.Range.Compare(b.Range), strings.Compare(a.Object.String(), b.Object.String()))
	})
	s.setSettings(out)
	return ds
}

// noVariables warns of a $NAME in settings, which a policy's config would have replaced (flex-resources.md, 10.6). A secret may look like one:
// it is not shown, and has to be in capitals.
func (d *docDecoder) noVariables(n *syntax.Node, path []string) {
	for _, f := range n.Fields {
		d.noVariables(f.Value, append(path, f.Name))
	}
	for i, x := range n.Items {
		d.noVariables(x, append(path, strconv.Itoa(i)))
	}
	text, _ := n.Scalar.(string)
	if !variable.MatchString(text) {
		return
	}
	what, hint := quoteShort(text), "write the value: variables are replaced in the config of policies alone"
	if secretName(path) {
		if strings.ToUpper(text) != text {
			return // a dollar sign in a password is nothing odd
		}
		what, hint = "a dollar sign and a name", "write the value, in a file encrypted with SOPS: variables are replaced in the config of policies alone"
	}
	d.report(diag.Warning, "link/not-a-variable", n.Range, fmt.Sprintf("%s is %s, which is no variable here but the text that it is", label(path), what), hint).Path = pointer(path)
}

// forwardProxy is what one Configuration says of it; nil: nothing.
func forwardProxy(o *v1alpha1.Object[v1alpha1.ConfigurationSpec]) *ir.ForwardProxy {
	p := o.Spec.ForwardProxy
	if p == nil || p.HTTPS == nil {
		return nil
	}
	out := &ir.ForwardProxy{Origin: ir.Origin{Object: o.ID, Range: p.HTTPS.Address.Range}, Address: p.HTTPS.Address.Value}
	user, password := p.HTTPS.BasicAuth.Get("username"), p.HTTPS.BasicAuth.Get("password")
	if user != nil && password != nil { // else their shape is wrong
		out.Username, out.Password = user.Text, ir.NewSecret(password.Text)
	}
	for _, n := range p.NoProxy {
		out.NoProxy = append(out.NoProxy, n.Value)
	}
	return out
}

// readiness is the endpoint that one Configuration asks for; nil: none.
func readiness(o *v1alpha1.Object[v1alpha1.ConfigurationSpec]) *ir.Readiness {
	p := o.Spec.Probe
	if p == nil || !p.Enabled {
		return nil
	}
	n, err := strconv.ParseUint(p.Port.Value, 10, 16)
	if err != nil || n == 0 { // its shape has been judged
		return nil
	}
	return &ir.Readiness{Origin: ir.Origin{Object: o.ID, Range: p.Port.Range}, Port: uint16(n)}
}

func apply(out *ir.Settings, c *v1alpha1.ConfigurationSpec) {
	if st := c.SharedStorage; st != nil {
		out.SharedStorage = st.Redis != nil || st.Local != nil && st.Local.Enabled
	}
	if c.Tracing != nil && c.Tracing.Provider != nil {
		out.Tracing = true
	}
	if t := c.Timeouts; t != nil {
		setSeconds(&out.StreamIdle, t.StreamIdleSeconds)
		setSeconds(&out.UpstreamIdle, t.UpstreamConnectionIdleSeconds)
		setSeconds(&out.UpstreamResponse, t.UpstreamResponseSeconds)
	}
	if c.ProxyProtocol != nil {
		out.ProxyProtocol = c.ProxyProtocol.Enabled
	}
	for b := c.CircuitBreaker; b != nil; b = b.Thresholds {
		for _, x := range []struct {
			to, from *uint32
		}{{&out.MaxConnections, b.MaxConnections}, {&out.MaxPendingRequests, b.MaxPendingRequests}, {&out.MaxRequests, b.MaxRequests},
			{&out.MaxRetries, b.MaxRetries}, {&out.MaxConnectionPools, b.MaxConnectionPools}} {
			if x.from != nil {
				*x.to = *x.from
			}
		}
	}
}

func setSeconds(to *time.Duration, s *float64) {
	if s != nil {
		*to = time.Duration(*s * float64(time.Second))
	}
}

// seconds sets a duration from a number of seconds as written.
func seconds(to *time.Duration, text string) bool {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < 0 || f > 1<<32 {
		return false
	}
	*to = time.Duration(f * float64(time.Second))
	return true
}

var clientCertModes = []string{"SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"}

// fromEnvironment reads the product's FLEX_* variables (flex-resources.md, 11.6). A value that cannot be read is
// reported, and the default stays.
func fromEnvironment(out *ir.Settings, getenv func(string) (string, bool)) diag.List {
	var ds diag.List
	bad := func(name, value, want string) {
		ds = append(ds, diag.Diagnostic{Severity: diag.Warning, Code: "link/bad-environment",
			Summary: fmt.Sprintf("environment variable %s is %s, expected %s", name, quoteShort(value), want), Hint: "correct it where the gateway is started; the default is used until then"})
	}
	for _, v := range []struct {
		name string
		to   *time.Duration
	}{{"FLEX_STREAM_IDLE_TIMEOUT_SECONDS", &out.StreamIdle}, {"FLEX_UPSTREAM_CONNECTION_IDLE_TIMEOUT_SECONDS", &out.UpstreamIdle},
		{"FLEX_UPSTREAM_RESPONSE_TIMEOUT_SECONDS", &out.UpstreamResponse}, {"FLEX_CONNECTION_IDLE_TIMEOUT_SECONDS", &out.ConnectionIdle}} {
		if text, ok := getenv(v.name); ok && text != "" && !seconds(v.to, strings.TrimSpace(text)) {
			bad(v.name, text, "a number of seconds")
		}
	}
	for _, v := range []struct {
		name string
		to   *bool
	}{{"FLEX_REWRITE_HOST_HEADER", &out.RewriteHost}, {"FLEX_ENVOY_HEADERS_ENABLED", &out.EnvoyHeaders}, {"FLEX_REMOVE_SERVER_HEADER", &out.RemoveServerHeader}} {
		text, ok := getenv(v.name)
		if !ok || text == "" {
			continue
		}
		b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(text)))
		if err != nil {
			bad(v.name, text, "true or false")
			continue
		}
		*v.to = b
	}
	if text, ok := getenv("FLEX_FORWARD_CLIENT_CERT_DETAILS"); ok && text != "" {
		mode := strings.ToUpper(strings.TrimSpace(text))
		if !slices.Contains(clientCertModes, mode) {
			bad("FLEX_FORWARD_CLIENT_CERT_DETAILS", text, alternatives(clientCertModes))
		} else {
			out.ForwardClientCert = mode
		}
	}
	return ds
}

// honoured are the settings that have their effect; the others are accepted, and named.
var honoured = map[string]bool{"timeouts": true, "proxyProtocol": true, "circuitBreaker": true}

// configurationRules judges one Configuration (flex-resources.md, 6).
func (d *docDecoder) configurationRules(c *v1alpha1.ConfigurationSpec, spec *syntax.Node) {
	several := slices.DeleteFunc(slices.Clone(c.Keys), func(k syntax.Text) bool { return k.Value == "sampling" || k.Value == "labels" })
	if len(several) > 1 {
		d.report(diag.Warning, "link/several-settings", several[1].Range, fmt.Sprintf("this Configuration sets %q and %q; the product promises nothing for several settings in one", several[0].Value, several[1].Value), "write one Configuration for each")
	}
	for _, k := range c.Keys {
		d.since(k.Range, "", k.Value, settingsSince[k.Value])
		switch {
		case honoured[k.Value] || d.refused(k):
		case k.Value == "sharedStorage":
			if c.SharedStorage != nil && c.SharedStorage.Redis != nil {
				d.report(diag.Warning, "link/not-supported-yet", spec.KeyRange("sharedStorage", "redis"), `"sharedStorage.redis" is not supported yet: state is kept in memory`,
					"leave it out where each gateway may count for itself, or stay with the product")
			}
		case k.Value == "forwardProxy":
			d.report(diag.Warning, "link/not-supported-yet", k.Range, `"forwardProxy" is for reports of usage alone: what upstreams and policies need is called directly`,
				"allow the gateway to reach these hosts, or stay with the product")
		case k.Value == "tls" || k.Value == "sampling" || k.Value == "labels":
			if k.Value != "tls" {
				d.report(diag.Warning, "link/misplaced-setting", k.Range, fmt.Sprintf("%q belongs below \"tracing\"", k.Value), "move it there").Edits =
					whereThere(spec, "tracing", diag.Edit{Op: diag.Move, At: k.Range, To: []string{"tracing", k.Value}})
			}
		default:
			d.report(diag.Warning, "link/not-supported-yet", k.Range, fmt.Sprintf("%q is not supported yet and has no effect", k.Value), "")
		}
	}
	readable := func(name string) bool { return !d.refused(syntax.Text{Value: name, Range: spec.KeyRange(name)}) }
	d.logging(c.Logging, spec.Get("logging").Get("outputs"))
	if readable("sharedStorage") {
		d.sharedStorage(c, spec)
	}
	if p := c.ForwardProxy; p != nil && p.HTTPS != nil && readable("forwardProxy") {
		d.proxy(p.HTTPS.Address)
		if user := p.HTTPS.BasicAuth.Get("username"); user != nil && strings.Contains(user.Text, ":") {
			d.report(diag.Error, "link/bad-address", user.Range, "the user of the proxy has a colon, and Basic authentication can not say it", "name a user without one")
		}
	}
	if b := c.CircuitBreaker; b != nil && b.Thresholds != nil && readable("circuitBreaker") {
		for _, t := range []*uint32{b.MaxConnections, b.MaxPendingRequests, b.MaxRequests, b.MaxRetries, b.MaxConnectionPools} {
			if t != nil {
				d.report(diag.Warning, "link/misplaced-setting", spec.KeyRange("circuitBreaker", "thresholds"), `circuitBreaker has thresholds of its own and below "thresholds"; the latter win`, "write them in one place")
				break
			}
		}
	}
}

// whereThere is an edit that makes sense where a field is there already.
func whereThere(n *syntax.Node, name string, x diag.Edit) []diag.Edit {
	if n.Get(name).IsNull() {
		return nil
	}
	return []diag.Edit{x}
}

// refused reports whether a setting of this document is wrong, which has been said.
func (d *docDecoder) refused(k syntax.Text) bool {
	return d.wrongAt("/spec/"+k.Value, k.Range)
}

// wrongAt reports whether something of this document is wrong at or below a path, or at a place.
func (d *docDecoder) wrongAt(path string, at diag.Range) bool {
	return slices.ContainsFunc(d.out.ds, func(x diag.Diagnostic) bool {
		return x.Severity == diag.Error && x.Object.IsZero() && (x.Subject == at || x.Path == path || strings.HasPrefix(x.Path, path+"/"))
	})
}

// logging judges what could be read of it; written is the list of its outputs. Where its shape is wrong, what seems to lack may have
// been meant.
func (d *docDecoder) logging(l *v1alpha1.Logging, written *syntax.Node) {
	if l == nil {
		return
	}
	wrong := d.wrongAt("/spec/logging", diag.Range{File: d.doc.Range.File})
	var names []string
	seen := map[string]diag.Range{}
	for _, o := range l.Outputs {
		if wrong && o.Name.IsZero() {
			if !o.Type.IsZero() {
				d.logOutput(o, false)
			}
			continue
		}
		if at, ok := seen[o.Name.Value]; ok {
			d.report(diag.Error, "link/duplicate-log-output", o.Name.Range, fmt.Sprintf("log output %q is declared twice", o.Name.Value), "rename one of them").Related = []diag.Related{{Subject: at, Summary: "the first one"}}
			if !o.Type.IsZero() {
				d.logOutput(o, !wrong)
			}
			continue
		}
		seen[o.Name.Value] = o.Name.Range
		names = append(names, o.Name.Value)
		if !wrong || !o.Type.IsZero() {
			d.logOutput(o, !wrong)
		}
	}
	unnamed := slices.ContainsFunc(l.Outputs, func(o v1alpha1.LogOutput) bool { return o.Name.IsZero() })
	all := !wrong || written != nil && len(l.Outputs) > 0 && len(written.Items) == len(l.Outputs) && !unnamed
	used := map[string]bool{}
	check := func(n *syntax.Node) {
		if n == nil || n.Kind != syntax.Sequence {
			return
		}
		for _, item := range n.Items {
			t := text(item)
			used[t.Value] = true
			if all && !slices.Contains(names, t.Value) && (!wrong || t.Value != "") {
				d.report(diag.Error, "link/unknown-log-output", t.Range, fmt.Sprintf("no log output is named %q", t.Value), cmp.Or(didYouMean(diag.Nearest(t.Value, names)), "declare it in logging.outputs"))
			}
		}
	}
	if l.RuntimeLogs != nil {
		check(l.RuntimeLogs.Outputs)
	}
	if l.AccessLogs != nil {
		check(l.AccessLogs.Outputs)
	}
	for _, name := range names {
		if !wrong && !used[name] {
			d.report(diag.Note, "link/unused-log-output", seen[name], fmt.Sprintf("no log goes to the output %q", name), "name it in runtimeLogs.outputs or accessLogs.outputs, or remove it")
		}
	}
}

func (d *docDecoder) sharedStorage(c *v1alpha1.ConfigurationSpec, spec *syntax.Node) {
	st := c.SharedStorage
	if st == nil {
		return
	}
	key := spec.KeyRange("sharedStorage")
	switch {
	case st.Redis == nil && st.Local == nil:
		d.report(diag.Error, "shape/missing-field", key, `"sharedStorage" lacks one of the fields "local" or "redis"`, "add one of them")
	case st.Redis != nil && st.Local != nil && st.Local.Enabled:
		d.report(diag.Warning, "link/two-storages", key, `"sharedStorage" has both "redis" and "local"`, "keep one of them")
	}
	r := st.Redis
	if r == nil {
		return
	}
	switch {
	case r.Address.IsZero() && r.Sentinel == nil:
		d.report(diag.Error, "shape/missing-field", spec.KeyRange("sharedStorage", "redis"), `"redis" lacks one of the fields "address" or "sentinel"`, "add one of them")
	case !r.Address.IsZero() && r.Sentinel != nil:
		d.report(diag.Warning, "link/two-storages", r.Address.Range, `"redis" has both "address" and "sentinel"; the sentinels know the address`, `remove "address"`)
	}
	addresses := []syntax.Text{r.Address}
	if r.Sentinel != nil {
		addresses = append(addresses, r.Sentinel.Addresses...)
	}
	for _, a := range addresses {
		if !a.IsZero() && !isHostPort(a.Value) {
			x := d.report(diag.Error, "link/bad-address", a.Range, fmt.Sprintf("address %s is not host:port", showAddress(a.Value)), "write host:port, without a protocol")
			if _, rest, ok := strings.Cut(a.Value, "://"); ok && isHostPort(strings.TrimSuffix(rest, "/")) {
				x.Edits = problem{meant: strings.TrimSuffix(rest, "/")}.edits(a.Range)
			}
		}
	}
}

func isHostPort(s string) bool {
	host, port, bad := splitHostPort(s)
	if bad != nil || strings.ContainsAny(s, "/@ ") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	_, ipErr := netip.ParseAddr(host)
	return err == nil && n > 0 && (ipErr == nil || hostName(strings.ToLower(host)))
}

func (d *docDecoder) proxy(t syntax.Text) {
	a, bad := splitAddress(t.Value)
	switch {
	case bad != nil:
		d.report(diag.Error, "link/bad-address", t.Range, "the address of the proxy "+bad.what, bad.hint)
	case a.scheme != "http" && a.scheme != "https":
		d.report(diag.Error, "link/bad-address", t.Range, fmt.Sprintf("the address of the proxy has the protocol %q, expected http or https", a.scheme), "")
	case strings.Trim(a.path, "/") != "":
		d.report(diag.Error, "link/bad-address", t.Range, fmt.Sprintf("the address of the proxy has the path %q: a proxy is a host and a port", a.path), "remove the path")
	}
}
