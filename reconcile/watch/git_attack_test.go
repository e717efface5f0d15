package watch_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flexgw/flexgw/reconcile/watch"
)

// line is a pkt-line.
func line(format string, args ...any) string {
	s := fmt.Sprintf(format, args...)
	return fmt.Sprintf("%04x%s", len(s)+4, s)
}

// entry is an object in a pack: its head, and its content deflated. size may be a lie.
func entry(kind byte, size uint64, between, content []byte) []byte {
	b := []byte{kind<<4 | byte(size&15)}
	for size >>= 4; size > 0; size >>= 7 {
		b[len(b)-1] |= 0x80
		b = append(b, byte(size&0x7f))
	}
	b = append(b, between...)
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(content)
	w.Close()
	return append(b, z.Bytes()...)
}

func packOf(count uint32, entries ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), count)
	b = append(b, bytes.Join(entries, nil)...)
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

// delta makes a content of target zeros out of whatever is there.
func delta(base, target uint64, ops ...byte) []byte {
	return append(binary.AppendUvarint(binary.AppendUvarint(nil, base), target), ops...)
}

const (
	commitKind, blobKind, ofsKind, refKind = 1, 3, 6, 7
	evil                                   = "1234567890123456789012345678901234567890"
)

// attacker is git's own server until it is told to answer otherwise.
type attacker struct {
	*remote
	url    string
	attack atomic.Pointer[attack]
}

type attack struct {
	refs func(w http.ResponseWriter, q *http.Request)
	pack func(w http.ResponseWriter, q *http.Request)
}

func newAttacker(t *testing.T) *attacker {
	t.Helper()
	a := &attacker{remote: newRemote(t)}
	h := smart(t, a.remote, func(w http.ResponseWriter, q *http.Request) bool {
		x := a.attack.Load()
		if x == nil {
			return false
		}
		io.Copy(io.Discard, q.Body)
		if q.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			x.refs(w, q)
		} else {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			x.pack(w, q)
		}
		return true
	})
	a.url = h.URL + "/gateway.git"
	return a
}

func evilRefs(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, line("# service=git-upload-pack\n")+"0000"+line("%s HEAD\x00 ofs-delta shallow symref=HEAD:refs/heads/main\n", evil)+line("%s refs/heads/main\n", evil)+"0000")
}

// sends answers with a pack as it is.
func sends(pack []byte) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, line("NAK\n"))
		w.Write(pack)
	}
}

func hangs(w http.ResponseWriter, q *http.Request) {
	w.(http.Flusher).Flush()
	<-q.Context().Done()
}

