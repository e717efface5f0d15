package cli_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shellWith is a real shell that has loaded the script of flexgw completion, in a folder with some files. ask types a line into it and
// returns all that it offers there.
type shellWith struct {
	name string
	ask  func(t *testing.T, line string) []string
}

// shellFiles are what stands in the folder.
var shellFiles = []string{"gw/a.yaml", "gw/b.yaml", "orders.yaml", "registration.yaml", "with space.yaml"}

// shellFolder is that folder, and a home with the script in it.
func shellFolder(t *testing.T, shell string) (dir, home string) {
	t.Helper()
	dir, home = t.TempDir(), t.TempDir()
	for _, f := range shellFiles {
		path := filepath.Join(dir, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, script, said := command(t, nil, "completion", shell)
	if code != 0 || said != "" {
		t.Fatalf("flexgw completion %s: %d %s", shell, code, said)
	}
	if err := os.WriteFile(filepath.Join(home, ".script"), []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, home
}

// typist starts a shell on a terminal of its own, and types. Its start-up file binds ^G to writing the line into the file ~/.line, and TAB
// to putting all that is offered into the line.
func typist(t *testing.T, dir, home string, args ...string) func(t *testing.T, line string) []string {
	t.Helper()
	keyboard, end := terminalPair(t)
	if err := unix.IoctlSetWinsize(int(end.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 5000}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "ZDOTDIR=" + home, "TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "PS1=", "INPUTRC=/dev/null"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = end, end, end
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", args[0], err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	shown := make(chan []byte, 1000)
	go func() { // a terminal that nobody reads blocks who writes to it
		for {
			b := make([]byte, 4096)
			n, err := keyboard.Read(b)
			if err != nil {
				return
			}
			select {
			case shown <- b[:n]:
			default:
			}
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
	file := filepath.Join(home, ".line")
	press := func(t *testing.T, keys string) string {
		t.Helper()
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if _, err := keyboard.WriteString(keys + "\a"); err != nil {
			t.Fatal(err)
		}
		for late := time.Now().Add(2 * time.Minute); time.Now().Before(late); time.Sleep(5 * time.Millisecond) {
			if b, err := os.ReadFile(file); err == nil && bytes.HasSuffix(b, []byte("\n.")) {
				return strings.TrimSuffix(string(b), "\n.")
			}
		}
		var screen []byte
		for len(shown) > 0 {
			screen = append(screen, <-shown...)
		}
		t.Fatalf("%s does not say what stands in its line after %q; on the screen: %q", args[0], keys, screen)
		return ""
	}
	press(t, "") // it has begun
	return func(t *testing.T, line string) []string {
		t.Helper()
		got := press(t, "\x15"+line+"\t")
		word := line[strings.LastIndex(line, " ")+1:]
		rest, ok := strings.CutPrefix(got, strings.TrimSuffix(line, word))
		if !ok {
			t.Fatalf("%s made %q of %q", args[0], got, line)
		}
		if rest == word {
			return nil
		}
		return offered(strings.Split(strings.TrimSpace(strings.ReplaceAll(rest, `\ `, "\x00")), " "))
	}
}

// offered is a list of offers without what stands before the value in the same word, sorted, each once. A space is a NUL in it.
func offered(list []string) []string {
	var all []string
	for _, one := range list {
		one = strings.TrimSuffix(strings.ReplaceAll(one, "\x00", " "), "/")
		if i := strings.LastIndex(strings.TrimSuffix(one, "="), "="); i >= 0 {
			one = one[i+1:]
		}
		if one != "" {
			all = append(all, one)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func bashWith(t *testing.T) shellWith {
	t.Helper()
	dir, home := shellFolder(t, "bash")
	rc := filepath.Join(home, ".rc")
	text := "PS1=; bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; bind '\"\\t\": insert-completions'\n" +
		"bind -x '\"\\a\": printf \"%s\\n.\" \"$READLINE_LINE\" >~/.line'\n. ~/.script\n"
	if err := os.WriteFile(rc, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return shellWith{"bash", typist(t, dir, home, "bash", "--noprofile", "--rcfile", rc, "-i")}
}

// zshWith loads the script before, or has zsh find it in its path when it is first needed.
func zshWith(t *testing.T, found bool) shellWith {
	t.Helper()
	dir, home := shellFolder(t, "zsh")
	before, after := "", "source ~/.script\n"
	if found {
		before, after = "fpath=(~/functions $fpath)\n", ""
		if err := os.Mkdir(filepath.Join(home, "functions"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(home, ".script"), filepath.Join(home, "functions", "_flexgw")); err != nil {
			t.Fatal(err)
		}
	}
	text := `PS1=; unsetopt beep; setopt no_global_rcs
` + before + `autoload -U compinit; compinit -u -D
zstyle ':completion:*' completer _all_matches _complete
zstyle ':completion:*' insert true
zstyle ':completion:*' list-prompt ''
say() { printf '%s\n.' "$BUFFER" >~/.line; }
zle -N say
bindkey -e
bindkey '^G' say
bindkey '^U' kill-whole-line
` + after
	if err := os.WriteFile(filepath.Join(home, ".zshrc"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return shellWith{"zsh", typist(t, dir, home, "zsh", "-d", "-i")}
}

func fishWith(t *testing.T) shellWith {
	t.Helper()
	dir, home := shellFolder(t, "fish")
	return shellWith{"fish", func(t *testing.T, line string) []string {
		t.Helper()
		cmd := exec.Command("fish", "--no-config", "-c", "source ~/.script; complete -C $argv[1]", line)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8"}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil || errs.Len() > 0 {
			t.Fatalf("fish: %v\n%s", err, errs.String())
		}
		var list []string
		for l := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
			list = append(list, strings.ReplaceAll(strings.ReplaceAll(word, `\ `, "\x00"), " ", "\x00"))
		}
		return offered(list)
	}}
}

// TestCompletion asks real shells. What each offers is the same list.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]func(*testing.T) shellWith{
		"bash": bashWith, "fish": fishWith,
		"zsh":               func(t *testing.T) shellWith { t.Helper(); return zshWith(t, false) },
		"zsh, in its fpath": func(t *testing.T) shellWith { t.Helper(); return zshWith(t, true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shell, _, _ := strings.Cut(name, ",")
			if _, err := exec.LookPath(shell); err != nil {
				if testing.Short() {
					t.Skip("no " + shell)
				}
				t.Fatal(err)
			}
			completes(t, with(t))
		})
	}
}

func completes(t *testing.T, s shellWith) {
	t.Helper()
	_, help, _ := command(t, nil, "--help")
	var commands []string
	_, list, _ := strings.Cut(help, "\nCOMMANDS:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	for _, m := range regexp.MustCompile(`(?m)^   ([a-z]+)  `).FindAllStringSubmatch(list, -1) {
		commands = append(commands, m[1])
	}
	slices.Sort(commands)
	if len(commands) < 25 || !slices.Contains(commands, "completion") {
		t.Fatalf("the help lists %q", commands)
	}
	if got := s.ask(t, "flexgw "); !slices.Equal(got, commands) {
		t.Errorf("flexgw: %q, want %q", got, commands)
	}
	for _, c := range []struct {
		line string
		want []string
	}{
		{"flexgw val", []string{"validate"}},
		{"flexgw usage ", []string{"export", "flush", "forget", "import", "show"}},
		{"flexgw gateways del", []string{"delete"}},
		{"flexgw usage show orders ", []string{"gw", "orders.yaml", "registration.yaml", "with space.yaml"}},
		{"flexgw preflight --pl", []string{"--plane"}},
		{"flexgw preflight --plane ", []string{"CA", "EU", "JP", "UK", "US", "US-GOV"}},
		{"flexgw preflight --plane=U", []string{"UK", "US", "US-GOV"}},
		{"flexgw preflight --firewall ip", []string{"ip6tables", "iptables"}},
		{"flexgw preflight --size m", []string{"medium", "minimum"}},
		{"flexgw preflight --flex-version 1.1", []string{"1.1", "1.10", "1.11", "1.12", "1.13", "1.14"}},
		{"flexgw render --form ", []string{"bootstrap", "resources", "static"}},
		{"flexgw render --form=st", []string{"static"}},
		{"flexgw render --output ", []string{"json", "yaml"}},
		{"flexgw render gw -o js", []string{"json"}},
		{"flexgw validate --output=ju", []string{"junit"}},
		{"flexgw validate --output json=ord", []string{"orders.yaml"}},
		{"flexgw validate --output=json=gw/", []string{"gw/a.yaml", "gw/b.yaml"}},
		{"flexgw validate ", []string{"gw", "orders.yaml", "registration.yaml", "with space.yaml"}},
		{"flexgw validate --partial or", []string{"orders.yaml"}},
		{"flexgw validate gw/", []string{"gw/a.yaml", "gw/b.yaml"}},
		{"flexgw validate wi", []string{"with space.yaml"}},
		{"flexgw validate --baseline reg", []string{"registration.yaml"}},
		{"flexgw validate --fail-on ", []string{"error", "warning"}},
		{"flexgw diff --fail-on ", []string{"any", "security", "traffic"}},
		{"flexgw sim --dir ", []string{"gw"}},
		{"flexgw run --envoy ", []string{"auto", "gw", "none", "orders.yaml", "registration.yaml", "with space.yaml"}},
		{"flexgw run --on-invalid=", []string{"hold", "reject"}},
		{"flexgw run --commit-status git", []string{"gitea=", "github=", "gitlab="}},
		{"flexgw completion ", []string{"bash", "fish", "zsh"}},
		{"flexgw explain link/reserved", []string{"link/reserved-port"}},
		{"flexgw policy show rate-limiting-f", []string{"rate-limiting-flex"}},
		{"flexgw schema show Api", []string{"ApiInstance"}},
		{"flexgw register --organization ", nil}, // an id: nobody knows it
		{"flexgw register --environment x na", nil},
		{"flexgw nonsense ", nil},
	} {
		if got := s.ask(t, c.line); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
	_, help, _ = command(t, nil, "validate", "--help")
	var flags []string
	for _, m := range regexp.MustCompile(`(?m)^   (--[a-z-]+)`).FindAllStringSubmatch(help, -1) {
		flags = append(flags, m[1])
	}
	slices.Sort(flags)
	if got := s.ask(t, "flexgw validate --"); len(flags) < 20 || !slices.Equal(got, flags) {
		t.Errorf("flags of validate: %q, want %q", got, flags)
	}
}

// TestCompletionOfNoShell: what is no shell is a mistake in the call.
func TestCompletionOfNoShell(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{"": "completion takes one SHELL: bash, zsh, fish", "zhs": `no shell "zhs" (did you mean "zsh"?); known are bash, zsh, fish`, "bash zsh": "takes one SHELL"} {
		code, out, said := command(t, nil, append([]string{"completion"}, strings.Fields(args)...)...)
		if code != 2 || out != "" || !strings.Contains(said, want) {
			t.Errorf("completion %s: %d %s%s, want %q", args, code, out, said, want)
		}
	}
	var first string
	for i := range 3 {
		if _, out, _ := command(t, nil, "completion", "fish"); i > 0 && out != first {
			t.Error("another script the second time")
		} else {
			first = out
		}
	}
}

// TestEveryChoiceIsCompleted: a flag whose usage says `a|b` is one whose values are known.
func TestEveryChoiceIsCompleted(t *testing.T) {
	t.Parallel()
	_, script, _ := command(t, nil, "completion", "bash")
	choices := 0
	paths := regexp.MustCompile(`(?m)^  '([a-z][a-z ]*)'\) (?:commands|flags)=`).FindAllStringSubmatch(script, -1)
	if len(paths) < 40 {
		t.Errorf("%d commands; are there not more?", len(paths))
	}
	for _, m := range paths {
		path := m[1]
		_, help, _ := command(t, nil, append(strings.Fields(path), "--help")...)
		for _, m := range regexp.MustCompile(`(?m)^   --([a-z-]+)(?:, -[a-z])? ([a-z]+(?:\|[A-Za-z]+)+)`).FindAllStringSubmatch(help, -1) {
			choices++
			var values []string
			for v := range strings.SplitSeq(m[2], "|") {
				if v == strings.ToLower(v) {
					values = append(values, v)
				}
			}
			if want := fmt.Sprintf("  '%s --%s') values='%s'", path, m[1], strings.Join(values, " ")); !strings.Contains(script, want) {
				t.Errorf("%s --%s %s: no %q in the script", path, m[1], m[2], want)
			}
		}
	}
	if choices < 6 {
		t.Errorf("%d flags say what they take; were there not more?", choices)
	}
}
