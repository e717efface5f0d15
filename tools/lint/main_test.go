package main

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

func TestRulesGoByImportPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, path, text, want string }{
		{"plain", "render/x.go", `import "os"; var _ = os.Getenv("A")`, "os.Getenv"},
		{"look up", "render/x.go", `import "os"; var _, _ = os.LookupEnv("A")`, "os.LookupEnv"},
		{"as a value", "cli/x.go", `import "os"; var f = os.Environ`, "os.Environ"},
		{"renamed", "render/x.go", `import sys "os"; var _ = sys.Getenv("A")`, "os.Getenv"},
		{"renamed any", "render/x.go", `import p "google.golang.org/protobuf/types/known/anypb"; var _, _ = p.New(nil)`, "anypb.New"},
		{"dot", "render/x.go", `import . "os"; var _ = Getenv("A")`, "dot import"},
		{"own package of that name", "render/x.go", `import "example.com/os"; var _ = os.Getenv("A")`, ""},
		{"value of that name", "render/x.go", `var os struct{ Getenv string }; var _ = os.Getenv`, ""},
		{"allowed", "cli/cli.go", `import "os"; var _ = os.LookupEnv`, ""},
		{"other name", "render/x.go", `import "os"; var _ = os.Getpid()`, ""},
	} {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, c.path, "package x; "+c.text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(faults(fset, file, c.path), "\n")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