// trickles sends a byte at a time, for ever.
func trickles(start string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, q *http.Request) {
		io.WriteString(w, start)
		for q.Context().Err() == nil {
			w.Write([]byte{0})
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func breaksOff(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		fmt.Fprintf(buf, "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-%s\r\nContent-Length: 100000\r\n\r\n%s", map[bool]string{true: "advertisement", false: "result"}[strings.Contains(text, "service")], text)
		buf.Flush()
		c.Close()
	}
}

// treeless has two heads in turn on the commit that was taken, which comes with them; their tree does not.
func treeless(a *attacker, first string) attack {
	taken := []byte(a.git("cat-file", "commit", first) + "\n")
	var looks atomic.Int64
	head := func() (id string, commit []byte) {
		commit = fmt.Appendf(nil, "tree %s\nparent %s\nauthor a <a@b> 1 +0000\ncommitter a <a@b> %d +0000\n\nx\n", evil, first, 1+looks.Load()%2)
		return fmt.Sprintf("%x", sha1.Sum(append(fmt.Appendf(nil, "commit %d\x00", len(commit)), commit...))), commit
	}
	return attack{refs: func(w http.ResponseWriter, _ *http.Request) {
		looks.Add(1)
		id, _ := head()
		fmt.Fprint(w, line("# service=git-upload-pack\n")+"0000"+line("%s HEAD\x00 ofs-delta symref=HEAD:refs/heads/main\n", id)+line("%s refs/heads/main\n", id)+"0000")
	}, pack: func(w http.ResponseWriter, q *http.Request) {
		_, commit := head()
		sends(packOf(2, entry(commitKind, uint64(len(commit)), nil, commit), entry(commitKind, uint64(len(taken)), nil, taken)))(w, q)
	}}
}

// TestHostileServers: whatever a server sends is refused with the reason within bounds of time and memory, and nothing of what was
// taken before moves.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	zeros := make([]byte, 1<<20)
	small := entry(blobKind, 4, nil, []byte("abcd"))
	var chain [][]byte
	chain = append(chain, small)
	for range 60 { // each on the one before
		d := delta(4, 4, 0x90, 4)
		chain = append(chain, entry(ofsKind, uint64(len(d)), []byte{byte(len(chain[len(chain)-1]))}, d))
	}
	many := make([][]byte, 40)
	for i := range many {
		many[i] = entry(blobKind, 1<<20, nil, zeros)
	}
	huge := delta(4, 1<<40, 0x90, 4)
	bomb := delta(4, 8, 0x90, 4, 0x90, 4, 0x90, 4) // says 8 and makes 12
	orphan := delta(4, 4, 0x90, 4)
	broken := packOf(1, small)
	broken[len(broken)-1] ^= 1
	tree := []byte("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <b> 1 +0000\ncommitter a <b> 1 +0000\n\nm\n")
	sum := sha1.Sum(append(fmt.Appendf(nil, "commit %d\x00", len(tree)), tree...))
	hollow := fmt.Sprintf("%x", sum)

	for _, c := range []struct {
		name string
		attack
		want, reason string
	}{
		{"refs-garbage", attack{refs: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>\x1b[31m") }}, "not Git's protocol", "SourceUnavailable"},
		{"refs-empty", attack{refs: func(http.ResponseWriter, *http.Request) {}}, "in the middle of its list of refs", "SourceUnavailable"},
		{"refs-close", attack{refs: breaksOff(line("# service=git-upload-pack\n") + "0000" + "00ff")}, "in the middle of its list of refs", "SourceUnavailable"},
		{"refs-hang", attack{refs: hangs}, "it sent nothing for a while|timeout awaiting response headers", "SourceUnavailable"},
		{"refs-trickle", attack{refs: trickles(line("# service=git-upload-pack\n") + "0000fff0")}, "it took longer than", "SourceUnavailable"},
		{"refs-endless", attack{refs: func(w http.ResponseWriter, q *http.Request) {
			io.WriteString(w, line("# service=git-upload-pack\n")+"0000"+line("%s HEAD\x00 x\n", evil))
			for i := 0; q.Context().Err() == nil; i++ {
				if _, err := io.WriteString(w, line("%s refs/heads/%d\n", evil, i)); err != nil {
					return
				}
			}
		}}, "its list of refs is larger than what is taken", "TooLarge"},
		{"refs-error", attack{refs: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, line("ERR no\x1b[2J way\n")) }}, "it says: no", "SourceUnavailable"},
		{"refs-sha256", attack{refs: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, line("# service=git-upload-pack\n")+"0000"+line("%s%s HEAD\x00 object-format=sha256\n", evil, evil[:24])+"0000")
		}}, "only SHA-1", "SourceUnavailable"},
		{"pack-error", attack{pack: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, line("ERR upload-pack: no\n")) }}, "it says: upload-pack: no", "SourceUnavailable"},
		{"pack-garbage", attack{pack: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "what is this?") }}, "not Git's protocol", "SourceUnavailable"},
		{"pack-nothing", attack{pack: func(http.ResponseWriter, *http.Request) {}}, "in the middle", "SourceUnavailable"},
		{"pack-no-pack", attack{pack: sends([]byte("JUNK and more of it, for a while"))}, "the pack that it sent is broken", "SourceUnavailable"},
		{"pack-close", attack{pack: breaksOff(line("NAK\n") + string(packOf(9, small)[:15]))}, "in the middle", "SourceUnavailable"},
		{"pack-short", attack{pack: sends(packOf(9, small))}, "the pack that it sent is broken", "SourceUnavailable"},
		{"pack-sum", attack{pack: sends(broken)}, "the pack that it sent is broken", "SourceUnavailable"},
		{"pack-hang", attack{pack: func(w http.ResponseWriter, q *http.Request) {
			sends(packOf(9, small)[:14])(w, q)
			hangs(w, q)
		}}, "it sent nothing for a while|timeout awaiting response headers", "SourceUnavailable"},
		{"pack-trickle", attack{pack: trickles(line("NAK\n") + "PACK\x00\x00\x00\x02\x00\x00\x00\x02" + string(entry(blobKind, 1<<20, nil, zeros)[:20]))}, "it took longer than", "SourceUnavailable"},
		{"pack-count", attack{pack: sends(packOf(1 << 31))}, "the pack has 2147483648 objects", "TooLarge"},
		{"pack-blob", attack{pack: sends(packOf(1, entry(blobKind, 1<<30, nil, zeros)))}, "an object of 1073741824 bytes", "TooLarge"},
		{"pack-overlong", attack{pack: sends(packOf(1, entry(blobKind, 10, nil, zeros)))}, "the pack that it sent is broken", "SourceUnavailable"},
		{"pack-underlong", attack{pack: sends(packOf(1, entry(blobKind, 10, nil, []byte("x"))))}, "shorter than it says", "SourceUnavailable"},
		{"pack-inflated", attack{pack: sends(packOf(40, many...))}, "the pack's objects have more than 33554432 bytes", "TooLarge"},
		{"pack-large", attack{pack: func(w http.ResponseWriter, q *http.Request) {
			io.WriteString(w, line("NAK\n")+"PACK\x00\x00\x00\x02\x00\x0f\xff\xff")
			noise := make([]byte, 256<<10) // few objects: a slow host has the same seconds
			rand.NewChaCha8([32]byte{}).Read(noise)
			for blob := entry(blobKind, uint64(len(noise)), nil, noise); q.Context().Err() == nil; {
				if _, err := w.Write(blob); err != nil {
					return
				}
			}
		}}, "is larger than what is taken|more than", "TooLarge"},
		{"pack-chain", attack{pack: sends(packOf(61, chain...))}, "a chain of more than 50 deltas", "TooLarge"},
		{"pack-delta-target", attack{pack: sends(packOf(2, small, entry(ofsKind, uint64(len(huge)), []byte{byte(len(small))}, huge)))}, "an object of 1099511627776 bytes", "TooLarge"},
		{"pack-delta-bomb", attack{pack: sends(packOf(2, small, entry(ofsKind, uint64(len(bomb)), []byte{byte(len(small))}, bomb)))}, "the pack that it sent is broken", "SourceUnavailable"},
		{"pack-delta-empty", attack{pack: sends(packOf(2, small, entry(ofsKind, 0, []byte{byte(len(small))}, nil)))}, "does not begin with two sizes", "SourceUnavailable"},
		{"pack-delta-before", attack{pack: sends(packOf(1, entry(ofsKind, uint64(len(orphan)), []byte{100}, orphan)))}, "the pack that it sent is broken", "SourceUnavailable"},
		{"pack-delta-orphan", attack{pack: sends(packOf(1, entry(refKind, uint64(len(orphan)), make([]byte, 20), orphan)))}, "the pack that it sent is broken", "SourceUnavailable"},
		{"pack-type", attack{pack: sends(packOf(1, entry(5, 4, nil, []byte("abcd"))))}, "an object of type 5", "SourceUnavailable"},
		{"pack-other", attack{pack: sends(packOf(1, small))}, "it did not send what was asked for", "SourceUnavailable"},
		{"pack-hollow", attack{refs: func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, line("# service=git-upload-pack\n")+"0000"+line("%s HEAD\x00 ofs-delta\n", hollow)+"0000")
		}, pack: sends(packOf(1, entry(commitKind, uint64(len(tree)), nil, tree)))}, "history was rewritten", "HistoryRewritten"},
		{"pack-treeless", attack{}, "it did not send everything", "SourceUnavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newAttacker(t)
			first := a.push("a.yaml", "1")
			o := watch.GitOptions{Dir: filepath.Join(t.TempDir(), "git"), Limits: watch.GitLimits{Idle: time.Minute, Total: time.Hour, Refs: 1 << 20, Inflated: 32 << 20, Chain: 50, Pack: 8 << 20}}
			switch { // what is no attack has all the time that a busy host needs, or at least enough
			case strings.HasSuffix(c.name, "-hang"):
				o.Limits.Idle = 12 * time.Second
			case strings.HasSuffix(c.name, "-trickle"):
				o.Limits.Total = 20 * time.Second
			}
			s := follow(t, o, a.url)
			good, err := looked(t, s)
			if err != nil || good.Revision != first {
				t.Fatal(good.Revision, err)
			}
			before, err := os.ReadFile(filepath.Join(o.Dir, "taken.json"))
			if err != nil {
				t.Fatal(err)
			}
			x, looks := c.attack, 1
			switch {
			case c.name == "pack-treeless":
				x, looks = treeless(a, first), 6 // each head makes the store be cloned anew
			case x.refs == nil:
				x.refs = evilRefs
			}
			a.attack.Store(&x)
			for range looks {
				_, err = looked(t, s)
			}
			var e *watch.GitError
			ok := false
			for _, want := range strings.Split(c.want, "|") {
				ok = ok || err != nil && strings.Contains(err.Error(), want)
			}
			if !ok || !errors.As(err, &e) || e.Reason() != c.reason || strings.ContainsAny(err.Error(), "\x1b\n") {
				t.Errorf("got %v, want %q (%s)", err, c.want, c.reason)
			}
			if after, err := os.ReadFile(filepath.Join(o.Dir, "taken.json")); err != nil || !bytes.Equal(before, after) {
				t.Errorf("what was taken moved: %s, %v", after, err)
			}
			if got := contents(t, good)["a.yaml"]; got != "1" {
				t.Errorf("what was taken reads %q", got)
			}
			if again, err := s.FetchAt(t.Context(), first); err != nil || contents(t, again)["a.yaml"] != "1" {
				t.Errorf("the commit that was taken: %v", err)
			}
			if stores, _ := filepath.Glob(filepath.Join(o.Dir, "[0-9]*")); len(stores) > 2 {
				t.Errorf("stores pile up: %v", stores)
			}
			a.attack.Store(nil) // the server comes to its senses
			second := a.push("a.yaml", "2")
			if set, err := looked(t, s); err != nil || set.Revision != second || contents(t, set)["a.yaml"] != "2" {
				t.Errorf("afterwards: %v %v", set.Revision, err)
			}
			if half, _ := filepath.Glob(filepath.Join(o.Dir, "*", "objects", "pack", "tmp_*")); len(half) > 0 {
				t.Errorf("left behind: %v", half)
			}
		})
	}
}

