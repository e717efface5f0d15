package render

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	fileloggerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	celfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	exprv1alpha1 "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

const (
	hcmName    = "envoy.filters.network.http_connection_manager"
	serverName = "Anypoint Flex Gateway" // what the product's responses carry
	errorType  = "application/json; charset=UTF-8"
	slotStep   = 16 // pairs of slots of a listener: a multiple of it
)

// slotsFor is how many pairs of slots a listener has when its busiest API needs n.
func slotsFor(n int) int { return max(1, (n+slotStep-1)/slotStep) * slotStep }

// listener renders one port. Nothing of an API or a policy is in it (design.md, decision 6): an edit of a listener cuts
// websockets and streams at the end of its drain.
func (r *renderer) listener(l *ir.Listener, sp *splits, slots int) (*bundle, diag.List) {
	out := &bundle{}
	w := r.wire()
	defer r.release(w)
	origin := listenerOrigin(l)
	chain := &listenerv3.FilterChain{Name: "http", Filters: []*listenerv3.Filter{{
		Name: hcmName, ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: w.any(r.connectionManager(w, l, sp, slots))}}}}
	ds := r.terminate(w, l, chain, out)
	x := &listenerv3.Listener{
		Name:                          listenerName(l.Addr.Port()),
		Address:                       socketAddress(l.Addr.Addr().String(), l.Addr.Port()),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(connectionLimit),
		EnableReusePort:               wrapperspb.Bool(true),
		FilterChains:                  []*listenerv3.FilterChain{chain},
	}
	if r.gateway.Settings.ProxyProtocol {
		x.ListenerFilters = []*listenerv3.ListenerFilter{{Name: "envoy.filters.listener.proxy_protocol",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: w.any(&proxyprotocolv3.ProxyProtocol{})}}}
	}
	out.resource = newResource(w, x.Name, x, nil)
	r.checkFiles(w, out)
	return out, append(ds, faults(w, origin)...)
}

// terminate gives the port the TLS context of the `tls` binding that reaches it.
func (r *renderer) terminate(w *wire, l *ir.Listener, c *listenerv3.FilterChain, out *bundle) diag.List {
	if unready(l.TLS) {
		return nil
	}
	in := policy.Input{Settings: r.gateway.Settings, ID: bindingName(l.TLS)}
	if len(l.APIs) > 0 {
		in.API = l.APIs[0]
	}
	a, ds := r.ask(l.TLS, in)
	if a == nil {
		return ds
	}
	if len(l.TLS.Rules) > 0 {
		ds = append(ds, notConditional(l.TLS, "it works on connections, not on requests"))
	}
	ds = append(ds, out.brought(r.walker, a, func(f policy.File) string { return r.path(f.Data, f.Ext) })...)
	if a.effect.Downstream != nil {
		c.TransportSocket = downstreamSocket(w, a.effect.Downstream)
	}
	return ds
}

func listenerOrigin(l *ir.Listener) ir.Origin {
	if len(l.APIs) > 0 {
		return ir.Origin{Object: l.APIs[0].Origin.Object, Range: l.APIs[0].Address}
	}
	return ir.Origin{}
}

// listenerOrigins are the APIs of a port, at their addresses, and its TLS binding.
func listenerOrigins(l *ir.Listener) []*ir.Origin {
	own := make([]ir.Origin, len(l.APIs))
	os := make([]*ir.Origin, 0, len(l.APIs)+1)
	for i, a := range l.APIs {
		own[i] = ir.Origin{Object: a.Origin.Object, Range: a.Address}
		os = append(os, &own[i])
	}
	if l.TLS != nil {
		os = append(os, &l.TLS.Origin)
	}
	return os
}

