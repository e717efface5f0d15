package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/flexgw/flexgw/cli/review"
	"github.com/flexgw/flexgw/reconcile"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/reconcile/status"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/diff"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// What the daemon answers on its socket.
var _ api.Daemon = (*daemon)(nil)

// Report implements api.Daemon.
func (d *daemon) Report() status.Report {
	r := d.loop.Report()
	d.knownCommit(&r)
	r.Remote = d.git.remote()
	r.Requires = d.required()
	r.Conditions = append(append(d.shared(r.Conditions), d.registered()), d.usageReported()...)
	r.Daemon = d.self
	r.Refused = slices.Concat(d.remote.refusedPeers(), d.apiDoor.refusedPeers())
	return r
}

// historyLimit is how many records are sent when nobody says how many.
const historyLimit = 50

// History implements api.Daemon.
func (d *daemon) History(limit int) (api.History, error) {
	if limit == 0 {
		limit = historyLimit
	}
	records, err := d.scribe.history(limit)
	if err != nil {
		return api.History{}, err
	}
	kept, err := d.last.Revisions()
	if err != nil {
		return api.History{}, err
	}
	h := api.History{SchemaVersion: api.SchemaVersion, Kept: kept, Records: make([]api.Record, len(records))}
	for i, r := range records {
		h.Records[i] = api.Record(r)
	}
	return h, nil
}

// waitFor bounds how long a request waits for Envoy, in seconds; 0: the usual time.
func waitFor(ctx context.Context, seconds int) (context.Context, context.CancelFunc) {
	const usual, most = 60, 3600
	if seconds <= 0 {
		seconds = usual
	}
	return context.WithTimeout(ctx, time.Duration(min(seconds, most))*time.Second)
}

// Apply implements api.Daemon.
func (d *daemon) Apply(ctx context.Context, r api.ApplyRequest) (api.Outcome, error) {
	if len(r.Files) == 0 {
		return api.Outcome{}, &api.Error{Status: http.StatusBadRequest, Code: api.CodeBadRequest, Message: "no files"}
	}
	files := make([]source.File, len(r.Files))
	for i, f := range r.Files {
		files[i] = source.NewFile(f.Name, f.Content)
	}
	set := source.NewSet(files)
	ctx, cancel := waitFor(ctx, r.Wait)
	defer cancel()
	try, err := d.try(ctx, set)
	if err != nil {
		return api.Outcome{}, refusal(err)
	}
	out := try.answer(set)
	switch {
	case r.Base != "" && r.Base != cmp.Or(try.served, reconcile.Nothing):
		return out, refusal(fmt.Errorf("%w (made for %s, served is %s)", reconcile.ErrStale, r.Base, try.served))
	case try.list.HasErrors():
		out.Result, out.Message = api.Invalid, firstOf(try.list)
		return out, nil
	case r.MaxDelete != nil && len(try.deleted) > *r.MaxDelete:
		return out, &api.Error{Status: http.StatusConflict, Code: api.CodeTooMany, Message: fmt.Sprintf(
			"%s would be deleted, and %d may be: %s", objects(len(try.deleted)), *r.MaxDelete, some(out.Deleted))}
	case r.DryRun:
		out.Result, out.Reason = api.Accepted, "DryRun"
		return out, nil
	}
	done, err := d.loop.Apply(ctx, set, cmp.Or(try.served, reconcile.Nothing), r.By)
	if err != nil {
		return out, refusal(err)
	}
	return d.outcome(done, out), nil
}

func objects(n int) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}

// some names the first of a list.
func some(list []string) string {
	const shown = 5
	if len(list) <= shown {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:shown], ", "), len(list)-shown)
}

// trial is what a set would change.
type trial struct {
	served  string // the revision that it was compared with
	list    diag.List
	deleted []diag.Object
	changes review.Diff
}

// try compares a set with what is served.
func (d *daemon) try(ctx context.Context, set source.Set) (t trial, err error) {
	err = d.loop.Try(ctx, set, func(served source.Set, now, next reconcile.Built, list diag.List) {
		d.want(d.served) // what the trial needed is not needed
		t.served, t.list = served.Revision, list
		if list.HasErrors() {
			return
		}
		t.deleted = reconcile.Deleted(now.Gateway, next.Gateway)
		t.changes = review.Diff{Old: review.Side{Label: "served", Revision: served.Revision}, New: review.Side{Label: "applied", Revision: set.Revision}}
		t.changes.Found = diff.Compare(d.side(d.scribe.kept(served), now), d.side(set, next), all.Catalog{})
	})
	return t, err
}