// TestALongChainOfHashes: deltas that name what they are on by its hash have a bound too.
func TestALongChainOfHashes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{40: "", 4096: "delta chain depth exceeds 4095"} {
		text := []byte("abcd")
		list := [][]byte{entry(blobKind, 4, nil, text)}
		for i := range n {
			sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(text)), text...))
			next := fmt.Appendf(nil, "%04d", i)
			d := delta(4, 4, append([]byte{4}, next...)...)
			list, text = append(list, entry(refKind, uint64(len(d)), sum[:], d)), next
		}
		err := watch.TakePack(filepath.Join(t.TempDir(), "store"), packOf(uint32(len(list)), list...), watch.GitLimits{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", n, err)
		}
	}
}

// TestShallowHidesNothing: a server cannot keep commits from being verified by calling one on the way to them shallow.
func TestShallowHidesNothing(t *testing.T) {
	t.Parallel()
	a := newAttacker(t)
	first := a.push("a.yaml", "1")
	s := follow(t, watch.GitOptions{Verify: func(_ context.Context, h watch.History) error {
		for _, err := range h.Commits() {
			if err != nil {
				return err
			}
		}
		return nil
	}}, a.url)
	if _, err := looked(t, s); err != nil {
		t.Fatal(err)
	}
	hidden := a.git("commit-tree", first+"^{tree}", "-m", "hidden", "-p", first)
	shallow := a.git("commit-tree", first+"^{tree}", "-m", "shallow", "-p", hidden)
	head := a.git("commit-tree", first+"^{tree}", "-m", "head", "-p", first, "-p", shallow)
	a.write("wanted", head+"\n"+shallow+"\n")
	pack := a.git("-c", "alias.x=!git pack-objects -q p < wanted", "x")
	b, err := os.ReadFile(filepath.Join(a.dir, "p-"+pack+".pack"))
	if err != nil {
		t.Fatal(err)
	}
	a.attack.Store(&attack{refs: func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, line("# service=git-upload-pack\n")+"0000"+line("%s HEAD\x00 ofs-delta shallow symref=HEAD:refs/heads/main\n", head)+line("%s refs/heads/main\n", head)+line("shallow %s", shallow)+"0000")
	}, pack: sends(b)})
	_, err = looked(t, s)
	var e *watch.GitError
	if !errors.As(err, &e) || e.Reason() != "HistoryIncomplete" || !strings.Contains(err.Error(), shallow+" is shallow") {
		t.Errorf("got %v", err)
	}
	a.attack.Store(nil) // it says what it has
	a.git("push", "-q", "--force", "origin", head+":refs/heads/main")
	if set, err := looked(t, s); err != nil || set.Revision != head {
		t.Errorf("afterwards: %v, %v", set.Revision, err)
	}
}

