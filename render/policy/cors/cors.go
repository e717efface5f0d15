// Package cors is the "cors-flex" policy: it answers preflights, turns away other origins and marks responses for browsers.
//
// It is not an access control: a request without an Origin header passes untouched.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-cors
package cors

import (
	_ "embed"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed cors.schema.json
var schema []byte

//go:embed cors.md
var page []byte

//go:embed cors.codes.md
var codes []byte

//go:embed cors.lua
var script []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "cors-flex",
	Schema:   schema,
	Page:     page,
	Codes:    codes,
	Targets:  ir.TargetAPI,
	Place:    ir.First,
	Since:    "1.0.0",
	Defaults: func() config { return config{Public: true} },
	Check:    check,
	Shifts:   shifts,
	Effect:   effect,
})

type config struct {
	Public      bool    `flex:"publicResource"`
	Credentials bool    `flex:"supportCredentials"`
	Groups      []group `flex:"originGroups"`
}

type group struct {
	Name    string   `flex:"name"`
	Origins []string `flex:"origins"`
	MaxAge  *int64   `flex:"accessControlMaxAge"`
	Methods []method `flex:"allowedMethods"`
	Headers []string `flex:"headers"`
	Exposed []string `flex:"exposedHeaders"`
}

type method struct {
	Name    string `flex:"methodName"`
	Allowed bool   `flex:"isAllowed"`
}

const defaultMaxAge = 30 // seconds

var allMethods = []string{"CONNECT", "DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}

// allowed are the names of the methods that the group may use, in the order of its list.
func (g group) allowed() []string {
	if len(g.Methods) == 0 {
		return allMethods
	}
	var names []string
	for _, m := range g.Methods {
		if m.Allowed && !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	return names
}

func check(c *config, at policy.Locator) diag.List {
	var l diag.List
	add := func(severity diag.Severity, code diag.Code, summary, hint string, path ...string) {
		l = append(l, diag.Diagnostic{Severity: severity, Code: code, Summary: summary, Hint: hint, Subject: at(path...)})
	}
	if c.Public {
		if len(c.Groups) > 0 {
			add(diag.Warning, "cors/groups-ignored", "publicResource is true, so originGroups is ignored and every origin is allowed",
				"set publicResource: false to allow only the groups", "originGroups")
		}
		if c.Credentials {
			add(diag.Warning, "cors/public-with-credentials", "a public resource allows every web page to send its user's credentials",
				"set publicResource: false and name the origins, or leave supportCredentials out", "supportCredentials")
		}
	} else if len(c.Groups) == 0 {
		add(diag.Warning, "cors/nobody-allowed", "publicResource is false and originGroups is empty, so every origin is refused",
			"name at least one origin, or set publicResource: true", "originGroups")
	}
	seen := map[string]int{}
	for i, g := range c.Groups {
		n := strconv.Itoa(i)
		if len(g.Origins) == 0 && !c.Public {
			add(diag.Warning, "cors/no-origins", fmt.Sprintf("the group %q names no origin, so it allows nobody", g.label(i)), "list its origins", "originGroups", n, "origins")
		}
		if g.Methods != nil && len(g.Methods) == 0 {
			add(diag.Error, "cors/not-supported-yet", fmt.Sprintf("allowedMethods of the group %q is empty, and it is not known whether the product allows all methods then or none", g.label(i)),
				"leave it out to allow all, or list the methods", "originGroups", n, "allowedMethods")
		}
		if len(g.allowed()) == 0 {
			add(diag.Warning, "cors/no-methods", fmt.Sprintf("the group %q allows no method, so all its requests are refused", g.label(i)),
				"set isAllowed: true for at least one method", "originGroups", n, "allowedMethods")
		}
		for j, o := range g.Origins {
			if problem, hint := checkOrigin(o); problem != "" {
				add(diag.Error, "cors/bad-origin", fmt.Sprintf("%q is not an origin: %s", shown(o), problem), hint, "originGroups", n, "origins", strconv.Itoa(j))
				continue
			}
			key := strings.ToLower(o)
			first, twice := seen[key]
			switch {
			case !twice:
				seen[key] = i
			case first == i:
				add(diag.Warning, "cors/repeated", fmt.Sprintf("the origin %q stands twice in the group %q", o, g.label(i)), "remove one", "originGroups", n, "origins", strconv.Itoa(j))
			default:
				add(diag.Error, "cors/duplicate-origin", fmt.Sprintf("the origin %q is in the groups %q and %q, expected in one", o, c.Groups[first].label(first), g.label(i)),
					"remove it from one of them", "originGroups", n, "origins", strconv.Itoa(j))
			}
		}
		l = append(l, g.checkMethods(i, at)...)
		l = append(l, checkNames(g.Headers, at, "originGroups", n, "headers")...)
		l = append(l, checkNames(g.Exposed, at, "originGroups", n, "exposedHeaders")...)
	}
	return l
}

// label is what people call the group.
func (g group) label(i int) string {
	if g.Name != "" {
		return g.Name
	}
	return fmt.Sprintf("Default group (%d)", i+1)
}

func (g group) checkMethods(i int, at policy.Locator) diag.List {
	var l diag.List
	seen := map[string]bool{} // whether it is allowed
	for j, m := range g.Methods {
		allowed, twice := seen[m.Name]
		seen[m.Name] = m.Allowed
		if !twice {
			continue
		}
		d := diag.Diagnostic{Severity: diag.Warning, Code: "cors/duplicate-method", Summary: fmt.Sprintf("the method %s is listed twice", m.Name),
			Hint: "remove one", Subject: at("originGroups", strconv.Itoa(i), "allowedMethods", strconv.Itoa(j), "methodName")}
		if allowed != m.Allowed {
			d.Severity, d.Summary = diag.Error, d.Summary+", once allowed and once not"
		}
		l = append(l, d)
	}
	return l
}

var port = regexp.MustCompile(`^[0-9]{1,5}$`)

func checkNames(names []string, at policy.Locator, path ...string) diag.List {
	var l diag.List
	for i, name := range names {
		if !ir.IsHeaderName(name) {
			l = append(l, diag.Diagnostic{Severity: diag.Error, Code: "cors/bad-header", Summary: fmt.Sprintf("%q is not a header name", name),
				Hint: "write one name for each entry, of letters, digits and !#$%&'*+-.^_`|~", Subject: at(append(path, strconv.Itoa(i))...)})
		}
	}
	return l
}

// shown is an origin without what may be a password.
func shown(o string) string {
	if i := strings.LastIndexByte(o, '@'); i >= 0 {
		return "…" + o[i:]
	}
	return o
}

// checkOrigin says what is wrong with an origin as RFC 6454, 6.2 spells them, and what to write instead.
func checkOrigin(o string) (problem, hint string) {
	const form = "write scheme://host or scheme://host:port, or * for every origin"
	if o == "*" || o == "null" {
		return "", ""
	}
	u, err := url.Parse(o)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "":
		return "it has no scheme or no host", form
	case strings.Contains(u.Host, "*"):
		return "a wildcard inside a host is not supported", "list every origin, or write * alone"
	case strings.Contains(o, "@"):
		return "it holds a user name", form
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || strings.HasSuffix(o, "#"):
		return "browsers send no path", fmt.Sprintf("write %s://%s", u.Scheme, u.Host)
	case u.Port() != "" && !port.MatchString(u.Port()) || strings.HasSuffix(u.Host, ":"):
		return "its port is not a number", form
	case u.Scheme == "http" && u.Port() == "80", u.Scheme == "https" && u.Port() == "443":
		return "browsers leave out the usual port of a scheme", fmt.Sprintf("write %s://%s", u.Scheme, strings.TrimSuffix(u.Host, ":"+u.Port()))
	}
	return "", ""
}

// effect is one Lua filter at the head of the chain. Envoy's own cors filter knows one set of methods and headers for all
// origins and lets refused requests through, so it would need guard routes for every group.
func effect(c *config, in policy.Input) (policy.Effect, error) {
	context, err := structpb.NewStruct(c.context(in.ID))
	if err != nil {
		return policy.Effect{}, fmt.Errorf("cors context: %w", err)
	}
	return policy.Effect{
		Filters: []policy.Filter{{Config: &luav3.Lua{
			DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: in.Path(script, ".lua")}},
			FilterContext:     context,
			ClearRouteCache:   wrapperspb.Bool(false),
			SharedVmId:        "flexgw.cors",
		}}},
		Files: []policy.File{{Ext: ".lua", Data: script}},
	}, nil
}

