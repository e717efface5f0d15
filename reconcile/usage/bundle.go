package usage

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// The schemas of what is carried by hand. Both are ours: the product has no such thing.
const (
	BundleSchema = "flexgw.usage-bundle/v1alpha1"
	AckSchema    = "flexgw.usage-ack/v1alpha1"
)

// The names in a bundle, a gzipped tar. The manifest comes first, and says what else there is.
const (
	manifestName  = "manifest.json"
	signatureName = "manifest.json.sig" // over the bytes of the manifest, as `openssl dgst -sha256 -verify` reads it
)

// Bounds of a bundle that is read: it comes from a stick.
const (
	maxBundleFile = 8 << 20
	maxBundle     = 512 << 20
	maxBatches    = 1 << 20
)

// Manifest is the table of contents of a bundle. Like batches it has counts and identifiers, and nothing else.
type Manifest struct {
	Schema    string         `json:"schema"` // BundleSchema
	CreatedAt time.Time      `json:"createdAt"`
	AgentID   string         `json:"agentId"`
	AssetName string         `json:"assetName"`
	ReplicaID string         `json:"replicaId"`
	BootEpoch uint64         `json:"bootEpoch"`
	Requests  uint64         `json:"requests"` // in all batches
	Batches   []BundledBatch `json:"batches"`  // by seq
}

// BundledBatch is one file of a bundle: the body of a usage report.
type BundledBatch struct {
	Name   string `json:"name"`
	Seq    uint64 `json:"seq"`
	SHA256 string `json:"sha256"` // hex
}

// Bundle is what an air-gapped host hands over.
type Bundle struct {
	Manifest
	Usage []anypoint.Batch // by seq

	text      []byte // of the manifest
	signature []byte // nil: nobody signed it
}

// NewBundle puts batches of one registration, replica and epoch together. key is that of the registration; nil: it is not signed.
// The same batches give the same bundle, but for what a key adds by chance.
func NewBundle(batches []anypoint.Batch, key crypto.Signer) (Bundle, error) {
	if len(batches) == 0 {
		return Bundle{}, errors.New("no batch")
	}
	first := batches[0]
	b := Bundle{Usage: batches, Manifest: Manifest{Schema: BundleSchema, CreatedAt: batches[len(batches)-1].CreatedAt, AgentID: first.AgentID,
		AssetName: first.AssetName, ReplicaID: first.ReplicaID, BootEpoch: first.BootEpoch}}
	for _, x := range batches {
		text, err := json.Marshal(x)
		if err != nil {
			return Bundle{}, err
		}
		sum := sha256.Sum256(text)
		b.Batches = append(b.Batches, BundledBatch{batchName(x.Seq), x.Seq, hex.EncodeToString(sum[:])})
		b.Requests += Requests(x)
	}
	text, err := json.MarshalIndent(b.Manifest, "", "  ")
	if err != nil {
		return Bundle{}, err
	}
	b.text = append(text, '\n')
	if err := b.consistent(); err != nil {
		return Bundle{}, err
	}
	if key != nil {
		b.signature, err = signed(key, b.text)
	}
	return b, err
}

func batchName(seq uint64) string { return fmt.Sprintf("batches/%012d.json", seq) }

// Requests is what a batch adds.
func Requests(b anypoint.Batch) (n uint64) {
	for _, p := range b.Points {
		n += p.Delta
	}
	return n
}

// Name is what to call the file of a bundle.
func (b Bundle) Name() string {
	return fmt.Sprintf("usage-%s-%d-%d-to-%d.tar.gz", b.ReplicaID[:min(8, len(b.ReplicaID))], b.BootEpoch, b.Usage[0].Seq, b.Usage[len(b.Usage)-1].Seq)
}

// Signed reports whether somebody signed it; Verify says who.
func (b Bundle) Signed() bool { return b.signature != nil }

