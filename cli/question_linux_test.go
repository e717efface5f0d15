package cli_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/cli"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
)

// asker is a command that asks before it takes something away, and how to see whether it has.
type asker struct {
	question string // without [y/N]
	refused  string // what it says after a no
	args     []string
	done     func() bool
}

// typedAt runs a command at a terminal at which somebody has typed an answer: a terminal keeps it until it is asked for.
func typedAt(t *testing.T, a asker, typed string) (code int, stdout, stderr string) {
	t.Helper()
	keyboard, stdin := terminalPair(t)
	go func() { _, _ = io.Copy(io.Discard, keyboard) }() // the echo
	if _, err := keyboard.WriteString(typed); err != nil {
		t.Fatal(err)
	}
	return command(t, stdin, a.args...)
}

// TestTheQuestion: at a terminal, what takes something away asks first. A yes alone does it; --yes asks nobody; and who cannot be asked is not
// taken for a yes.
func TestTheQuestion(t *testing.T) {
	t.Parallel()
	x := newStation(t)
	x.write("password", []byte(sim.Password))
	user := []string{"--username", sim.Username, "--password-file", x.path("password")}
	gone := func(agent string) func() bool {
		return func() bool {
			for _, r := range x.sim.State().Registrations {
				if r.AgentID == agent {
					return r.Deleted || strings.HasPrefix(r.Status, "DELET")
				}
			}
			return true
		}
	}
	unregister := func(name string) asker {
		f := x.register(name)
		return asker{"delete the gateway " + name + " (" + f.AgentID + ") from " + x.sim.URL() + "?", "nothing was deleted",
			append([]string{"unregister", "--wait", "0", f.Path}, user...), gone(f.AgentID)}
	}
	remove := func(name string) asker {
		f := x.register(name)
		return asker{"delete the gateway " + name + " (" + f.AgentID + "), in environment " + f.EnvironmentID + ", from " + x.sim.URL() + "?", "nothing was deleted",
			append([]string{"gateways", "delete", "--wait", "0", "--organization", f.OrganizationID, "--environment", f.EnvironmentID, "--anypoint-url", x.sim.URL(), "--ca-file", x.path("ca.pem"), name}, user...), gone(f.AgentID)}
	}
	forget := func(name string) asker {
		f := x.register(name)
		x.state = filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(x.state, 0o700); err != nil {
			t.Fatal(err)
		}
		x.count(f, "default/orders", 5)
		x.ok("usage", "export", "--state-dir", x.state, "--output-file", x.path("sealed.tar.gz"))
		x.aside(1, "gone")
		return asker{"give up 5 requests in 1 batch of " + name + " (" + f.AgentID + ")? the platform will never have them", "nothing was given up",
			[]string{"usage", "forget", "--state-dir", x.state}, func() bool { return x.show().Requests.GivenUp == 5 }}
	}
	for what, ask := range map[string]func(name string) asker{"unregister": unregister, "gateways-delete": remove, "usage-forget": forget} {
		a := ask(what)
		for _, no := range []string{"n\n", "\n", "no\n", "yep\n", "\x04"} { // the last one ends the input
			code, out, said := typedAt(t, a, no)
			if code != cli.ExitWorld || !strings.Contains(said, a.question+" [y/N] ") || !strings.Contains(said, a.refused) || out != "" || a.done() {
				t.Errorf("%s, %q: %d, done %v: %s%s", what, no, code, a.done(), out, said)
			}
		}
		for i, yes := range []string{"y\n", "YES\n"} {
			if i > 0 {
				a = ask(what + "-again")
			}
			if code, out, said := typedAt(t, a, yes); code != 0 || !strings.Contains(said, a.question+" [y/N] ") || !a.done() {
				t.Errorf("%s, %q: %d, done %v: %s%s", what, yes, code, a.done(), out, said)
			}
		}
		a = ask(what + "-unasked")
		a.args = append(a.args, "--yes")
		if code, out, said := typedAt(t, a, "n\n"); code != 0 || strings.Contains(said, "[y/N]") || !a.done() {
			t.Errorf("%s --yes: %d, done %v: %s%s", what, code, a.done(), out, said)
		}
		if what == "gateways-delete" {
			continue // in a script it does as it is told
		}
		a = ask(what + "-in-a-script")
		if code, out, said := command(t, strings.NewReader("y\n"), a.args...); code != cli.ExitUsage || !strings.Contains(said, "nobody can be asked here, so say --yes") || a.done() {
			t.Errorf("%s in a script: %d, done %v: %s%s", what, code, a.done(), out, said)
		}
	}
}
