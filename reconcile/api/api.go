// Package api is how an operator and the command line talk to a running daemon: HTTP over a Unix socket, or from other hosts
// over mutual TLS, described by openapi.json.
//
// The permissions of the socket are the only guard. It decides nothing: a Daemon does.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/flexgw/flexgw/reconcile/egress"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

// SchemaVersion is that of openapi.json. Fields may be added to answers; a change of what is there makes the next.
const SchemaVersion = 1

// The results of an Outcome.
const (
	Programmed  = "Programmed"  // every connected Envoy serves it
	Accepted    = "Accepted"    // it is right, and not live: reason says why
	Invalid     = "Invalid"     // it has errors, and nothing changed
	Rejected    = "Rejected"    // Envoy refused it, and there is nothing to go back to
	RolledBack  = "RolledBack"  // Envoy refused it, or its probes or error rate spoke against it, and what was served before is served again
	ProofFailed = "ProofFailed" // its probes or its error rate speak against it, and there is nothing to go back to
	Pinned      = "Pinned"      // an operator went back to another revision, which is served until resume
	Waiting     = "Waiting"     // it is right, and is applied later: see Report.Waiting
	Superseded  = "Superseded"  // another revision came before Envoy had answered
)

// File is one file of declarations.
type File struct {
	Name    string `json:"name"` // slash-separated, as it is called in diagnostics
	Content []byte `json:"content"`
}

// ApplyRequest asks for declarations to be served.
type ApplyRequest struct {
	Files     []File `json:"files"`
	Base      string `json:"base,omitempty"`      // the revision that must be served before; "": any
	MaxDelete *int   `json:"maxDelete,omitempty"` // how many objects may go; absent: any number
	DryRun    bool   `json:"dryRun,omitempty"`
	By        string `json:"by,omitempty"`
	Wait      int    `json:"wait,omitempty"` // seconds to wait for Envoy; 0: 60
}

// RollbackRequest asks for an older revision.
type RollbackRequest struct {
	Revision string `json:"revision,omitempty"` // or a prefix of it; "": the one before
	By       string `json:"by,omitempty"`
	Wait     int    `json:"wait,omitempty"`
}

// SuspendRequest stops the following of the source.
type SuspendRequest struct {
	Seconds int64  `json:"seconds,omitempty"` // 0: until somebody resumes
	Reason  string `json:"reason"`
	By      string `json:"by,omitempty"`
}

// CordonRequest sets one Envoy aside.
type CordonRequest struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
	By     string `json:"by,omitempty"`
}

// UncordonRequest ends that.
type UncordonRequest struct {
	Node string `json:"node"`
	By   string `json:"by,omitempty"`
}

// OperatorRequest is the body of resume.
type OperatorRequest struct {
	By string `json:"by,omitempty"`
}

// SyncRequest has the source looked at now.
type SyncRequest struct {
	Revision string `json:"revision,omitempty"` // applied whatever it waits for; or six characters or more that it begins with; "": what the source has, when its time comes
	By       string `json:"by,omitempty"`
	Wait     int    `json:"wait,omitempty"` // seconds to wait for Envoy; 0: 60

	AllowRewrite string `json:"allowRewrite,omitempty"` // a commit that is taken once although it does not descend from the one before: its whole hash
}

// Held is an object that stays at its last good version.
type Held struct {
	Kind      string      `json:"kind"`
	Namespace string      `json:"namespace"`
	Name      string      `json:"name"`
	Place     *diag.Range `json:"place"` // in that version
}

// Outcome is what became of a request.
type Outcome struct {
	SchemaVersion int             `json:"schemaVersion"`
	Revision      string          `json:"revision"`
	Result        string          `json:"result"`
	Served        string          `json:"served"`   // the revision that is served now
	Previous      string          `json:"previous"` // with RolledBack: the one that is served again
	Reason        string          `json:"reason"`
	Message       string          `json:"message"`
	Diagnostics   diag.List       `json:"diagnostics"`
	Held          []Held          `json:"held"`
	Objects       []status.Object `json:"objects"`     // what is served now, and how far each of them got; none of a dry run
	List          status.Lister   `json:"-"`           // of the daemon's own outcome, in place of Objects
	Deleted       []string        `json:"deleted"`     // of an apply: what goes, as KIND NAMESPACE/NAME
	Changes       json.RawMessage `json:"changes"`     // of an apply: what it changes, as flexgw diff --output json has it; null when it is not valid
	ChangesText   string          `json:"changesText"` // the same for people
}

