package cli

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/cache"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/lint"
	"github.com/flexgw/flexgw/schema/source"
)

func cacheFlag() cli.Flag {
	return &cli.StringFlag{Name: "cache", Usage: "keep in `DIR` what was found, and look again only at what has changed since"}
}

// verdicts keeps what pipeline.check found in a folder. What is done with it afterwards (severities, suppressions, baseline, fixes,
// formats) is cheap and is done again each time, so that the flags and files which say how need not be part of any key.
type verdicts struct {
	folder  *cache.Folder
	env     Env
	asked   string        // what flags and project say about which notes are wanted
	rules   []source.File // of the organisation
	watched *watched      // which files of the sets hold suppressions
	git     bool          // hashes of files are those of Git, which some contents do not follow
	self    func() string // of this program, see identity; "": nothing is kept
	failed  func(error)   // is told, once, that nothing could be kept
	getenv  func(string) (string, bool)

	mu   sync.Mutex
	read map[string]string    // environment variables that anything has looked at, in the words of variable
	odd  map[source.Hash]bool // contents that are not what their hash stands for
}

// kept is what is kept of one check.
type kept struct {
	Found       diag.List
	Documents   int
	Marked      []string // files that hold the marker of a suppression, sorted
	Variables   []string // names of the environment variables that it depends on, sorted
	Values      []byte   // a hash of all their values together
	From, Until int64    // Unix nanoseconds: when it is true; 0: no bound
	Envoy       string   // deep mode's, if it was asked
}

// readCache is nil without --cache.
func readCache(c *cli.Context, s *settings, env Env) (*verdicts, error) {
	dir := c.String("cache")
	if dir == "" {
		if c.IsSet("cache") {
			return nil, usage("--cache needs a DIR")
		}
		return nil, nil
	}
	folder, err := cache.Open(dir)
	if err != nil {
		return nil, world(fmt.Errorf("--cache: %w", err))
	}
	v := &verdicts{folder: folder, env: env, rules: s.rules.files, self: sync.OnceValue(identity), read: map[string]string{}, odd: map[source.Hash]bool{}}
	var once sync.Once
	v.failed = func(err error) {
		once.Do(func() { fmt.Fprintf(env.Stderr, "flexgw: nothing is kept in the cache: %v\n", err) })
	}
	levels, _ := c.Generic("severity").(*values)
	text := ""
	if s.file.Name != "" {
		text = s.file.Hash.String()
	}
	v.asked = fmt.Sprintf("%q %s %s", levels, text, env.keys.now().Fingerprint())
	return v, nil
}

// use makes a pipeline look here first. w knows the sets that it is going to check.
func (v *verdicts) use(p *pipeline, w *watched, git bool) {
	if v == nil {
		return
	}
	v.watched, v.git, v.getenv = w, git, p.load.Getenv
	p.cache, p.load.Getenv = v, v.lookup
}

// lookup is the environment, and notes what is asked for.
func (v *verdicts) lookup(name string) (string, bool) {
	value, ok := v.getenv(name)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.read[name] = variable(value, ok)
	return value, ok
}

// variable is a value that is also told from none.
func variable(value string, ok bool) string {
	if !ok {
		return ""
	}
	return "=" + value
}

// values is a hash of variables as they are now.
func (v *verdicts) values(names []string) []byte {
	var parts []string
	for _, n := range names {
		value, ok := v.getenv(n)
		parts = append(parts, n, variable(value, ok))
	}
	k := cache.KeyOf(parts...)
	return k[:]
}

// check is pipeline.check of the same, from the folder where that has it.
func (v *verdicts) check(p *pipeline, set source.Set) diag.List {
	key := v.key(p, set)
	if k, ok := v.get(p, key); ok {
		p.read = k.Documents
		v.watched.mark(k.Marked)
		return k.Found
	}
	if v.git {
		set = v.verified(set)
	}
	p.lookAtAll() // the key of the proofs has it
	known := v.proofs(p, set)
	p.render.Proofs, p.load.Sound = known, sound{known}
	if p.deep != nil { // which asks for the configurations of all
		p.load.Sound = nil
	}
	list, g := p.look(set)
	v.putProofs(p, known)
	k := kept{Found: list, Documents: p.read, Marked: v.watched.marks(set)}
	if g != nil {
		from, until := lint.Holds(g, lint.Options{Today: p.today})
		k.From, k.Until = nanoseconds(from), nanoseconds(until)
	}
	if p.deep != nil {
		k.Envoy = p.deep.asked
		if p.deep.err != nil || p.deep.failed || p.deep.unsettled || p.deep.ran && k.Envoy == "" {
			return list
		}
	}
	if v.keeps(set, list) {
		v.put(key, k)
	}
	return list
}

func nanoseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// key is the hash of all that a check of the set depends on and that is known before it. The rest is in kept.
func (v *verdicts) key(p *pipeline, set source.Set) cache.Key {
	parts := []string{"verdict", v.self(), v.asked,
		fmt.Sprintf("%q", []string{p.load.Target.String(), p.render.SystemCA, p.render.Files}),
		fmt.Sprint(p.load.Partial, p.load.RequireEnv, p.deep == nil)}
	for _, files := range [][]source.File{v.rules, set.Files} {
		parts = append(parts, fmt.Sprint(len(files)))
		for _, f := range files {
			parts = append(parts, f.Name, string(f.Hash[:]))
		}
	}
	return cache.KeyOf(parts...)
}

// get is what was kept under a key, if it is still true.
func (v *verdicts) get(p *pipeline, key cache.Key) (k kept, ok bool) {
	if v.self() == "" {
		return k, false
	}
	b, ok := v.folder.Get(key)
	if !ok || cache.Decode(b, &k) != nil || slices.ContainsFunc(k.Found, strange) {
		return kept{}, false
	}
	now := p.today.UnixNano()
	switch {
	case k.From != 0 && now < k.From || k.Until != 0 && now >= k.Until:
	case !slices.Equal(k.Values, v.values(k.Variables)):
	case p.deep == nil && k.Envoy != "" || p.deep != nil && k.Envoy != "" && k.Envoy != p.deep.identity():
	default:
		for _, name := range k.Variables { // for what is found by a check that follows
			v.lookup(name)
		}
		return k, true
	}
	return kept{}, false
}

// strange reports what no check can have found, and no format can write.
func strange(d diag.Diagnostic) bool { return d.Severity > diag.Error }

// has reports whether a check of a set would be spared. On nil, none is.
func (v *verdicts) has(p *pipeline, set source.Set) bool {
	if v == nil {
		return false
	}
	_, ok := v.get(p, v.key(p, set))
	return ok
}

// byLuck are what another check of the same input may not find again: files that cannot be read, evaluations that took too long.
var byLuck = []diag.Code{"source/unreadable", "cue/too-long", "project/slow-rule", "envoy/validator-failed"}

// keeps reports whether what was found of a set may be kept: it must not be a matter of luck, and no secret.
func (v *verdicts) keeps(set source.Set, list diag.List) bool {
	if v.self() == "" || slices.ContainsFunc(set.Files, func(f source.File) bool { return v.isOdd(f.Hash) }) {
		return false
	}
	return !slices.ContainsFunc(list, passing)
}

// passing reports whether a diagnostic is not to be kept.
func passing(d diag.Diagnostic) bool { return slices.Contains(byLuck, d.Code) || secret(d) }

// secret reports whether a diagnostic carries a text to be written that looks like a secret. What people are shown of it does not.
func secret(d diag.Diagnostic) bool {
	for _, f := range d.Fixes {
		if diag.Secret([]byte(f.Text)) {
			return true
		}
	}
	for _, e := range d.Edits {
		if e.Value == nil {
			continue
		}
		name := path.Base(d.Path)
		if len(e.To) > 0 {
			name = e.To[len(e.To)-1]
		}
		b, err := json.Marshal(map[string]any{name: e.Value})
		if err != nil || diag.SecretName(name) || diag.Secret(b) {
			return true
		}
	}
	return false
}

// variables are those that anything has looked at, sorted, and a hash of the values that it saw.
func (v *verdicts) variables() (names []string, values []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	names = slices.Sorted(maps.Keys(v.read))
	var parts []string
	for _, n := range names {
		parts = append(parts, n, v.read[n])
	}
	sum := cache.KeyOf(parts...)
	return names, sum[:]
}

func (v *verdicts) put(key cache.Key, k kept) {
	k.Variables, k.Values = v.variables()
	b, err := cache.Encode(k)
	if err == nil {
		err = v.folder.Put(key, b)
	}
	if err != nil {
		v.failed(err)
	}
}

// verified notes which contents are not those that Git has under their name: a Git LFS pointer stands for another one, if that
// has been fetched.
func (v *verdicts) verified(set source.Set) source.Set {
	set.Files = slices.Clone(set.Files)
	for i, f := range set.Files {
		set.Files[i].Bytes = func() ([]byte, error) {
			b, err := f.Bytes()
			if err == nil && !f.Hash.Names(b) || watch.IsPointer(b) {
				v.mu.Lock()
				v.odd[f.Hash] = true
				v.mu.Unlock()
			}
			return b, err
		}
	}
	return set
}

// isOdd reports whether a content that was read is not the one that its hash stands for.
func (v *verdicts) isOdd(h source.Hash) bool {
	if !v.git {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.odd[h]
}

// identity is a text that no other build of this program has; "" if there is none. The linker's build ID is a hash of what was
// linked; a program without one is hashed itself.
func identity() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer f.Close()
	if x, err := elf.NewFile(f); err == nil {
		if s := x.Section(".note.go.buildid"); s != nil && s.Size < 4096 {
			if note, err := s.Data(); err == nil && strings.Count(string(note), "/") == 3 {
				return "build " + string(note)
			}
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return fmt.Sprintf("sha256 %x", h.Sum(nil))
}