// side is one side of a comparison; what is not built declares nothing.
func (d *daemon) side(set source.Set, b reconcile.Built) diff.Side {
	if b.Gateway == nil {
		return diff.Side{Gateway: &ir.Gateway{Settings: &ir.Settings{}}, Resources: &render.Resources{}}
	}
	root := commonFolder(set.Files)
	files := make([]diff.File, len(set.Files))
	for i, f := range set.Files {
		files[i] = diff.File{Name: f.Name, Path: strings.TrimPrefix(f.Name, root), Hash: f.Hash}
	}
	o := d.pipeline.load
	o.Memo = nil
	return diff.Side{Gateway: b.Gateway, Resources: b.Resources, Files: files, Documents: func(wanted func(string) bool) []ir.Document { return schema.Documents(set, o, wanted) }}
}

// commonFolder is the folder that all files are in, with its slash; "": none. An apply names files as its arguments did, and a
// source as they are called below it.
func commonFolder(files []source.File) string {
	if len(files) == 0 {
		return ""
	}
	root, _ := path.Split(files[0].Name)
	for _, f := range files {
		for root != "" && !strings.HasPrefix(f.Name, root) {
			root, _ = path.Split(strings.TrimSuffix(root, "/"))
		}
	}
	return root
}

func (t trial) answer(set source.Set) api.Outcome {
	out := api.Outcome{SchemaVersion: api.SchemaVersion, Revision: set.Revision, Served: t.served, Diagnostics: t.list, Held: []api.Held{}, Objects: []status.Object{}, Deleted: []string{}}
	for _, o := range t.deleted {
		out.Deleted = append(out.Deleted, o.String())
	}
	if t.changes.Found != nil {
		var b, text bytes.Buffer
		if t.changes.Write(&b, "json") == nil {
			out.Changes = b.Bytes()
		}
		if t.changes.Write(&text, "text") == nil {
			out.ChangesText = text.String()
		}
	}
	return out
}

func firstOf(list diag.List) string {
	for _, x := range list {
		if x.Severity == diag.Error {
			return x.String()
		}
	}
	return ""
}

// outcome adds to an answer what became of it.
func (d *daemon) outcome(o reconcile.Outcome, out api.Outcome) api.Outcome {
	out.SchemaVersion, out.Revision, out.Result, out.Previous, out.Reason, out.Message = api.SchemaVersion, o.Revision, string(o.Result), o.Previous, o.Reason, o.Message
	if o.Diagnostics != nil || out.Diagnostics == nil {
		out.Diagnostics = append(diag.List{}, o.Diagnostics...)
	}
	out.Held = []api.Held{}
	for _, h := range o.Held {
		out.Held = append(out.Held, api.Held{Kind: h.Object.Kind, Namespace: h.Object.Namespace, Name: h.Object.Name, Place: status.Place(h.Place)})
	}
	if out.Deleted == nil {
		out.Deleted = []string{}
	}
	out.Served, out.List = d.loop.Objects()
	return out
}

// Rollback implements api.Daemon.
func (d *daemon) Rollback(ctx context.Context, r api.RollbackRequest) (api.Outcome, error) {
	ctx, cancel := waitFor(ctx, r.Wait)
	defer cancel()
	o, err := d.loop.Rollback(ctx, r.Revision, r.By)
	if err != nil {
		return api.Outcome{}, refusal(err)
	}
	return d.outcome(o, api.Outcome{}), nil
}

// Sync implements api.Daemon.
func (d *daemon) Sync(ctx context.Context, r api.SyncRequest) (api.Outcome, error) {
	ctx, cancel := waitFor(ctx, r.Wait)
	defer cancel()
	if r.AllowRewrite != "" {
		if err := d.allowRewrite(r.AllowRewrite); err != nil {
			return api.Outcome{}, err
		}
	}
	o, err := d.loop.Sync(ctx, r.Revision, r.By)
	if err == nil && r.AllowRewrite != "" {
		err = d.notTheHead(ctx, r.AllowRewrite)
	}
	if err != nil {
		return api.Outcome{}, refusal(err)
	}
	return d.outcome(o, api.Outcome{}), nil
}

