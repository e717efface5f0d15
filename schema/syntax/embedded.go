package syntax

import (
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// Embedded reads a document that stands in a text of another one: JSON or YAML. Places are those in the text, its first character at
// line 1, column 1 and offset 0, with no name of a file: whoever knows where the text stands can say where they are.
func Embedded(text string) ([]*Document, diag.List) {
	read := func(name string) ([]*Document, diag.List) {
		return newUnit(name, []source.File{source.NewFile(name, []byte(text))}, nil).Parse()
	}
	docs, ds := []*Document(nil), diag.List(nil)
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		if docs, ds = read(".json"); ds.HasErrors() { // a mapping of YAML can look the same
			if yaml, wrong := read(".yaml"); !wrong.HasErrors() {
				docs, ds = yaml, wrong
			}
		}
	} else {
		docs, ds = read(".yaml")
	}
	for _, d := range docs {
		anonymous(d.Root)
		d.Range.File = ""
	}
	for i := range ds {
		ds[i].Subject.File = ""
	}
	return docs, ds
}

// anonymous takes the name of the file out of all places of a tree.
func anonymous(n *Node) {
	n.Range.File = ""
	for i := range n.Fields {
		n.Fields[i].Range.File = ""
		anonymous(n.Fields[i].Value)
	}
	for _, item := range n.Items {
		anonymous(item)
	}
}