// FuzzPack: whatever a server sends in the place of a pack is refused, or is a pack that git takes too; it leaves nothing half.
func FuzzPack(f *testing.F) {
	small := entry(blobKind, 4, nil, []byte("abcd"))
	d := delta(4, 8, 0x90, 4, 0x90, 4)
	f.Add(packOf(1, small))
	f.Add(packOf(2, small, entry(ofsKind, uint64(len(d)), []byte{byte(len(small))}, d)))
	sum := sha1.Sum([]byte("blob 4\x00abcd"))
	f.Add(packOf(2, entry(refKind, uint64(len(d)), sum[:], d), small))
	f.Add([]byte("PACK\x00\x00\x00\x02\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		for _, pack := range [][]byte{b, packOf(binary.BigEndian.Uint32(append(b, 0, 0, 0, 1)[:4])%4, b)} { // as it is, and with a sum that is right
			err := watch.TakePack(filepath.Join(dir, "store"), pack, watch.GitLimits{Inflated: 1 << 20, Pack: 1 << 20})
			if half, _ := filepath.Glob(filepath.Join(dir, "store", "objects", "pack", "tmp_*")); len(half) > 0 {
				t.Errorf("left behind: %v", half)
			}
			if err != nil && strings.TrimSpace(err.Error()) == "" {
				t.Error("an error without words")
			}
		}
	})
}

