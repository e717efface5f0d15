package specvalidation

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/dataweave"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// reader judges one description. Its tree has the places in the text, which are told apart from those in the file.
type reader struct {
	root *syntax.Node
	lost int // references that lead to nothing
	at   dataweave.Mapper
	l    diag.List
}

func (r *reader) report(s diag.Severity, code diag.Code, where diag.Range, summary, hint string) {
	r.l = append(r.l, diag.Diagnostic{Severity: s, Code: code, Subject: r.at(int(where.Start.Offset), int(where.End.Offset)), Summary: summary, Hint: hint})
}

// description judges a description, which stands in the text of a field.
func description(spec syntax.Text) diag.List {
	r := &reader{at: dataweave.At(spec.Value, spec.Range)}
	docs, wrong := syntax.Embedded(spec.Value)
	if strings.HasPrefix(spec.Value, "#%RAML") {
		r.report(diag.Error, "specvalidation/not-openapi", diag.Range{}, "spec is a RAML document, expected OpenAPI 3.0", "convert it")
		r.l[0].Subject = spec.Range
		return r.l
	}
	for _, d := range wrong {
		if d.Severity == diag.Error {
			r.report(diag.Error, "specvalidation/unreadable", d.Subject, "spec cannot be read: "+d.Summary, d.Hint)
			return r.l
		}
	}
	docs = slices.DeleteFunc(docs, func(d *syntax.Document) bool { return d.Root.IsNull() })
	switch {
	case len(docs) == 0:
		r.report(diag.Error, "specvalidation/not-openapi", diag.Range{}, "spec holds nothing but comments", "write the OpenAPI description")
		r.l[0].Subject = spec.Range
		return r.l
	case len(docs) > 1:
		r.report(diag.Error, "specvalidation/several-documents", docs[1].Root.Locate(), "spec holds a second document, expected one", "bind the policy once for each")
		return r.l
	case docs[0].Root.Kind != syntax.Mapping:
		hint := "write the OpenAPI description as a block of text: spec: |"
		if s := spec.Value; !strings.ContainsAny(s, " \n") && strings.Contains(s, ".") {
			hint = "the gateway reads no file: paste its content as a block of text: spec: |"
		}
		r.report(diag.Error, "specvalidation/not-openapi", diag.Range{}, "spec is no OpenAPI description: it is not a mapping", hint)
		r.l[0].Subject = spec.Range
		return r.l
	}
	r.root = docs[0].Root
	if r.version() {
		r.paths()
		r.walk(r.root, nil)
	}
	return r.l
}

var version30 = regexp.MustCompile(`^3\.0(\.[0-9]+)?$`)

// version reports whether the description is OpenAPI 3.0, so that the rest makes sense.
func (r *reader) version() bool {
	openapi, swagger := r.root.Get("openapi"), r.root.Get("swagger")
	switch {
	case openapi == nil && swagger != nil:
		r.report(diag.Error, "specvalidation/version", swagger.Range, fmt.Sprintf("the description is Swagger %s, expected OpenAPI 3.0", swagger.Text), "convert it to OpenAPI 3.0")
	case openapi == nil || openapi.Kind != syntax.Scalar:
		r.report(diag.Error, "specvalidation/not-openapi", r.root.Locate("openapi"), "the description does not say openapi, with a version", "write openapi: 3.0.3")
	case !version30.MatchString(openapi.Text):
		r.report(diag.Error, "specvalidation/version", openapi.Range, fmt.Sprintf("the description is OpenAPI %s, expected 3.0", openapi.Text), "write it for OpenAPI 3.0")
	default:
		return true
	}
	return false
}

// methods are the fields of a path that are operations (OpenAPI 3.0, Path Item Object), and others are what else it may have.
var (
	methods = []string{"delete", "get", "head", "options", "patch", "post", "put", "trace"}
	others  = []string{"$ref", "description", "parameters", "servers", "summary"}
)

func (r *reader) paths() {
	if r.root.Get("info") == nil {
		r.report(diag.Warning, "specvalidation/no-info", r.root.Locate("info"), "the description has no info, which OpenAPI wants", "add info with a title and a version")
	}
	paths := r.root.Get("paths")
	if paths == nil || paths.Kind != syntax.Mapping {
		r.report(diag.Error, "specvalidation/no-paths", r.root.Locate("paths"), "the description has no paths, so no request would fit", "add paths")
		return
	}
	if len(paths.Fields) == 0 {
		r.report(diag.Warning, "specvalidation/no-paths", paths.Range, "the description has no path, so no request fits", "add one")
	}
	for _, p := range paths.Fields {
		if strings.HasPrefix(p.Name, "x-") || p.Value.Kind != syntax.Mapping {
			continue
		}
		if !strings.HasPrefix(p.Name, "/") {
			r.report(diag.Warning, "specvalidation/bad-path", p.Range, fmt.Sprintf("the path %q does not begin with /", p.Name), "write /"+p.Name)
		}
		r.path(p)
	}
}

var braces = regexp.MustCompile(`\{([^{}/]+)\}`)

