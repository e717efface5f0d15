package usage_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/usage"
)

// identity is a key and a certificate of it.
func identity(t testing.TB, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: agent + ".RR.us-east-1.prod"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func threeBatches() []anypoint.Batch {
	var all []anypoint.Batch
	for seq := range uint64(3) {
		b := report(seq + 5)
		b.Points = somePoints(int(seq))
		all = append(all, b)
	}
	all[0].Points = []anypoint.Point{}
	return all
}

func written(t testing.TB, b usage.Bundle) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := b.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestABundleComesBackAsItWas(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{rsaKey(t), ec, ed} {
		b, err := usage.NewBundle(threeBatches(), key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := usage.ReadBundle(bytes.NewReader(written(t, b)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b.Manifest, got.Manifest); diff != "" || got.Requests != 3 || got.Name() != "usage-cccccccc-1-5-to-7.tar.gz" {
			t.Errorf("%s: %s", got.Name(), diff)
		}
		if diff := cmp.Diff(threeBatches(), got.Usage); diff != "" {
			t.Error(diff)
		}
		if err := got.Verify(identity(t, key)); err != nil || !got.Signed() {
			t.Errorf("%T: %v", key, err)
		}
		if err := got.Verify(identity(t, rsaKey(t))); err == nil {
			t.Error("anybody's key will do")
		}
	}
	same, err := usage.NewBundle(threeBatches(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(written(t, same), written(t, same)) || same.Signed() {
		t.Error("other bytes the second time")
	}
	if err := same.Verify(identity(t, ec)); err == nil {
		t.Error("nobody's signature will do")
	}
	if _, err := usage.NewBundle(nil, ec); err == nil {
		t.Error("a bundle of nothing")
	}
	other := threeBatches()
	other[1].AgentID = "another"
	if _, err := usage.NewBundle(other, ec); err == nil {
		t.Error("a bundle of two registrations")
	}
}

// TestOpenSSLReadsTheSignature: whoever carries the stick can look at it with what is there.
func TestOpenSSLReadsTheSignature(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("openssl")
	}
	key := rsaKey(t)
	b, err := usage.NewBundle(threeBatches(), key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := unpacked(t, written(t, b))
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	files["key.der"] = string(der)
	for _, n := range []string{"manifest.json", "manifest.json.sig", "key.der"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(files[n]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("openssl", "dgst", "-sha256", "-verify", "key.der", "-keyform", "DER", "-signature", "manifest.json.sig", "manifest.json")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func unpacked(t testing.TB, b []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
}

func packed(t testing.TB, files map[string]string, more ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	var names []string
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if err := w.WriteHeader(&tar.Header{Name: n, Mode: 0o600, Size: int64(len(files[n])), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[n]); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range more {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestABundleThatWasChangedIsNotTaken changes a signed bundle in every way that somebody with a stick can think of.
func TestABundleThatWasChangedIsNotTaken(t *testing.T) {
	t.Parallel()
	key := rsaKey(t)
	of := identity(t, key)
	good, err := usage.NewBundle(threeBatches(), key)
	if err != nil {
		t.Fatal(err)
	}
	const some = "batches/000000000007.json"
	for name, change := range map[string]func(map[string]string){
		"a count":      func(f map[string]string) { f[some] = strings.Replace(f[some], `"delta":1`, `"delta":2`, 1) },
		"a batch less": func(f map[string]string) { delete(f, some) },
		"a batch more": func(f map[string]string) { f["batches/000000000008.json"] = f[some] },
		"no manifest":  func(f map[string]string) { delete(f, "manifest.json") },
		"the manifest": func(f map[string]string) {
			f["manifest.json"] = strings.Replace(f["manifest.json"], "orders", "Orders", 1)
		},
		"its requests": func(f map[string]string) {
			f["manifest.json"] = strings.Replace(f["manifest.json"], `"requests": 3`, `"requests": 4`, 1)
		},
		"more in manifest": func(f map[string]string) {
			f["manifest.json"] = strings.Replace(f["manifest.json"], `{`, `{"x": 1,`, 1)
		},
		"text after it":     func(f map[string]string) { f["manifest.json"] += "{}" },
		"the signature":     func(f map[string]string) { f["manifest.json.sig"] = strings.Repeat("x", 256) },
		"no signature":      func(f map[string]string) { delete(f, "manifest.json.sig") },
		"an empty manifest": func(f map[string]string) { f["manifest.json"] = "{}" },
	} {
		files := unpacked(t, written(t, good))
		change(files)
		b, err := usage.ReadBundle(bytes.NewReader(packed(t, files)))
		if err == nil {
			err = b.Verify(of)
		}
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	files := unpacked(t, written(t, good))
	if b, err := usage.ReadBundle(bytes.NewReader(packed(t, files))); err != nil || b.Verify(of) != nil {
		t.Errorf("unchanged: %v", err)
	}
	for _, h := range []*tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, {Name: "d", Typeflag: tar.TypeDir}} {
		if _, err := usage.ReadBundle(bytes.NewReader(packed(t, files, h))); err == nil {
			t.Errorf("%s: taken", h.Name)
		}
	}
	for _, text := range []string{"", "x", "\x1f\x8b"} {
		if _, err := usage.ReadBundle(strings.NewReader(text)); err == nil {
			t.Errorf("%q: taken", text)
		}
	}
}

// However a bundle was cut off on its way, that is what is said of it: not which of its files the end is missing from.
func TestABundleThatIsNotWholeIsSaidToBe(t *testing.T) {
	t.Parallel()
	var noise strings.Builder // what does not compress, so that a cut falls anywhere
	for i := range 400 {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		noise.Write(sum[:])
	}
	most := 7 // bytes from one cut to the next
	if testing.Short() {
		most = 101
	}
	for _, files := range []map[string]string{
		{"manifest.json": noise.String(), "batches/000000000001.json": "{}"},
		{"manifest.json": "{}", "batches/000000000001.json": noise.String()},
	} {
		whole := packed(t, files)
		for at := 0; at < len(whole); at += 1 + at%most {
			for what, text := range map[string][]byte{
				"cut off at":          whole[:at],
				"without 20 bytes at": slices.Concat(whole[:at], whole[min(at+20, len(whole)):]),
			} {
				if _, err := usage.ReadBundle(bytes.NewReader(text)); err == nil || !strings.Contains(err.Error(), "a gzipped tar is expected") {
					t.Fatalf("%s %d of %d: %v", what, at, len(whole), err)
				}
			}
		}
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	key := rsaKey(t)
	b, err := usage.NewBundle(threeBatches(), key)
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Unix(7, 0) }
	answers := map[uint64]error{6: &usage.RefusedError{Status: 422, Err: errors.New("no")}}
	deliver := func(x anypoint.Batch) (uint64, error) { return x.Seq, answers[x.Seq] }
	ack, err := usage.Import(deliver, b, now)
	want := usage.BundleAck{Schema: usage.AckSchema, AgentID: agent, ReplicaID: b.ReplicaID, BootEpoch: 1, At: time.Unix(7, 0).UTC(), Acked: []uint64{5, 7}, Refused: []usage.Refusal{{Seq: 6, Why: "no"}}}
	if diff := cmp.Diff(want, ack); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	away := errors.New("away")
	answers[7] = &usage.RetryError{Err: away}
	if ack, err := usage.Import(deliver, b, now); !errors.Is(err, away) || !slices.Equal(ack.Acked, []uint64{5}) || ack.At.IsZero() {
		t.Errorf("%v %v", ack, err)
	}
	r, err := ack.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got, err := usage.ReadResult(text)
	if err != nil || got.Verify(identity(t, key)) != nil || !slices.Equal(got.Ack.Acked, want.Acked) {
		t.Errorf("%v %+v", err, got)
	}
	for name, bad := range map[string]string{
		"a number": strings.Replace(string(text), "7\n", "8\n", 1), "more": strings.Replace(string(text), "{", `{"x": 1,`, 1), "nothing": "", "its schema": strings.Replace(string(text), "v1alpha1", "v9", 1),
		"no signature": strings.Replace(string(text), `"signature": "`, `"signature": null, "s": "`, 1),
	} {
		got, err := usage.ReadResult([]byte(bad))
		if err == nil {
			err = got.Verify(identity(t, key))
		}
		if err == nil || bad == string(text) {
			t.Errorf("%s: taken", name)
		}
	}
	unsigned, err := ack.Sign(nil)
	if err != nil || unsigned.Verify(identity(t, key)) == nil {
		t.Errorf("%v", err)
	}
}

func FuzzReadBundle(f *testing.F) {
	b, err := usage.NewBundle(threeBatches(), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(unzipped(f, written(f, b)))
	f.Fuzz(func(t *testing.T, text []byte) {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := usage.ReadBundle(&z)
		if err != nil {
			return
		}
		var n uint64
		for _, x := range got.Usage {
			n += requests(x)
		}
		if n != got.Requests || len(got.Usage) == 0 {
			t.Errorf("%+v", got.Manifest)
		}
	})
}

func unzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestAnAcknowledgementIsForOneRegistration: what waits for another one goes on waiting, unless something after it was acknowledged:
// then it can only be set aside.
func TestAnAcknowledgementIsForOneRegistration(t *testing.T) {
	t.Parallel()
	other := us
	other.Agent = "another"
	for name, x := range map[string]struct {
		acked, refused []uint64 // of the first registration, which has batches 1, 3 and 5; the other has 2 and 4
		waiting, aside string
	}{
		"nothing came after":                {[]uint64{1}, nil, "[2 3 4 5]", "[]"},
		"one":                               {[]uint64{1, 3}, nil, "[4 5]", "[2]"},
		"all":                               {[]uint64{1, 3, 5}, nil, "[]", "[2 4]"},
		"one is not delivered":              {[]uint64{1, 5}, nil, "[2 3 4 5]", "[]"},
		"what came after was refused":       {[]uint64{1}, []uint64{3}, "[2 4 5]", "[3]"},
		"refused, and the next one has all": {[]uint64{1, 5}, []uint64{3}, "[]", "[2 4]"},
		"nothing":                           {nil, nil, "[1 2 3 4 5]", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			l := open(t, t.TempDir(), c, usage.Options{})
			for i := range 5 {
				must(t, l.SetIdentity([]usage.Identity{us, other}[i%2]))
				count(t, l, c, "a/a", 3)
				must(t, l.Seal(c.now))
			}
			ack := usage.BundleAck{AgentID: us.Agent, ReplicaID: l.State().Replica, BootEpoch: l.State().Epoch, Acked: x.acked}
			for _, seq := range x.refused {
				ack.Refused = append(ack.Refused, usage.Refusal{Seq: seq, Why: "no"})
			}
			for range 2 { // twice does no harm
				must(t, l.Settle(ack))
				aside, _ := l.Quarantined()
				if got := fmt.Sprint(seqs(l.Batches()), seqs(aside)); got != x.waiting+" "+x.aside {
					t.Errorf("got %s, want %s %s", got, x.waiting, x.aside)
				}
			}
			for _, total := range l.Totals() {
				if total.Identity == other && total.Acknowledged != 0 {
					t.Errorf("%+v", total)
				}
			}
		})
	}
}

func seqs(bs []anypoint.Batch) []uint64 {
	out := []uint64{}
	for _, b := range bs {
		out = append(out, b.Seq)
	}
	return out
}
