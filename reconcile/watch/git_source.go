package watch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// GitOptions say what is followed. URLs, Dir and Dial must be set.
type GitOptions struct {
	URLs     []GitURL      // of one repository, asked in order: the next when one cannot be reached
	Ref      string        // "": the remote's HEAD; a branch, "refs/…", "tag:NAME", "semver:RANGE", "commit:HASH"
	Path     string        // the folder of the declarations in the repository; "": its root
	Dir      string        // for the bare store, ours alone
	Interval time.Duration // between looks, give or take a tenth; 0: a minute
	Auth     GitAuth
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error) // every connection goes through it
	Verify   func(ctx context.Context, h History) error                        // says whether a new head may be taken, whose objects are there; nil: it may
	Log      *slog.Logger                                                      // nil: none
	Limits   GitLimits
}

// GitLimits bound what a remote can make us do. A zero stands for the default.
type GitLimits struct {
	Pack     int64         // bytes of one answer; 512 MiB
	Inflated int64         // bytes of its objects; 2 GiB
	Objects  int           // of one answer; a million
	Chain    int           // of deltas on each other; 4095, git's own bound
	Files    int           // of declarations; 65,536
	Refs     int64         // bytes of the list of refs; 64 MiB
	Idle     time.Duration // without a byte; 30 s
	Silent   time.Duration // without a byte, before it is told of; 3 s
	Total    time.Duration // of a look; 10 min
	Packs    int           // before they are made one; 24
	Grown    int64         // bytes by which the store may grow beyond twice what a clone took before it is cloned anew; 64 MiB
}

func (l GitLimits) orDefault() GitLimits {
	return GitLimits{
		Pack: cmp.Or(l.Pack, 512<<20), Inflated: cmp.Or(l.Inflated, 2<<30), Objects: cmp.Or(l.Objects, 1<<20), Chain: cmp.Or(l.Chain, 4095), Files: cmp.Or(l.Files, 1<<16),
		Refs: cmp.Or(l.Refs, 64<<20), Idle: cmp.Or(l.Idle, 30*time.Second), Silent: cmp.Or(l.Silent, 3*time.Second), Total: cmp.Or(l.Total, 10*time.Minute), Packs: cmp.Or(l.Packs, 24), Grown: cmp.Or(l.Grown, 64<<20),
	}
}

const (
	defaultInterval = time.Minute
	firstRetry      = time.Second
	firstLook       = time.Second // how long the first Fetch waits for what the first look brings
)

// GitSource is a Source: the declarations of a Git repository, followed over file://, HTTP(S) or SSH in a bare store without a
// work tree. It looks by itself; Fetch is what was taken last and waits for nobody.
//
// A look asks for the list of refs. Only when the ref that is followed names something else, objects come, and all that they bring is
// judged before any of it counts: bounds, descent, Verify, the tree. Whatever goes wrong, what was taken stays.
type GitSource struct {
	o       GitOptions
	remotes []remote
	cancel  context.CancelFunc
	done    chan struct{} // closed when the looks have ended
	changed chan struct{}
	poke    chan struct{}
	first   chan struct{} // closed after the first look

	mu      sync.Mutex
	set     source.Set
	ds      diag.List       // of set
	repo    *Repo           // that set was read from
	oldest  string          // commit that may be gone back to, of those that were verified; "": any
	failure *GitError       // why the last look took nothing; nil: it saw or took the head
	allowed []string        // commits, for the next look
	from    string          // that was read last; "": none was
	waiting []chan struct{} // for the next look
	joined  []chan struct{} // for the look that is under way
	late    []chan struct{} // likewise, since the server is silent: should it answer, for the next look
	asked   string          // whose answer is waited for; "": nobody's
	listing bool            // for the list of refs, which a look begins with
	heard   time.Time       // when it was asked, or said something last
	secrets map[string]bool
	closed  bool

	// The rest is the look's alone.
	taken   taken
	lost    *lostError // why taken, of an earlier process, is not known; nil: it is, or there is none
	store   *bare
	old     *bare         // one before, which sets that were taken from it may still be read from
	suspect plumbing.Hash // the head for whose objects the store was cloned anew; zero: they are there
	broken  bool          // clone anew before the next look
	offered []plumbing.Hash
	granted []string // of allowed, for this look
}

