package watch

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"

	"github.com/flexgw/flexgw/schema/diag"
)

// The protocol is git's version 0, which every server speaks: gitprotocol-pack(5) and gitprotocol-http(5). One round is
// enough: we say at once all that we have, and `done`.

// advertised is what a remote says it has.
type advertised struct {
	head    string                   // the branch that HEAD names, whole; "": not said
	refs    map[string]plumbing.Hash // by whole name, HEAD too
	peeled  map[string]plumbing.Hash // of annotated tags: what they tag
	can     []string                 // capabilities
	shallow []plumbing.Hash          // commits whose parents it does not have itself
}

func (a *advertised) supports(capability string) bool { return slices.Contains(a.can, capability) }

// wanted is what is asked of a remote.
type wanted struct {
	want    []plumbing.Hash
	have    []plumbing.Hash
	shallow []plumbing.Hash // commits of ours whose parents we do not have
	depth   int             // 0: whole history
}

// session is one conversation with a remote. It ends with close.
type session interface {
	refs(ctx context.Context) (*advertised, error)
	// pack answers with a pack, and the commits that are shallow from now on besides those of w.
	pack(ctx context.Context, w wanted) (pack io.ReadCloser, shallow []plumbing.Hash, err error)
	close()
}

// readAdvertised reads what upload-pack says first. Over HTTP a line with the name of the service precedes it.
func readAdvertised(in io.Reader, limit int64) (*advertised, error) {
	bounded := &boundedReader{in: in, left: limit, what: "its list of refs"}
	var start bytes.Buffer
	adv := packp.NewAdvRefs()
	err := adv.Decode(io.TeeReader(bounded, &limited{&start, 8 << 10}))
	var line *pktline.ErrorLine
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs): // a repository without a commit
	case bytes.Contains(start.Bytes(), []byte("object-format=sha256")):
		return nil, errors.New("its objects are in format sha256, and only SHA-1 repositories can be read")
	case errors.As(err, &line):
		return nil, errors.New("it says: " + said(line.Text))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, packp.ErrEmptyInput):
		return nil, errors.New("it closed the connection in the middle of its list of refs")
	case bounded.err != nil:
		return nil, bounded.err
	case isWorld(err):
		return nil, plainly(err)
	case err != nil:
		return nil, errors.New("what it answers is not Git's protocol: " + said(err.Error()))
	}
	a := &advertised{refs: adv.References, peeled: adv.Peeled, shallow: adv.Shallows}
	if adv.Head != nil {
		a.refs["HEAD"] = *adv.Head
	}
	for _, c := range adv.Capabilities.All() {
		a.can = append(a.can, string(c))
		if c != "symref" {
			continue
		}
		for _, v := range adv.Capabilities.Get(c) {
			if to, ok := strings.CutPrefix(v, "HEAD:"); ok {
				a.head = to
			}
		}
	}
	return a, nil
}

// said is a stranger's text, on one line and not too much of it.
func said(s string) string { return shownText(diag.OneLine(s)) }

// limited keeps the beginning of what is written.
type limited struct {
	to   *bytes.Buffer
	most int
}

func (l *limited) Write(p []byte) (int, error) {
	l.to.Write(p[:min(len(p), max(0, l.most-l.to.Len()))])
	return len(p), nil
}

// tooLarge refuses what is beyond a bound.
type tooLarge struct{ what string }

func (e *tooLarge) Error() string { return e.what }

// Reason is the word for conditions and events.
func (*tooLarge) Reason() string { return "TooLarge" }

