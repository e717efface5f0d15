package policy

import (
	"strings"

	"github.com/flexgw/flexgw/schema/ir"
)

// Explained is what a policy's folder says about one of its codes.
type Explained struct {
	What      string // when it is reported, of the page's table
	Why       string // what goes wrong if nobody cares
	Bad, Good Example
	With      string // the code that cannot but stand beside it in the bad example; as a rule none
	Source    string // where the rule comes from, as a rule an address
}

// Example is a declaration, and perhaps what has to stand beside it.
type Example struct {
	File, Text     string
	Beside, Around string // the name and the text of the other file; empty: Text is all
}

// Explain is what the type's page and its Codes say about a code; false if the page does not list it.
func (t Type) Explain(code string) (Explained, bool) {
	var e Explained
	found := false
	for line := range strings.Lines(string(t.page)) {
		if row, ok := strings.CutPrefix(line, "| `"+code+"` |"); ok {
			e.What, found = strings.Trim(row, " |\n"), true
			break
		}
	}
	if !found {
		return e, false
	}
	head, rest, _ := strings.Cut(string(t.codes), "\n## ")
	e.Source = sourceIn(head)
	_, section, ok := strings.Cut("\n## "+rest, "\n## `"+code+"`\n")
	if !ok {
		return e, true
	}
	section, _, _ = strings.Cut(section, "\n## ")
	if own := sourceIn(section); own != "" {
		e.Source = own
	}
	why, _, _ := strings.Cut(section, "\n```")
	e.Why = strings.TrimSpace(why)
	bad, with := fenced(section, "bad")
	good, _ := fenced(section, "good")
	e.Bad, e.Good, e.With = t.example(bad), t.example(good), with
	return e, true
}

func sourceIn(text string) string {
	for line := range strings.Lines(text) {
		if s, ok := strings.CutPrefix(line, "Source: "); ok {
			return strings.TrimSpace(s)
		}
	}
	return ""
}

// fenced is the content of the block of YAML with a mark, and what stands behind "with" in the mark.
func fenced(text, mark string) (block, with string) {
	_, block, ok := strings.Cut(text, "\n```yaml "+mark)
	if !ok {
		return "", ""
	}
	rest, block, _ := strings.Cut(block, "\n")
	block, _, _ = strings.Cut(block, "```\n")
	return block, strings.TrimPrefix(rest, " with ")
}

// The objects that examples are bound to.
const (
	exampleAPI = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: ApiInstance
metadata:
  name: orders
spec:
  address: http://0.0.0.0:8081
  services:
    upstream:
      address: http://orders.internal:8080
      routes:
        - config: {}
`
	exampleService = `apiVersion: gateway.mulesoft.com/v1alpha1
kind: Service
metadata:
  name: orders
spec:
  address: https://orders.internal:8443
`
)

// example makes a declaration of a config; a text with an apiVersion is one already.
func (t Type) example(text string) Example {
	if text == "" || strings.Contains("\n"+text, "\napiVersion:") {
		return Example{File: "gateway.yaml", Text: text}
	}
	e := Example{File: "policy.yaml", Beside: "api.yaml", Around: exampleAPI}
	kind := "ApiInstance"
	switch {
	case t.targets&ir.TargetAPI == 0:
		e.Beside, e.Around, kind = "service.yaml", exampleService, "Service"
	case t.place == ir.Outside:
		e.Around = strings.Replace(exampleAPI, "http://0.0.0.0:8081", "https://0.0.0.0:8443", 1)
	}
	config := " " + text
	if text != "{}\n" {
		config = ""
		for line := range strings.Lines("\n" + text) {
			if line != "\n" {
				line = "    " + line
			}
			config += line
		}
	}
	e.Text = "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: PolicyBinding\nmetadata:\n  name: example\nspec:\n" +
		"  targetRef:\n    kind: " + kind + "\n    name: orders\n  policyRef:\n    name: " + t.name + "\n  config:" + config
	return e
}
