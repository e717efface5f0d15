package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// gateway is one registration.
type gateway struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Organization string    `json:"organization"`
	Environment  string    `json:"environment"`
	Master       string    `json:"master"` // the root of the organization
	Tags         []string  `json:"tags"`
	Created      time.Time `json:"created"`
	Updated      time.Time `json:"updated"`
	Deleted      time.Time `json:"deleted"` // zero: it is not
	Expires      time.Time `json:"expires"` // of its newest certificate
	Renewals     int       `json:"renewals"`

	// Of the request that made it, so that it may come again.
	IdempotencyKey string              `json:"idempotencyKey"`
	CSR            string              `json:"csr"`   // hash
	Token          string              `json:"token"` // hash
	Answer         anypoint.Registered `json:"answer"`
}

// replica is one host of a gateway, known by its reports.
type replica struct {
	Agent     string            `json:"agent"`
	ID        string            `json:"id"`
	Connected time.Time         `json:"connected"` // since it is seen without a gap
	Seen      time.Time         `json:"seen"`
	Expires   time.Time         `json:"expires"` // of the certificate that it showed
	Epochs    map[uint64]*epoch `json:"epochs"`
}

// epoch is what came of one ledger of a replica.
type epoch struct {
	Acked    uint64        `json:"acked"`             // the last one of a run from 1 without gaps
	Beyond   []uint64      `json:"beyond,omitempty"`  // what came after a gap; sorted
	Skipped  uint64        `json:"skipped,omitempty"` // numbers that never came: of batches that the sender had set aside
	Refused  uint64        `json:"refused,omitempty"` // batches for good
	Lost     anypoint.Lost `json:"lost"`
	Differed uint64        `json:"differed,omitempty"` // points whose delta was not what was added
}

// has says whether a batch was answered before.
func (e *epoch) has(seq uint64) bool {
	_, found := slices.BinarySearch(e.Beyond, seq)
	return seq <= e.Acked || found
}

// maxBeyond is how many batches after a gap are remembered. The points of more are kept, their numbers are not.
const maxBeyond = 1024

// take notes that a batch was answered. One that comes again after a gap shows that its sender has nothing to fill it with: senders go
// on only when a batch is acknowledged or set aside. Without this they would be asked for ever for what they set aside.
func (e *epoch) take(seq uint64) {
	if seq <= e.Acked {
		return
	}
	if i, again := slices.BinarySearch(e.Beyond, seq); again {
		e.Skipped += seq - e.Acked - uint64(i) - 1
		e.Acked, e.Beyond = seq, slices.Clone(e.Beyond[i+1:])
		e.run()
		return
	}
	if seq == e.Acked+1 {
		e.Acked = seq
		e.run()
	} else if len(e.Beyond) < maxBeyond {
		i, _ := slices.BinarySearch(e.Beyond, seq)
		e.Beyond = slices.Insert(slices.Clone(e.Beyond), i, seq)
	}
}

// run moves what follows without a gap.
func (e *epoch) run() {
	for len(e.Beyond) > 0 && e.Beyond[0] == e.Acked+1 {
		e.Acked, e.Beyond = e.Beyond[0], e.Beyond[1:]
	}
}

// clone is for who changes it: what is in the state is replaced whole.
func (r *replica) clone() *replica {
	c := *r
	c.Epochs = make(map[uint64]*epoch, len(r.Epochs))
	for n, e := range r.Epochs {
		e := *e
		e.Beyond = slices.Clone(e.Beyond)
		c.Epochs[n] = &e
	}
	return &c
}

// row is what one replica reported of one API and hour.
type row struct {
	Agent   string
	Replica string
	API     string
	Hour    int64 // seconds since 1970
}

func (r row) key() string {
	return strings.Join([]string{r.Agent, r.Replica, r.API, strconv.FormatInt(r.Hour, 10)}, "\t")
}

func parseRow(key string) (row, error) {
	parts := strings.Split(key, "\t")
	if len(parts) != 4 {
		return row{}, fmt.Errorf("no key of usage: %q", key)
	}
	hour, err := strconv.ParseInt(parts[3], 10, 64)
	return row{parts[0], parts[1], parts[2], hour}, err
}

// count is what was reported, up to now.
type count struct {
	Cumulative uint64 `json:"cumulative"`
	Final      bool   `json:"final,omitempty"`
}

// token is a credential that was handed out, under its hash.
type token struct {
	Kind         string    `json:"kind"` // access or registration
	Principal    string    `json:"principal"`
	Organization string    `json:"organization,omitempty"`
	Environment  string    `json:"environment,omitempty"`
	Expires      time.Time `json:"expires"`
	Used         bool      `json:"used,omitempty"`
}

// Call is how often something was asked and got an answer of one status; 0: the connection was cut.
type Call struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	Count  uint64 `json:"count"`
}

