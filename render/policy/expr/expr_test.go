package expr

import (
	"encoding/json"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
)

func compile(t *testing.T, text string, use Use) Expr {
	t.Helper()
	e, diags := Compile(text, diag.Range{}, use)
	if diags.HasErrors() {
		t.Fatalf("%s: %v", text, diags)
	}
	return e
}

// meanings are held to dataweave.Eval: an expression for which it fails must answer 500.
const meanings = `
#['a' ++ 1 ++ true ++ -0.5 ++ 1e-7 ++ 1e15 ++ 1234567890123456 ++ 1.5e300]
#[attributes.headers.'x-a']
#[attributes.headers['X-A'] default 'none']
#[attributes.headers.none default 'none']
#['got ' ++ attributes.headers.none]
#[attributes.headers[lower('X-A')]]
#[attributes.method ++ ' ' ++ attributes.scheme ++ ' ' ++ attributes.version]
#[attributes.requestPath ++ '|' ++ attributes.requestUri ++ '|' ++ attributes.queryString]
#[attributes.queryParams.q ++ attributes.queryParams['r s'] ++ (attributes.queryParams.flag default 'no')]
#[attributes.queryParams.none default 'no']
#[attributes.queryParams]
#[authentication.principal]
#[authentication.clientId default 'nobody']
#[authentication.properties.claims.sub contains 'bob']
#[authentication.properties.claims.scopes contains 'read']
#[authentication.properties.claims.scopes contains 'delete']
#[authentication.properties.claims.scopes[-1]]
#[authentication.properties.claims.scopes]
#[authentication.properties.claims.admin]
#[authentication.properties.claims.level >= 7]
#[authentication.properties.claims.level == '7']
#[authentication.properties.claims.empty contains 'x']
#[authentication.properties.claims.empty[0] default 'none']
#[authentication.properties.claims.address.city]
#[authentication.properties.claims.roles.id[1]]
#[authentication.properties.claims.roles['id'] contains 'a']
#[authentication.properties.claims.none.x.y default 'none']
#[authentication.properties.claims.level.x]
#[trim(splitBy(attributes.headers.'x-list', ',')[0])]
#[trim(splitBy(attributes.headers.'x-list', ',')[-1])]
#[splitBy(attributes.headers.'x-list', ',')[9] default 'none']
#[splitBy('äbc', '')[0]]
#['äbc'[-3]]
#[splitBy(dw::core::Binaries::fromBase64(dw::core::Strings::substringAfter(attributes.headers.authorization default '', 'Basic ')), ':')[0]]
#[dw::core::Strings::substringAfter(dw::core::Binaries::fromBase64('w6Q6YjpjP349'), ':')]
#[dw::core::Binaries::fromBase64('YQ=') contains 'a']
#[dw::core::Binaries::fromBase64('a') contains 'a']
#[dw::core::Binaries::fromBase64('%%') contains 'a']
#[dw::util::Coercions::toString(dw::core::Binaries::fromBase64('YQ=='), 'UTF-8')]
#[splitBy(attributes.headers['Authorization'], ' ')[1]]
#[splitBy(attributes.headers.scopes default '', ' ') contains 'read']
#[not(attributes.requestPath contains '/some')]
#['User ' ++ authentication.principal ++ ' ' ++ attributes.method ++ ' ' ++ attributes.requestPath]
#[if (attributes.method == 'POST') 'w' else if (attributes.headers.'x-a' == 'A b') 'a' else 'r']
#[if (attributes.headers.none) 'w' else 'r']
#[attributes.headers.'x-n' >= 9]
#[10 >= attributes.headers.'x-n']
#[10 <= '1e1']
#[10 <= '0x1']
#[10 <= ' 1']
#['a' <= 'b']
#[null >= 1]
#[true and attributes.headers.none]
#[false and attributes.headers.none]
#[true or attributes.headers.none]
#[not attributes.headers.'x-a' == 'A b']
#[not 'x']
#[[1, 'a', [null]] == [1, 'a', [null]]]
#[[1, 'a'] == [1, 'b']]
#[([1] ++ [2]) == [1, 2]]
#[([1, 2, 3] ++ ['a'])[3]]
#[[200, 404] contains 404]
#[['GET'] contains attributes.method]
#['abc' contains null]
#[1 contains 1]
#['a.c' contains '.']
#['abc' contains '.']
#[[1] ++ 'a']
#[upper('straße äöü ÿ ǆ ω ж') ++ lower('ÄÖÜ ŸĲ ΣΩ ЖЁ ẞ')]
#[upper(null) default 'none']
#[lower([1])]
#[trim('\t \n a b \r\n')]
#[dw::core::Strings::substringAfter('abcba', 'b') ++ dw::core::Strings::substringAfterLast('abcba', 'b')]
#[dw::core::Strings::substringBefore('abcba', 'b') ++ dw::core::Strings::substringBeforeLast('abcba', 'b')]
#[dw::core::Strings::substringAfter('äbc', '') ++ dw::core::Strings::substringBeforeLast('abä', '') ++ dw::core::Strings::substringBefore('abc', '')]
#[dw::core::Strings::substringAfterLast('abc', '') default 'none']
#[dw::core::Strings::substringBeforeLast('aaa', 'aa') ++ '.' ++ dw::core::Strings::substringAfterLast('aaab', 'aa')]
#[dw::core::Strings::substringBeforeLast(attributes.headers.none, 'x') default 'none']
#[splitBy('a.b', '.')[1] ++ splitBy('%d%d', '%d')[0]]
#[splitBy('', ',')[0]]
#[splitBy('a', null)]
#[attributes.headers.none[0] default 'none']
#[attributes.method[0]]
#[attributes.method.x]
#[[1, 2][0.5]]
#[[1, 2][true]]
#[attributes.queryParams[0]]
#[{{long}}]
#[{{deep}}]
`