// Verify returns an error unless the key of a registration's certificate signed the bundle.
func (b Bundle) Verify(of *x509.Certificate) error {
	if b.signature == nil {
		return errors.New("the bundle is not signed")
	}
	return verified(of, b.text, b.signature)
}

// Write writes a bundle.
func (b Bundle) Write(w io.Writer) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	put := func(name string, text []byte) error {
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(text)), ModTime: b.CreatedAt.Truncate(time.Second), Format: tar.FormatPAX})
		if err == nil {
			_, err = t.Write(text)
		}
		return err
	}
	err := put(manifestName, b.text)
	if err == nil && b.signature != nil {
		err = put(signatureName, b.signature)
	}
	for i, x := range b.Usage {
		if err != nil {
			return err
		}
		var text []byte
		if text, err = json.Marshal(x); err == nil {
			err = put(b.Batches[i].Name, text)
		}
	}
	return errors.Join(err, t.Close(), z.Close())
}

// ReadBundle reads what Write wrote, and holds every batch against the manifest. Whether to believe the manifest, Verify says.
func ReadBundle(r io.Reader) (Bundle, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return Bundle{}, fmt.Errorf("a gzipped tar is expected: %w", err)
	}
	all := io.LimitReader(z, maxBundle)
	files, err := readTar(tar.NewReader(all))
	if _, torn := io.Copy(io.Discard, all); torn != nil { // to the end, where the checksum is: what was read until then may be anything
		return Bundle{}, fmt.Errorf("a gzipped tar is expected, and this one is cut off or damaged: %w", torn)
	}
	if err != nil {
		return Bundle{}, err
	}
	b := Bundle{text: files[manifestName], signature: files[signatureName]}
	if b.text == nil {
		return Bundle{}, fmt.Errorf("there is no %s in it", manifestName)
	}
	if err := strictly(b.text, &b.Manifest); err != nil {
		return Bundle{}, fmt.Errorf("%s: %w", manifestName, err)
	}
	delete(files, manifestName)
	delete(files, signatureName)
	for _, x := range b.Batches {
		text, ok := files[x.Name]
		if !ok {
			return Bundle{}, fmt.Errorf("%s is in the manifest and not in the bundle", x.Name)
		}
		delete(files, x.Name)
		if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != x.SHA256 {
			return Bundle{}, fmt.Errorf("%s is not what the manifest says: its SHA-256 differs", x.Name)
		}
		var batch anypoint.Batch
		if err := strictly(text, &batch); err != nil {
			return Bundle{}, fmt.Errorf("%s: %w", x.Name, err)
		}
		b.Usage = append(b.Usage, batch)
	}
	for name := range files {
		return Bundle{}, fmt.Errorf("%s is in the bundle and not in the manifest", name)
	}
	return b, b.consistent()
}

func readTar(t *tar.Reader) (map[string][]byte, error) {
	files := map[string][]byte{}
	for {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return files, nil
		case err != nil:
			return nil, fmt.Errorf("a gzipped tar is expected: %w", err)
		case h.Typeflag != tar.TypeReg || h.Size > maxBundleFile || len(files) > maxBatches || files[h.Name] != nil:
			return nil, fmt.Errorf("%q is no file of a bundle", h.Name)
		}
		if files[h.Name], err = io.ReadAll(t); err != nil {
			return nil, fmt.Errorf("a gzipped tar is expected, and this one ends within %q: %w", h.Name, err)
		}
	}
}

// strictly decodes one value with no fields but its own.
func strictly(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something comes after it")
	}
	return nil
}

