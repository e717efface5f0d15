// Package files brings resources to an Envoy that reads them from a folder, on a host without a daemon.
//
// Envoy is started once, with the bootstrap in the folder, and reads the lists beside it again whenever something is renamed
// there. What is added is written before what names it, and what nothing names any more goes last. Through its admin socket
// Envoy tells which version of each list it has, and that it refused one; its reasons are in its log alone, so a list that is
// refused is put back, and whoever asks is told to ask `flexgw validate --deep` for the reason.
package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/deliver"
	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/render"
)

// Target is one folder, and the Envoy that reads it.
type Target struct {
	Dir    string
	Admin  string        // Envoy's admin socket
	Linger time.Duration // how long what listeners used before stays; 0: a second
	// Proof is asked once Envoy serves everything, while what was there before can still come back; an error puts it back.
	// nil: none. Without an Envoy it is not asked.
	Proof func(context.Context) error
}

// The states that Apply leaves.
var (
	// ErrNoEnvoy: all is written, and no Envoy reads it yet.
	ErrNoEnvoy = errors.New("no Envoy answers at its admin socket")
	// ErrRefused: Envoy refused a list, and all of them are as they were.
	ErrRefused = errors.New("Envoy refused it")
	// ErrUnproven: the Proof had an error, and all of them are as they were.
	ErrUnproven = errors.New("it did not stand its proof")
	// ErrKept: the Proof had an error, and there is nothing to go back to.
	ErrKept = errors.New("it did not stand its proof and is served, for nothing else was before")
)

// backLimit is how long an Envoy may take to go back.
const backLimit = 30 * time.Second

// Change is what an application does to the folder, as TYPE NAME, sorted.
type Change struct {
	Base                    string // the revision before; "": none
	Added, Changed, Removed []string
}

// String is a line for each.
func (c Change) String() string {
	var b strings.Builder
	for _, x := range []struct {
		word  string
		names []string
	}{{"adds", c.Added}, {"changes", c.Changed}, {"removes", c.Removed}} {
		for _, n := range x.names {
			fmt.Fprintf(&b, "%-9s %s\n", x.word, n)
		}
	}
	return b.String()
}

// Plan says what Apply would do.
func (t Target) Plan(d *render.Discovery) (Change, error) {
	var c Change
	for _, name := range []string{render.ClustersFile, render.ScopesFile, render.ListenersFile} {
		old, err := t.read(name)
		if err != nil {
			return c, fmt.Errorf("%s: %w", filepath.Join(t.Dir, name), err)
		}
		c.Base = strings.TrimSuffix(old.Version, more)
		kind := strings.TrimSuffix(name, "s.json")
		was := map[string]json.RawMessage{}
		for i, n := range old.Names {
			was[n] = old.Any[i]
		}
		for i, n := range d.Lists[name].Names {
			switch b, ok := was[n]; {
			case !ok:
				c.Added = append(c.Added, kind+" "+n)
			case !bytes.Equal(b, d.Lists[name].Any[i]):
				c.Changed = append(c.Changed, kind+" "+n)
			}
			delete(was, n)
		}
		for _, n := range slices.Sorted(maps.Keys(was)) {
			c.Removed = append(c.Removed, kind+" "+n)
		}
	}
	if c.Base == none {
		c.Base = ""
	}
	return c, nil
}

// none is the version of a list that was put back to nothing.
const none = "none"

// more marks the version of a list that holds what goes with the next step, too.
const more = "+"

