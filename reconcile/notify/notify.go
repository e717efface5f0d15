// Package notify posts events to a webhook, signed, and to a forge as the status of a commit: in their order, and again when
// they were not taken.
//
// It keeps nothing on disk: what waits when the process ends is tried once more and then lost. Receivers may see an event
// twice and must go by its id.
package notify

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// SchemaVersion is that of Body. Fields may be added; a change of what is there makes the next.
const SchemaVersion = 1

// Body is what is posted, as JSON.
type Body struct {
	SchemaVersion int            `json:"schemaVersion"`
	ID            string         `json:"id"` // the same for every try
	Type          string         `json:"type"`
	At            time.Time      `json:"at"` // when it happened
	Source        string         `json:"source"`
	Revision      string         `json:"revision"`
	Previous      string         `json:"previous"` // with RolledBack: the revision that is served again
	By            string         `json:"by"`
	Reason        string         `json:"reason"`
	Message       string         `json:"message"`
	Commit        *source.Commit `json:"commit"`      // that Revision names; null: it is no commit, or is not known
	Errors        int            `json:"errors"`      // how many there are
	Diagnostics   diag.List      `json:"diagnostics"` // the first of them, as validate --output json has them
}

// The headers of a post. The signature is "t=UNIXSECONDS,v1=HEX": the HMAC-SHA256, under the secret, of the seconds, a dot and the
// body. A receiver refuses old seconds, so that nobody can post it again.
const (
	IDHeader        = "Flexgw-Event-Id"
	TypeHeader      = "Flexgw-Event-Type"
	SignatureHeader = "Flexgw-Signature"
)

// Options of a Notifier.
type Options struct {
	URL    string // http or https; told to nobody beyond its host: it may hold a secret
	Source string // that the daemon follows
	Secret []byte // of the signature; empty: posts are not signed
	Sending
}

// Notifier posts events one after another. Event may be called by anybody, Run once.
type Notifier struct {
	o Options
	*sender
}

// maxDiagnostics bounds a body; status and validate have the rest.
const maxDiagnostics = 20

// New makes a Notifier, and an error when the URL is none.
func New(o Options) (*Notifier, error) {
	to, err := newSender("webhook", o.URL, o.Sending)
	if err != nil {
		return nil, err
	}
	return &Notifier{o, to}, nil
}

// SetSecret signs what is posted from now on with another secret; empty: it is not signed.
func (n *Notifier) SetSecret(secret []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.o.Secret = secret
}

func (n *Notifier) secret() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.o.Secret
}

// Event takes an event in. It does not block: when too many wait, the oldest is dropped.
func (n *Notifier) Event(e reconcile.Event) {
	b := Body{SchemaVersion: SchemaVersion, ID: newID(), Type: string(e.Type), At: e.At, Source: n.o.Source, Revision: e.Revision, Previous: e.Previous,
		By: e.By, Reason: e.Reason, Message: e.Message, Commit: e.Commit, Errors: e.Diagnostics.Count(diag.Error), Diagnostics: diag.List{}}
	for _, d := range e.Diagnostics {
		if d.Severity == diag.Error && len(b.Diagnostics) < maxDiagnostics {
			b.Diagnostics = append(b.Diagnostics, d)
		}
	}
	n.add(item{id: b.ID, event: b.Type, revision: b.Revision, request: func() (*http.Request, error) { return n.request(b) }})
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

func (n *Notifier) request(b Body) (*http.Request, error) {
	body, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodPost, n.o.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(IDHeader, b.ID)
	r.Header.Set(TypeHeader, b.Type)
	if secret := n.secret(); len(secret) > 0 {
		r.Header.Set(SignatureHeader, Sign(secret, time.Now(), body))
	}
	return r, nil
}

// Sign is the value of SignatureHeader.
func Sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "%s.", t)
	h.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(h.Sum(nil))
}