// taken is what outlives the process, beside the store: the store may be lost.
type taken struct {
	Store    string `json:"store"`  // name of the folder that Commit was taken from
	Size     int64  `json:"size"`   // of the store after it was cloned, in bytes
	Ref      string `json:"ref"`    // that was followed
	Object   string `json:"object"` // that the ref named
	Commit   string `json:"commit"` // "": none was taken yet
	Verified bool   `json:"verified"`
	First    string `json:"first,omitempty"` // with Verified: the commit with which verification began; what descends from it was verified
}

// remote is a URL and how to speak with it.
type remote struct {
	url  GitURL
	open func(ctx context.Context) (session, error)
}

// CheckRef says what is wrong with a Ref.
func CheckRef(ref string) error {
	kind, name, typed := strings.Cut(ref, ":")
	switch {
	case ref == "":
		return nil
	case typed && kind == "commit":
		if len(name) != hashLength || !isHex(name) {
			return fmt.Errorf("%q is no commit: all %d digits of its hash are expected", name, hashLength)
		}
		return nil
	case typed && kind == "semver":
		_, err := parseVersions(name)
		return err
	case typed && kind == "tag":
		ref = "refs/tags/" + name
	case len(ref) == hashLength && isHex(strings.ToLower(ref)):
		return fmt.Errorf("%q is a commit: write commit:%s; a branch of that name would be refs/heads/%s", ref, strings.ToLower(ref), ref)
	case typed:
		return fmt.Errorf("%q is not known: expected a branch, refs/…, tag:NAME, semver:RANGE or commit:HASH", kind+":")
	}
	if !strings.HasPrefix(ref, "refs/") {
		ref = "refs/heads/" + ref
	}
	if !refName(ref) {
		return fmt.Errorf("%q is no name of a ref", ref)
	}
	return nil
}

// Git follows a repository, from now on until Close. An error is about the options or the folder: what the remote says is Fetch's.
func Git(o GitOptions) (*GitSource, error) {
	if err := CheckRef(o.Ref); err != nil {
		return nil, err
	}
	if leads(filepath.Clean(o.Path)) || filepath.IsAbs(o.Path) {
		return nil, fmt.Errorf("the folder %q is outside the repository", o.Path)
	}
	o.Limits = o.Limits.orDefault()
	o.Interval = cmp.Or(o.Interval, defaultInterval)
	o.Path = cmp.Or(o.Path, ".")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &GitSource{o: o, cancel: cancel, done: make(chan struct{}), first: make(chan struct{}),
		changed: make(chan struct{}, 1), poke: make(chan struct{}, 1), secrets: map[string]bool{}}
	s.o.Auth.secretsKnown = s.secret
	s.o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := o.Dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &listened{c, s.hears}, nil
	}
	for _, u := range o.URLs {
		s.remotes = append(s.remotes, s.remote(u))
	}
	if err := s.openStore(); err != nil {
		cancel()
		return nil, fmt.Errorf("the store of Git objects: %w", err)
	}
	go s.run(ctx)
	return s, nil
}

func (s *GitSource) remote(u GitURL) remote {
	switch u.Scheme {
	case "file":
		return remote{u, (&onDisk{u, s.o.Limits, func(id plumbing.Hash) bool { return s.store.repo.holds(id) }}).open}
	case "ssh":
		return remote{u, (&overSSH{u, s.o.Dial, s.o.Auth, s.o.Limits}).open}
	}
	return remote{u, (&overHTTP{url: u, dial: s.o.Dial, auth: s.o.Auth, max: s.o.Limits}).open}
}

// secret notes a credential, so that it is left out of what is said.
func (s *GitSource) secret(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.secrets) > 16 {
		clear(s.secrets) // they were renewed often; the one in use follows
	}
	s.secrets[text] = true
}