// sent is the request that the meanings are asked on, and what an expression sees of it.
func sent(path string) (target string, headers map[string]string, env dataweave.Env) {
	headers = map[string]string{"x-a": "A b", "x-list": "1.2.3.4, 5.6.7.8 ,9", "x-n": "10", "authorization": "Basic dXNlcjpwYTpzcw=="}
	seen := map[string]any{}
	for k, v := range headers {
		seen[k] = v
	}
	const query = "q=%C3%84+b&q=second&r%20s=1%2B1&flag&a=b=c"
	values, _ := url.ParseQuery(query)
	params := map[string]any{}
	for k := range values {
		params[k] = values.Get(k)
	}
	found := findings()
	return path + "/x/y?" + query, headers, dataweave.Env{Roots: map[string]any{
		"attributes": map[string]any{
			"headers": seen, "method": "GET", "scheme": "http", "version": "HTTP/1.1", "requestPath": path + "/x/y",
			"requestUri": path + "/x/y?" + query, "queryString": query, "queryParams": params,
		},
		"authentication": map[string]any{
			"principal": found["user"].(map[string]any)["name"], "properties": map[string]any{"claims": found["claims"]},
		},
	}}
}

func TestScriptMeansWhatEvalMeans(t *testing.T) {
	t.Parallel()
	b := &bench{t: t, dir: t.TempDir()}
	var exprs []Expr
	var texts, paths []string
	long := strings.Repeat("'a' ++ ", 2000) + "'b'"
	deep := strings.Repeat("lower(if (true) ", 30) + "'X'" + strings.Repeat(" else 'y')", 30)
	for line := range strings.Lines(strings.NewReplacer("{{long}}", long, "{{deep}}", deep).Replace(meanings)) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		e := compile(t, line, Use{})
		s := SetMetadata("test", "out", e)
		s.As = Key
		show := SetHeader("x-out", e)
		show.As = Key
		exprs, texts = append(exprs, e), append(texts, line)
		paths = append(paths, b.add(Program{Request: []Step{s, show}}))
	}
	b.start()
	for i, e := range exprs {
		target, headers, env := sent(paths[i])
		got := b.get("GET", target, headers)
		v, err := dataweave.Eval(e.Tree(), env)
		switch {
		case err != nil && (got.status != 500 || got.up != nil || got.body != `{"error":"Internal Server Error"}`):
			t.Errorf("%.200s: %d %s %v, want 500 for: %v", texts[i], got.status, got.body, got.up["X-Out"], err)
		case err == nil && (got.status != 200 || got.up.Get("x-out") != keyed(v)):
			t.Errorf("%.200s:\n got %d %q\nwant %q", texts[i], got.status, got.up.Get("x-out"), keyed(v))
		}
	}
}