// consistent holds the batches against each other and the manifest.
func (b Bundle) consistent() error {
	if b.Schema != BundleSchema {
		return fmt.Errorf("the schema of the manifest is %q, and %s is expected", b.Schema, BundleSchema)
	}
	if len(b.Usage) == 0 {
		return errors.New("there is no batch in it")
	}
	var sum uint64
	for i, x := range b.Usage {
		at := b.Batches[i]
		switch {
		case x.Schema != anypoint.UsageSchema:
			return fmt.Errorf("%s: its schema is %q, and %s is expected", at.Name, x.Schema, anypoint.UsageSchema)
		case x.AgentID != b.AgentID || x.ReplicaID != b.ReplicaID || x.BootEpoch != b.BootEpoch:
			return fmt.Errorf("%s: it is of another registration, replica or epoch than the manifest", at.Name)
		case x.Seq != at.Seq || i > 0 && x.Seq <= b.Usage[i-1].Seq:
			return fmt.Errorf("%s: its number is %d, and the manifest says %d, rising", at.Name, x.Seq, at.Seq)
		}
		if x.BatchID != anypoint.BatchID(x.AgentID, x.ReplicaID, x.BootEpoch, x.Seq) {
			return fmt.Errorf("%s: its batchId is not that of its number", at.Name)
		}
		sum += Requests(x)
	}
	if sum != b.Requests {
		return fmt.Errorf("the batches have %d requests, and the manifest says %d", sum, b.Requests)
	}
	return nil
}

// BundleAck is what became of a bundle, for the host that it came from.
type BundleAck struct {
	Schema    string    `json:"schema"` // AckSchema
	AgentID   string    `json:"agentId"`
	ReplicaID string    `json:"replicaId"`
	BootEpoch uint64    `json:"bootEpoch"`
	At        time.Time `json:"at"`
	Acked     []uint64  `json:"acked"`   // batches that the platform has, rising
	Refused   []Refusal `json:"refused"` // batches that it will not take
}

// Refusal is one of them.
type Refusal struct {
	Seq uint64 `json:"seq"`
	Why string `json:"why"`
}

// Result is a BundleAck with the signature of the registration's key, as it is carried back.
type Result struct {
	Ack       BundleAck `json:"ack"`
	Signature []byte    `json:"signature"` // over the Ack as encoding/json writes it; null: nobody signed it
}

// Sign makes a Result. key nil: it is not signed.
func (a BundleAck) Sign(key crypto.Signer) (Result, error) {
	a.Acked, a.Refused = slices.Clip(append([]uint64{}, a.Acked...)), slices.Clip(append([]Refusal{}, a.Refused...))
	r := Result{Ack: a}
	if key == nil {
		return r, nil
	}
	text, err := json.Marshal(a)
	if err == nil {
		r.Signature, err = signed(key, text)
	}
	return r, err
}

// ReadResult reads one. Whether to believe it, Verify says.
func ReadResult(text []byte) (Result, error) {
	var r Result
	if err := strictly(text, &r); err != nil {
		return r, fmt.Errorf("no acknowledgement of a bundle: %w", err)
	}
	if r.Ack.Schema != AckSchema {
		return r, fmt.Errorf("no acknowledgement of a bundle: its schema is %q, and %s is expected", r.Ack.Schema, AckSchema)
	}
	return r, nil
}

// Verify returns an error unless the key of a registration's certificate signed the result.
func (r Result) Verify(of *x509.Certificate) error {
	if r.Signature == nil {
		return errors.New("the acknowledgement is not signed")
	}
	text, err := json.Marshal(r.Ack)
	if err != nil {
		return err
	}
	return verified(of, text, r.Signature)
}