// openStore opens the store of an earlier process, or makes one. What is broken is made anew: taken says what must not be lost.
func (s *GitSource) openStore() error {
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return err
	}
	if err := s.recall(); err != nil {
		return err
	}
	list, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if isStore(e.Name()) && e.Name() != s.taken.Store {
			if err := os.RemoveAll(filepath.Join(s.o.Dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if s.taken.Store != "" {
		if s.store, err = openBare(filepath.Join(s.o.Dir, s.taken.Store), s.o.Limits); err == nil {
			return nil
		}
		s.o.Log.Warn("the store of Git objects is made anew", "error", err)
	}
	s.store, err = s.newStore()
	return err
}

// recall reads what was taken last, from the first of its two files that says so. When there are such files and none can be
// read, nothing is taken until an operator names a commit: any head might be an old one.
func (s *GitSource) recall() error {
	var broken []string
	for _, name := range []string{s.takenFile(), s.takenCopy()} {
		b, err := os.ReadFile(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		}
		t, err := parseTaken(b)
		if err == nil {
			if s.taken = t; len(broken) > 0 || name != s.takenFile() {
				s.o.Log.Warn("which commit was taken last is known from a copy", "file", name)
			}
			return nil
		}
		broken = append(broken, name)
	}
	if len(broken) > 0 {
		s.lost = &lostError{Files: broken}
	}
	return nil
}

func parseTaken(b []byte) (t taken, err error) {
	if err := json.Unmarshal(b, &t); err != nil {
		return t, err
	}
	if len(t.Commit) != hashLength || !isHex(t.Commit) || !isStore(t.Store) {
		return t, errors.New("it names no commit")
	}
	return t, nil
}

// takenCopy is beside the folder, which may be lost as a whole.
func (s *GitSource) takenCopy() string { return filepath.Clean(s.o.Dir) + "-taken.json" }

// lostError refuses any head: it cannot be known whether it is older than what was taken.
type lostError struct {
	Files []string // that are broken
	New   string   // hash of the head
}

func (e *lostError) Error() string {
	return "which commit was taken last is not known: " + strings.Join(e.Files, " and ") + " cannot be read; if commit " + e.New + " is to be taken, run: flexgw sync --allow-rewrite " + e.New
}

// Reason is the word for conditions and events.
func (*lostError) Reason() string { return "StateBroken" }

func (s *GitSource) takenFile() string { return filepath.Join(s.o.Dir, "taken.json") }

func isStore(name string) bool { return name == "" || strings.Trim(name, "0123456789") == "" }

// newStore makes an empty store beside the one that there is.
func (s *GitSource) newStore() (*bare, error) {
	last := s.taken.Store
	if s.store != nil { // from which nothing may have been taken yet
		last = filepath.Base(s.store.dir)
	}
	n, _ := strconv.Atoi(last)
	dir := filepath.Join(s.o.Dir, strconv.Itoa(n+1))
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	return newBare(dir, s.o.Limits)
}

func (s *GitSource) remember(t taken) error {
	b, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	for _, name := range []string{s.takenCopy(), s.takenFile()} {
		if err := disk.Write(name, append(b, '\n'), 0o600); err != nil {
			return fmt.Errorf("note which commit was taken: %w", err)
		}
	}
	s.taken, s.lost = t, nil
	return nil
}

// Changed implements Source.
func (s *GitSource) Changed() <-chan struct{} { return s.changed }

// Fetch implements Source. It is what was taken last, or a *GitError when the last look took nothing; without a revision
// while the first look is under way.
func (s *GitSource) Fetch(ctx context.Context) (source.Set, error) {
	limit := time.NewTimer(firstLook)
	defer limit.Stop()
	select {
	case <-s.first:
	case <-limit.C:
	case <-ctx.Done():
		return source.Set{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return source.Set{}, fmt.Errorf("read %s: %w", s.o.URLs[0], os.ErrClosed)
	case s.failure != nil:
		return source.Set{}, s.failure
	}
	set := s.set
	set.Files = slices.Clip(set.Files)
	return set, nil
}

// FetchAt reads the declarations of a commit that the head that was taken last has among its ancestors, or is: its hash, or
// how the hash begins. With Verify, only those that were verified with the head that they came with.
func (s *GitSource) FetchAt(_ context.Context, revision string) (source.Set, error) {
	s.mu.Lock()
	head, repo, oldest := s.set.Revision, s.repo, s.oldest
	s.mu.Unlock()
	if repo == nil {
		return source.Set{}, errors.New("nothing was taken from the repository yet")
	}
	if !isHex(revision) {
		return source.Set{}, fmt.Errorf("%q is no commit: its hash is expected", revision)
	}
	c, err := repo.Commit(revision)
	if err == nil {
		revision = c.ID
	}
	var none errNoRevision
	switch {
	case Missing(err), errors.As(err, &none):
		return source.Set{}, s.notFollowed(revision, head)
	case err != nil:
		return source.Set{}, err
	}
	switch ok, err := repo.Reaches(head, c.ID); {
	case err != nil:
		return source.Set{}, err
	case !ok:
		return source.Set{}, s.notFollowed(revision, head)
	}
	if oldest != "" {
		if ok, err := repo.Reaches(c.ID, oldest); err != nil || !ok {
			return source.Set{}, errors.Join(err, fmt.Errorf("%s does not descend from %s, with which verification began: nobody verified it", c.ID, oldest))
		}
	}
	set, _, err := repo.At(c.ID, []string{s.o.Path})
	if err != nil {
		return source.Set{}, unreadable(err)
	}
	if len(set.Files) > s.o.Limits.Files {
		return source.Set{}, &tooLarge{fmt.Sprintf("it has %d files of declarations, more than %d", len(set.Files), s.o.Limits.Files)}
	}
	set.Commit = c.Shown()
	return set, nil
}

// notFollowed says of a commit that the head does not have among its ancestors, as far as they are here, what it may be.
func (s *GitSource) notFollowed(commit, head string) error {
	return fmt.Errorf("%s is not in the history of %s, which this daemon follows (--ref %s), as far as it was fetched: commits of another branch are not, nor those before the first that was taken", commit, head, cmp.Or(s.o.Ref, "HEAD"))
}

// Diagnostics are about what the tree of a revision has and the repository has not: submodules.
func (s *GitSource) Diagnostics(revision string) diag.List {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set.Revision != revision {
		return nil
	}
	return slices.Clone(s.ds)
}

// Poke has the remote looked at now. Many make one look.
func (s *GitSource) Poke() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Look is Poke, and waits for a look that began afterwards. What it brought is Fetch's. While a server is silent that was asked before,
// it is enough that this one does not answer either: a second silence would say no more.
func (s *GitSource) Look(ctx context.Context) error {
	done := make(chan struct{})
	s.mu.Lock()
	if who, _ := s.silent(); who != "" && s.listing {
		s.late = append(s.late, done)
		s.mu.Unlock()
	} else {
		s.waiting = append(s.waiting, done)
		s.Poke()
		s.mu.Unlock()
	}
	select {
	case <-done:
		return nil
	case <-s.done:
		return os.ErrClosed
	case <-ctx.Done():
		if who, since := s.Silent(); who != "" {
			return fmt.Errorf("%s was asked, and has said nothing since %s: %w", who, since.Format(time.RFC3339), ctx.Err())
		}
		return fmt.Errorf("the remote is still being looked at: %w", ctx.Err())
	}
}

// Remote is which of the remotes was read last; "": none of them yet.
func (s *GitSource) Remote() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from
}

// Silent is who was asked and has said nothing for a while, and since when, in UTC and whole seconds; "": nobody.
func (s *GitSource) Silent() (who string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.silent()
}

// silent is Silent. The caller holds mu.
func (s *GitSource) silent() (who string, since time.Time) {
	if s.asked == "" || time.Since(s.heard) < s.o.Limits.Silent {
		return "", time.Time{}
	}
	return s.asked, s.heard.UTC().Truncate(time.Second)
}

// asks notes whose answer is waited for; "": nobody's any more.
func (s *GitSource) asks(who string, listing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.listing, s.heard = who, listing, time.Now()
}

func (s *GitSource) hears() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
}

// listened is a connection of which it is noted when it says something.
type listened struct {
	net.Conn
	heard func()
}

func (l *listened) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.heard()
	}
	return n, err
}

