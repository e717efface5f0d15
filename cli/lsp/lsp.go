// Package lsp is what an editor and flexgw say to each other: the Language Server Protocol, version 3.17, over two streams.
//
// It knows documents, places and when to look again. What is wrong with declarations, what a field means and where an object is,
// it asks the House, and so it imports neither the pipeline nor a schema. It opens no file and no connection.
package lsp

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
)

// Open are the texts of the files that an editor has open, by their absolute names with slashes: they count instead of what is on
// the disk. Nobody may change it.
type Open map[string][]byte

// House is the rest of flexgw.
type House interface {
	// Folder is what is in a folder, by its absolute name.
	Folder(dir string) Room
	// File is one file that is in no folder of the editor: a part of a gateway.
	File(name string) Room
}

// Room is a set of declarations that are judged together. Check is called by one goroutine at a time, all else by several.
type Room interface {
	// Check finds what there is to say. Files have absolute names.
	Check(open Open) Found
	// Counts reports whether a file may be one of the declarations, or say how they are judged.
	Counts(name string) bool
	// Changed receives when a file may have changed on the disk; nil: nobody watches.
	Changed() <-chan struct{}
	// Again has the next Check read everything anew that may have changed.
	Again()
	// Hover says what stands at an offset of a file; nil: nothing is known of it.
	Hover(ctx context.Context, open Open, name string, offset int) *Hover
	// Definition is where what is named at an offset of a file was declared.
	Definition(ctx context.Context, open Open, name string, offset int) []Target
	// Symbols are the objects in a file.
	Symbols(ctx context.Context, open Open, name string) []Symbol
	// Complete is what can be written at an offset of a file.
	Complete(ctx context.Context, open Open, name string, offset int) []Item
	// Format is the text of a file in canonical form; nil: it stays as it is, and why if that is worth a word.
	Format(ctx context.Context, open Open, name string) (text []byte, why string)
	// FixAll is the text of a file with all fixes made that are certain; nil: there are none.
	FixAll(ctx context.Context, open Open, name string) []byte
	// Close ends the watching.
	Close()
}

// Found is what a Check found.
type Found struct {
	List   diag.List
	Source func(name string) ([]byte, error) // the texts that were judged
	Fixes  func(of diag.List) diag.List      // some of List with their fixes, where the text allows them
	Read   func(name string) bool            // the file was judged
	Page   func(code diag.Code) string       // where a code is explained on the web; "": nowhere
	Failed error                             // what could not be read; the rest was
}

// Hover is what an editor shows over a place.
type Hover struct {
	Markdown, Plain string
	Range           diag.Range
}

// Target is a place to go to, with the text of its file.
type Target struct {
	Range diag.Range
	Text  []byte
}

// Symbol is an object in a file.
type Symbol struct {
	Name, Detail string
	Object       bool // it is declared, not a part of another
	Range, Named diag.Range
	Inner        []Symbol
}

// ItemKind says what an Item is.
type ItemKind uint8

// The kinds.
const (
	ItemField ItemKind = iota
	ItemValue
	ItemObject
)

// Item is something that can be written at a place: Text instead of what stands between From and To, offsets in bytes.
type Item struct {
	Label, Text, Detail, Markdown string
	Kind                          ItemKind
	From, To                      int
}

// Options of Serve.
type Options struct {
	House    House
	Name     string // of the server, as editors show it
	Version  string
	Log      *slog.Logger
	Debounce time.Duration // how long texts must rest before they are judged; 0: 75 ms
}

// Serve speaks with one editor until it says exit, or in ends. clean reports whether it had said shutdown before.
func Serve(ctx context.Context, in io.Reader, out io.Writer, o Options) (clean bool) {
	if o.Debounce == 0 {
		o.Debounce = 75 * time.Millisecond
	}
	return newServer(o).serve(ctx, in, out)
}
