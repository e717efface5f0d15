package watch

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// Commit is a commit as its bytes have it. Nothing in it is to be trusted, or shown to a terminal as it is.
type Commit struct {
	ID        string   // hash, in hexadecimal
	Parents   []string // the first is the one that was committed on
	Author    Person
	Committer Person
	Message   string
	Signature []byte // of the header gpgsig, unfolded: OpenPGP, SSH or X.509 armour; nil: not signed
	Twice     bool   // it has more than one signature, and Signature is empty
	Signed    []byte // what it is over: the commit's bytes without that header
}

// Person is who wrote or committed something, by their own account.
type Person struct {
	Name, Email string
	At          time.Time // in their own zone
}

// String is as git writes it: "Name <e-mail>".
func (p Person) String() string {
	if p.Email == "" {
		return p.Name
	}
	return strings.TrimSpace(p.Name + " <" + p.Email + ">")
}

// Subject is the first line of the message.
func (c Commit) Subject() string {
	s, _, _ := strings.Cut(strings.TrimLeft(c.Message, "\r\n"), "\n")
	return strings.TrimSpace(s)
}

// maxShownText bounds what of a stranger's text is shown in one place, in bytes.
const maxShownText = 200

// Shown is the commit as it may be shown.
func (c Commit) Shown() *source.Commit {
	return &source.Commit{ID: c.ID, Author: shownText(c.Author.String()), Committer: shownText(c.Committer.String()), Subject: shownText(c.Subject()), At: c.Committer.At.UTC()}
}

func shownText(s string) string {
	if len(s) > maxShownText {
		s = strings.ToValidUTF8(s[:maxShownText], "") + "…"
	}
	return diag.Visible(s)
}

// Tag is an annotated tag.
type Tag struct {
	ID        string // hash of the tag itself
	Name      string // that it gives itself, which need not be that of the ref
	Commit    string // hash of the object that it tags
	Tagger    Person
	Message   string // without the signature
	Signature []byte // the armour at the message's end; nil: not signed
	Signed    []byte // what it is over: all that is before it
}

// History is what a new head brings.
type History struct {
	Head    Commit
	Since   string                                      // the head that was taken before; "": none
	Tag     *Tag                                        // the annotated tag that named Head; nil: a branch, a light tag or a hash did
	Rewrite bool                                        // Head does not descend from Since, and an operator allowed it by name, or by another ref
	Older   bool                                        // Since has Head among its ancestors: an operator went back by name, or by another ref, and nothing is new
	Commits func() iter.Seq2[Commit, error]             // those that Head reaches and Since does not, parents before children, Head last; all parents, not the first alone
	Ref     string                                      // full name of what named Head, refs/tags/v1; "": HEAD or a hash did
	Look    func(id string) (Commit, error)             // a commit that is there, in the range or not
	From    func(since string) iter.Seq2[Commit, error] // the same, for another Since, which must be there: see Repo.Range
}

// RewrittenError refuses a head that does not descend from the one that was taken before.
type RewrittenError struct {
	Old, New string // hashes
	Older    bool   // New is an ancestor of Old: an old state was put back
}

func (e *RewrittenError) Error() string {
	what := "history was rewritten: commit " + e.New + " does not descend from " + e.Old
	if e.Older {
		what = "commit " + e.New + " is older than " + e.Old
	}
	return what + ", which is taken already; if that is meant, run: flexgw sync --allow-rewrite " + e.New
}

// Reason is the word for conditions and events.
func (e *RewrittenError) Reason() string { return "HistoryRewritten" }

// cutError refuses history that ends at a commit whose parents a server says it has not: what came before it was seen by nobody.
type cutError struct{ id string }

func (e *cutError) Error() string {
	return "the server says that commit " + e.id + " is shallow, which hides the commits before it, and they are to be verified: follow a repository with the whole history"
}

// Reason is the word for conditions and events.
func (*cutError) Reason() string { return "HistoryIncomplete" }

// Commit reads one commit. What is no well-formed commit is an error: two readers must not see two things in it.
func (r *Repo) Commit(rev string) (Commit, error) {
	id, err := r.resolve(rev)
	if err != nil {
		return Commit{}, err
	}
	return r.whole(id)
}

// whole reads a commit by its hash, through tags.
func (r *Repo) whole(id plumbing.Hash) (Commit, error) {
	id, kind, b, err := r.peel(id)
	if err != nil {
		return Commit{}, err
	}
	if kind != plumbing.CommitObject {
		return Commit{}, fmt.Errorf("%s is a %s, expected a commit", short(id), kind)
	}
	if len(b) > source.MaxFileSize {
		return Commit{}, fmt.Errorf("the commit %s has more than %d bytes", id, source.MaxFileSize)
	}
	c, err := parseCommit(id.String(), b)
	if err != nil {
		return Commit{}, fmt.Errorf("the commit %s is broken: %w", id, err)
	}
	return c, nil
}