// Record is one line of the history.
type Record struct {
	At       time.Time      `json:"at"`
	Event    string         `json:"event"`
	Revision string         `json:"revision"`
	Previous string         `json:"previous"`
	By       string         `json:"by"`
	Reason   string         `json:"reason"`
	Message  string         `json:"message"`
	Commit   *source.Commit `json:"commit,omitempty"` // that Revision names; nil: it is no commit, or is not known
}

// History is the answer to GET /v1/history, the newest record first.
type History struct {
	SchemaVersion int      `json:"schemaVersion"`
	Kept          []string `json:"kept"` // revisions that rollback can go to, the newest first
	Records       []Record `json:"records"`
}

// The modes of an Egress.
const (
	EgressOpen      = "open"       // whom flags, the registration and accepted declarations name
	EgressStrict    = "strict"     // Anypoint alone
	EgressAirGapped = "air-gapped" // nobody
)

// Egress is the answer to GET /v1/egress: whom the daemon calls. What is not in it is refused before a name is looked up.
type Egress struct {
	SchemaVersion int                  `json:"schemaVersion"`
	Mode          string               `json:"mode"`
	Destinations  []egress.Destination `json:"destinations"` // sorted by purpose, host and reason
}

// The codes of an Error.
const (
	CodeBadRequest  = "bad-request"
	CodeFollows     = "follows-a-source"
	CodeSuspended   = "suspended"
	CodeStale       = "stale-plan"
	CodeNotKept     = "not-kept"
	CodeTooMany     = "too-many-deletions"
	CodeObserves    = "observes"
	CodeNoSource    = "no-source"
	CodeNotThere    = "not-in-source"
	CodeNoNode      = "no-such-node"
	CodeNotReported = "usage-not-reported" // some waits: the message says why
	CodeNoUsage     = "usage-not-counted"  // this daemon starts no Envoy whose requests it could count
	CodeNotSigned   = "usage-not-signed"   // by the registration in force
	CodeUnavailable = "unavailable"
)

// Error is why a request was not followed.
type Error struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Daemon does what is asked for. Errors that are no *Error are answered as unavailable.
type Daemon interface {
	Report() status.Report
	History(limit int) (History, error)
	Egress() Egress
	Apply(ctx context.Context, r ApplyRequest) (Outcome, error)
	Rollback(ctx context.Context, r RollbackRequest) (Outcome, error)
	Sync(ctx context.Context, r SyncRequest) (Outcome, error)
	Suspend(ctx context.Context, r SuspendRequest) error
	Resume(ctx context.Context, r OperatorRequest) error
	Cordon(ctx context.Context, r CordonRequest) error
	Uncordon(ctx context.Context, r UncordonRequest) error
	UsageDaemon
}

// maxBody bounds a request: all declarations of a large gateway, in base64.
const maxBody = 256 << 20

// Paths of the API.
const (
	StatusPath   = "/v1/status"
	HistoryPath  = "/v1/history"
	EgressPath   = "/v1/egress"
	ApplyPath    = "/v1/apply"
	RollbackPath = "/v1/rollback"
	SuspendPath  = "/v1/suspend"
	ResumePath   = "/v1/resume"
	SyncPath     = "/v1/sync"
	CordonPath   = "/v1/cordon"
	UncordonPath = "/v1/uncordon"
	SpecPath     = "/v1/openapi.json"
)

