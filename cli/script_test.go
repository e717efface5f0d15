package cli_test

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/flexgw/flexgw/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"flexgw": func() { os.Exit(cli.Main(os.Args, cli.System())) },
	})
}

// TestScripts runs the real command line, one script per behaviour. UPDATE=1 rewrites the answers.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata/script", UpdateScripts: os.Getenv("UPDATE") != "", RequireExplicitExec: true, RequireUniqueNames: true})
}