// keyed is the Key form of a value.
func keyed(v any) string {
	s, ok := v.(string)
	if f, is := v.(float64); is {
		s, ok = dataweave.FormatNumber(f), true
	}
	if !ok {
		j, _ := json.Marshal(v)
		s = strings.NewReplacer(`\r`, `\u000d`, `\n`, `\u000a`, `\u0026`, "&").Replace(string(j))
	}
	s = strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
	for _, c := range "!#$&'()*+,/:;<=>?@[\\]^`{|}\"" {
		s = strings.ReplaceAll(s, "%"+strings.ToUpper(hexByte(c)), string(c))
	}
	return s
}

func hexByte(r rune) string {
	const digits = "0123456789ABCDEF"
	return string([]byte{digits[r>>4], digits[r&15]})
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	b := &bench{t: t, dir: t.TempDir()}
	s := SetHeader("x-peer", compile(t, "#[attributes.remoteAddress]", Use{}))
	s.As = Address
	here := SetHeader("x-here", compile(t, "#[attributes.localAddress]", Use{}))
	first := SetHeader("x-flexgw-ip", compile(t, "#[attributes.headers['x-forwarded-for']]", Use{}))
	first.As, first.Optional = Address, true
	path := b.add(Program{Request: []Step{s, here, first}})
	b.start()
	got := b.get("GET", path, nil)
	if got.up.Get("x-peer") != "127.0.0.1" || got.up.Get("x-here") != b.addr {
		t.Errorf("peer %q, here %q", got.up.Get("x-peer"), got.up.Get("x-here"))
	}
	for sent, want := range map[string]string{
		"": "", "1.2.3.4": "1.2.3.4", "1.2.3.4, 5.6.7.8": "1.2.3.4", " 1.2.3.4:80 ,x": "1.2.3.4", "[2001:db8::1]:443": "2001:db8::1", "[::1]": "::1",
		"2001:db8::1": "2001:db8::1", "::ffff:1.2.3.4": "1.2.3.4", "garbage": "garbage", ",1.2.3.4": "",
	} {
		headers := map[string]string{"x-flexgw-ip": "6.6.6.6"}
		if sent != "" {
			headers["x-forwarded-for"] = sent
		}
		if got := b.get("GET", path, headers); got.up.Get("x-flexgw-ip") != want || got.status != 200 {
			t.Errorf("%q: %d %q, want %q", sent, got.status, got.up.Get("x-flexgw-ip"), want)
		}
	}
}