// Handler answers for a daemon.
func Handler(d Daemon) http.Handler {
	mux := http.NewServeMux()
	get(mux, StatusPath, func(*http.Request) (any, error) { return d.Report(), nil })
	get(mux, HistoryPath, func(r *http.Request) (any, error) {
		limit := 0
		if text := r.URL.Query().Get("limit"); text != "" {
			if _, err := fmt.Sscanf(text, "%d", &limit); err != nil || limit < 1 {
				return nil, &Error{http.StatusBadRequest, CodeBadRequest, fmt.Sprintf("limit %q: a whole number above 0 is expected", text)}
			}
		}
		return d.History(limit)
	})
	get(mux, EgressPath, func(*http.Request) (any, error) { return d.Egress(), nil })
	post(mux, ApplyPath, func(ctx context.Context, r ApplyRequest) (any, error) { return d.Apply(ctx, r) })
	post(mux, RollbackPath, func(ctx context.Context, r RollbackRequest) (any, error) { return d.Rollback(ctx, r) })
	post(mux, SyncPath, func(ctx context.Context, r SyncRequest) (any, error) { return d.Sync(ctx, r) })
	change(mux, SuspendPath, d, d.Suspend)
	change(mux, ResumePath, d, d.Resume)
	change(mux, CordonPath, d, d.Cordon)
	change(mux, UncordonPath, d, d.Uncordon)
	usageHandlers(mux, d)
	mux.HandleFunc("GET "+SpecPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(spec)
	})
	return mux
}

func get(mux *http.ServeMux, path string, f func(*http.Request) (any, error)) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		answer(w, r, v, err)
	})
}

// change answers with how things stand once a request is followed.
func change[T any](mux *http.ServeMux, path string, d Daemon, f func(context.Context, T) error) {
	post(mux, path, func(ctx context.Context, r T) (any, error) {
		err := f(ctx, r)
		return d.Report(), err
	})
}

func post[T any](mux *http.ServeMux, path string, f func(context.Context, T) (any, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, q *http.Request) {
		var body T
		in := json.NewDecoder(http.MaxBytesReader(w, q.Body, maxBody))
		in.DisallowUnknownFields()
		if err := in.Decode(&body); err != nil {
			answer(w, q, nil, &Error{http.StatusBadRequest, CodeBadRequest, "the body is no request of " + path + ": " + err.Error()})
			return
		}
		if _, err := unsettled(q); err != nil {
			answer(w, q, nil, err)
			return
		}
		v, err := f(q.Context(), body)
		answer(w, q, v, err)
	})
}

// The objects of an answer that are asked for with ?objects=.
const (
	allObjects       = "all"
	unsettledObjects = "unsettled" // those of which a condition is not True
)

// unsettled says whether these are all that is asked for.
func unsettled(r *http.Request) (bool, error) {
	switch want := r.URL.Query().Get("objects"); want {
	case "", allObjects:
		return false, nil
	case unsettledObjects:
		return true, nil
	default:
		return false, &Error{http.StatusBadRequest, CodeBadRequest, fmt.Sprintf("objects %q: %s and %s are expected", want, allObjects, unsettledObjects)}
	}
}

// answer writes a value or an error. Objects are made while they are written.
func answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	some, bad := unsettled(r)
	if err == nil {
		err = bad
	}
	code := http.StatusOK
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{http.StatusServiceUnavailable, CodeUnavailable, err.Error()}
		}
		v, code = e, e.Status
	}
	var objects status.Lister
	switch x := v.(type) {
	case status.Report:
		objects = listOf(x.List, x.Objects)
		x.List, x.Objects = nil, nil
		v = x.Lists()
	case Outcome:
		objects = listOf(x.List, x.Objects)
		x.List, x.Objects = nil, []status.Object{}
		v = x
	}
	if objects != nil {
		w.Header().Set("Content-Type", "application/json")
		_ = status.WriteJSON(w, v, objects(some)) // who asked is gone
		return
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(append(b, '\n'))
}

func listOf(list status.Lister, objects []status.Object) status.Lister {
	if list != nil {
		return list
	}
	return status.Listed(objects)
}

// Serve answers on l with h until ctx is done, then ends what is under way within a second. Connections speak HTTP/1.1 or
// HTTP/2, neither of them over a TLS of its own: l has seen to that.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(limit) != nil {
			s.Close()
		}
	})
	defer stop()
	if err := s.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API on %s: %w", l.Addr(), err)
	}
	return nil
}
