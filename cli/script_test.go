package cli_test

import (
	"os"
	"path/filepath"
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
	testscript.Run(t, testscript.Params{Dir: "testdata/script", UpdateScripts: os.Getenv("UPDATE") != "", RequireExplicitExec: true, RequireUniqueNames: true, Setup: ownGit, Cmds: platformCommands()})
}

// ownGit keeps git commands of a script from what the host is configured for.
func ownGit(e *testscript.Env) error {
	for _, v := range []string{"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org",
		"GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org", "GIT_AUTHOR_DATE=2026-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2026-01-01T00:00:00Z",
		"GIT_CEILING_DIRECTORIES=" + filepath.Dir(e.WorkDir)} {
		e.Vars = append(e.Vars, v)
	}
	return nil
}