// answer is what somebody sends who was asked; all says that there is no more.
type answer struct {
	io.Reader
	all func()
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if err != nil {
		a.all()
	}
	return n, err
}

// Allow has a head taken once although it rewrites history or is older, by the look that follows: its whole hash.
func (s *GitSource) Allow(commit string) error {
	commit = strings.ToLower(strings.TrimSpace(commit))
	if len(commit) != hashLength || !isHex(commit) {
		return fmt.Errorf("%q is no commit: all %d digits of its hash are expected", commit, hashLength)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.allowed, commit) {
		s.allowed = append(s.allowed, commit)
	}
	return nil
}

// Close implements Source. It waits for a look that is under way, which it ends.
func (s *GitSource) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return nil
	}
	s.cancel()
	<-s.done
	err := s.store.close()
	if s.old != nil {
		err = errors.Join(err, s.old.close())
	}
	return err
}

// run looks until ctx is done.
func (s *GitSource) run(ctx context.Context) {
	defer close(s.done)
	retry := firstRetry
	for i := 0; ; i++ {
		s.mu.Lock()
		s.joined, s.waiting = s.waiting, nil
		s.granted, s.allowed = s.allowed, nil
		select {
		case <-s.poke: // whoever asked until now is answered by this look
		default:
		}
		s.mu.Unlock()
		err := s.look(ctx)
		if ctx.Err() != nil {
			return
		}
		s.tell(err)
		if i == 0 {
			close(s.first)
		}
		s.mu.Lock()
		joined := s.joined
		switch {
		case len(s.late) == 0:
		case err == nil || hasReason(err): // it answered, perhaps with what it had before they asked, and without what was allowed since
			s.waiting = append(s.waiting, s.late...)
			s.Poke()
		default:
			joined = append(joined, s.late...)
		}
		s.joined, s.late = nil, nil
		s.mu.Unlock()
		for _, w := range joined {
			close(w)
		}
		wait := jittered(s.o.Interval)
		if err != nil && !hasReason(err) {
			wait = min(wait, jittered(retry))
			retry *= 2
		} else {
			retry = firstRetry
		}
		next := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-s.poke:
		case <-next.C:
		}
		next.Stop()
	}
}

