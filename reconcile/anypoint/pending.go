package anypoint

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/ir"
)

// PendingName is the file, beside the registration to be, that has what a registration takes from before it is asked for until it is
// written down. Ours.
const PendingName = ".registration-pending"

// Pending is a registration that was asked for, and is not written down yet. The platform may have made the gateway: the same request,
// with the same key and IdempotencyKey, gets it again, and no second one.
type Pending struct {
	Name         string
	Organization string
	Environment  string   // "": that of the registration token, which only the platform knows
	Anypoint     string   // URL of the control plane
	Flags        []string // of the command, beside these: without them it may not be able to go on

	IdempotencyKey string
	CSR            string // PEM
	Key            Secret // PEM, of CSR
	Since          time.Time
	Path           string // where it is kept; "": nowhere yet

	Again bool // it was read: a run before this one has asked, and may have been heard
}

// pendingSchema marks the file.
const pendingSchema = "flexgw.registration-pending/v1"

// pendingFile is a Pending on disk.
type pendingFile struct {
	Schema         string    `json:"schema"`
	About          string    `json:"about"` // for people who find it
	Name           string    `json:"name"`
	Organization   string    `json:"organizationId"`
	Environment    string    `json:"environmentId,omitempty"`
	Anypoint       string    `json:"anypoint"`
	Flags          []string  `json:"flags,omitempty"`
	Since          time.Time `json:"since"`
	IdempotencyKey string    `json:"idempotencyKey"`
	CSR            string    `json:"csr"`
	Key            string    `json:"key"`
}

// NewPending makes a key for a gateway to be.
func NewPending(name string, in In, base string, now time.Time) (*Pending, error) {
	key, csr, err := NewKey(name)
	if err != nil {
		return nil, err
	}
	return &Pending{Name: name, Organization: in.Organization, Environment: in.Environment, Anypoint: base, IdempotencyKey: NewUUID(), CSR: csr, Key: key, Since: now.UTC().Truncate(time.Second)}, nil
}

// ReadPending is what is pending in a folder; nil: nothing is. What can not be read is an error, and not nothing: a key may be in it
// that is nowhere else.
func ReadPending(dir string) (*Pending, error) {
	path := filepath.Join(dir, PendingName)
	b, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var f pendingFile
	if json.Unmarshal(b, &f) != nil || f.Schema != pendingSchema || !csrOf(f.CSR, f.Key) {
		return nil, fmt.Errorf("read %s: it is not what flexgw register keeps there while it registers; put it elsewhere, or remove it", path)
	}
	return &Pending{Name: f.Name, Organization: f.Organization, Environment: f.Environment, Anypoint: f.Anypoint, Flags: f.Flags, Since: f.Since,
		IdempotencyKey: f.IdempotencyKey, CSR: f.CSR, Key: ir.NewSecret(f.Key), Path: path, Again: true}, nil
}

// csrOf reports whether a request for a certificate is one for a key.
func csrOf(csr, key string) bool {
	block, _ := pem.Decode([]byte(csr))
	private, _ := pem.Decode([]byte(key))
	if block == nil || private == nil {
		return false
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return false
	}
	k, err := x509.ParsePKCS1PrivateKey(private.Bytes)
	return err == nil && k.PublicKey.Equal(r.PublicKey)
}

// Is reports whether the pending registration is the one that is asked for now. An environment counts where both say one.
func (p *Pending) Is(name string, in In, base string) bool {
	return p.Name == name && p.Organization == in.Organization && p.Anypoint == base && (p.Environment == "" || in.Environment == "" || p.Environment == in.Environment)
}

// Request is what the platform is asked for.
func (p *Pending) Request() RegisterRequest {
	return RegisterRequest{Schema: RegistrationSchema, Name: p.Name, Mode: "local", CSR: p.CSR, IdempotencyKey: p.IdempotencyKey}
}

// Write keeps it in a folder, for its owner alone, for good when it returns.
func (p *Pending) Write(dir string) error {
	path := filepath.Join(dir, PendingName)
	b, err := json.MarshalIndent(pendingFile{Schema: pendingSchema,
		About: "flexgw register has asked the platform for this gateway, and has not written registration.yaml yet. The key is in this file alone: the same command takes it up and removes the file.",
		Name:  p.Name, Organization: p.Organization, Environment: p.Environment, Anypoint: p.Anypoint, Flags: p.Flags, Since: p.Since, IdempotencyKey: p.IdempotencyKey, CSR: p.CSR, Key: p.Key.Reveal()}, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := put(part{path, append(b, '\n')}); err != nil {
		return err
	}
	p.Path = path
	return nil
}

// Remove ends it, and removes what a run that was killed while it wrote has left of the same key. One that is not there is removed.
func (p *Pending) Remove() error {
	beside, err := os.ReadDir(filepath.Dir(p.Path))
	if err != nil {
		return fmt.Errorf("look for what was left beside %s: %w", p.Path, disk.Cause(err))
	}
	key := p.Key.Reveal()
	lines, err := json.Marshal(key) // as in a pendingFile
	if err != nil {
		return fmt.Errorf("look for what was left beside %s: %w", p.Path, err)
	}
	gone := []string{p.Path}
	for _, e := range beside {
		name := filepath.Join(filepath.Dir(p.Path), e.Name())
		if !strings.HasPrefix(e.Name(), disk.Unfinished) {
			continue
		}
		b, err := read(name)
		if err == nil && (bytes.Contains(b, lines) || bytes.Contains(b, []byte(base64.StdEncoding.EncodeToString([]byte(key))))) {
			gone = append(gone, name)
		}
	}
	for _, name := range gone {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", name, disk.Cause(err))
		}
	}
	return nil
}

// WrittenTo reports whether the registration in a folder is the one that is pending: a run before this one has written it, and did not
// come to remove what was pending.
func (p *Pending) WrittenTo(dir string) bool {
	f, err := ReadFile(dir)
	return err == nil && f.Key.Equal(p.Key)
}

// Settled reports whether, after a failure of Register, the platform is known to have no gateway of it, so that nothing is lost with the
// key. Of a refusal of who asks, or of when, that is known of the first try alone: one before it may have been heard, and its answer lost.
func (p *Pending) Settled(err error) bool {
	e := (*Error)(nil)
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case NameTaken, Deleted:
		return true
	case Unexpected:
		return e.Status/100 == 4 && e.Status != http.StatusRequestTimeout
	}
	return !p.Again && !e.Doubt
}
