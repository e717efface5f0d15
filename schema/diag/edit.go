package diag

// Op is what an Edit does to a document.
type Op uint8

// The operations. At of an Edit says where.
const (
	Rename Op = iota + 1 // the field whose key is At is called Name
	Set                  // the value that stands At becomes Value
	Quote                // the scalar that stands At is written as a text, in quotes
	Reword               // in the text At, which is or is part of a scalar, Name becomes Value; it must be there once
	Remove               // the field whose key or value is At goes
	Insert               // the object that stands At, or below the key At, gets Value at the place To
	Move                 // the field whose key is At goes to the place To
)

// Edit is a change that mends what a Diagnostic complains of, said without knowing how the text is written: a stage that
// has a tree, and no text, can ask for it. schema.Resolve makes Fixes of it where the text allows that.
//
// To is a path from the object At (Insert) or from the one that holds the field (Move): names go down, ".." leaves an object
// or a list, a number is an item of a list; the last name is that of the field in its new place. Objects and lists on the way
// are made. No edit replaces a field that is there already.
type Edit struct {
	Op    Op       `json:"op"`
	At    Range    `json:"at"`
	Name  string   `json:"name,omitempty"`
	Value any      `json:"value,omitempty"` // as syntax.Node.Value: map[string]any, []any, string, bool, json.Number or nil
	To    []string `json:"to,omitempty"`
}