func TestRequestHeadersAsSeen(t *testing.T) {
	t.Parallel()
	b := &bench{t: t, dir: t.TempDir()}
	host := SetHeader("x-host", compile(t, "#[attributes.headers.host]", Use{}))
	dynamic := SetHeader("x-dynamic", compile(t, "#[attributes.headers[lower('HOST')]]", Use{}))
	twice := SetHeader("x-twice", compile(t, "#[attributes.headers.'X-Many']", Use{}))
	path := b.add(Program{Request: []Step{host, dynamic, twice}})
	b.start()
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: api.example\r\nUser-Agent: x\r\nX-Many: a\r\nX-Many: b\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"X-Host":["api.example"]`, `"X-Dynamic":["api.example"]`, `"X-Twice":["a,b"]`} {
		if !strings.Contains(string(answer), want) {
			t.Errorf("no %s in %s", want, answer)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	b := &bench{t: t, dir: t.TempDir()}
	req := func(text string) Expr { return compile(t, text, Use{}) }
	res := func(text string) Expr { return compile(t, text, Use{Response: true}) }
	appended := b.add(Program{
		Request: []Step{
			AppendHeader("X-A", req("#[attributes.method]")), AppendHeader("Content-Type", req("#['text/' ++ 'x']")),
			AppendHeaderNamed(req("#[attributes.headers.'x-name']"), req("#[attributes.headers.'x-value']")),
		},
		Response: []Step{
			AppendHeader("x-up", res("#[attributes.headers.'x-up' ++ attributes.statusCode ++ attributes.method ++ attributes.requestUri]")),
			AppendHeader("x-claim", res("#[authentication.properties.claims.sub]")), AppendHeader("x-q", res("#[attributes.queryParams.q default '']")),
			AppendHeader("content-type", res("application/json")),
		},
	})
	optional := AppendHeader("x-b", req("#[attributes.headers.none]"))
	optional.Optional = true
	lenient := SetHeader("x-a", req("#['a' ++ null]"))
	lenient.Optional, lenient.Lenient = true, true
	skipped := b.add(Program{Request: []Step{optional, lenient}})
	failing := b.add(Program{Response: []Step{AppendHeader("x-b", res("#[attributes.headers.none ++ 'x']"))}})
	refused := b.add(
		Program{Request: []Step{Require(req("#[attributes.headers.'x-ok' == 'yes']"), 401, `{"error":"no"}`)}},
		mustFilter(b, Program{Response: []Step{AppendHeader("x-b", res("#[attributes.method ++ '']")), AppendHeader("x-c", res("c"))}}),
	)
	around := b.add( // two of a kind around the refusal: the second never saw the request
		Program{Response: []Step{AppendHeader("x-first", res("#[attributes.method ++ '']"))}},
		mustFilter(b, Program{Request: []Step{Require(req("#[attributes.headers.'x-ok' == 'yes']"), 401, `{"error":"no"}`)}}),
		mustFilter(b, Program{Response: []Step{AppendHeader("x-second", res("c")), AppendHeader("x-third", res("#[attributes.method ++ '']"))}}),
	)
	removed := b.add(Program{}, RemoveHeaders("", "x-a"))
	claims := b.add(Program{Request: []Step{Require(compile(t, "#[vars.claimSet.scopes contains 'read']", Use{ClaimSet: true}), 401, "")}})
	b.start()

	got := b.get("GET", appended+"?q=a%0d%0ax-evil:%201", map[string]string{"x-a": "old", "content-type": "text/y", "x-name": "x-new", "x-value": "ä\tb"})
	up := map[string][]string{}
	for _, k := range []string{"X-A", "Content-Type", "X-New"} {
		up[k] = got.up[k]
	}
	want := map[string][]string{"X-A": {"old", "GET"}, "Content-Type": {"text/x"}, "X-New": {"ä\tb"}}
	if d := cmp.Diff(want, up); d != "" {
		t.Errorf("request: -want +got\n%s", d)
	}
	down := map[string][]string{}
	for _, k := range []string{"X-Up", "X-Claim", "X-Q", "Content-Type", "X-Evil"} {
		down[k] = got.headers[k]
	}
	want = map[string][]string{
		"X-Up": {"from-upstream", "from-upstream200GET" + appended + "?q=a%0d%0ax-evil:%201"}, "X-Claim": {"bobx-evil: 1"}, "X-Q": {"ax-evil: 1"},
		"Content-Type": {"application/json"}, "X-Evil": nil,
	}
	if d := cmp.Diff(want, down); d != "" {
		t.Errorf("response: -want +got\n%s", d)
	}
	for _, name := range []string{"host", "content-length", "Transfer-Encoding", ":path", "x y", "", "x-flexgw-ip", "ä"} {
		if got := b.get("GET", appended, map[string]string{"x-name": name, "x-value": "1"}); got.status != 500 || got.up != nil {
			t.Errorf("a header named %q: %d, want 500", name, got.status)
		}
	}
	if got := b.get("GET", skipped, map[string]string{"x-a": "old"}); got.status != 200 || got.up["X-A"] != nil || got.up["X-B"] != nil {
		t.Errorf("skipped: %d %v", got.status, got.up)
	}
	if got := b.get("GET", failing, nil); got.status != 500 || got.body != `{"error":"Internal Server Error"}` || got.headers.Get("x-up") != "" {
		t.Errorf("a failing response: %d %s %v", got.status, got.body, got.headers)
	}
	if got := b.get("GET", refused, nil); got.status != 401 || got.body != `{"error":"no"}` || got.headers.Get("x-b") != "" {
		t.Errorf("refused: %d %s %v", got.status, got.body, got.headers)
	}
	if got := b.get("GET", refused, map[string]string{"x-ok": "yes"}); got.status != 200 || got.headers.Get("x-b") != "GET" || got.headers.Get("x-c") != "c" {
		t.Errorf("not refused: %d %s %v", got.status, got.body, got.headers)
	}
	if got := b.get("GET", around, nil); got.status != 401 || got.headers.Get("x-first") != "GET" || got.headers.Get("x-second")+got.headers.Get("x-third") != "" {
		t.Errorf("refused between two: %d %s %v", got.status, got.body, got.headers)
	}
	if got := b.get("GET", around, map[string]string{"x-ok": "yes"}); got.status != 200 || got.headers.Get("x-second") != "c" || got.headers.Get("x-third") != "GET" {
		t.Errorf("passed between two: %d %s %v", got.status, got.body, got.headers)
	}
	if got := b.get("GET", removed, map[string]string{"x-a": "old"}); got.status != 200 || got.up["X-A"] != nil {
		t.Errorf("removed: %d %v", got.status, got.up)
	}
	if got := b.get("GET", claims, nil); got.status != 200 {
		t.Errorf("claims: %d %s", got.status, got.body)
	}
}

// TestFailingResponse shows that nothing of the response gets out, whatever its shape.
func TestFailingResponse(t *testing.T) {
	t.Parallel()
	b := &bench{t: t, dir: t.TempDir()}
	failing := b.add(Program{Response: []Step{AppendHeader("x-b", compile(t, "#[null]", Use{Response: true}))}})
	b.start()
	for _, tc := range []struct{ method, query, want string }{
		{"GET", "", `{"error":"Internal Server Error"}`}, {"GET", "?size=3000000", `{"error":"Internal Server Error"}`},
		{"GET", "?status=204", ""}, {"HEAD", "", ""},
	} {
		got := b.get(tc.method, failing+tc.query, nil)
		if got.status != 500 || got.body != tc.want || got.headers.Get("x-up") != "" || got.headers.Get("content-type") != "application/json; charset=UTF-8" {
			t.Errorf("%s %s: %d %.100q %v", tc.method, tc.query, got.status, got.body, got.headers)
		}
	}
}

func TestFormatInEnvoy(t *testing.T) {
	t.Parallel()
	b := &bench{t: t, dir: t.TempDir()}
	e := compile(t, "#['100% ' ++ attributes.method ++ ' ' ++ attributes.requestPath ++ ' ' ++ attributes.requestUri]", Use{})
	format, ok := e.Format()
	if !ok {
		t.Fatal("no format")
	}
	path := b.add(Program{}, policy.Filter{Config: &headermutationv3.HeaderMutation{Mutations: &headermutationv3.Mutations{
		RequestMutations: []*mutationv3.HeaderMutation{{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
			Header: &corev3.HeaderValue{Key: "x-out", Value: format},
		}}}},
	}}})
	b.start()
	got := b.get("GET", path+"/a?b=%0d", map[string]string{"x-envoy-original-path": "/spoofed"})
	if want := "100% GET " + path + "/a " + path + "/a?b=%0d"; got.up.Get("x-out") != want {
		t.Errorf("got %q, want %q", got.up.Get("x-out"), want)
	}
}

func BenchmarkFilter(b *testing.B) {
	e, _ := Compile("#[splitBy(dw::core::Binaries::fromBase64(dw::core::Strings::substringAfter(attributes.headers.authorization default '', 'Basic ')), ':')[0]]", diag.Range{}, Use{})
	in := policy.Input{Path: func([]byte, string) string { return "x.lua" }}
	b.ReportAllocs()
	for b.Loop() {
		Program{Request: []Step{SetHeader("x-a", e)}}.Filter("", in)
	}
}

func mustFilter(b *bench, p Program) policy.Filter {
	f, _ := p.Filter("", b.input())
	return f
}

func TestCompileMistakes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text, code string
		column     int
		use        Use
	}{
		{"#['a' ++ payload.x]", "expr/not-supported-yet", 10, Use{}},
		{"#[uuid()]", "expr/not-supported-yet", 3, Use{}},
		{"#[sizeOf('a')]", "expr/not-supported-yet", 3, Use{}},
		{"#[[1] -- [2]]", "expr/not-supported-yet", 3, Use{}},
		{"#[dw::core::Binaries::toBase64('a')]", "expr/not-supported-yet", 3, Use{}},
		{"#[dw::util::Coercions::toString('a', 'UTF-16')]", "expr/not-supported-yet", 3, Use{}},
		{"#[lower(attributes.headers)]", "expr/not-supported-yet", 9, Use{}},
		{"#[attributes]", "expr/not-supported-yet", 3, Use{}},
		{"#[authentication]", "expr/not-supported-yet", 3, Use{}},
		{"#[authentication.properties.jwt]", "expr/not-supported-yet", 3, Use{}},
		{"#[authentication.clientName]", "expr/not-supported-yet", 3, Use{}},
		{"#[vars.foo]", "expr/not-supported-yet", 3, Use{ClaimSet: true}},
		{"#[vars]", "expr/not-supported-yet", 3, Use{}},
		{"#[vars.claimSet.sub]", "expr/no-claim-set", 3, Use{}},
		{"#[attributes.headers[payload]]", "expr/not-supported-yet", 22, Use{}},
		{"#[attributes.statusCode]", "expr/no-response-yet", 3, Use{}},
		{"#['a' default dw::core::Binaries::fromBase64('YQ==')]", "expr/binary-result", 15, Use{}},
		{"#[attributes.metod]", "dataweave/unknown-attribute", 14, Use{}},
	} {
		r := diag.Range{File: "a", Start: diag.Pos{Line: 1, Column: 1}, End: diag.Pos{Line: 1, Column: int32(1 + len(tc.text)), Offset: int32(len(tc.text))}}
		e, diags := Compile(tc.text, r, tc.use)
		if len(diags) != 1 || string(diags[0].Code) != tc.code || int(diags[0].Subject.Start.Column) != tc.column || e.Tree() != nil {
			t.Errorf("%s: %v", tc.text, diags)
		}
	}
}

func TestCheapForms(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text, literal, header, format string
		peer, response                bool
	}{
		{text: "50%", literal: "50%", format: "50%%"},
		{text: "#['a' ++ 1 ++ lower('B')]", literal: "a1b", format: "a1b"},
		{text: "#[null]"},
		{text: "#[[1]]"},
		{text: "#[attributes.headers['X-A']]", header: "x-a"},
		{text: "#[attributes.headers['X-A']]", response: true},
		{text: "#[attributes.headers.a default '']"},
		{text: "#['%' ++ attributes.method ++ ' ' ++ attributes.requestPath]", format: "%%%REQ(:METHOD)% %PATH(NQ:PATH)%"},
		{text: "#[attributes.method ++ attributes.queryParams.q]"},
		{text: "#[attributes.method == 'GET']"},
		{text: "#[attributes.requestUri]", format: "%REQ(:PATH)%"},
		{text: "#[attributes.requestUri]", response: true},
		{text: "#[attributes.remoteAddress]", peer: true},
		{text: "#[authentication.principal]"},
	} {
		e := compile(t, tc.text, Use{Response: tc.response})
		literal, lok := e.Literal()
		header, hok := e.RequestHeader()
		format, fok := e.Format()
		if literal != tc.literal || lok != (tc.literal != "") || header != tc.header || hok != (tc.header != "") ||
			(fok && format != tc.format) || fok != (tc.format != "") || e.RemoteAddress() != tc.peer {
			t.Errorf("%s: literal %q %t, header %q %t, format %q %t, peer %t", tc.text, literal, lok, header, hok, format, fok, e.RemoteAddress())
		}
	}
}
