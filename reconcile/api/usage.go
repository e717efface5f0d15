package api

import (
	"context"
	"net/http"
	"time"

	"github.com/flexgw/flexgw/reconcile/status"
)

// Usage is what was counted, and how far it got on its way to the platform.
type Usage struct {
	SchemaVersion int                `json:"schemaVersion"`
	Condition     status.Condition   `json:"condition"`    // UsageReported
	Since         *time.Time         `json:"since"`        // that its status and reason are so; null: nobody knows
	NextTry       *time.Time         `json:"nextTry"`      // null: when there is something to report
	Registration  *UsageRegistration `json:"registration"` // that counts belong to now; null: none
	Requests      UsageRequests      `json:"requests"`
	Hours         []UsageHour        `json:"hours"` // of APIs, sorted by hour, API and registration
	NoAPI         []UsageHour        `json:"noApi"` // of requests on paths that are no API's, sorted by hour; never reported
	SetAside      []UsageBatch       `json:"setAside"`
	Alarms        []UsageAlarm       `json:"alarms"` // sorted by code
	Spool         UsageSpool         `json:"spool"`
}

// UsageRegistration is whom counts belong to.
type UsageRegistration struct {
	AgentID   string `json:"agentId"`
	AssetName string `json:"assetName"`
}

// UsageRequests are sums. Counted = Reported + Waiting + SetAside + GivenUp.
type UsageRequests struct {
	Counted      uint64 `json:"counted"` // of registered APIs
	Reported     uint64 `json:"reported"`
	Waiting      uint64 `json:"waiting"`
	SetAside     uint64 `json:"setAside"`
	GivenUp      uint64 `json:"givenUp"`      // that were set aside, and that somebody gave up: never reported
	Unregistered uint64 `json:"unregistered"` // of APIs, while there was no registration: never reported
	NoAPI        uint64 `json:"noApi"`
	Lost         uint64 `json:"lost"` // that there was no room for
}

// UsageHour is what an API was called in an hour.
type UsageHour struct {
	Hour      time.Time `json:"hour"`      // UTC
	API       string    `json:"api"`       // namespace/name; "": none
	AgentID   string    `json:"agentId"`   // "": there was no registration
	AssetName string    `json:"assetName"` // of the gateway of AgentID
	Counted   uint64    `json:"counted"`
	Reported  uint64    `json:"reported"`
	Waiting   uint64    `json:"waiting"`
	SetAside  uint64    `json:"setAside"`
	GivenUp   uint64    `json:"givenUp"`
	Final     bool      `json:"final"` // the hour is over, and a batch says so
}

// UsageBatch is a batch that the platform does not take.
type UsageBatch struct {
	AgentID   string `json:"agentId"`
	AssetName string `json:"assetName"`
	Seq       uint64 `json:"seq"`
	Requests  uint64 `json:"requests"`
	Why       string `json:"why"`
}

// UsageAlarm is something that somebody should look at.
type UsageAlarm struct {
	Code    string    `json:"code"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// UsageSpool is the ledger on disk.
type UsageSpool struct {
	ReplicaID string `json:"replicaId"`
	BootEpoch uint64 `json:"bootEpoch"`
	LastSeq   uint64 `json:"lastSeq"`
	AckedSeq  uint64 `json:"ackedSeq"`
	Batches   int    `json:"batches"` // that wait
	Bytes     int64  `json:"bytes"`
	MaxBytes  int64  `json:"maxBytes"`
}

// UsageFlushRequest has all usage reported now.
type UsageFlushRequest struct {
	Wait int `json:"wait,omitempty"` // seconds; 0: 60
}

// UsageExportRequest asks for a bundle to be carried by hand.
type UsageExportRequest struct {
	AgentID string `json:"agentId,omitempty"` // of the registration whose usage it is; "": the one in force. Only that one's is signed
}

// UsageBundle is that bundle. Without anything to export, Name is empty.
type UsageBundle struct {
	Name     string `json:"name"`    // of the file
	Content  []byte `json:"content"` // a gzipped tar
	Batches  int    `json:"batches"`
	Requests uint64 `json:"requests"`
	Signed   bool   `json:"signed"`
}

// UsageAckRequest brings back what became of a bundle.
type UsageAckRequest struct {
	Content  []byte `json:"content"` // the acknowledgement, as flexgw usage import wrote it
	Unsigned bool   `json:"unsigned,omitempty"`
	// The registration that it is for; "": the one in force. Without its certificate (DER) it must be Unsigned.
	AgentID     string `json:"agentId,omitempty"`
	Certificate []byte `json:"certificate,omitempty"`
}

// UsageForgetRequest gives up batches that were set aside: the platform will never have them.
type UsageForgetRequest struct {
	BootEpoch uint64   `json:"bootEpoch"` // of the ledger that they were shown of
	Seqs      []uint64 `json:"seqs"`
}

// UsageDaemon is the part of a Daemon that is about usage.
type UsageDaemon interface {
	Usage() (Usage, error)
	FlushUsage(ctx context.Context, r UsageFlushRequest) (Usage, error)
	ExportUsage(ctx context.Context, r UsageExportRequest) (UsageBundle, error)
	AckUsage(ctx context.Context, r UsageAckRequest) (Usage, error)
	ForgetUsage(ctx context.Context, r UsageForgetRequest) (Usage, error)
}

// Paths of it.
const (
	UsagePath       = "/v1/usage"
	UsageFlushPath  = "/v1/usage/flush"
	UsageExportPath = "/v1/usage/export"
	UsageAckPath    = "/v1/usage/ack"
	UsageForgetPath = "/v1/usage/forget"
)

func usageHandlers(mux *http.ServeMux, d UsageDaemon) {
	get(mux, UsagePath, func(*http.Request) (any, error) { return d.Usage() })
	post(mux, UsageFlushPath, func(ctx context.Context, r UsageFlushRequest) (any, error) { return d.FlushUsage(ctx, r) })
	post(mux, UsageExportPath, func(ctx context.Context, r UsageExportRequest) (any, error) { return d.ExportUsage(ctx, r) })
	post(mux, UsageAckPath, func(ctx context.Context, r UsageAckRequest) (any, error) { return d.AckUsage(ctx, r) })
	post(mux, UsageForgetPath, func(ctx context.Context, r UsageForgetRequest) (any, error) { return d.ForgetUsage(ctx, r) })
}

// Usage is what was counted, and how far it got.
func (c Client) Usage(ctx context.Context) (u Usage, err error) {
	return u, c.call(ctx, http.MethodGet, UsagePath, nil, &u)
}

// FlushUsage has all usage reported now, and returns when it is acknowledged. An *Error of CodeNotReported says why it is not.
func (c Client) FlushUsage(ctx context.Context, r UsageFlushRequest) (u Usage, err error) {
	return u, c.call(ctx, http.MethodPost, UsageFlushPath, r, &u)
}

// ExportUsage puts what is not reported into a bundle.
func (c Client) ExportUsage(ctx context.Context, r UsageExportRequest) (b UsageBundle, err error) {
	return b, c.call(ctx, http.MethodPost, UsageExportPath, r, &b)
}

// AckUsage says what became of a bundle.
func (c Client) AckUsage(ctx context.Context, r UsageAckRequest) (u Usage, err error) {
	return u, c.call(ctx, http.MethodPost, UsageAckPath, r, &u)
}

// ForgetUsage gives up batches that were set aside. Those that are not there (any more) are passed over.
func (c Client) ForgetUsage(ctx context.Context, r UsageForgetRequest) (u Usage, err error) {
	return u, c.call(ctx, http.MethodPost, UsageForgetPath, r, &u)
}