// Suspend implements api.Daemon.
func (d *daemon) Suspend(ctx context.Context, r api.SuspendRequest) error {
	if r.Seconds < 0 {
		return &api.Error{Status: http.StatusBadRequest, Code: api.CodeBadRequest, Message: fmt.Sprintf("seconds %d: a number above 0 is expected, or 0 for no end", r.Seconds)}
	}
	var until time.Time
	if r.Seconds > 0 {
		until = time.Now().Add(time.Duration(r.Seconds) * time.Second)
	}
	return refusal(d.loop.Suspend(ctx, until, r.Reason, r.By))
}

// Resume implements api.Daemon.
func (d *daemon) Resume(ctx context.Context, r api.OperatorRequest) error {
	return refusal(d.loop.Resume(ctx, r.By))
}

// Cordon implements api.Daemon.
func (d *daemon) Cordon(ctx context.Context, r api.CordonRequest) error {
	if r.Node == "" || r.Reason == "" {
		return &api.Error{Status: http.StatusBadRequest, Code: api.CodeBadRequest, Message: "a node and a reason are expected"}
	}
	return refusal(d.loop.Cordon(ctx, r.Node, r.Reason, r.By))
}

// Uncordon implements api.Daemon.
func (d *daemon) Uncordon(ctx context.Context, r api.UncordonRequest) error {
	return refusal(d.loop.Uncordon(ctx, r.Node, r.By))
}

// refusal gives an error of the loop the code that the API has for it.
func refusal(err error) error {
	for _, x := range []struct {
		is     error
		status int
		code   string
	}{
		{reconcile.ErrFollows, http.StatusConflict, api.CodeFollows},
		{reconcile.ErrSuspended, http.StatusConflict, api.CodeSuspended},
		{reconcile.ErrStale, http.StatusConflict, api.CodeStale},
		{reconcile.ErrNoPast, http.StatusNotFound, api.CodeNotKept},
		{reconcile.ErrObserves, http.StatusConflict, api.CodeObserves},
		{reconcile.ErrNoSource, http.StatusConflict, api.CodeNoSource},
		{reconcile.ErrNoNode, http.StatusNotFound, api.CodeNoNode},
		{reconcile.ErrNotThere, http.StatusNotFound, api.CodeNotThere},
	} {
		if errors.Is(err, x.is) {
			return &api.Error{Status: x.status, Code: x.code, Message: err.Error()}
		}
	}
	return err
}

// told follows what the loop did: problems are shown where the operator looks, and what must not be forgotten is written.
func (d *daemon) told(e reconcile.Event) {
	d.scribe.event(e)
	d.watchers.event(e)
	d.unit.event(e)
	switch e.Type {
	case reconcile.HeldBack:
		if e.Reason == "Rejected" {
			break // the refusal was shown, and the log says what is held
		}
		fallthrough
	case reconcile.Invalid, reconcile.Rejected, reconcile.ProofFailed:
		d.show(e.Set, slices.DeleteFunc(slices.Clone(e.Diagnostics), func(x diag.Diagnostic) bool { return x.Severity != diag.Error && !d.verbose }))
	}
}

func (d *daemon) remember(c reconcile.Control) { d.scribe.remember(c) }

// remembered is what operators asked for before this process began.
func (d *daemon) remembered() (c reconcile.Control) {
	if err := d.last.Recall("control", &c); err != nil {
		d.log.Error("what operators asked for is forgotten", "error", err)
	}
	return c
}

// lastGood is what was served before this process began.
func (d *daemon) lastGood() []source.Set {
	sets, err := d.last.Load()
	if err != nil {
		d.log.Error("a kept revision is not used", "error", err)
	}
	return sets
}

// heldAt is what objects were held at before this process began.
func (d *daemon) heldAt() source.Set {
	set, err := d.last.HeldAt()
	if err != nil {
		d.log.Error("objects may be held at older versions than before", "error", err)
	}
	return set
}