// context is the data of cors.lua. Absent keys are false: a key's value is turned into a Lua table each time it is read,
// so origins are keys of their own.
func (c *config) context(id string) map[string]any {
	m := map[string]any{"key": id}
	if c.Credentials {
		m["credentials"] = "1"
	}
	if c.Public {
		m["public"] = "1"
		return m
	}
	for i, g := range c.Groups {
		n := strconv.Itoa(i + 1)
		for _, o := range g.Origins {
			m["origin "+strings.ToLower(o)] = n
		}
		m["group "+n] = g.context()
	}
	return m
}

func (g group) context() map[string]any {
	maxAge := int64(defaultMaxAge)
	if g.MaxAge != nil {
		maxAge = *g.MaxAge
	}
	methods := map[string]any{}
	for _, name := range g.allowed() {
		methods[name] = true
		if name == "GET" { // browsers ask leave for HEAD no more than for GET, and the list cannot name it
			methods["HEAD"] = true
		}
	}
	m := map[string]any{"max_age": strconv.FormatInt(maxAge, 10), "methods": methods, "allow_methods": strings.Join(g.allowed(), ", ")}
	headers := map[string]any{}
	for _, name := range g.Headers {
		if name == "*" {
			m["any_header"] = true
		}
		headers[strings.ToLower(name)] = true
	}
	m["headers"] = headers
	if len(g.Headers) > 0 {
		m["allow_headers"] = strings.Join(g.Headers, ", ")
	}
	if len(g.Exposed) > 0 {
		m["expose"] = strings.Join(g.Exposed, ", ")
	}
	return m
}
