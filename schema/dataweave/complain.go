package dataweave

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
)

// roots are the variables, each with the members it has; none named means any.
// Source: the product's table of attributes for its gateway.
var roots = map[string][]string{
	"attributes": {
		"headers", "localAddress", "method", "queryParams", "queryString", "remoteAddress", "requestPath", "requestUri", "scheme",
		"statusCode", "version",
	},
	"authentication": {"clientId", "clientName", "principal", "properties"},
	"payload":        nil,
	"vars":           nil,
}

// words cannot name anything.
const words = " true false null if else unless otherwise and or not default as is match case do using update "

func isWord(s string) bool { return strings.Contains(words, " "+s+" ") }

// isHeader names the words that begin declarations, which stand above the --- of a whole script.
func isHeader(s string) bool {
	return slices.Contains([]string{"output", "input", "import", "var", "fun", "type", "ns"}, s)
}

// elsewhere are functions of the language that the gateway does not have.
const elsewhere = " abs avg ceil capitalize camelize dasherize daysBetween distinctBy endsWith entriesOf every filter filterObject find first flatMap " +
	"flatten floor groupBy indexOf isBlank isDecimal isEmpty isEven isInteger isLeapYear isOdd joinBy keySet keysOf last lastIndexOf log map " +
	"mapObject matches max maxBy min minBy mod namesOf now onNull orderBy p pluck pow random randomInt read readUrl reduce replace round " +
	"scan some sqrt startsWith substring sum typeOf underscore unzip valueSet valuesOf with write xsiType zip "

// function finds the function that a token names. One that the language has and the gateway has not is a failure: what stands
// in its arguments is outside the subset as a rule.
func (p *parser) function(t token) (name string, n int, ok bool) {
	name = strings.TrimPrefix(t.value, "dw::Core::")
	n, ok = Functions()[name]
	if !ok && strings.Contains(elsewhere, " "+name[strings.LastIndex(name, ":")+1:]+" ") {
		p.fail("unsupported-function", t.start, t.end, "the function "+t.value+" is not available in the gateway", "available are "+available())
	}
	return name, n, ok
}

