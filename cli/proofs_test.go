package cli

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/flexgw/flexgw/cli/cache"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

func TestRecords(t *testing.T) {
	t.Parallel()
	var all []record
	p := &proofs{}
	for i := range 1000 {
		r := record{proof(sha256.New().Sum(fmt.Appendf(nil, "%016d", i))), bytes.Repeat([]byte{byte(i)}, i%300)}
		all = append(all, r)
		p.keep([sha256.Size]byte(append(r.proof[:], make([]byte, 16)...)), r.note[:len(r.note)/2], r.note[len(r.note)/2:])
	}
	b := slices.Concat(p.fresh...)
	if p.size != int64(len(b)) || len(p.fresh) < 2 {
		t.Errorf("%d bytes in %d parts count as %d", len(b), len(p.fresh), p.size)
	}
	r := readRecords(b)
	if r == nil {
		t.Fatal("they cannot be read")
	}
	for i, x := range all {
		if note, ok := r.find(x.proof); !ok || !bytes.Equal(note, x.note) {
			t.Errorf("record %d: %v, %q", i, ok, note)
		}
		if _, ok := r.find(proof{15: byte(i + 1)}); ok {
			t.Error("one is found that there is not")
		}
	}
	if met := r.bytes.Load(); met != int64(len(b)) || !bytes.Equal(left(r, 0), b) {
		t.Errorf("%d of %d bytes were met", met, len(b))
	}
	r = readRecords(b)
	for range 2 {
		r.find(all[0].proof)
		r.find(all[500].proof)
	}
	if got := readRecords(left(r, 0)); got == nil || len(got.b) != int(r.bytes.Load()) || len(got.b) != 17+18+500%300 {
		t.Errorf("left are %v of %d bytes", got, r.bytes.Load())
	}
	if got := left(r, 1000); len(got) < 1000 || len(got) > 2000 || readRecords(got) == nil {
		t.Errorf("with room for 1000 more, left are %d bytes", len(got))
	}
	for n := range 400 { // cut short, they are fewer, or none
		if x := readRecords(b[:n]); x != nil && len(x.b) != n {
			t.Errorf("%d bytes are read as %d", n, len(x.b))
		}
	}
	if x := readRecords(nil); len(left(x, 10)) > 0 {
		t.Error("nothing is something")
	}
}

func left(r *records, room int64) []byte {
	parts, _ := r.left(room)
	return slices.Concat(parts...)
}

// TestSoundKeepsWhatWasSaid: but nothing that another check may not find again, and nothing odd.
func TestSoundKeepsWhatWasSaid(t *testing.T) {
	t.Parallel()
	f := source.NewFile("a.yaml", []byte("text"))
	hash := f.Hash
	odd := false
	again := func(said diag.List) (tape []byte, list diag.List, ok bool) {
		p := &proofs{odd: func(h source.Hash) bool { return odd && h == hash }, most: readRecords(nil), recent: readRecords(nil)}
		sound{p}.Keep(f, []byte("tape"), said)
		p.recent = readRecords(slices.Concat(p.fresh...))
		renamed := f
		renamed.Name = "b.yaml"
		if _, _, ok := (sound{p}).Known(renamed); ok {
			t.Error("a file of another name is known")
		}
		return sound{p}.Known(f)
	}
	note := diag.Diagnostic{Severity: diag.Note, Code: "link/unset-variable", Summary: "s", Subject: diag.Range{File: "a.yaml"}}
	for _, said := range []diag.List{nil, {note}, {note, note}} {
		if tape, list, ok := again(said); !ok || string(tape) != "tape" || fmt.Sprint(list) != fmt.Sprint(said) {
			t.Errorf("of %v there is %v, %q, %v", said, ok, tape, list)
		}
	}
	secret := note
	secret.Edits = []diag.Edit{{Value: "Basic b3BlbjpzZXNhbWU=", To: []string{"password"}}}
	unread := note
	unread.Code = "source/unreadable"
	for _, d := range []diag.Diagnostic{secret, unread} {
		if _, _, ok := again(diag.List{note, d}); ok {
			t.Errorf("%v was kept", d)
		}
	}
	odd = true
	if _, _, ok := again(nil); ok {
		t.Error("a content that does not follow its hash was kept")
	}
}

// TestProofsAreOfTheSameOptions: what was judged with others is another entry.
func TestProofsAreOfTheSameOptions(t *testing.T) {
	t.Parallel()
	v := &verdicts{self: func() string { return "self" }}
	seen := map[cache.Key]string{}
	for name, o := range map[string]schema.Options{
		"none": {}, "AllowUnenforced": {AllowUnenforced: true}, "AllowReserved": {AllowReserved: true}, "Salvage": {Salvage: true}, "Partial": {Partial: true}, "RequireEnv": {RequireEnv: true},
		"Target": {Target: ir.Release{Major: 1, Minor: 9}},
	} {
		key := v.proofsKey(&pipeline{load: o}, "most")
		if other, ok := seen[key]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[key] = name
	}
}
