package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/e2e/harness"
)

// blocks are what a page has people do: files to write, and sessions.
var blocks = regexp.MustCompile("(?s)```(?:yaml flexgw:ok (\\S+)|(console))\n(.*?)```\n")

// unlike is what no two runs have in common: times, hashes, keys, and columns of a table.
var unlike = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?|\b[0-9a-f]{12,40}\b|SHA256:[A-Za-z0-9+/]+|\[1\] .*| {2,}`)

// session is the shell that runs a page. started prints what the daemon said, its log aside, once that is there.
const session = `
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
started() {
	for _ in $(seq 300); do
		if grep -qs '^ready ' said; then grep -v '^time=\|^try: \|^flexgw: ' said; return; fi
		sleep 0.1
	done
	echo "the daemon was not ready in 30 s:"; cat said; exit 1
}
`

// docs/gitops.md shows what its commands print: signed commits are served, forged ones refused by name, and a revert rolls back.
// UPDATE=1 writes it.
func TestGitOpsPage(t *testing.T) {
	t.Parallel()
	flexgw := harness.Binary(t)
	path := filepath.Join("..", "docs", "gitops.md")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	ports := []string{"8081", strconv.Itoa(harness.FreePort(t)), "9081", strconv.Itoa(harness.FreePort(t)), "6666", strconv.Itoa(harness.FreePort(t))}
	back := make([]string, len(ports))
	for i := 0; i < len(ports); i += 2 {
		back[i], back[i+1] = ports[i+1], ports[i]
	}
	var script strings.Builder
	script.WriteString(session)
	for _, m := range blocks.FindAllStringSubmatch(page, -1) {
		if m[1] != "" {
			fmt.Fprintf(&script, "cat >%s <<'END'\n%sEND\n", m[1], m[3])
			continue
		}
		for line := range strings.Lines(m[3]) {
			command, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "$ ")
			if !ok {
				continue
			}
			fmt.Fprintf(&script, "printf '\\0$ %%s\\n' %s\n", quoted(command))
			if daemon, ok := strings.CutSuffix(command, " &"); ok {
				fmt.Fprintf(&script, "%s >said 2>&1 &\nstarted\n", daemon)
			} else {
				if strings.HasPrefix(command, "flexgw history") { // it is written after what it tells of
					script.WriteString("sleep 3\n")
				}
				fmt.Fprintf(&script, "[ ${code:-0} = 0 ] || (exit $code)\n%s\ncode=$?\n", command)
			}
		}
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash")
	cmd.Stdin = strings.NewReader(strings.NewReplacer(ports...).Replace(script.String()))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(flexgw)+":"+os.Getenv("PATH"), "XDG_RUNTIME_DIR="+t.TempDir(), "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	printed := strings.NewReplacer(back...).Replace(strings.ReplaceAll(out.String(), dir, "/home/you/gitops")) // the folder first: a port may be part of its name
	for _, must := range []string{"[unsigned]", "[key-not-allowed]", "[committer-not-allowed]", "Alice <alice@example.com>", "\n200\n"} {
		if !strings.Contains(printed, must) {
			t.Errorf("there is no %q in\n%s", must, printed)
		}
	}
	commands := strings.Split(printed, "\x00")[1:]
	now := blocks.ReplaceAllStringFunc(page, func(block string) string {
		if !strings.HasPrefix(block, "```console") {
			return block
		}
		n := min(strings.Count(block, "\n$ "), len(commands))
		text := strings.Join(commands[:n], "")
		commands = commands[n:]
		return "```console\n" + text + "```\n"
	})
	if len(commands) > 0 {
		t.Errorf("%d commands are not in the page, the first: %s", len(commands), commands[0])
	}
	same := func(s string) string { return unlike.ReplaceAllString(s, "*") }
	if same(now) == same(page) {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("the page shows something else (UPDATE=1 writes it), -page +commands:\n%s", cmp.Diff(same(page), same(now)))
	}
	if err := os.WriteFile(path, []byte(now), 0o644); err != nil {
		t.Fatal(err)
	}
}

// quoted is a word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