// jittered keeps many daemons from asking one server at the same instant.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d))
}

// tell notes how a look ended, and has Fetch called when that is news.
func (s *GitSource) tell(err error) {
	var e *GitError
	if err != nil {
		e = &GitError{URL: s.o.URLs[0].String(), Err: err}
		var a *about
		if errors.As(err, &a) {
			e.Commit = a.commit
		}
	}
	s.mu.Lock()
	before := s.failure
	if e != nil {
		e.Err = s.scrubbed(e.Err)
		e.Since = time.Now().UTC().Truncate(time.Second)
		if before != nil && before.Reason() == e.Reason() && before.id() == e.id() {
			e.Since = before.Since // it goes on
		}
	}
	s.failure = e
	news := (before == nil) != (e == nil) || e != nil && before.Error() != e.Error()
	s.mu.Unlock()
	if news {
		s.signal()
	}
}

func (s *GitSource) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// scrubbed is an error without a credential, should a server have said one. The caller holds mu.
func (s *GitSource) scrubbed(err error) error {
	text := err.Error()
	clean := text
	for _, secret := range slices.Sorted(maps.Keys(s.secrets)) {
		if len(secret) > 3 {
			clean = strings.ReplaceAll(clean, secret, diag.Redacted)
		}
	}
	if clean == text {
		return err
	}
	var r interface{ Reason() string }
	if errors.As(err, &r) {
		return &scrubbed{clean, r.Reason()}
	}
	return errors.New(clean)
}

// scrubbed is a refusal of which a credential was left out.
type scrubbed struct{ text, reason string }

func (e *scrubbed) Error() string { return e.text }

// Reason is the word for conditions and events.
func (e *scrubbed) Reason() string { return e.reason }

// GitError says why nothing was taken from a remote: because it cannot be reached, or because what it has is refused.
type GitError struct {
	URL    string         // that was asked first
	Since  time.Time      // UTC, whole seconds
	Commit *source.Commit // that was refused, with an ID at least; nil: it is not known
	Err    error
}

func (e *GitError) Error() string {
	return e.URL + ": " + e.Err.Error() + " (since " + e.Since.Format(time.RFC3339) + ")"
}

// Unwrap is what went wrong.
func (e *GitError) Unwrap() error { return e.Err }

// Reason is the word for conditions and events: that of a refusal, or SourceUnavailable.
func (e *GitError) Reason() string {
	var r interface{ Reason() string }
	if errors.As(e.Err, &r) {
		return r.Reason()
	}
	return "SourceUnavailable"
}

// Refused is the commit that was refused, nil when none is known; ok is false for an outage.
func (e *GitError) Refused() (commit *source.Commit, ok bool) { return e.Commit, hasReason(e.Err) }

func (e *GitError) id() string {
	if e.Commit == nil {
		return ""
	}
	return e.Commit.ID
}