// FuzzAdvertised: a list of refs is read, or refused in words on one line.
func FuzzAdvertised(f *testing.F) {
	f.Add([]byte(line("# service=git-upload-pack\n") + "0000" + line("%s HEAD\x00 ofs-delta symref=HEAD:refs/heads/main\n", evil) + line("%s refs/tags/v1^{}\n", evil) + line("shallow %s", evil) + "0000"))
	f.Add([]byte("0000"))
	f.Add([]byte(line("ERR no\n")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := watch.ReadAdvertised(b); err != nil && (strings.TrimSpace(err.Error()) == "" || strings.ContainsAny(err.Error(), "\n\x1b")) {
			t.Errorf("%q", err)
		}
	})
}

// TestAHugeBlobIsNotRead: a gigabyte that deflates to a megabyte is refused by its head, in no time and memory.
func TestAHugeBlobIsNotRead(t *testing.T) {
	a := newAttacker(t)
	s := follow(t, watch.GitOptions{}, a.url)
	var sent atomic.Int64
	a.attack.Store(&attack{refs: evilRefs, pack: func(w http.ResponseWriter, q *http.Request) {
		io.WriteString(w, line("shallow %s", evil)+"0000"+line("NAK\n")+"PACK\x00\x00\x00\x02\x00\x00\x00\x01")
		w.Write(entry(blobKind, 1<<30, nil, nil)[:5])
		w.(http.Flusher).Flush() // the head is there before there is much to deflate
		z := zlib.NewWriter(w)
		for zeros := make([]byte, 1<<20); sent.Load() < 1<<30; sent.Add(int64(len(zeros))) {
			if _, err := z.Write(zeros); err != nil || q.Context().Err() != nil {
				return
			}
		}
		z.Close()
	}})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := looked(t, s)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "an object of 1073741824 bytes, more than the 33554432 that a file may have") {
		t.Errorf("got %v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("%d MiB were allocated for it", used>>20)
	}
}

