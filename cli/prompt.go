package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/flexgw/flexgw/schema/diag"
)

// errNoTerminal says that nobody can be asked.
var errNoTerminal = errors.New("standard input is no terminal")

// prompt asks for a secret on the terminal, which does not show what is typed.
func prompt(env Env, question string) (string, error) {
	f, ok := env.Stdin.(*os.File)
	if !ok {
		return "", errNoTerminal
	}
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return "", errNoTerminal
	}
	silent := *was
	silent.Lflag &^= unix.ECHO
	silent.Lflag |= unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, setTermios, &silent); err != nil {
		return "", fmt.Errorf("the terminal shows what is typed, and cannot be told not to: %w", err)
	}
	restore := func() { _ = unix.IoctlSetTermios(fd, setTermios, was) }
	defer restore()
	// A Ctrl-C must not leave a terminal behind that shows nothing.
	stop, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	defer close(done)
	go func() {
		select {
		case s := <-stop:
			restore()
			signal.Stop(stop)
			_ = syscall.Kill(os.Getpid(), s.(syscall.Signal))
		case <-done:
		}
	}()
	fmt.Fprint(env.Stderr, question+": ")
	line, err := bufio.NewReader(f).ReadString('\n')
	fmt.Fprintln(env.Stderr)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the %s: %w", question, err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// asks reports whether somebody at a terminal can be asked.
func asks(env Env) bool {
	f, ok := env.Stdin.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), getTermios)
	return err == nil
}

// agreed asks for a yes on the terminal.
func agreed(env Env, question string) bool {
	fmt.Fprint(env.Stderr, diag.Visible(diag.OneLine(question))+" [y/N] ")
	line, _ := bufio.NewReader(env.Stdin).ReadString('\n') // nothing is a no
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}