// look asks the remotes in order. What one of them has and is refused is the answer: the next is for one that cannot be reached.
func (s *GitSource) look(ctx context.Context) error {
	var down []string
	for i, r := range s.remotes {
		limited, cancel := context.WithTimeout(ctx, s.o.Limits.Total)
		err := s.ask(limited, r)
		if err != nil && strings.Contains(err.Error(), "not our ref") { // the ref moved between the list and the request
			err = s.ask(limited, r)
		}
		if limited.Err() == context.DeadlineExceeded && ctx.Err() == nil && err != nil {
			err = fmt.Errorf("it took longer than %s", s.o.Limits.Total)
		}
		cancel()
		var behind *RewrittenError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if i > 0 {
				s.o.Log.Debug("looked at another remote", "remote", r.url.String(), "because", strings.Join(down, "; "))
			}
			s.mu.Lock()
			s.from = r.url.String()
			s.mu.Unlock()
			return nil
		case i > 0 && errors.As(err, &behind) && behind.Older: // a mirror that follows more slowly takes nothing back
			err = errors.New("it is behind, at " + behind.New)
		case refusal(err):
			return err
		}
		if len(s.remotes) == 1 {
			return err
		}
		down = append(down, r.url.String()+": "+err.Error())
	}
	return errors.New("no remote can be read: " + strings.Join(down, "; "))
}

// refusal reports whether an error is about what a remote has, rather than about how to reach it.
func refusal(err error) bool {
	var m *misuse
	var r *redirected
	var h *untrustedHost
	return hasReason(err) && !errors.As(err, &m) && !errors.As(err, &r) && !errors.As(err, &h)
}

// ask looks at one remote.
func (s *GitSource) ask(ctx context.Context, r remote) error {
	if r.url.Scheme != "file" { // what is on this host is read, and does not answer
		s.asks(r.url.String(), true)
		defer s.asks("", false)
	}
	x, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer x.close()
	adv, err := x.refs(ctx)
	if err != nil {
		return err
	}
	s.asks("", false)
	c, err := choose(adv, s.o.Ref)
	if err != nil {
		return err
	}
	if s.unchanged(c) {
		if !s.grown() && !s.store.repo.torn.Load() {
			return nil
		}
		s.broken = true
	}
	fresh := s.broken || s.o.Verify != nil && s.cut(adv)
	if fresh {
		if err := s.cloneAnew(ctx, r, x, adv, c); err != nil {
			return err
		}
	} else if fresh = s.taken.Store != filepath.Base(s.store.dir); !s.store.repo.holds(c.object) {
		if err := s.get(ctx, s.store, r, x, adv, c); err != nil {
			return s.doubt(c, err, fresh)
		}
	}
	if err := s.take(ctx, c); err != nil {
		return s.doubt(c, err, fresh)
	}
	if _, packs := s.store.size(); packs > s.o.Limits.Packs {
		if err := s.store.merge(); err != nil {
			s.o.Log.Warn("the packs of the Git store stay as they are", "error", err)
		}
	}
	if s.grown() {
		s.Poke() // the next look, which finds nothing new, tidies up
	}
	return nil
}

// unchanged reports whether what a remote has was taken by this process already.
func (s *GitSource) unchanged(c chosen) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set.Revision != "" && s.taken.Object == c.object.String() && s.taken.Commit == s.set.Revision
}

// cut reports whether the store lacks history that the remote may have.
func (s *GitSource) cut(adv *advertised) bool {
	for id := range s.store.repo.shallow {
		if !slices.Contains(adv.shallow, id) {
			return true
		}
	}
	return false
}

// grown reports whether the store is so much larger than a clone that it is worth cloning anew.
func (s *GitSource) grown() bool {
	bytes, _ := s.store.size()
	return s.taken.Size > 0 && bytes > 2*s.taken.Size+s.o.Limits.Grown
}

// errNotSent is the error of a remote whose answer lacks what it was asked for.
var errNotSent = errors.New("it did not send what was asked for")

// unsound reports whether an error may be our own store's: something is not there, or cannot be read.
func unsound(err error) bool {
	var torn errTorn
	return Missing(err) || errors.As(err, &torn) || errors.Is(err, errNotSent)
}

// doubt has a store be cloned anew of which something cannot be read, or is not there, once for each head. fresh: nothing was ever
// taken from it, so that whatever is missing never came.
func (s *GitSource) doubt(c chosen, err error, fresh bool) error {
	if !unsound(err) {
		return err
	}
	s.broken = s.suspect != c.object
	s.suspect = c.object
	switch {
	case fresh && Missing(err):
		return fmt.Errorf("it did not send everything: %w", err)
	case fresh || !s.broken:
		return err
	}
	return fmt.Errorf("the store of Git objects in %s is damaged, and is cloned anew: %w", s.store.dir, err)
}

