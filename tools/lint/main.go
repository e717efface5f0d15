// Command lint holds the rules of the house that no public linter knows: where randomness of bytes, the clock, the
// environment and the terminal may be touched. Each rule says why.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// rule forbids one selector outside the folders that own it.
type rule struct {
	pkg, name string
	allowed   []string // path prefixes; tests are always free
	why       string
}

var rules = []rule{
	{"anypb", "New", nil, "gives other bytes each time; use render's one helper"},
	{"fmt", "Print", []string{"tools/"}, "results go to the writer that the command was given"},
	{"fmt", "Println", []string{"tools/"}, "results go to the writer that the command was given"},
	{"fmt", "Printf", []string{"tools/"}, "results go to the writer that the command was given"},
	{"time", "Now", []string{"reconcile/", "cli/", "tools/"}, "stages up to the resources know no clock"},
	{"os", "Getenv", []string{"tools/", "schema/testkit/"}, "the environment arrives as a function"},
	{"os", "Exit", []string{"main.go", "tools/"}, "Main returns the exit code"},
	{"http", "DefaultClient", nil, "only reconcile/egress dials"},
	{"http", "Get", nil, "only reconcile/egress dials"},
}

func main() {
	bad := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		n, err := check(filepath.ToSlash(path))
		bad += n
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if bad > 0 {
		os.Exit(1)
	}
}

func check(path string) (int, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return 0, err
	}
	bad := 0
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		for _, r := range rules {
			if x.Name != r.pkg || sel.Sel.Name != r.name || slices.ContainsFunc(r.allowed, func(p string) bool { return strings.HasPrefix(path, p) }) {
				continue
			}
			fmt.Printf("%s: %s.%s: %s\n", fset.Position(sel.Pos()), r.pkg, r.name, r.why)
			bad++
		}
		return true
	})
	return bad, nil
}
