package cli_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// platformCommands are the words of scripts that need Anypoint Platform:
//
//	platform DIR [FLAG…]   starts flexgw sim --dir DIR until the script ends; $ANYPOINT is its URL, $CA its authority
//	fault JSON             sets faults
//	clock JSON             sets the simulator's clock
//	state TEXT…            wants each TEXT in what the simulator says of itself
//	until TEXT COMMAND…    runs a command again until TEXT is in what it prints
func platformCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){"platform": startPlatform, "fault": setFault, "clock": setClock, "state": wantState, "until": until}
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("until TEXT COMMAND…")
	}
	last := ""
	for late := time.Now().Add(2 * time.Minute); time.Now().Before(late); time.Sleep(100 * time.Millisecond) {
		_ = ts.Exec(args[1], args[2:]...) // it may not work yet
		if last = ts.ReadFile("stdout"); strings.Contains(last, args[0]) {
			return
		}
	}
	ts.Fatalf("%q is not in:\n%s", args[0], last)
}

func startPlatform(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("platform DIR [FLAG…]")
	}
	self, err := exec.LookPath("flexgw")
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	cmd := exec.Command(self, append([]string{"sim", "--dir", dir}, args[1:]...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Stderr = io.Discard
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if !ok {
		ts.Fatalf("sim says %q", line)
	}
	ts.Setenv("ANYPOINT", url)
	ts.Setenv("CA", filepath.Join(dir, "ca.pem"))
}

// simulator is a client of the simulator's own pages.
func simulator(ts *testscript.TestScript) *http.Client {
	pem, err := os.ReadFile(ts.Getenv("CA"))
	ts.Check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

func setFault(ts *testscript.TestScript, neg bool, args []string) { setIn(ts, neg, "faults", args) }

func setClock(ts *testscript.TestScript, neg bool, args []string) { setIn(ts, neg, "clock", args) }

func setIn(ts *testscript.TestScript, neg bool, page string, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("%s: one JSON is expected", page)
	}
	r, err := simulator(ts).Post(ts.Getenv("ANYPOINT")+"/_sim/"+page, "application/json", strings.NewReader(args[0]))
	ts.Check(err)
	defer r.Body.Close()
	if b, _ := io.ReadAll(r.Body); r.StatusCode/100 != 2 {
		ts.Fatalf("%s: %s", r.Status, b)
	}
}

func wantState(ts *testscript.TestScript, neg bool, args []string) {
	r, err := simulator(ts).Get(ts.Getenv("ANYPOINT") + "/_sim/state")
	ts.Check(err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	ts.Check(err)
	for _, want := range args {
		if strings.Contains(string(b), want) == neg {
			ts.Fatalf("%q in the state: %v\n%s", want, !neg, b)
		}
	}
}