// get has a remote send what a store lacks of a head. Without history where nothing is to be compared with it: there is no
// commit before, and nobody verifies.
func (s *GitSource) get(ctx context.Context, into *bare, r remote, x session, adv *advertised, c chosen) error {
	w := wanted{want: []plumbing.Hash{c.object}, shallow: slices.SortedFunc(maps.Keys(into.repo.shallow), compareHashes)}
	if c.direct && !adv.supports("allow-tip-sha1-in-want") && !adv.supports("allow-reachable-sha1-in-want") && !adv.supports("allow-any-sha1-in-want") {
		w.want = nil // it may be below one of these
		for name, id := range adv.refs {
			if (strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")) && !slices.Contains(w.want, id) {
				w.want = append(w.want, id)
			}
		}
		slices.SortFunc(w.want, compareHashes)
		if len(w.want) == 0 {
			return &noRef{"it has no commit yet"}
		}
	} else if s.o.Verify == nil && (s.taken.Commit == "" || s.taken.Object == c.object.String() || c.ref == "") && adv.supports("shallow") {
		w.depth = 1
	}
	for _, id := range append([]plumbing.Hash{plumbing.NewHash(s.taken.Commit)}, s.offered...) {
		if !id.IsZero() && !slices.Contains(w.have, id) && into.repo.holds(id) {
			w.have = append(w.have, id)
		}
	}
	if r.url.Scheme != "file" {
		s.asks(r.url.String(), false)
	}
	pack, shallow, err := x.pack(ctx, w)
	if err != nil {
		return err
	}
	defer pack.Close()
	if w.depth == 0 {
		shallow = append(shallow, adv.shallow...)
	}
	if err := into.take(ctx, &answer{pack, func() { s.asks("", false) }}, shallow); err != nil {
		if hasReason(err) {
			return err
		}
		return plainly(err)
	}
	if !into.repo.holds(c.object) {
		if c.direct {
			return &noRef{"it has no commit " + c.object.String()}
		}
		return errNotSent
	}
	s.offered = append(s.offered, c.object)
	s.offered = s.offered[max(0, len(s.offered)-16):]
	return nil
}

func compareHashes(a, b plumbing.Hash) int { return slices.Compare(a[:], b[:]) }

// cloneAnew puts a new store in the place of the one that there is. When a set was taken from that one, it is still read from
// it: it stays until another was taken from a later store, and that one is replaced. taken names the new one once a set comes of it.
func (s *GitSource) cloneAnew(ctx context.Context, r remote, x session, adv *advertised, c chosen) error {
	fresh, err := s.newStore()
	if err != nil {
		return err
	}
	before := s.store
	s.store = fresh // what onDisk must not leave out
	err = s.get(ctx, fresh, r, x, adv, c)
	if err != nil {
		s.store, s.broken = before, s.broken && !errors.Is(err, errNotSent) // it would not the next time either
		return errors.Join(err, fresh.close(), os.RemoveAll(fresh.dir))
	}
	s.broken = false
	unused := before
	if filepath.Base(before.dir) == s.taken.Store {
		unused, s.old = s.old, before
	}
	if unused != nil {
		if err := errors.Join(unused.close(), os.RemoveAll(unused.dir)); err != nil {
			s.o.Log.Warn("an old Git store stays", "error", err)
		}
	}
	bytes, _ := fresh.size()
	s.o.Log.Info("the repository was cloned anew", "bytes", bytes)
	return nil
}