// Unexpected is what nothing in Local Mode asks for.
type Unexpected struct {
	Listener string    `json:"listener"` // control or ingest
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	Why      string    `json:"why"`
	Count    uint64    `json:"count"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

// clockAt is how the simulator's clock stands to that of the host.
type clockAt struct {
	Offset time.Duration `json:"offset"`
	Frozen *time.Time    `json:"frozen,omitempty"` // it stands still
}

// ports are those of the last run: a registration names them.
type ports struct {
	Control string `json:"control"`
	Ingest  string `json:"ingest"`
}

// state is all that the simulator knows. Only apply changes it.
type state struct {
	gateways   map[string]*gateway
	replicas   map[string]*replica // under agent/id
	usage      map[row]count
	tokens     map[string]token
	calls      map[string]Call
	unexpected map[string]Unexpected
	clock      clockAt
	ports      ports
	seed       *Seed
	options    *Tunables // set while it ran; nil: the seed's

	byKey map[string]*gateway // under their idempotency keys
}

func newState() *state {
	return &state{gateways: map[string]*gateway{}, replicas: map[string]*replica{}, usage: map[row]count{}, tokens: map[string]token{},
		calls: map[string]Call{}, unexpected: map[string]Unexpected{}, byKey: map[string]*gateway{}}
}

// The kinds of puts.
const (
	kindGateway    = "gateway"
	kindReplica    = "replica"
	kindUsage      = "usage"
	kindToken      = "token"
	kindCall       = "call"
	kindUnexpected = "unexpected"
	kindClock      = "clock"
	kindPorts      = "ports"
	kindSeed       = "seed"
	kindOptions    = "options"
)

func (st *state) apply(p put) error {
	switch p.Kind {
	case kindGateway:
		if err := set(st.gateways, p.Key, p.Value, func(b []byte) (*gateway, error) { return decoded[*gateway](b) }); err != nil {
			return err
		}
		if g := st.gateways[p.Key]; g != nil && g.IdempotencyKey != "" {
			st.byKey[g.IdempotencyKey] = g
		}
		return nil
	case kindReplica:
		return set(st.replicas, p.Key, p.Value, func(b []byte) (*replica, error) { return decoded[*replica](b) })
	case kindUsage:
		r, err := parseRow(p.Key)
		if err != nil {
			return err
		}
		return set(st.usage, r, p.Value, func(b []byte) (count, error) { return decoded[count](b) })
	case kindToken:
		return set(st.tokens, p.Key, p.Value, func(b []byte) (token, error) { return decoded[token](b) })
	case kindCall:
		return set(st.calls, p.Key, p.Value, func(b []byte) (Call, error) { return decoded[Call](b) })
	case kindUnexpected:
		return set(st.unexpected, p.Key, p.Value, func(b []byte) (Unexpected, error) { return decoded[Unexpected](b) })
	case kindClock:
		return json.Unmarshal(p.Value, &st.clock)
	case kindPorts:
		return json.Unmarshal(p.Value, &st.ports)
	case kindSeed:
		st.seed = nil
		return json.Unmarshal(p.Value, &st.seed)
	case kindOptions:
		st.options = nil
		return json.Unmarshal(p.Value, &st.options)
	}
	return fmt.Errorf("unknown kind %q: a newer simulator wrote this folder", p.Kind)
}

func decoded[T any](b []byte) (T, error) {
	var v T
	err := json.Unmarshal(b, &v)
	return v, err
}

func set[K comparable, V any](m map[K]V, key K, b []byte, decode func([]byte) (V, error)) error {
	if string(b) == "null" {
		delete(m, key)
		return nil
	}
	v, err := decode(b)
	if err == nil {
		m[key] = v
	}
	return err
}

// all is the state as puts, sorted.
func (st *state) all() []put {
	list := []put{value(kindClock, "", st.clock), value(kindPorts, "", st.ports)}
	if st.seed != nil {
		list = append(list, value(kindSeed, "", st.seed))
	}
	if st.options != nil {
		list = append(list, value(kindOptions, "", st.options))
	}
	list = append(list, puts(kindGateway, st.gateways)...)
	list = append(list, puts(kindReplica, st.replicas)...)
	list = append(list, puts(kindToken, st.tokens)...)
	list = append(list, puts(kindCall, st.calls)...)
	list = append(list, puts(kindUnexpected, st.unexpected)...)
	for r, c := range st.usage {
		list = append(list, value(kindUsage, r.key(), c))
	}
	slices.SortFunc(list, func(a, b put) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key)) })
	return list
}

func puts[V any](kind string, m map[string]V) []put {
	list := make([]put, 0, len(m))
	for k, v := range m {
		list = append(list, value(kind, k, v))
	}
	return list
}

// sortedGateways are those of an organization and environment, by name, then by when they were made; "" is any.
func (st *state) sortedGateways(org, env string) []*gateway {
	var list []*gateway
	for _, g := range st.gateways {
		if (org == "" || g.Organization == org) && (env == "" || g.Environment == env) {
			list = append(list, g)
		}
	}
	slices.SortFunc(list, func(a, b *gateway) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// replicasOf are the replicas of a gateway, by id.
func (st *state) replicasOf(agent string) []*replica {
	var list []*replica
	for _, r := range st.replicas {
		if r.Agent == agent {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *replica) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