func (r *reader) path(p syntax.Field) {
	var wanted []string
	for _, m := range braces.FindAllStringSubmatch(p.Name, -1) {
		wanted = append(wanted, m[1])
	}
	shared := r.parameters(p.Value.Get("parameters"), wanted)
	for _, op := range p.Value.Fields {
		known := append(slices.Clone(methods), others...)
		switch {
		case slices.Contains(methods, op.Name):
			own := r.parameters(op.Value.Get("parameters"), wanted)
			for _, name := range wanted {
				if !slices.Contains(shared, name) && !slices.Contains(own, name) {
					r.report(diag.Warning, "specvalidation/path-parameter", op.Range, fmt.Sprintf("%s of %s does not describe the parameter %q", op.Name, p.Name, name), "add it to parameters, with in: path and required: true")
				}
			}
		case !slices.Contains(others, op.Name) && !strings.HasPrefix(op.Name, "x-"):
			hint := "the methods are " + strings.Join(methods, ", ")
			if near := diag.Nearest(strings.ToLower(op.Name), known); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			r.report(diag.Warning, "specvalidation/unknown-method", op.Range, fmt.Sprintf("%q of %s is no method", op.Name, p.Name), hint)
		}
	}
}

// parameters are the names of a list's path parameters. Those that the path does not have are told.
func (r *reader) parameters(list *syntax.Node, wanted []string) []string {
	if list == nil {
		return nil
	}
	var names []string
	for _, item := range list.Items {
		p := r.resolved(item)
		in, name := p.Get("in"), p.Get("name")
		if in == nil || name == nil || in.Text != "path" {
			continue
		}
		if names = append(names, name.Text); !slices.Contains(wanted, name.Text) {
			r.report(diag.Warning, "specvalidation/path-parameter", item.Locate(), fmt.Sprintf("the path has no parameter %q in braces", name.Text), "write it in the path, or say in: query")
		}
	}
	return names
}

// resolved follows a reference, and those behind it.
func (r *reader) resolved(n *syntax.Node) *syntax.Node {
	for range 16 {
		ref := n.Get("$ref")
		if ref == nil || ref.Kind != syntax.Scalar {
			return n
		}
		target, ok := r.target(ref.Text)
		if !ok {
			return nil
		}
		n = target
	}
	return nil
}

// target finds what a reference within the document leads to.
func (r *reader) target(ref string) (*syntax.Node, bool) {
	pointer, local := strings.CutPrefix(ref, "#")
	if plain, err := url.PathUnescape(pointer); err == nil {
		pointer = plain
	}
	if !local {
		return nil, false
	}
	return r.root.At(syntax.SplitPointer(pointer)...)
}

// data are fields whose values are data, whatever they look like.
var data = []string{"default", "enum", "example", "examples", "value"}

// walk judges references and patterns. Names are of the fields of a mapping as long as they are not those of properties.
func (r *reader) walk(n *syntax.Node, within []string) {
	free := len(within) > 0 && slices.Contains([]string{"callbacks", "headers", "links", "parameters", "paths", "properties", "requestBodies", "responses", "schemas", "securitySchemes"}, within[len(within)-1])
	for _, f := range n.Fields {
		switch {
		case free:
		case f.Name == "$ref" && f.Value.Kind == syntax.Scalar:
			r.reference(f.Value)
			continue
		case f.Name == "pattern" && f.Value.Kind == syntax.Scalar:
			if _, err := regexp.Compile(f.Value.Text); err != nil {
				r.report(diag.Warning, "specvalidation/bad-pattern", f.Value.Range, fmt.Sprintf("the pattern %q is not an expression of RE2", f.Value.Text), "look-around and back references may not be there at all: say it in another way")
			}
			continue
		case slices.Contains(data, f.Name) || strings.HasPrefix(f.Name, "x-"):
			continue
		}
		r.walk(f.Value, append(within, f.Name))
	}
	for _, item := range n.Items {
		r.walk(item, nil)
	}
}

// maxMeant bounds for how many references that lead to nothing all names are looked through for the one that was meant.
const maxMeant = 100

func (r *reader) reference(n *syntax.Node) {
	if !strings.HasPrefix(n.Text, "#") {
		r.report(diag.Error, "specvalidation/external-reference", n.Range, fmt.Sprintf("$ref %q leads out of the document, and the gateway reads no other", n.Text), "copy what it leads to into components")
		return
	}
	if _, ok := r.target(n.Text); ok {
		return
	}
	hint := "declare it, or remove the reference"
	parent, last := n.Text[:strings.LastIndex(n.Text, "/")+1], n.Text[strings.LastIndex(n.Text, "/")+1:]
	r.lost++
	if owner, ok := r.target(strings.TrimSuffix(parent, "/")); ok && r.lost <= maxMeant {
		var names []string
		for _, f := range owner.Fields {
			names = append(names, f.Name)
		}
		if near := diag.Nearest(last, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", parent+near)
		}
	}
	r.report(diag.Error, "specvalidation/dangling-reference", n.Range, fmt.Sprintf("$ref %q leads to nothing", n.Text), hint)
}