// take judges a head that is in the store, and takes it or says why not.
func (s *GitSource) take(ctx context.Context, c chosen) error {
	repo := s.store.repo
	head, err := repo.whole(c.object)
	if err != nil {
		return refused(&source.Commit{ID: c.object.String()}, err)
	}
	if s.o.Path != "." && leads(filepath.Clean(s.o.Path)) {
		return errOutside
	}
	rewrite, err := s.descends(head.ID)
	if err != nil {
		return refused(head.Shown(), err)
	}
	if err := s.verify(ctx, c, head, rewrite); err != nil {
		return refused(head.Shown(), err)
	}
	set, ds, err := repo.At(head.ID, []string{s.o.Path})
	if err != nil {
		return refused(head.Shown(), unreadable(err))
	}
	if len(set.Files) > s.o.Limits.Files {
		return refused(head.Shown(), &tooLarge{fmt.Sprintf("it has %d files of declarations, more than %d", len(set.Files), s.o.Limits.Files)})
	}
	set.Commit = head.Shown()
	t := taken{Store: filepath.Base(s.store.dir), Size: s.taken.Size, Ref: s.o.Ref, Object: c.object.String(), Commit: head.ID, Verified: s.o.Verify != nil}
	if t.Size == 0 || t.Store != s.taken.Store {
		t.Size, _ = s.store.size()
	}
	if t.Verified {
		older, err := s.older(head.ID)
		if err != nil {
			return refused(head.Shown(), err)
		}
		if t.First = s.taken.First; !s.taken.Verified || rewrite || older || t.First == "" {
			t.First = head.ID
		}
	}
	if t != s.taken || s.lost != nil {
		if err := s.remember(t); err != nil {
			return err
		}
	}
	s.suspect = plumbing.ZeroHash
	s.mu.Lock()
	s.set, s.ds, s.repo, s.oldest = set, ds, repo, t.First
	s.mu.Unlock()
	s.signal()
	return nil
}

// about says which commit an error is about.
type about struct {
	commit *source.Commit
	err    error
}

func (e *about) Error() string { return e.err.Error() }
func (e *about) Unwrap() error { return e.err }

func refused(commit *source.Commit, err error) error { return &about{commit, err} }

// badTree refuses a tree that cannot be read.
type badTree struct{ err error }

func (e *badTree) Error() string { return e.err.Error() }
func (e *badTree) Unwrap() error { return e.err }

// Reason is the word for conditions and events.
func (*badTree) Reason() string { return "Unreadable" }

// unreadable makes what is wrong with a tree a refusal, unless it is that our own store lacks an object of it.
func unreadable(err error) error {
	if unsound(err) {
		return err
	}
	return &badTree{err}
}

// descends judges a head against the one that was taken: rewrite says that it does not descend from it and may be taken all the
// same, because an operator allowed it by name, or follows another ref, or a commit, as a flag said. An error says that it may not.
func (s *GitSource) descends(head string) (rewrite bool, err error) {
	byHash := strings.HasPrefix(s.o.Ref, "commit:")
	granted := byHash || slices.Contains(s.granted, head)
	if s.lost != nil && !byHash {
		if granted {
			return true, nil
		}
		return false, &lostError{s.lost.Files, head}
	}
	last := s.taken.Commit
	if last == "" || last == head {
		return false, nil
	}
	repo, before := s.store.repo, plumbing.NewHash(last)
	if repo.holds(before) {
		ok, err := repo.Reaches(head, last)
		if err != nil || ok {
			return false, err
		}
	}
	if granted || s.taken.Ref != s.o.Ref {
		return true, nil
	}
	older, err := s.older(head)
	if err != nil {
		return false, err
	}
	return false, &RewrittenError{Old: last, New: head, Older: older}
}

// older reports whether a head is a proper ancestor of the one that was taken.
func (s *GitSource) older(head string) (bool, error) {
	repo, last := s.store.repo, s.taken.Commit
	if last == head || !repo.holds(plumbing.NewHash(last)) {
		return false, nil
	}
	return repo.Reaches(last, head)
}

func (s *GitSource) verify(ctx context.Context, c chosen, head Commit, rewrite bool) error {
	if s.o.Verify == nil {
		return nil
	}
	repo := s.store.repo
	h := History{Head: head, Rewrite: rewrite, Ref: c.ref, Look: func(id string) (Commit, error) { return repo.whole(plumbing.NewHash(id)) }, From: func(since string) iter.Seq2[Commit, error] { return repo.Range(since, head.ID) }}
	if s.taken.Verified && repo.holds(plumbing.NewHash(s.taken.Commit)) {
		h.Since = s.taken.Commit
		var err error
		if h.Older, err = s.older(head.ID); err != nil {
			return err
		}
	}
	h.Commits = func() iter.Seq2[Commit, error] { return h.From(h.Since) }
	var err error
	if h.Tag, err = repo.tag(c.object); err != nil {
		return err
	}
	return s.o.Verify(ctx, h)
}