func available() string {
	var names []string
	for name := range Functions() {
		if isLetter(name[0]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (p *parser) unknownFunction(t token) {
	short := t.value[strings.LastIndex(t.value, ":")+1:]
	var names []string
	for name := range Functions() {
		if i := strings.LastIndex(name, ":"); i >= 0 && strings.EqualFold(name[i+1:], short) {
			p.wrong("unknown-function", t.start, t.end, "no function "+quote(t.value), "write its full name: "+name)
			p.reword(t.start, t.end, name)
			return
		}
		names = append(names, name)
	}
	hint := didYouMean(t.value, names)
	if hint == "" {
		hint = "available are " + available()
	}
	p.wrong("unknown-function", t.start, t.end, "no function "+quote(t.value), hint)
	p.unmistakable(t, names)
}

// unmistakable is reword for a word that can only have been meant to be one of those that are known.
func (p *parser) unmistakable(t token, known []string) {
	if to := diag.Nearest(t.value, known); to != "" && diag.Unmistakable(t.value, to, known) && p.text[t.start:t.end] == t.value {
		p.reword(t.start, t.end, to)
	}
}

func (p *parser) unknownVariable(t token) {
	known := roots
	hint := "the variables are attributes, authentication, payload and vars; a text stands in quotes"
	variables := []string{"attributes", "authentication", "payload", "vars"}
	near, meant := didYouMean(t.value, variables), ""
	_, n, function := p.function(t)
	switch {
	case p.failed:
		return
	case function:
		hint = "a function needs its arguments: " + signature(t.value, n)
	case slices.Contains(known["attributes"], t.value):
		meant = "attributes." + t.value
		hint = `did you mean "` + meant + `"?`
	case slices.Contains(known["authentication"], t.value):
		meant = "authentication." + t.value
		hint = `did you mean "` + meant + `"?`
	case t.value == "claimSet" || t.value == "claims":
		hint = `did you mean "authentication.properties.claims"?`
	case near != "":
		hint = near
	}
	p.wrong("unknown-variable", t.start, t.end, "no variable "+quote(t.value), hint)
	if meant != "" {
		p.reword(t.start, t.end, meant)
	} else if near != "" && hint == near {
		p.unmistakable(t, variables)
	}
}

// habits are names that other gateways and languages use.
func habits() map[string]string {
	return map[string]string{
		"body": "payload", "clientAddress": "attributes.remoteAddress", "clientIp": "attributes.remoteAddress", "host": "attributes.headers.host",
		"httpMethod": "attributes.method", "ip": "attributes.remoteAddress", "listenerPath": "attributes.requestPath",
		"params": "attributes.queryParams", "path": "attributes.requestPath", "protocol": "attributes.scheme", "query": "attributes.queryString",
		"rawRequestPath": "attributes.requestPath", "rawRequestUri": "attributes.requestUri", "relativePath": "attributes.requestPath",
		"status": "attributes.statusCode", "uri": "attributes.requestUri", "url": "attributes.requestUri", "user": "authentication.principal",
		"username": "authentication.principal", "claims": "authentication.properties.claims", "jwt": "authentication.properties.jwt",
	}
}

func (p *parser) unknownMember(root string, key token, known []string) {
	hint := didYouMean(key.value, known)
	if better, ok := habits()[key.value]; ok {
		hint = `did you mean "` + better + `"?`
	}
	if hint == "" {
		hint = root + " has " + strings.Join(known, ", ")
	}
	slug := "unknown-attribute"
	if root != "attributes" {
		slug = "unknown-member"
	}
	p.wrong(slug, key.start, key.end, root+" has no "+quote(key.value), hint)
	if root != "attributes" || p.text[key.start:key.end] != key.value {
		return // in quotes, a key may be anything
	}
	if to, ok := sameThing()[key.value]; ok {
		end := key.end
		if i := len(addressPart.FindString(p.text[end:])); i > 0 && to == "remoteAddress" {
			end += i
		}
		p.reword(key.start, end, to)
		return
	}
	p.unmistakable(key, known)
}

// sameThing are names of attributes that other gateways have for the very same thing.
func sameThing() map[string]string {
	return map[string]string{"clientAddress": "remoteAddress", "clientIp": "remoteAddress", "ip": "remoteAddress", "httpMethod": "method", "status": "statusCode"}
}

// addressPart is what selects the address of an attribute that is an object elsewhere, and here the address itself.
var addressPart = regexp.MustCompile(`^\.ip\b`)

// What to do without parts of the language that the gateway does not have.
const (
	noArithmetic = "write the result itself; a key with a hyphen stands in quotes: .'x-id'"
	noLambda     = "write the value itself: no function can be declared or passed on"
)

// misplaced names the token that stands where an operator or the given closing was expected.
func (p *parser) misplaced(want string) Expr {
	t := p.tok
	complain := func(slug, summary, hint string) Expr {
		if slug == "lambda" {
			p.diags = nil // its parameters were taken for unknown variables
		}
		return p.fail(slug, t.start, t.end, summary, hint)
	}
	instead := func(slug, summary, hint, to string) Expr {
		first := !p.failed
		e := complain(slug, summary, hint)
		if first {
			p.reword(t.start, t.end, to)
		}
		return e
	}
	switch v := t.value; {
	case t.kind == tokString, t.kind == tokNumber:
	case v == "<":
		return complain("comparison", "< is not available", "write not (a >= b)")
	case v == ">":
		return complain("comparison", "> is not available", "write not (a <= b)")
	case v == "+" && t.is("+"):
		return complain("arithmetic", "arithmetic is not available, found +", "text is joined with ++")
	case t.kind == tokPunct && slices.Contains([]string{"-", "*", "/", "<<", ">>"}, v):
		return complain("arithmetic", "arithmetic is not available, found "+v, noArithmetic)
	case v == "~=", v == "as", v == "is":
		return complain("type-operator", quote(v)+" is not available", "leave it out: types are not converted; values are compared with ==")
	case v == "=":
		return instead("expected", "= is not an operator", "compare with ==", "==")
	case v == "&&":
		return instead("expected", "&& is not an operator", "write and", And)
	case v == "||":
		return instead("expected", "|| is not an operator", "write or", Or)
	case v == "->":
		return complain("lambda", "functions of your own are not available, found ->", noLambda)
	case v == "?":
		return complain("selector", "the selector ? is not available", "write x != null, or if (c) a else b")
	case v == "!":
		return complain("selector", "the selector ! is not available", "write x default y")
	case v == "---":
		return complain("header", "an expression has no header, found ---", "write only what stands below ---")
	case v == "match", v == "case", v == "do", v == "using", v == "update", v == "unless", v == "otherwise", v == "fun":
		return complain("statement", quote(v)+" is not available", "write if (c) a else b")
	case v == "to":
		return complain("range-selector", "ranges are not available, found to", "select one element: [0]")
	case t.kind == tokName:
		if low := strings.ToLower(v); low != v && (isWord(low) || low == Contains) {
			return instead("expected", "no operator "+quote(v), "write it in lower case: "+low, low)
		}
		if i := strings.LastIndex(v, ":"); i < 0 {
			for name := range Functions() {
				if strings.HasSuffix(name, ":"+v) {
					return instead("unknown-function", "no function "+quote(v), "write its full name: "+name, name)
				}
			}
		}
		return complain("expected", "expected an operator, found "+quote(v), didYouMean(v, []string{And, Or, Default, Contains, "splitBy", "else"}))
	}
	return complain("expected", "expected an operator or "+want+", found "+quote(p.text[t.start:t.end]), "write "+want+" before it, or join texts with ++")
}

// misplacedValue names the token that stands where a value was expected.
func (p *parser) misplacedValue() Expr {
	t := p.tok
	complain := func(slug, summary, hint string) Expr { return p.fail(slug, t.start, t.end, summary, hint) }
	switch v := t.value; v {
	case "{":
		return complain("object-literal", "object literals are not available", "write one text, and join what it is made of with ++")
	case "/":
		return complain("regex-literal", "regular expressions are not available", "write a string: contains and splitBy take one")
	case "|":
		return complain("date-literal", "dates and periods are not available", "write it as a text in quotes")
	case "%", "---":
		return complain("header", "an expression has no header, found "+v, "write only what stands below ---")
	case "$", "->":
		return complain("lambda", "functions of your own are not available, found "+v, noLambda)
	case "!":
		return complain("expected", "! is not available", "write not (x)")
	case "..", "*", "@", "&", "^", "?":
		return complain("selector", "the selector "+v+" is not available", "select one key by its name, or one element: [0]")
	case "#":
		return complain("expected", "#[ stands inside an expression", "it is written once, around the whole")
	case "do", "match", "case", "using", "update", "unless", "otherwise":
		return complain("statement", quote(v)+" is not available", "write if (c) a else b")
	}
	if t.kind == tokName && isHeader(t.value) {
		return complain("header", "an expression has no header and no declarations, found "+t.value, "write only what stands below ---")
	}
	if t.kind == tokName && !isWord(t.value) {
		return complain("lambda", "functions of your own are not available, found "+t.value+" ->", noLambda)
	}
	if r, _ := utf8.DecodeRuneInString(p.text[t.start:]); strings.ContainsRune("‘’‚“”„«»", r) {
		return complain("expected", fmt.Sprintf("expected a value, found the typographic quote %c (U+%04X)", r, r), "write texts in straight quotes, ' or \"")
	}
	return complain("expected", "expected a value, found "+quote(p.text[t.start:t.end]), "write a value before it, or take away the operator in front")
}

func arguments(n int) string {
	return [...]string{"no arguments", "one argument", "two arguments"}[n]
}

func signature(name string, n int) string {
	return name + [...]string{"()", "(x)", "(x, y)"}[n]
}

// quote shows text of the user on one line.
func quote(s string) string {
	const most = 40
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

func didYouMean(s string, known []string) string {
	slices.Sort(known)
	best, least := "", len(s)/3+2
	for _, k := range known {
		if d := diag.Distance(strings.ToLower(s), strings.ToLower(k)); d < least && d < max(len(s), len(k))-1 {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return `did you mean "` + best + `"?`
}