// header is one line of the head of a commit or a tag, unfolded.
type header struct {
	name, value string
	raw         []byte // as it stands, with its line ends
}

// cutHeaders reads the head of an object; rest is the empty line and what follows it.
func cutHeaders(b []byte) (list []header, rest []byte, err error) {
	for len(b) > 0 && b[0] != '\n' {
		line, after, found := bytes.Cut(b, []byte("\n"))
		if !found {
			return nil, nil, errors.New("its head does not end")
		}
		raw := b[:len(line)+1]
		b = after
		if line[0] == ' ' { // the line before goes on
			if len(list) == 0 {
				return nil, nil, errors.New("it begins with a folded line")
			}
			last := &list[len(list)-1]
			last.value += "\n" + string(line[1:])
			last.raw = append(slices.Clip(last.raw), raw...)
			continue
		}
		name, value, _ := strings.Cut(string(line), " ")
		list = append(list, header{name, value, raw})
	}
	return list, b, nil
}

// parseCommit reads what git-fsck(1) lets pass: tree, parents, author and committer once and in this order. Signed is what git verifies: without the headers gpgsig and gpgsig-sha256.
func parseCommit(id string, b []byte) (Commit, error) {
	list, rest, err := cutHeaders(b)
	if err != nil {
		return Commit{}, err
	}
	c := Commit{ID: id, Message: strings.TrimPrefix(string(rest), "\n")}
	at := 0
	take := func(name string) (string, bool) {
		if at < len(list) && list[at].name == name {
			at++
			return list[at-1].value, true
		}
		return "", false
	}
	if tree, ok := take("tree"); !ok || len(tree) != hashLength || !isHex(tree) {
		return c, errors.New("it does not begin with a tree")
	}
	for p, ok := take("parent"); ok; p, ok = take("parent") {
		if len(p) != hashLength || !isHex(p) {
			return c, fmt.Errorf("its parent %q is no hash", p)
		}
		c.Parents = append(c.Parents, strings.ToLower(p))
	}
	for _, x := range []struct {
		name string
		to   *Person
	}{{"author", &c.Author}, {"committer", &c.Committer}} {
		text, ok := take(x.name)
		if !ok {
			return c, fmt.Errorf("it has no %s where one is expected", x.name)
		}
		if *x.to, err = parsePerson(text); err != nil {
			return c, fmt.Errorf("its %s: %w", x.name, err)
		}
	}
	signed := make([]byte, 0, len(b))
	for i, h := range list {
		switch {
		case i >= at && slices.Contains([]string{"tree", "parent", "author", "committer"}, h.name):
			return c, fmt.Errorf("it has a second %s", h.name)
		case h.name == "gpgsig":
			if c.Twice = c.Signature != nil; c.Twice {
				c.Signature = []byte{} // nobody may pick one
			} else {
				c.Signature = []byte(h.value + "\n")
			}
			continue
		case h.name == "gpgsig-sha256":
			continue
		}
		signed = append(signed, h.raw...)
	}
	c.Signed = append(signed, rest...)
	return c, nil
}

// parsePerson reads "Name <e-mail> seconds zone".
func parsePerson(s string) (Person, error) {
	name, rest, ok := strings.Cut(s, "<")
	mail, when, ok2 := strings.Cut(rest, ">")
	f := strings.Fields(when)
	if !ok || !ok2 || len(f) != 2 || strings.ContainsAny(when, "<>") {
		return Person{}, fmt.Errorf("%q is not `Name <e-mail> seconds zone`", s)
	}
	sec, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil || sec < 0 {
		return Person{}, fmt.Errorf("%q is no time in seconds", f[0])
	}
	zone, err := strconv.Atoi(f[1])
	if err != nil || zone < -9959 || zone > 9959 {
		return Person{}, fmt.Errorf("%q is no time zone", f[1])
	}
	return Person{Name: strings.TrimSpace(name), Email: mail, At: time.Unix(sec, 0).In(time.FixedZone(f[1], (zone/100*60+zone%100)*60))}, nil
}

// signatures are how an armour begins at the end of a tag's message.
var signatures = []string{"-----BEGIN PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----", "-----BEGIN SSH SIGNATURE-----", "-----BEGIN SIGNED MESSAGE-----"}