// TestHostileTrees: what a real server passes on, and no reader of declarations may follow.
func TestHostileTrees(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make         func(r *remote)
		want, reason string
	}{
		"absolute link": {func(r *remote) { r.link("/etc/passwd", "x.yaml") }, "x.yaml: the symbolic link leads out of the repository", "Unreadable"},
		"link upwards":  {func(r *remote) { r.link("../../../etc/passwd", "x.yaml") }, "x.yaml: the symbolic link leads out of the repository", "Unreadable"},
		"link to above": {func(r *remote) { r.link("..", "deep/x") }, "leads back to", "Unreadable"},
		"link circle":   {func(r *remote) { r.link("y.yaml", "x.yaml"); r.link("x.yaml", "y.yaml") }, "leads in a circle", "Unreadable"},
		"dot dot":       {func(r *remote) { r.raw("..", "a: 1") }, `it has an entry ".."`, "Unreadable"},
		"slash":         {func(r *remote) { r.raw("../../etc/cron.yaml", "a: 1") }, `it has an entry "../../etc/cron.yaml"`, "Unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, way := range []string{"file", "http"} {
				r := newRemote(t)
				first := r.push("a.yaml", "1")
				url := "file://" + r.bare
				if way == "http" {
					url = smart(t, r, nil).URL + "/gateway.git"
				}
				s := follow(t, watch.GitOptions{}, url)
				if set, err := looked(t, s); err != nil || set.Revision != first {
					t.Fatal(set.Revision, err)
				}
				c.make(r)
				bad := r.git("rev-parse", "HEAD")
				if bad == first {
					bad = r.commit("bad")
				}
				r.git("push", "-q", "origin", "HEAD")
				_, err := looked(t, s)
				var e *watch.GitError
				if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || e.Reason() != c.reason || e.Commit.ID != bad {
					t.Errorf("%s: got %v, want %q (%s)", way, err, c.want, c.reason)
				}
				last := r.git("commit-tree", "-p", bad, "-m", "revert", first+"^{tree}")
				r.git("push", "-q", "origin", last+":refs/heads/main")
				if set, err := looked(t, s); err != nil || set.Revision != last {
					t.Errorf("%s: after a revert: %v %v", way, set.Revision, err)
				}
			}
		})
	}
}

// raw makes HEAD a commit whose tree has one entry of a name that git itself would not write.
func (r *remote) raw(name, text string) {
	r.t.Helper()
	r.write("content", text)
	blob := r.git("hash-object", "-w", "content")
	var id [20]byte
	for i := range id {
		fmt.Sscanf(blob[2*i:2*i+2], "%02x", &id[i])
	}
	r.write("tree", "100644 "+name+"\x00"+string(id[:]))
	tree := r.git("hash-object", "-w", "-t", "tree", "--literally", "tree")
	head := r.git("commit-tree", "-p", "HEAD", "-m", "bad", tree)
	r.git("update-ref", "refs/heads/main", head)
}