// connectionManager is hardened as envoy-mapping.md, 6, says; its defaults are the product's.
func (r *renderer) connectionManager(w *wire, l *ir.Listener, sp *splits, slots int) *hcmv3.HttpConnectionManager {
	s := r.gateway.Settings
	h := &hcmv3.HttpConnectionManager{
		StatPrefix:                   listenerName(l.Addr.Port()),
		CodecType:                    hcmv3.HttpConnectionManager_AUTO,
		UseRemoteAddress:             wrapperspb.Bool(true),
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_KEEP_UNCHANGED,
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:                  durationpb.New(s.ConnectionIdle),
			MaxHeadersCount:              wrapperspb.UInt32(100),
			HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_ALLOW, // clients of the product send client_id
		},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:        wrapperspb.UInt32(100),
			InitialStreamWindowSize:     wrapperspb.UInt32(64 << 10),
			InitialConnectionWindowSize: wrapperspb.UInt32(1 << 20),
		},
		MaxRequestHeadersKb:             wrapperspb.UInt32(60),
		RequestHeadersTimeout:           seconds(10),
		StreamIdleTimeout:               durationpb.New(s.StreamIdle),
		DelayedCloseTimeout:             seconds(1),
		ServerName:                      serverName,
		UpgradeConfigs:                  []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket", Enabled: wrapperspb.Bool(true)}},
		StreamErrorOnInvalidHttpMessage: wrapperspb.Bool(true),
		EarlyHeaderMutationExtensions: []*corev3.TypedExtensionConfig{{
			Name: "envoy.http.early_header_mutation.header_mutation", TypedConfig: w.any(sp.earlyMutations())}},
		RouteSpecifier:   &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: scopedRoutes()},
		LocalReplyConfig: r.localReplies(w),
		AccessLog:        r.accessLogs(w),
		HttpFilters:      httpFilters(w, slots, !s.EnvoyHeaders),
	}
	if s.RemoveServerHeader {
		// Scopes remove what upstreams send.
		h.ServerHeaderTransformation = hcmv3.HttpConnectionManager_PASS_THROUGH
	}
	forwardClientCert(h, s.ForwardClientCert)
	return h
}

func forwardClientCert(h *hcmv3.HttpConnectionManager, mode string) {
	h.ForwardClientCertDetails = hcmv3.HttpConnectionManager_ForwardClientCertDetails(hcmv3.HttpConnectionManager_ForwardClientCertDetails_value[mode])
	switch h.ForwardClientCertDetails {
	case hcmv3.HttpConnectionManager_APPEND_FORWARD, hcmv3.HttpConnectionManager_SANITIZE_SET:
		h.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{
			Subject: wrapperspb.Bool(true), Cert: true, Dns: true, Uri: true}
	}
}

// httpFilters are the slots, all off until a route names them, the guard, and the router.
func httpFilters(w *wire, slots int, suppress bool) []*hcmv3.HttpFilter {
	chain, cond := w.any(&filterchainv3.FilterChainConfig{}), w.any(&compositev3.Composite{})
	fs := []*hcmv3.HttpFilter{slot(chainName(0), chain)}
	for i := 1; i <= slots; i++ {
		fs = append(fs, slot(condName(i), cond), slot(chainName(i), chain))
	}
	return append(fs,
		httpFilter(guardName, w.any(guard())),
		httpFilter(routerName, w.any(&routerv3.Router{SuppressEnvoyHeaders: suppress})))
}

func slot(name string, config *anypb.Any) *hcmv3.HttpFilter {
	f := httpFilter(name, config)
	f.Disabled = true
	return f
}

// guard refuses requests on a named route whose chain did not reach its marker: Envoy accepts a misspelt slot in
// silence, and the policy would be missing. An unmatched path has no route name and stays a 404 (scopes.md, row 5).
func guard() *rbacv3.RBAC {
	routed := &exprv1alpha1.Expr{ExprKind: &exprv1alpha1.Expr_SelectExpr{SelectExpr: &exprv1alpha1.Expr_Select{
		Operand:  &exprv1alpha1.Expr{ExprKind: &exprv1alpha1.Expr_IdentExpr{IdentExpr: &exprv1alpha1.Expr_Ident{Name: "xds"}}},
		Field:    "route_name",
		TestOnly: true,
	}}}
	marked := &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_FilterState{FilterState: &matcherv3.FilterStateMatcher{
		Key: chainState,
		Matcher: &matcherv3.FilterStateMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "ok"}}}}}}
	return &rbacv3.RBAC{Rules: &rbacconfigv3.RBAC{
		Action: rbacconfigv3.RBAC_DENY,
		Policies: map[string]*rbacconfigv3.Policy{"flexgw-chain-missing": {
			Permissions: []*rbacconfigv3.Permission{{Rule: &rbacconfigv3.Permission_Any{Any: true}}},
			Principals:  []*rbacconfigv3.Principal{{Identifier: &rbacconfigv3.Principal_NotId{NotId: marked}}},
			Condition:   routed,
		}},
	}}
}

