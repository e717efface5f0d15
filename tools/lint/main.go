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
	"strconv"
	"strings"
)

// rule forbids one name of a package outside the folders that own it.
type rule struct {
	pkg, name string   // import path, and what it exports
	allowed   []string // path prefixes; tests are always free, and so is what only they import
	why       string
}

var rules = []rule{
	{"google.golang.org/protobuf/types/known/anypb", "New", nil, "gives other bytes each time; use render's one helper"},
	{"fmt", "Print", []string{"tools/"}, "results go to the writer that the command was given"},
	{"fmt", "Println", []string{"tools/"}, "results go to the writer that the command was given"},
	{"fmt", "Printf", []string{"tools/"}, "results go to the writer that the command was given"},
	{"time", "Now", []string{"reconcile/", "cli/", "tools/", "schema/testkit/"}, "stages up to the resources know no clock"},
	{"os", "Getenv", []string{"tools/", "schema/testkit/"}, "the environment arrives as a function"},
	{"os", "LookupEnv", []string{"cli/cli.go", "reconcile/envoy/find.go"}, "the environment arrives as a function"},
	{"os", "Environ", []string{"reconcile/envoy/process.go", "schema/sops/sopstest/"}, "the environment arrives as a function"},
	{"os", "ExpandEnv", nil, "the environment arrives as a function"},
	{"os", "Exit", []string{"main.go", "tools/"}, "Main returns the exit code"},
	{"net/http", "DefaultClient", nil, "only reconcile/egress dials"},
	{"net/http", "Get", nil, "only reconcile/egress dials"},
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
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(filepath.ToSlash(path), "e2e/") {
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
	found := faults(fset, file, path)
	for _, f := range found {
		fmt.Println(f)
	}
	return len(found), nil
}

// faults lists what breaks a rule, by what the file imports, under whatever name. A dot import of a package that a rule is
// about is a fault itself: its names cannot be told from the file's own.
func faults(fset *token.FileSet, file *ast.File, path string) []string {
	var found []string
	imported := map[string]string{} // name in this file → import path
	for _, i := range file.Imports {
		target, _ := strconv.Unquote(i.Path.Value)
		name := target[strings.LastIndex(target, "/")+1:]
		if i.Name != nil {
			name = i.Name.Name
		}
		imported[name] = target
		if name == "." && slices.ContainsFunc(rules, func(r rule) bool { return r.pkg == target }) {
			found = append(found, fmt.Sprintf("%s: dot import of %s: nobody sees whose a name is", fset.Position(i.Pos()), target))
		}
	}
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
			if imported[x.Name] != r.pkg || sel.Sel.Name != r.name || slices.ContainsFunc(r.allowed, func(p string) bool { return strings.HasPrefix(path, p) }) {
				continue
			}
			found = append(found, fmt.Sprintf("%s: %s.%s: %s", fset.Position(sel.Pos()), r.pkg, r.name, r.why))
		}
		return true
	})
	return found
}
