package e2e

import (
	"bytes"
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

var (
	watchSection = regexp.MustCompile("(?s)\n### Watch a bad change.*?\n### ")
	consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```\n")
	// varying is what no two runs have in common: times, hashes (of a file with other ports), underlines and columns (of ports with
	// more digits).
	varying = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?|sha256:[0-9a-f]+|shop-[0-9a-f]{8}|\^+| {2,}`)
)

// The guide shows what examples/quickstart/watch.sh prints, command by command: a bad change refused, rolled back and held.
// UPDATE=1 writes it.
func TestWatchABadChange(t *testing.T) {
	t.Parallel()
	flexgw := harness.Binary(t)
	port, busy := strconv.Itoa(harness.FreePort(t)), strconv.Itoa(harness.FreePort(t))
	cmd := exec.CommandContext(t.Context(), "bash", filepath.Join("..", "examples", "quickstart", "watch.sh"), port, busy)
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(flexgw)+":"+os.Getenv("PATH"), "ECHO_PORT="+strconv.Itoa(harness.FreePort(t)), "TMPDIR="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr.Bytes())
	}
	printed := strings.NewReplacer(port, "8081", busy, "8090").Replace(string(out))
	for _, must := range []string{`unknown field "adress"`, "RolledBack", "Accepted=False (Held)", "\n200\n"} {
		if !strings.Contains(printed, must) {
			t.Errorf("there is no %q in\n%s", must, printed)
		}
	}

	path := filepath.Join("..", "docs", "guide.md")
	guide, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	section := watchSection.FindString(string(guide))
	commands := strings.SplitAfter(strings.ReplaceAll("\n"+printed, "\n$ ", "\n\x00$ "), "\x00")[1:]
	now := consoleBlock.ReplaceAllStringFunc(section, func(block string) string {
		n := min(strings.Count(block, "\n$ "), len(commands))
		text := strings.ReplaceAll(strings.Join(commands[:n], ""), "\x00", "")
		commands = commands[n:]
		return "```console\n" + text + "```\n"
	})
	if len(commands) > 0 {
		t.Errorf("%d commands of the script are not in the guide, the first: %s", len(commands), commands[0])
	}
	same := func(s string) string { // whether sync or the daemon itself is first to see a change, nobody knows
		return varying.ReplaceAllString(strings.ReplaceAll(s, "programmed (Unchanged)", "programmed"), "*")
	}
	if same(now) == same(section) {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("the guide shows something else (UPDATE=1 writes it), -guide +script:\n%s", cmp.Diff(same(section), same(now)))
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(guide), section, now, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}
