package syntax

import (
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/parser"
)

// parsedCUE is the syntax of a file with its comments, or nil.
func parsedCUE(name string, src []byte) (file *ast.File) {
	defer func() { // the CUE library panics on some malformed input
		if recover() != nil {
			file = nil
		}
	}()
	if tooDeepCUE(src) >= 0 {
		return nil
	}
	file, err := parser.ParseFile(name, src, parser.ParseComments)
	if err != nil {
		return nil
	}
	return file
}

// cueLabels are the fields of a file by the offsets where their labels begin.
func cueLabels(name string, src []byte) map[int]label {
	out := map[int]label{}
	file := parsedCUE(name, src)
	if file == nil || deepest(file) != nil {
		return out
	}
	ast.Walk(file, func(n ast.Node) bool {
		if f, ok := n.(*ast.Field); ok && f.Label.Pos().HasAbsPos() && f.End().HasAbsPos() {
			out[f.Label.Pos().Offset()] = label{f.Label.End().Offset(), f.End().Offset()}
		}
		return true
	}, nil)
	return out
}

// cueComments are the comments of a file.
func cueComments(name string, src []byte) []string {
	var out []string
	eachCUEComment(name, src, func(c *ast.Comment) { out = append(out, c.Text) })
	return out
}

// eachCUEComment hands out the comments of a file; false: it cannot be parsed.
func eachCUEComment(name string, src []byte, found func(*ast.Comment)) bool {
	file := parsedCUE(name, src)
	if file == nil || deepest(file) != nil {
		return false
	}
	ast.Walk(file, func(n ast.Node) bool {
		if c, ok := n.(*ast.Comment); ok {
			found(c)
		}
		return true
	}, nil)
	return true
}