// Apply makes the folder hold d, in steps that Envoy can follow without a gap, and waits until it has. ErrNoEnvoy and
// ErrRefused may be wrapped in its error.
func (t Target) Apply(ctx context.Context, d *render.Discovery) error {
	if err := os.MkdirAll(t.Dir, 0o700); err != nil {
		return err
	}
	lock, err := envoy.LockFile(filepath.Join(t.Dir, ".lock"))
	if err != nil {
		return fmt.Errorf("somebody else writes there: %w", err)
	}
	defer lock.Unlock()
	x := &application{Target: t, d: d, admin: envoy.NewAdmin(t.Admin), before: map[string][]byte{}, secrets: map[string][]byte{}}
	for name := range d.Lists {
		b, err := os.ReadFile(filepath.Join(t.Dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		x.before[name] = b
	}
	paths, err := x.secretFiles()
	if err != nil {
		return err
	}
	for _, path := range paths {
		if x.secrets[path], err = os.ReadFile(path); err != nil {
			return err
		}
	}
	return x.run(ctx)
}

// read is a list as the folder has it; an absent one is empty.
func (t Target) read(name string) (render.Versions, error) {
	b, err := os.ReadFile(filepath.Join(t.Dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return render.Versions{}, nil
	}
	if err != nil {
		return render.Versions{}, err
	}
	return parse(b)
}

func parse(b []byte) (v render.Versions, err error) {
	if len(b) == 0 {
		return v, nil
	}
	var list struct {
		VersionInfo string            `json:"version_info"`
		Resources   []json.RawMessage `json:"resources"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return v, err
	}
	v.Version, v.Any = list.VersionInfo, list.Resources
	for _, r := range list.Resources {
		var named struct {
			Name string `json:"name"`
		}
		if err := json.Unmarshal(r, &named); err != nil {
			return v, err
		}
		v.Names = append(v.Names, named.Name)
	}
	return v, nil
}

// application is one Apply.
type application struct {
	Target
	d       *render.Discovery
	admin   *envoy.Admin
	before  map[string][]byte // lists as they were; nil: absent
	secrets map[string][]byte // their files as they were, by path
	alone   bool              // no Envoy answers
	refused map[string]uint64 // how many updates of each list Envoy had refused before
}

func (x *application) run(ctx context.Context) error {
	if err := x.files(); err != nil {
		return errors.Join(err, x.putSecrets())
	}
	if err := x.look(ctx); err != nil {
		x.alone = true
	}
	old := map[string]render.Versions{}
	for name, b := range x.before {
		v, err := parse(b)
		if err != nil {
			v = render.Versions{} // not ours any more: replaced
		}
		old[name] = v
	}
	if err := x.walk(ctx, x.d.Lists, old); err != nil {
		return x.takeBack(err)
	}
	unproven := x.prove(ctx, old)
	if errors.Is(unproven, ErrUnproven) {
		return x.goBack(ctx, old, unproven)
	}
	if err := x.prune(); err != nil {
		return errors.Join(unproven, err)
	}
	if x.alone {
		return fmt.Errorf("%w (%s)", ErrNoEnvoy, x.Target.Admin)
	}
	return unproven
}

// prove asks the Proof.
func (x *application) prove(ctx context.Context, old map[string]render.Versions) error {
	if x.Proof == nil || x.alone {
		return nil
	}
	news := x.news(old)
	if news && old[render.ListenersFile].Version == x.d.Lists[render.ListenersFile].Version {
		// Only what is read from the environment is new: Envoy's word for the lists does not say that it read it.
		if err := pause(ctx, x.linger()); err != nil {
			return fmt.Errorf("%w: %w", ErrUnproven, err)
		}
	}
	err := x.Proof(ctx)
	switch {
	case err == nil:
		return nil
	case news:
		return fmt.Errorf("%w: %w", ErrUnproven, err)
	}
	return fmt.Errorf("%w: %w", ErrKept, err)
}

// walk leads Envoy from old to now in steps, each of which serves everything that it has.
func (x *application) walk(ctx context.Context, now, old map[string]render.Versions) error {
	steps := []struct {
		name string
		list render.Versions
	}{
		{render.ClustersFile, union(now[render.ClustersFile], old[render.ClustersFile])},
		{render.ScopesFile, union(now[render.ScopesFile], old[render.ScopesFile])},
		{render.ListenersFile, now[render.ListenersFile]},
		{render.ScopesFile, now[render.ScopesFile]},
		{render.ClustersFile, now[render.ClustersFile]},
	}
	for i, s := range steps {
		if i == 3 && !x.alone && steps[1].list.Version != now[render.ScopesFile].Version {
			if err := pause(ctx, x.linger()); err != nil { // connections of changed listeners still use what they knew
				return err
			}
		}
		if err := x.step(ctx, s.name, s.list); err != nil {
			return err
		}
	}
	return nil
}

// news says whether something else was served before.
func (x *application) news(old map[string]render.Versions) bool {
	if len(old[render.ListenersFile].Names) == 0 {
		return false
	}
	for name, v := range x.d.Lists {
		if b, err := v.JSON(); err != nil || !bytes.Equal(b, x.before[name]) {
			return true
		}
	}
	for _, s := range x.d.Secrets {
		if !bytes.Equal(s.Data, x.secrets[s.Path]) {
			return true
		}
	}
	return false
}

// goBack leads Envoy back to what it served before, as gently as it came from there, and returns why, whether ctx has ended or
// not. When Envoy does not follow, that is another error.
func (x *application) goBack(ctx context.Context, old map[string]render.Versions, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backLimit)
	defer cancel()
	for name, v := range old {
		if v.Version == "" { // there was no such list
			v.Version = none
			old[name] = v
		}
	}
	err := x.putSecrets()
	if e := x.walk(ctx, old, x.d.Lists); e != nil {
		err = errors.Join(err, x.takeBack(e))
	}
	if err != nil {
		return fmt.Errorf("%s, and what was there before does not come back: %w", why, err) //nolint:errorlint // it is not as it was
	}
	return errors.Join(why, x.keepSecrets(func(path string) bool { return x.secrets[path] != nil }))
}

// putSecrets puts the secrets back that were there before.
func (x *application) putSecrets() (err error) {
	for _, path := range slices.Sorted(maps.Keys(x.secrets)) {
		if e := x.put(path, x.secrets[path]); e != nil {
			err = errors.Join(err, fmt.Errorf("put %s back: %w", path, e))
		}
	}
	return err
}

func (x *application) linger() time.Duration {
	if x.Linger > 0 {
		return x.Linger
	}
	return time.Second
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// files writes what the lists name, and the bootstrap.
func (x *application) files() error {
	var f deliver.Files
	if err := f.Write(x.d.Files); err != nil {
		return err
	}
	for _, s := range x.d.Secrets {
		if err := x.put(s.Path, s.Data); err != nil {
			return err
		}
	}
	return x.put(filepath.Join(x.Dir, render.BootstrapFile), x.d.Bootstrap)
}

// put replaces a file, and leaves one alone that is as it should be.
func (x *application) put(path string, b []byte) error {
	if was, err := os.ReadFile(path); err == nil && bytes.Equal(was, b) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return disk.Write(path, b, 0o600)
}

// union is a list with what an older one has beside it.
func union(now, old render.Versions) render.Versions {
	out := render.Versions{Version: now.Version, Names: slices.Clone(now.Names), Any: slices.Clone(now.Any)}
	for i, name := range old.Names {
		if !slices.Contains(now.Names, name) {
			out.Names, out.Any, out.Version = append(out.Names, name), append(out.Any, old.Any[i]), now.Version+more
		}
	}
	return out
}

// step writes a list and waits until Envoy has it.
func (x *application) step(ctx context.Context, name string, v render.Versions) error {
	b, err := v.JSON()
	if err != nil {
		return err
	}
	if err := x.put(filepath.Join(x.Dir, name), b); err != nil {
		return err
	}
	if x.alone {
		return nil
	}
	for {
		s, err := x.stats(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("Envoy went away: %w", err)
		case s.refused[name] > x.refused[name]:
			return fmt.Errorf("%w: %s of revision %s; flexgw validate --deep names what is wrong with it, and so does Envoy's log", ErrRefused, name, v.Version)
		case s.version[name] == v.Version:
			return x.warm(ctx)
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("Envoy does not take %s: %w", name, err)
		}
	}
}

// warm waits until what Envoy took is in use.
func (x *application) warm(ctx context.Context) error {
	for {
		w, err := x.admin.Warming(ctx)
		if err != nil || w.Done() {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("Envoy warms up: %w", err)
		}
	}
}

// takeBack puts the lists back as they were, those that name things first.
func (x *application) takeBack(err error) error {
	if e := x.putSecrets(); e != nil {
		err = errors.Join(err, e)
	}
	for _, name := range []string{render.ListenersFile, render.ScopesFile, render.ClustersFile} {
		b := x.before[name]
		if b == nil {
			b, _ = render.Versions{Version: none}.JSON()
		}
		if e := x.put(filepath.Join(x.Dir, name), b); e != nil {
			err = errors.Join(err, fmt.Errorf("put %s back: %w", name, e))
		}
	}
	return err
}

// prune removes secrets and files that nothing names any more.
func (x *application) prune() error {
	live := map[string]bool{}
	for _, s := range append(slices.Clone(x.d.Secrets), x.d.Files...) {
		live[s.Path] = true
	}
	return x.keepSecrets(func(path string) bool { return live[path] })
}

// keepSecrets removes the files of all other secrets.
func (x *application) keepSecrets(live func(path string) bool) error {
	paths, err := x.secretFiles()
	for _, path := range paths {
		if !live(path) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

func (x *application) secretFiles() ([]string, error) {
	return filepath.Glob(filepath.Join(x.Dir, "secrets", "*.json"))
}

// stats are what Envoy says of the lists.
type stats struct {
	version map[string]string
	refused map[string]uint64
}

// look records what Envoy refused before.
func (x *application) look(ctx context.Context) error {
	s, err := x.stats(ctx)
	x.refused = s.refused
	return err
}

const statsFilter = `^(cluster_manager\.cds|listener_manager\.lds|http\.flexgw-scopes\.scoped_rds\.flexgw)\.(version_text|update_rejected|update_failure)$`

func (x *application) stats(ctx context.Context) (stats, error) {
	limit, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out := stats{map[string]string{}, map[string]uint64{}}
	body, err := x.admin.Get(limit, "/stats?filter="+url.QueryEscape(statsFilter))
	if err != nil {
		return out, err
	}
	names := map[string]string{"cluster_manager.cds": render.ClustersFile, "listener_manager.lds": render.ListenersFile, "http.flexgw-scopes.scoped_rds.flexgw": render.ScopesFile}
	for line := range bytes.Lines(body) {
		stat, value, _ := strings.Cut(strings.TrimSpace(string(line)), ": ")
		i := strings.LastIndexByte(stat, '.')
		if i < 0 {
			continue
		}
		file := names[stat[:i]]
		if stat[i+1:] == "version_text" {
			out.version[file] = strings.Trim(value, `"`)
			continue
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err == nil {
			out.refused[file] += n
		}
	}
	return out, nil
}