// boundedReader fails beyond its bound.
type boundedReader struct {
	in   io.Reader
	left int64
	what string
	err  error // sticky
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left <= 0 {
		b.err = &tooLarge{b.what + " is larger than what is taken"}
		return 0, b.err
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// request is what upload-pack is asked.
func request(a *advertised, w wanted) ([]byte, error) {
	var b bytes.Buffer
	e := pktline.NewEncoder(&b)
	var can []string
	for _, c := range []string{"side-band-64k", "ofs-delta", "no-progress"} {
		if a.supports(c) {
			can = append(can, c)
		}
	}
	if !slices.Contains(can, "side-band-64k") && a.supports("side-band") {
		can = append(can, "side-band")
	}
	if len(w.shallow) > 0 || w.depth > 0 {
		can = append(can, "shallow")
	}
	filter := a.supports("filter")
	if filter {
		can = append(can, "filter")
	}
	if a.supports("agent") {
		can = append(can, "agent=flexgw")
	}
	for i, id := range w.want {
		more := ""
		if i == 0 {
			more = " " + strings.Join(can, " ")
		}
		if err := e.Encodef("want %s%s\n", id, more); err != nil {
			return nil, err
		}
	}
	for _, id := range w.shallow {
		if err := e.Encodef("shallow %s\n", id); err != nil {
			return nil, err
		}
	}
	if w.depth > 0 {
		if err := e.Encodef("deepen %d\n", w.depth); err != nil {
			return nil, err
		}
	}
	if filter { // what no declaration can be need not come; a server that can not leave it out is refused then
		if err := e.Encodef("filter blob:limit=%d\n", maxBlob+1); err != nil {
			return nil, err
		}
	}
	if err := e.Flush(); err != nil {
		return nil, err
	}
	for _, id := range w.have {
		if err := e.Encodef("have %s\n", id); err != nil {
			return nil, err
		}
	}
	err := e.Encodef("done\n")
	return b.Bytes(), err
}

// readPack reads the answer to a request: pack is what follows.
func readPack(in io.Reader, a *advertised, w wanted) (pack io.Reader, shallow []plumbing.Hash, err error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	if w.depth > 0 {
		var update packp.ShallowUpdate
		if err := update.Decode(buffered); err != nil {
			return nil, nil, answerError(err)
		}
		shallow = update.Shallows
	}
	var ack packp.ServerResponse
	if err := ack.Decode(buffered, false); err != nil {
		return nil, nil, answerError(err)
	}
	switch {
	case a.supports("side-band-64k"):
		return &demuxed{sideband.NewDemuxer(sideband.Sideband64k, buffered)}, shallow, nil
	case a.supports("side-band"):
		return &demuxed{sideband.NewDemuxer(sideband.Sideband, buffered)}, shallow, nil
	}
	return buffered, shallow, nil
}

// demuxed makes errors readable.
type demuxed struct{ *sideband.Demuxer }

func (d *demuxed) Read(p []byte) (int, error) {
	n, err := d.Demuxer.Read(p)
	if err != nil && err != io.EOF {
		err = answerError(err)
	}
	return n, err
}

// answerError says what a server answered in place of a pack. What the network says stays as it is.
func answerError(err error) error {
	var line *pktline.ErrorLine
	switch {
	case errors.As(err, &line):
		return errors.New("it says: " + said(line.Text))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errEarly
	case isWorld(err):
		return plainly(err)
	}
	if text, ok := strings.CutPrefix(err.Error(), "unexpected error: "); ok { // the third side band, as go-git tells of it
		return errors.New("it says: " + said(text))
	}
	return errors.New("what it answers is not Git's protocol: " + said(err.Error()))
}

var errEarly = errors.New("it closed the connection in the middle of its answer")

// chosen is what a ref comes to at a remote.
type chosen struct {
	ref    string        // whole name; "": a commit by its hash
	object plumbing.Hash // a commit or an annotated tag
	direct bool          // object is no tip that the remote names: not every server gives it
}

// choose finds what ref names among what a remote has.
func choose(a *advertised, ref string) (chosen, error) {
	none := func(format string, args ...any) (chosen, error) {
		return chosen{}, &noRef{fmt.Sprintf(format, args...)}
	}
	kind, name, typed := strings.Cut(ref, ":")
	switch {
	case ref == "":
		if id, ok := a.refs["HEAD"]; ok {
			return chosen{ref: "HEAD", object: id}, nil
		}
		if a.head != "" {
			return none("its HEAD is the branch %q, which has no commit; --ref names another", said(strings.TrimPrefix(a.head, "refs/heads/")))
		}
		return none("it has no commit yet, or no HEAD; --ref names a branch")
	case typed && kind == "commit":
		id := plumbing.NewHash(name)
		for _, r := range a.refs {
			if r == id {
				return chosen{object: id}, nil
			}
		}
		for _, r := range a.peeled {
			if r == id {
				return chosen{object: id}, nil
			}
		}
		return chosen{object: id, direct: true}, nil
	case typed && kind == "tag":
		if id, ok := a.refs["refs/tags/"+name]; ok {
			return chosen{ref: "refs/tags/" + name, object: id}, nil
		}
		return none("it has no tag %q", name)
	case typed && kind == "semver":
		best, ok := newest(a.refs, name)
		if !ok {
			return none("none of its tags is a version within %q", name)
		}
		return chosen{ref: best, object: a.refs[best]}, nil
	}
	full := ref
	if !strings.HasPrefix(ref, "refs/") {
		full = "refs/heads/" + ref
	}
	if id, ok := a.refs[full]; ok {
		return chosen{ref: full, object: id}, nil
	}
	if _, ok := a.refs["refs/tags/"+ref]; ok {
		return none("it has no branch %q, but a tag of that name: --ref tag:%[1]s", ref)
	}
	return none("it has no branch %q", cmp.Or(strings.TrimPrefix(full, "refs/heads/"), ref))
}

// noRef says that a remote, which was reached, lacks what is followed.
type noRef struct{ what string }

func (e *noRef) Error() string { return e.what }

// Reason is the word for conditions and events.
func (*noRef) Reason() string { return "RefNotFound" }