// signed signs a text as openssl dgst -sha256 -sign does; Ed25519 has no digest of ours.
func signed(key crypto.Signer, text []byte) ([]byte, error) {
	if _, ok := key.Public().(ed25519.PublicKey); ok {
		return key.Sign(rand.Reader, text, crypto.Hash(0))
	}
	sum := sha256.Sum256(text)
	return key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

func verified(of *x509.Certificate, text, signature []byte) error {
	var algorithm x509.SignatureAlgorithm
	switch of.PublicKey.(type) {
	case *rsa.PublicKey:
		algorithm = x509.SHA256WithRSA
	case *ecdsa.PublicKey:
		algorithm = x509.ECDSAWithSHA256
	case ed25519.PublicKey:
		algorithm = x509.PureEd25519
	default:
		return fmt.Errorf("the registration's key is a %T, which signs nothing here", of.PublicKey)
	}
	if of.CheckSignature(algorithm, text, signature) != nil {
		return fmt.Errorf("it was not signed with the key of this registration (%s), or it was changed since", strings.TrimSpace(of.Subject.CommonName))
	}
	return nil
}

// Settle follows what became of a bundle of this ledger: what the platform has is forgotten, and what it refused is set aside. Batches of
// another registration go on waiting; those before one that is acknowledged are set aside, for batches are acknowledged in order.
func (l *Ledger) Settle(a BundleAck) error {
	err := l.acknowledge(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unopened == nil && !l.closed {
		l.keepDone()
	}
	return err
}

func (l *Ledger) acknowledge(a BundleAck) error {
	st := l.State()
	switch {
	case a.ReplicaID != st.Replica:
		return fmt.Errorf("the acknowledgement is for the replica %s, and this is %s", a.ReplicaID, st.Replica)
	case a.BootEpoch != st.Epoch:
		return fmt.Errorf("the acknowledgement is for the ledger that began as epoch %d, and this is epoch %d: what waits was not in that bundle", a.BootEpoch, st.Epoch)
	}
	acked, refused := map[uint64]bool{}, map[uint64]string{}
	for _, seq := range a.Acked {
		acked[seq] = true
	}
	for _, r := range a.Refused {
		refused[r.Seq] = r.Why
	}
	aside, _ := l.Quarantined()
	for _, b := range aside {
		if acked[b.Seq] && b.AgentID == a.AgentID {
			if err := l.release(b.Seq); err != nil {
				return err
			}
		}
	}
	waiting := l.Batches()
	last := uint64(0) // of those that can be acknowledged: what is before it cannot go on waiting
	for _, b := range waiting {
		if b.AgentID != a.AgentID {
			continue
		}
		if _, no := refused[b.Seq]; !no && !acked[b.Seq] { // not in the bundle, or not delivered yet
			break
		}
		if acked[b.Seq] {
			last = b.Seq
		}
	}
	for _, b := range waiting {
		var err error
		why, no := refused[b.Seq]
		switch {
		case b.AgentID != a.AgentID && b.Seq < last:
			err = l.Quarantine(b.Seq, "counted for the registration of "+b.AgentID+", and what came after was reported for that of "+a.AgentID)
		case b.AgentID != a.AgentID:
		case no:
			err = l.Quarantine(b.Seq, why)
		case acked[b.Seq]:
			err = l.Ack(b.Seq)
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// release acknowledges a batch that was set aside; one that is covered meanwhile needs nothing.
func (l *Ledger) release(seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.ContainsFunc(l.s.aside, func(a aside) bool { return a.seq == seq }) {
		return nil
	}
	w := &writer{}
	w.step(stepRelease)
	w.uint(seq)
	return l.settle(w)
}

// Import delivers the batches of a bundle in order. It goes on after a batch that the platform refuses, and ends with an error when
// the next one cannot be delivered now; the BundleAck has what was done until then. Doing it again does no harm.
func Import(deliver func(anypoint.Batch) (acked uint64, err error), b Bundle, now func() time.Time) (ack BundleAck, err error) {
	ack = BundleAck{Schema: AckSchema, AgentID: b.AgentID, ReplicaID: b.ReplicaID, BootEpoch: b.BootEpoch}
	defer func() { ack.At = now().UTC() }()
	for _, x := range b.Usage {
		_, err := deliver(x) // taken is taken: a gap before it is told by whoever counts there
		var refused *RefusedError
		switch {
		case errors.As(err, &refused):
			ack.Refused = append(ack.Refused, Refusal{x.Seq, err.Error()})
		case err != nil:
			return ack, err
		default:
			ack.Acked = append(ack.Acked, x.Seq)
		}
	}
	return ack, nil
}