// TestManyFiles: 100,000 files are refused with the reason, and taken where they are allowed.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: 100,000 files")
	}
	r := newRemote(t)
	r.push("a.yaml", "1")
	r.write("import", importOf(100_000, "main"))
	r.git("-c", "alias.x=!git fast-import --quiet --force < import", "x")
	r.git("push", "-q", "--force", "origin", "main")
	url := smart(t, r, nil).URL + "/gateway.git"
	_, err := looked(t, follow(t, watch.GitOptions{}, url))
	if err == nil || !strings.Contains(err.Error(), "it has 100000 files of declarations, more than 65536") {
		t.Errorf("got %v", err)
	}
	_, err = looked(t, follow(t, watch.GitOptions{Limits: watch.GitLimits{Files: 1000}}, url))
	if err == nil || !strings.Contains(err.Error(), "more than 4000 files and folders") {
		t.Errorf("got %v", err)
	}
	set, err := looked(t, follow(t, watch.GitOptions{Limits: watch.GitLimits{Files: 100_000}}, url))
	if err != nil || len(set.Files) != 100_000 {
		t.Errorf("got %d files, %v", len(set.Files), err)
	}
}

// importOf is a commit of so many files, a hundred to a folder, as git fast-import takes it.
func importOf(files int, branch string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "commit refs/heads/%s\ncommitter a <a@example.org> 1700000000 +0000\ndata 4\nmany\ndeleteall\n", branch)
	for i := range files {
		text := fmt.Sprintf("a: %d\n", i)
		fmt.Fprintf(&b, "M 100644 inline %03d/%d.yaml\ndata %d\n%s\n", i/100, i, len(text), text)
	}
	return b.String()
}

// TestVerifySeesWhatIsTaken: nothing is taken that Verify did not see, and nothing that it refused.
func TestVerifySeesWhatIsTaken(t *testing.T) {
	t.Parallel()
	r := newRemote(t)
	first := r.push("a.yaml", "1")
	second := r.push("a.yaml", "2")
	var seen []string
	var since string
	var no error
	o := watch.GitOptions{Dir: filepath.Join(t.TempDir(), "git"), Verify: func(_ context.Context, h watch.History) error {
		seen, since = nil, h.Since
		for c, err := range h.Commits() {
			if err != nil {
				t.Error(err)
			}
			seen = append(seen, c.ID)
		}
		return no
	}}
	s := follow(t, o, smart(t, r, nil).URL+"/gateway.git")
	check := func(what, wantSince string, want ...string) {
		t.Helper()
		if since != wantSince || strings.Join(seen, " ") != strings.Join(want, " ") {
			t.Errorf("%s: since %q saw %v, want %q %v", what, since, seen, wantSince, want)
		}
	}
	if set, err := looked(t, s); err != nil || set.Revision != second {
		t.Fatal(set.Revision, err)
	}
	check("the first head", "", first, second)
	no = errors.New("no")
	third, fourth := r.push("a.yaml", "3"), r.push("a.yaml", "4")
	for range 2 {
		if _, err := looked(t, s); err == nil {
			t.Fatal("taken although it was refused")
		}
		check("what was refused", second, third, fourth)
	}
	no = nil
	if set, err := looked(t, s); err != nil || set.Revision != fourth {
		t.Fatal(set.Revision, err)
	}
	check("what was refused, and is not any more", second, third, fourth)
	// A store that was filled without a Verify proves nothing.
	s.Close()
	bare := o
	bare.Verify, bare.Dir = nil, filepath.Join(t.TempDir(), "git")
	free := follow(t, bare, "file://"+r.bare)
	if _, err := looked(t, free); err != nil {
		t.Fatal(err)
	}
	free.Close()
	bare.Verify = o.Verify
	if set, err := looked(t, follow(t, bare, "file://"+r.bare)); err != nil || set.Revision != fourth {
		t.Fatal(set.Revision, err)
	}
	check("a head that nobody had verified", "", first, second, third, fourth)
}
