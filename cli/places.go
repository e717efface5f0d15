package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/reconcile/watch"
)

// places is where one daemon keeps its state and its sockets.
type places struct {
	state  string // folder
	run    string // folder of the sockets
	socket string // of the daemon's own API
}

const socketName = "flexgw.sock"

func stateDirFlag() cli.Flag {
	return &cli.StringFlag{Name: "state-dir", Usage: "`DIR` for state (default: $STATE_DIRECTORY, else a folder per source below $XDG_STATE_HOME/flexgw)"}
}

func socketFlag() cli.Flag {
	return &cli.StringFlag{Name: "socket", Usage: "`PATH` of the daemon's socket (default: $RUNTIME_DIRECTORY/flexgw.sock, else one per source below $XDG_RUNTIME_DIR/flexgw)"}
}

// findPlaces follows design.md, section 4: a flag, else systemd's folders, else one folder per source below the XDG ones.
func findPlaces(env Env, source, stateDir, socket string) (places, error) {
	id := sourceID(source)
	p := places{state: stateDir, run: stateDir, socket: socket}
	if p.state == "" {
		if dir, ok := env.Getenv("STATE_DIRECTORY"); ok && dir != "" {
			p.state = strings.Split(dir, ":")[0]
		} else {
			home, err := stateHome(env)
			if err != nil {
				return p, err
			}
			p.state = filepath.Join(home, "flexgw", id)
		}
	}
	if dir, ok := env.Getenv("RUNTIME_DIRECTORY"); ok && dir != "" {
		p.run = strings.Split(dir, ":")[0]
	} else if p.run == "" {
		p.run = filepath.Join(runtimeHome(env), id)
	}
	if p.socket == "" {
		var err error
		if p.socket, err = envoy.SocketPath(p.run, socketName); err != nil {
			return p, err
		}
	}
	return p, nil
}

// sourceID names a source: readable, and different for different sources.
func sourceID(source string) string {
	if source == "" {
		return "applied" // a daemon that follows no source
	}
	source = nameOf(source)
	sum := sha256.Sum256([]byte(source))
	base := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, filepath.Base(source))
	return base[:min(len(base), 24)] + "-" + hex.EncodeToString(sum[:4])
}

// nameOf is one spelling for one source. It holds no credentials: it stands in the state folder.
func nameOf(source string) string {
	if watch.IsGitURL(source) && !exists(source) {
		if u, err := watch.ParseGitURL(source); err == nil {
			return u.ID()
		}
		return "a Git URL that cannot be read"
	}
	if abs, err := filepath.Abs(source); err == nil {
		return abs
	}
	return source
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func stateHome(env Env) (string, error) {
	if dir, ok := env.Getenv("XDG_STATE_HOME"); ok && filepath.IsAbs(dir) {
		return dir, nil
	}
	home, ok := env.Getenv("HOME")
	if !ok || home == "" {
		return "", fmt.Errorf("neither --state-dir, $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME says where state may be kept")
	}
	return filepath.Join(home, ".local", "state"), nil
}

// runtimeHome is $XDG_RUNTIME_DIR/flexgw, or the folder that stands for it when there is no login session.
func runtimeHome(env Env) string {
	if dir, ok := env.Getenv("XDG_RUNTIME_DIR"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "flexgw")
	}
	if dir := fmt.Sprintf("/run/user/%d", os.Getuid()); isDir(dir) {
		return filepath.Join(dir, "flexgw")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("flexgw-%d", os.Getuid()))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// announce puts a link to the daemon's socket where flexgw status looks for the daemons of this user, when the socket is
// elsewhere. What it could not make nobody finds without --socket or --state-dir; the daemon serves all the same.
func (p places) announce(env Env) (withdraw func(), err error) {
	base := runtimeHome(env)
	socket, err := filepath.Abs(p.socket)
	if err != nil || socket == unitSocket || strings.HasPrefix(socket, base+string(filepath.Separator)) {
		return func() {}, err
	}
	sum := sha256.Sum256([]byte(socket))
	dir := filepath.Join(base, "at-"+hex.EncodeToString(sum[:6]))
	withdraw = func() { _ = os.RemoveAll(dir) } // a link that leads nowhere is nobody's daemon
	if err := envoy.Private(base); err != nil {
		return withdraw, err
	}
	withdraw()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return withdraw, err
	}
	return withdraw, os.Symlink(socket, filepath.Join(dir, socketName))
}

// claim makes the state folder ours, for this source and this process alone. The lock is held until the process ends.
// folder is the one of a repository that is followed. mark is nil, or, where the disk is too full to write down whose the folder is, does
// that: nothing may be kept in the folder before, for another source would get it.
func (p places) claim(env Env, source, folder string) (lock *envoy.Lock, mark func() error, err error) {
	if base := runtimeHome(env); strings.HasPrefix(p.run, base+string(filepath.Separator)) {
		if err := envoy.Private(base); err != nil { // it may stand in a folder that everybody can write to
			return nil, nil, err
		}
	}
	for _, dir := range []string{p.state, p.run, filepath.Dir(p.socket)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, nil, err
		}
	}
	if lock, err = envoy.LockFile(filepath.Join(p.state, "daemon.lock")); err != nil {
		return nil, nil, fmt.Errorf("another flexgw works in %s: %w", p.state, err)
	}
	defer func() {
		if err != nil {
			lock.Unlock()
			lock = nil
		}
	}()
	if source == "" {
		source = "flexgw apply"
	} else if source = nameOf(source); folder != "" {
		source += " in " + folder
	}
	path := filepath.Join(p.state, "source")
	b, err := os.ReadFile(path)
	switch was := strings.TrimSpace(string(b)); {
	case err != nil && !os.IsNotExist(err):
		return lock, nil, err
	case was == source:
		return lock, nil, nil
	case was != "": // an empty one is what a version before left on a full disk
		return lock, nil, fmt.Errorf("the state folder %s belongs to the source %s: give %s another --state-dir", p.state, was, source)
	}
	mark = func() error { return disk.Write(path, []byte(source+"\n"), 0o600) }
	switch err = mark(); {
	case err == nil:
		return lock, nil, nil
	case disk.Full(err):
		return lock, mark, nil
	}
	return lock, nil, err
}