// tag reads an annotated tag; nil when the object is none.
func (r *Repo) tag(id plumbing.Hash) (*Tag, error) {
	kind, b, err := r.object(id)
	if err != nil || kind != plumbing.TagObject {
		return nil, err
	}
	if len(b) > source.MaxFileSize {
		return nil, fmt.Errorf("the tag %s has more than %d bytes", id, source.MaxFileSize)
	}
	t, err := parseTag(id.String(), b)
	if err != nil {
		return nil, fmt.Errorf("the tag %s is broken: %w", id, err)
	}
	return t, nil
}

func parseTag(id string, b []byte) (*Tag, error) {
	list, rest, err := cutHeaders(b)
	if err != nil {
		return nil, err
	}
	if len(list) < 3 || list[0].name != "object" || list[1].name != "type" || list[2].name != "tag" || len(list[0].value) != hashLength || !isHex(list[0].value) {
		return nil, errors.New("it does not begin with object, type and tag")
	}
	t := &Tag{ID: id, Name: list[2].value, Commit: strings.ToLower(list[0].value), Signed: b}
	for i, h := range list[3:] {
		switch {
		case h.name == "tagger" && i == 0:
			if t.Tagger, err = parsePerson(h.value); err != nil {
				return nil, fmt.Errorf("its tagger: %w", err)
			}
		case slices.Contains([]string{"object", "type", "tag", "tagger"}, h.name):
			return nil, fmt.Errorf("it has a second %s", h.name)
		}
	}
	body := strings.TrimPrefix(string(rest), "\n")
	t.Message = body
	if at := armourAt(body); at >= 0 {
		t.Message, t.Signature = body[:at], []byte(body[at:])
		t.Signed = b[:len(b)-len(body)+at]
	}
	return t, nil
}

// armourAt is where the last line begins that begins a signature; -1: none does.
func armourAt(body string) int {
	found, at := -1, 0
	for line := range strings.Lines(body) {
		for _, s := range signatures {
			if strings.HasPrefix(line, s) {
				found = at
			}
		}
		at += len(line)
	}
	return found
}

// Reaches reports whether head is since, or descends from it.
func (r *Repo) Reaches(head, since string) (bool, error) {
	target := plumbing.NewHash(since)
	seen := map[plumbing.Hash]bool{}
	for queue := []plumbing.Hash{plumbing.NewHash(head)}; len(queue) > 0; {
		id := queue[0]
		queue = queue[1:]
		if id == target {
			return true, nil
		}
		if seen[id] {
			continue
		}
		seen[id] = true
		_, c, err := r.commit(id)
		if err != nil {
			return false, err
		}
		queue = append(queue, c.parents...)
	}
	return false, nil
}

// Range are the commits that head reaches and since ("": nothing) does not, parents before children, by all parents. It
// does not go by dates, which committers choose: whatever since reaches is left out, and nothing else is. A shallow commit among
// them is an error when there is a since, for it hides others.
func (r *Repo) Range(since, head string) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		list, err := r.between(since, head)
		if err != nil {
			yield(Commit{}, err)
			return
		}
		for _, id := range list {
			c, err := r.whole(id)
			if err == nil && since != "" && r.isShallow(id) && len(c.Parents) > 0 {
				err = &cutError{c.ID}
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// between is Range by hashes.
func (r *Repo) between(since, head string) ([]plumbing.Hash, error) {
	known := map[plumbing.Hash]bool{}
	if since != "" {
		known[plumbing.NewHash(since)] = true
	}
	list, all, err := r.sorted(plumbing.NewHash(head), known)
	if err != nil || since == "" || !all {
		return list, err
	}
	// One way led past since to where history begins: what since reaches must be known to be left out.
	old, _, err := r.sorted(plumbing.NewHash(since), nil)
	if err != nil {
		return nil, err
	}
	for _, id := range old {
		known[id] = true
	}
	return slices.DeleteFunc(list, func(id plumbing.Hash) bool { return known[id] }), nil
}

// sorted are the commits that id reaches without going through known, parents first. root: a commit without parents was
// among them.
func (r *Repo) sorted(id plumbing.Hash, known map[plumbing.Hash]bool) (list []plumbing.Hash, root bool, err error) {
	type visit struct {
		id   plumbing.Hash
		done bool // its parents were
	}
	seen := map[plumbing.Hash]bool{}
	for stack := []visit{{id: id}}; len(stack) > 0; {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if v.done {
			list = append(list, v.id)
			continue
		}
		if known[v.id] || seen[v.id] {
			continue
		}
		seen[v.id] = true
		_, c, err := r.commit(v.id)
		if err != nil {
			return nil, false, err
		}
		root = root || len(c.parents) == 0
		stack = append(stack, visit{v.id, true})
		for _, p := range slices.Backward(c.parents) {
			stack = append(stack, visit{id: p})
		}
	}
	return list, root, nil
}
