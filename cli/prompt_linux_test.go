package cli_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPromptForAToken: who says nothing at a terminal is asked for the token, which is not shown; who gives none is told the ways.
func TestPromptForAToken(t *testing.T) {
	t.Parallel()
	r := newReal(t, nil)
	for typed, want := range map[string]string{"hush-hush\n": "flexctl registration create '--token=<registration-token>'", "\n": "the registration token that was given is empty"} {
		keyboard, stdin := terminalPair(t)
		go func() {
			for range 12_000 { // until it is asked for, which is soon
				if s, err := unix.IoctlGetTermios(int(stdin.Fd()), unix.TCGETS); err == nil && s.Lflag&unix.ECHO == 0 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			_, _ = keyboard.WriteString(typed)
		}()
		_, out, said := command(t, stdin, "register", "--organization", orgID, "--anypoint-url", r.URL, "--ca-file", r.ca, "--output-directory", t.TempDir(), "edge")
		if !strings.Contains(said, "registration token: ") || !strings.Contains(said, want) || strings.Contains(said+out, "hush") {
			t.Errorf("%q: %s%s", typed, out, said)
		}
	}
}

// terminalPair is both ends of a pseudo terminal.
func terminalPair(t *testing.T) (keyboard, stdin *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if stdin, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close() })
	return keyboard, stdin
}

// TestPrompt: on a terminal a secret is asked for, and not shown.
func TestPrompt(t *testing.T) {
	t.Parallel()
	r := newReal(t, nil)
	keyboard, stdin := terminalPair(t)
	silent := func() bool {
		s, err := unix.IoctlGetTermios(int(stdin.Fd()), unix.TCGETS)
		return err == nil && s.Lflag&unix.ECHO == 0
	}
	go func() {
		for range 12_000 { // until it is asked for, which is soon
			if silent() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		_, _ = keyboard.WriteString("hush-hush\n")
	}()
	code, out, said := command(t, stdin, "gateways", "list", "--client-id", "app", "--organization", orgID, "--environment", envID, "--anypoint-url", r.URL, "--ca-file", r.ca)
	if code != 0 || !strings.Contains(said, "secret of the connected app app: ") || strings.Contains(said+out, "hush") {
		t.Errorf("%d %s%s", code, out, said)
	}
	if silent() {
		t.Error("the terminal still shows nothing")
	}
	want := fmt.Sprintf("POST /accounts/api/v2/oauth2/token %d", len(`{"grant_type":"client_credentials","client_id":"app","client_secret":"hush-hush"}`))
	if got := r.asked(); len(got) == 0 || got[0] != want {
		t.Errorf("asked %v, want %s", got, want)
	}
}
