package sim

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// Bounds of what is kept, whatever is sent.
const (
	maxUnpacked = 16 << 20  // bytes of one batch
	maxPoints   = 10_000    // of one batch
	maxRows     = 1_000_000 // of usage in all
	maxReplicas = 10_000    // in all
	maxEpochs   = 16        // of a replica; the oldest gives way
	maxCount    = 1 << 50   // of one hour: sums stay exact
)

var errTooLarge = errors.New("too large")

// metering takes a batch of usage. The path is real [C], the body is invented. It takes the lock when it has read.
func (s *Sim) metering(q *query) answer {
	g, a := s.agent(q)
	if a != nil {
		return *a
	}
	body, err := unpack(q.body, q.Header.Get("Content-Encoding"))
	var b *anypoint.Batch
	if err == nil {
		b, err = decodeBatch(q.Header.Get("Content-Type"), body)
	}
	switch {
	case errors.Is(err, errTooLarge):
		return failure(http.StatusRequestEntityTooLarge, err.Error())
	case err != nil:
		return failure(http.StatusBadRequest, err.Error())
	case b.AgentID != g.ID:
		return failure(http.StatusForbidden, "agentId: it is not that of the client certificate")
	}
	err = checkBatch(b, q.Header.Get(anypoint.IdempotencyKey))
	if err == nil {
		err = checkTimes(body)
	}
	if err == nil && b.AssetName != g.Name {
		err = fmt.Errorf("assetName: %q is expected, the name that was registered", g.Name)
	}
	if err == nil && b.MeteringSchemaID != meteringSchemaID {
		err = fmt.Errorf("meteringSchemaId: %s is expected, as the registration has it", meteringSchemaID)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.state.gateways[g.ID]; !now.Deleted.IsZero() {
		return failure(http.StatusForbidden, gatewayDeleted)
	}
	return s.account(q, b, err)
}

// agent is the gateway whose certificate a call shows.
func (s *Sim) agent(q *query) (*gateway, *answer) {
	deny := func(status int, message string) (*gateway, *answer) {
		a := failure(status, message)
		return nil, &a
	}
	cert := q.peer
	if q.now.After(cert.NotAfter) { // the connection is older
		g, a := deny(http.StatusUnauthorized, "the client certificate has expired")
		a.header.Set("Connection", "close")
		return g, a
	}
	id, _, _ := strings.Cut(cert.Subject.CommonName, ".")
	san := func(name string) string {
		for _, n := range cert.DNSNames {
			if v, ok := strings.CutPrefix(n, name+"="); ok {
				return v
			}
		}
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.state.gateways[id]
	switch {
	case !slices.Contains(cert.DNSNames, "offline"):
		return deny(http.StatusForbidden, "the client certificate is none of Local Mode: it has no name \"offline\"")
	case g == nil:
		return deny(http.StatusForbidden, "the client certificate is of no gateway here")
	case san("org") != g.Organization || san("env") != g.Environment:
		return deny(http.StatusForbidden, "the client certificate is of another organization or environment")
	case !g.Deleted.IsZero():
		return deny(http.StatusForbidden, gatewayDeleted)
	}
	return g, nil
}

func unpack(b []byte, encoding string) ([]byte, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return b, nil
	case "gzip":
	default:
		return nil, fmt.Errorf("Content-Encoding: gzip or none is expected, it is %q", clip(encoding))
	}
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("the body is no gzip: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("the body is no gzip: %w", err)
	}
	if len(out) > maxUnpacked {
		return nil, fmt.Errorf("%w: the batch has more than %d bytes", errTooLarge, maxUnpacked)
	}
	return out, nil
}

// fieldsOf are all that an object of a batch has, and each must be there: what nobody asked for does not leave a host.
func fieldsOf(path string) []string {
	switch path {
	case "":
		return []string{"schema", "meteringSchemaId", "agentId", "assetName", "replicaId", "bootEpoch", "seq", "batchId", "createdAt", "points", "lost"}
	case "points[]":
		return []string{"meter", "apiInstance", "hourStart", "delta", "cumulative", "final"}
	case "lost":
		return []string{"points", "apiCalls"}
	}
	return nil
}

// checkTimes says which time of a batch that was read is written in another way than it is to be: as UTC with Z, and hours whole.
func checkTimes(body []byte) error {
	var b struct {
		CreatedAt string `json:"createdAt"`
		Points    []struct {
			HourStart string `json:"hourStart"`
		} `json:"points"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return err
	}
	if !strings.HasSuffix(b.CreatedAt, "Z") {
		return errors.New("createdAt: a time in UTC is expected, with Z")
	}
	for i, p := range b.Points {
		if !strings.HasSuffix(p.HourStart, ":00:00Z") {
			return fmt.Errorf("points[%d].hourStart: the start of an hour in UTC is expected, as :00:00Z", i)
		}
	}
	return nil
}

// decodeBatch reads a batch to the letter: other names (or these in other letters), names that come twice, and what follows it are
// refused. encoding/json would take them.
func decodeBatch(contentType string, b []byte) (*anypoint.Batch, error) {
	if kind, _, _ := mime.ParseMediaType(contentType); kind != "application/json" {
		return nil, fmt.Errorf("Content-Type: application/json is expected, it is %q", clip(contentType))
	}
	var batch anypoint.Batch
	if err := strict(b, &batch); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := exact(d, ""); err != nil {
		return nil, err
	}
	if len(batch.Points) > maxPoints {
		return nil, fmt.Errorf("%w: the batch has more than %d points", errTooLarge, maxPoints)
	}
	return &batch, nil
}

// exact reads one value, and holds the names of objects against fieldsOf.
func exact(d *json.Decoder, path string) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('['):
		for d.More() {
			if err := exact(d, path+"[]"); err != nil {
				return err
			}
		}
		_, err = d.Token()
		return err
	case json.Delim('{'):
	default:
		switch {
		case fieldsOf(path) != nil: // null is no object
			return fmt.Errorf("the body: an object is expected at %q", path)
		case t == nil:
			return fmt.Errorf("the body: a value is expected at %q", path)
		}
		return nil
	}
	want := fieldsOf(path)
	seen := make([]bool, len(want))
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
		i := slices.Index(want, name)
		if i < 0 {
			return fmt.Errorf("the body: unknown field %q", clip(name))
		}
		if seen[i] {
			return fmt.Errorf("the body: %q comes twice", name)
		}
		seen[i] = true
		inner := name
		if path != "" {
			inner = path + "." + name
		}
		if err := exact(d, inner); err != nil {
			return err
		}
	}
	if i := slices.Index(seen, false); i >= 0 {
		return fmt.Errorf("the body: %q is missing", strings.TrimPrefix(path+"."+want[i], "."))
	}
	_, err = d.Token()
	return err
}

// checkBatch says what is wrong with what a batch says: what its fields may have at all is said in one place, for who sends it too, and here
// what they must have together, and how much the simulator can add up.
func checkBatch(b *anypoint.Batch, idempotencyKey string) error {
	if err := b.Check(); err != nil {
		return err
	}
	switch {
	case b.BatchID != anypoint.BatchID(b.AgentID, b.ReplicaID, b.BootEpoch, b.Seq):
		return errors.New("batchId: the SHA-256 of agentId, replicaId, bootEpoch and seq is expected")
	case idempotencyKey != b.BatchID:
		return errors.New("the header Idempotency-Key: the batchId is expected")
	case b.Lost.Points > maxCount || b.Lost.APICalls > maxCount:
		return errors.New("lost: more than anybody can have counted")
	}
	for i, p := range b.Points {
		switch {
		case p.Cumulative > maxCount:
			return fmt.Errorf("points[%d].cumulative: more than anybody can count in an hour", i)
		case p.Delta > p.Cumulative:
			return fmt.Errorf("points[%d].delta: it is more than cumulative", i)
		}
	}
	return nil
}

// account adds a batch to what is known. wrong is why its content is refused for good: its number is settled all the same, for
// whoever sent it goes on with the next.
func (s *Sim) account(q *query, b *anypoint.Batch, wrong error) answer {
	if !isUUID(b.ReplicaID) || b.Seq == 0 { // nobody knows whose number it is
		return failure(http.StatusBadRequest, wrong.Error())
	}
	key := b.AgentID + "/" + b.ReplicaID
	before := s.state.replicas[key]
	if before == nil && len(s.state.replicas) >= maxReplicas {
		return failure(http.StatusServiceUnavailable, fmt.Sprintf("the simulator knows %d replicas, and takes no more: remove its folder", maxReplicas))
	}
	r := &replica{Agent: b.AgentID, ID: b.ReplicaID, Connected: q.now, Epochs: map[uint64]*epoch{}}
	if before != nil {
		r = before.clone()
		if before.status(q.now) != connected {
			r.Connected = q.now
		}
	}
	r.Seen, r.Expires = later(r.Seen, q.now), q.peer.NotAfter
	e := r.Epochs[b.BootEpoch]
	if e == nil {
		e = r.begin(b.BootEpoch, s.begun(b))
	}
	came := e.has(b.Seq)
	settled := e.Acked
	e.take(b.Seq)
	var rows []put
	if wrong == nil {
		rows = s.rows(b, e, came)
		if len(s.state.usage)+len(rows) > maxRows {
			return failure(http.StatusServiceUnavailable, fmt.Sprintf("the simulator has %d rows of usage, and takes no more: remove its folder", maxRows))
		}
		if !came {
			e.Lost.Points += b.Lost.Points
			e.Lost.APICalls += b.Lost.APICalls
		}
	} else if !came {
		e.Refused++
	}
	// One that came before and has nothing new writes nothing but when it was seen, and that not each time.
	changed := !came || e.Acked != settled || len(rows) > 0
	if changed || before == nil || q.now.Sub(before.Seen) >= time.Second {
		if err := s.commit(changed, append(rows, value(kindReplica, key, r))...); err != nil {
			return cannotWrite(err)
		}
	}
	switch ack := (anypoint.Ack{Accepted: true, AckedSeq: e.Acked}); {
	case wrong != nil:
		return failure(http.StatusBadRequest, wrong.Error())
	case came && s.options().Duplicates == http.StatusConflict:
		return reply(http.StatusConflict, map[string]any{"status": http.StatusConflict, "message": "already accepted", "accepted": true, "ackedSeq": ack.AckedSeq})
	case came:
		return reply(http.StatusOK, ack)
	default:
		return reply(http.StatusAccepted, ack)
	}
}

// begin is a ledger that was not heard of. The oldest gives way to it.
func (r *replica) begin(n, acked uint64) *epoch {
	if len(r.Epochs) >= maxEpochs {
		oldest := uint64(math.MaxUint64)
		for old := range r.Epochs {
			oldest = min(oldest, old)
		}
		delete(r.Epochs, oldest)
	}
	e := &epoch{Acked: acked}
	r.Epochs[n] = e
	return e
}

// begun is up to which batch a ledger was acknowledged when its host had another registration: its numbers go on.
func (s *Sim) begun(b *anypoint.Batch) uint64 {
	acked := uint64(0)
	for _, r := range s.state.replicas {
		if r.ID == b.ReplicaID && r.Agent != b.AgentID && r.Epochs[b.BootEpoch] != nil && r.Epochs[b.BootEpoch].Acked < b.Seq {
			acked = max(acked, r.Epochs[b.BootEpoch].Acked)
		}
	}
	return acked
}

// rows are the counts that a batch raises. The greatest is kept, so batches may come twice, and in any order.
func (s *Sim) rows(b *anypoint.Batch, e *epoch, came bool) []put {
	raised := map[row]count{}
	for _, p := range b.Points {
		k := row{b.AgentID, b.ReplicaID, p.APIInstance, p.HourStart.Unix()}
		have, ok := raised[k]
		if !ok {
			have = s.state.usage[k]
		}
		if !came && have.Cumulative+p.Delta != p.Cumulative {
			e.Differed++
		}
		next := count{max(have.Cumulative, p.Cumulative), have.Final || p.Final}
		if _, known := s.state.usage[k]; next != have || !known && next != (count{}) {
			raised[k] = next
		}
	}
	list := make([]put, 0, len(raised))
	for k, c := range raised {
		list = append(list, value(kindUsage, k.key(), c))
	}
	return list
}
