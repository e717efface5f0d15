package syntax

import (
	"path"
	"strings"

	"cuelang.org/go/cue/ast"
)

// CommentsAt are the offsets at which the comments of a file begin, its # or //. known is false if that cannot be told; of a YAML
// file that is broken in a place, what looks like a comment there is one.
func CommentsAt(name string, src []byte) (at map[int]bool, known bool) {
	at = map[int]bool{}
	switch strings.ToLower(path.Ext(name)) {
	case ".json":
		return at, true
	case ".cue":
		known = eachCUEComment(name, src, func(c *ast.Comment) {
			if c.Pos().HasAbsPos() {
				at[c.Pos().Offset()] = true
			}
		})
		return at, known
	}
	for _, offset := range parsedYAML(name, src).commentsAt() {
		at[offset] = true
	}
	return at, true
}