// localReplies are the mappers of all policy types: exact details before prefixes, longer prefixes first. There is no
// format for all replies: it would rewrite those of ext_authz and the rate limit service too. A gRPC client gets the
// mapped status as grpc-status (400 becomes INTERNAL) and the body as grpc-message.
func (r *renderer) localReplies(w *wire) *hcmv3.LocalReplyConfig {
	var replies []policy.Reply
	for _, t := range r.types.All() {
		for _, x := range t.Replies() {
			if !slices.ContainsFunc(replies, func(y policy.Reply) bool { return equalReplies(x, y) }) {
				replies = append(replies, x)
			}
		}
	}
	slices.SortStableFunc(replies, func(a, b policy.Reply) int { return replyRank(a) - replyRank(b) })
	c := &hcmv3.LocalReplyConfig{}
	for i, x := range replies {
		if i > 0 && replies[i-1].Details == x.Details {
			w.fault("two policy types map the local reply %q", x.Details)
		}
		c.Mappers = append(c.Mappers, mapper(w, x))
	}
	if len(c.Mappers) == 0 {
		return nil
	}
	return c
}

func equalReplies(a, b policy.Reply) bool {
	return a.Details == b.Details && a.Status == b.Status && a.Body == b.Body && maps.Equal(a.Headers, b.Headers)
}

// replyRank orders mappers: the first that fits is used.
func replyRank(x policy.Reply) int {
	if p, ok := strings.CutSuffix(x.Details, "*"); ok {
		return 1<<20 - len(p)
	}
	return 0
}

func mapper(w *wire, x policy.Reply) *hcmv3.ResponseMapper {
	expr := "response.code_details == " + celString(x.Details)
	if p, ok := strings.CutSuffix(x.Details, "*"); ok {
		expr = "response.code_details.startsWith(" + celString(p) + ")"
	}
	m := &hcmv3.ResponseMapper{Filter: celFilter(w, expr)}
	if x.Status != 0 {
		m.StatusCode = wrapperspb.UInt32(x.Status)
	}
	if x.Body != "" {
		m.BodyFormatOverride = textFormat(literal(x.Body))
		m.BodyFormatOverride.ContentType = errorType
	}
	for _, k := range slices.Sorted(maps.Keys(x.Headers)) {
		m.HeadersToAdd = append(m.HeadersToAdd, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: k, Value: literal(x.Headers[k])},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD})
	}
	return m
}

func celFilter(w *wire, expr string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{Name: "envoy.access_loggers.extension_filters.cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: w.any(&celfilterv3.ExpressionFilter{Expression: expr})}}}}
}

// literal is text in which no substitution happens.
func literal(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// celString is a CEL string literal.
func celString(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// accessLogs are those of all policy types, and the metering log.
func (r *renderer) accessLogs(w *wire) []*accesslogv3.AccessLog {
	ls := apiStats(w)
	for _, t := range r.types.All() {
		ls = append(ls, t.AccessLogs()...)
	}
	if r.opts.UsageLog != "" {
		ls = append(ls, usageLog(w, r.opts.UsageLog))
	}
	return ls
}

// usageLogName is how Elsewhere knows it.
const usageLogName = "flexgw.usage"

// usageLog writes one line for each finished request, for reconcile/usage to count (request-time.md, recommended design): when it began (Unix milliseconds),
// its status (0: there was no response), "namespace/name" of the API whose route it took or nothing, and Envoy's own id of the
// stream. No path, no host, no client. A line begins with a line feed too: what a killed Envoy wrote of one is then a line of its own.
func usageLog(w *wire, path string) *accesslogv3.AccessLog {
	line := "\n%START_TIME(%s%3f)% %RESPONSE_CODE% %METADATA(ROUTE:" + metadataNamespace + ":" + metadataAPI + ")% %STREAM_ID%\n"
	format := textFormat(line)
	format.OmitEmptyValues = true
	return &accesslogv3.AccessLog{Name: usageLogName, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: w.any(&fileloggerv3.FileAccessLog{
		Path: path, AccessLogFormat: &fileloggerv3.FileAccessLog_LogFormat{LogFormat: format}})}}
}

// withoutUsageLog is a listener for an Envoy on another host: it can not open the file, and would refuse the listener.
func withoutUsageLog(a *anypb.Any) (*anypb.Any, error) {
	if !bytes.Contains(a.GetValue(), []byte(usageLogName)) {
		return a, nil
	}
	m, err := unpack(a)
	if err != nil {
		return nil, err
	}
	for _, c := range m.(*listenerv3.Listener).GetFilterChains() {
		for _, f := range c.GetFilters() {
			h := &hcmv3.HttpConnectionManager{}
			if f.GetTypedConfig().UnmarshalTo(h) != nil {
				continue
			}
			h.AccessLog = slices.DeleteFunc(h.AccessLog, func(l *accesslogv3.AccessLog) bool { return l.GetName() == usageLogName })
			without, err := anyOf(h)
			if err != nil {
				return nil, err
			}
			f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: without}
		}
	}
	return anyOf(m)
}
