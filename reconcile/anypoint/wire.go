// Package anypoint is the platform as a gateway in Local Mode meets it: registration, and reports of usage.
//
// It has the client of both, the registration file, and what goes over the wire. It counts nothing (reconcile/usage does), and opens
// no connection itself: its clients come from reconcile/egress.
//
// Each type says where it is from. [D] is documented by the vendor, [C] was seen in the vendor's own clients, [I] is inferred from
// these. What nobody outside the vendor knows is invented, and named so: it is spoken to a server that says that it is a simulator,
// and to no other.
package anypoint

import (
	"crypto/sha256"
	"fmt"
	"time"
)

// Paths of the platform below its base URL, https://anypoint.mulesoft.com or https://eu1.anypoint.mulesoft.com. %s are the ids of
// an organization and, after it, of an environment, a gateway.
const (
	PathLogin         = "/accounts/login"                                                          // [C]
	PathToken         = "/accounts/api/v2/oauth2/token"                                            // [D]
	PathMe            = "/accounts/api/me"                                                         // [C]
	PathOrganization  = "/accounts/api/organizations/%s"                                           // [C]
	PathEnvironments  = "/accounts/api/organizations/%s/environments"                              // [C]
	PathEnvironment   = "/accounts/api/organizations/%s/environments/%s"                           // [C]
	PathGatewayTokens = "/standalone/api/v1/organizations/%s/environments/%s/gatewaytokens"        // [C]
	PathGateways      = "/standalone/api/v1/organizations/%s/environments/%s/gateways"             // [C]
	PathGateway       = "/standalone/api/v1/organizations/%s/environments/%s/gateways/%s"          // [C]
	PathReplicas      = "/standalone/api/v1/organizations/%s/environments/%s/gateways/%s/replicas" // [C]
	PathRegistrations = "/amc/registration-facade/api/v1/registrations"                            // base [C], the rest invented
	PathRenewals      = "/amc/registration-facade/api/v1/registrations/%s/renewals"                // base [C], the rest invented; %s: the agent's id
	PathMetering      = "/ingestion/api/v1/metering"                                               // [C]; a sender takes it from the registration
	PathHello         = "/flexgw-sim/v1/hello"                                                     // invented
)

// The simulator says with this header, in each of its answers, that it understands what is invented here.
const (
	WireHeader = "X-Flexgw-Wire"
	WireSim    = "sim/1"
)

// Headers of requests [C] (beside Authorization: Bearer).
const (
	HeaderOrganization = "X-ANYPNT-ORG-ID"
	HeaderEnvironment  = "X-ANYPNT-ENV-ID"
)

// Values of the field "schema" of bodies that are invented.
const (
	RegistrationSchema = "flexgw.registration/v1alpha1"
	UsageSchema        = "flexgw.usage/v1alpha1"
)

// Meter is the name under which calls of APIs are reported: from one client of a third party [S].
const Meter = "flex_api_call_count"

// LoginRequest is the body of PathLogin [C].
type LoginRequest struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// TokenRequest is the body of PathToken [D]. Username and Password belong to GrantType "password" alone.
type TokenRequest struct {
	GrantType    string `json:"grant_type"` // client_credentials or password
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Username     string `json:"username,omitempty"`
	Password     string `json:"password,omitempty"`
}

// AccessToken is what PathLogin and PathToken answer. A login that wants a second factor has URL and Body in its place [C].
type AccessToken struct {
	AccessToken string `json:"access_token,omitempty"`
	TokenType   string `json:"token_type,omitempty"`
	ExpiresIn   int    `json:"expires_in,omitempty"` // seconds; PathToken alone
	RedirectURL string `json:"redirectUrl,omitempty"`
	URL         string `json:"url,omitempty"`
	Body        string `json:"body,omitempty"`
}

// GatewayToken is what PathGatewayTokens answers to an empty POST [C]. It lives for four hours [D].
type GatewayToken struct {
	RegistrationToken string `json:"registrationToken"`
}

// RegisterRequest is the body of PathRegistrations. Invented; authorized by a registration token.
type RegisterRequest struct {
	Schema         string `json:"schema"` // RegistrationSchema
	Name           string `json:"name"`
	Mode           string `json:"mode"`           // local
	CSR            string `json:"csr"`            // PEM of PKCS#10, RSA of 2048 bits or more
	IdempotencyKey string `json:"idempotencyKey"` // UUID: the same key and CSR get the same answer; the same key and another CSR 409
}

// RenewRequest is the body of PathRenewals. Invented; authorized by an access token, not a registration token.
type RenewRequest struct {
	Schema     string `json:"schema"`
	CSR        string `json:"csr"`
	UpdateURLs bool   `json:"updateUrls"`
}

// Registered is what PathRegistrations (201, 200 when repeated) and PathRenewals (200) answer. Invented, with the names of the
// registration file where these exist. A renewal without UpdateURLs has no URLs.
type Registered struct {
	Platform
	OrganizationID            string    `json:"organizationId"`
	EnvironmentID             string    `json:"environmentId"`
	CertificateChain          string    `json:"certificateChain"` // PEM: leaf, intermediate, root
	CertificateExpirationDate time.Time `json:"certificateExpirationDate"`
}

// Platform is the part of `platformConnection` of a registration file that is spoken over the wire too [C].
type Platform struct {
	AgentID          string `json:"agentId"` // UUID: also the id of the gateway and the target, and the first part of the certificate's name
	Region           string `json:"region"`
	AssetName        string `json:"assetName"` // the name that was registered
	MeteringSchemaID string `json:"meteringSchemaId"`
	Anypoint         string `json:"anypoint,omitempty"`
	Arm              string `json:"arm,omitempty"` // never called
	Events           string `json:"events,omitempty"`
	Logging          string `json:"logging,omitempty"`
	Metering         string `json:"metering,omitempty"` // where usage is reported
	Monitoring       string `json:"monitoring,omitempty"`
}

// Gateways is a page of PathGateways?pageNumber=N&pageSize=M&name=&status= [C]: pages count from 0, and have 30 unless asked, 100 at
// most. Past the end, Content is empty and TotalElements 0. An empty name or status takes all.
type Gateways struct {
	Content       []Gateway `json:"content"`
	TotalElements int       `json:"totalElements"`
	PageNumber    int       `json:"pageNumber"`
	PageSize      int       `json:"pageSize"`
}

// Gateway is one of them [C]. Versions is in PathGateway's answer alone.
type Gateway struct {
	OrganizationID string         `json:"organizationId"`
	ID             string         `json:"id"`
	Name           string         `json:"name"`
	Status         string         `json:"status"` // CONNECTED, DISCONNECTED, DELETED …
	Tags           []string       `json:"tags"`
	LastUpdate     time.Time      `json:"lastUpdate"`
	Replicas       []ReplicaCount `json:"replicas"`
	Versions       []string       `json:"versions,omitempty"`
}

// ReplicaCount is how many replicas of a gateway are in a state [C].
type ReplicaCount struct {
	Status                     string      `json:"status"` // CONNECTED or DISCONNECTED
	Count                      int         `json:"count"`
	CertificateExpirationDates []time.Time `json:"certificateExpirationDates"`
}

// Replicas is a page of PathReplicas?pageNumber=N&pageSize=M&status= [C]. It names the gateway that was asked about again.
type Replicas struct {
	Content       []Replica `json:"content"`
	TotalElements int       `json:"totalElements"`
	PageNumber    int       `json:"pageNumber"`
	PageSize      int       `json:"pageSize"`
	Gateway       Gateway   `json:"gateway"`
}

// Replica is one of them [C].
type Replica struct {
	ID                        string              `json:"id"`
	TargetID                  string              `json:"targetId"` // the gateway's
	GatewayVersion            string              `json:"gatewayVersion"`
	Status                    string              `json:"status"` // CONNECTED or DISCONNECTED
	ConnectedAt               *time.Time          `json:"connectedAt"`
	DisconnectedAt            *time.Time          `json:"disconnectedAt"`
	ConfigurationStatus       ConfigurationStatus `json:"configurationStatus"`
	Name                      string              `json:"name"` // host.namespace
	CID                       string              `json:"cid"`
	CertificateExpirationDate *time.Time          `json:"certificateExpirationDate"`
	NodeID                    string              `json:"nodeId"`
	Provider                  string              `json:"provider"` // RR
}

// ConfigurationStatus says whether a replica has what it was sent [C].
type ConfigurationStatus struct {
	Status  string `json:"status"` // UP_TO_DATE or APPLYING
	Message string `json:"message"`
}

// ErrorBody is an error of the platform: Status repeats the HTTP status, Message is for people. Of the facade it is invented; others
// have at least a message [C].
type ErrorBody struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

// Batch is the body of a usage report. Invented. A batch has counts and identifiers, and nothing else: no path, host, client,
// header or text of an error.
type Batch struct {
	Schema           string    `json:"schema"` // UsageSchema
	MeteringSchemaID string    `json:"meteringSchemaId"`
	AgentID          string    `json:"agentId"` // that of the client certificate
	AssetName        string    `json:"assetName"`
	ReplicaID        string    `json:"replicaId"` // UUID of this host: replicas of a gateway share everything else
	BootEpoch        uint64    `json:"bootEpoch"` // greater each time a ledger is made anew; tells that one was lost
	Seq              uint64    `json:"seq"`       // from 1, without gaps, per replica and epoch
	BatchID          string    `json:"batchId"`   // hex SHA-256 over agent, replica, epoch and seq; also in the header Idempotency-Key
	CreatedAt        time.Time `json:"createdAt"`
	Points           []Point   `json:"points"` // empty: a heartbeat
	Lost             Lost      `json:"lost"`
}

// BatchID is the id of a batch: hex SHA-256 over its four parts, one a line. Invented.
func BatchID(agentID, replicaID string, bootEpoch, seq uint64) string {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%d\n", agentID, replicaID, bootEpoch, seq)))
}

// Point is what one API was called in one hour. The platform keeps the greatest Cumulative of a replica, API and hour, so that batches
// may come twice and in any order.
type Point struct {
	Meter       string    `json:"meter"`       // Meter
	APIInstance string    `json:"apiInstance"` // namespace/name
	HourStart   time.Time `json:"hourStart"`   // UTC
	Delta       uint64    `json:"delta"`       // what this batch adds
	Cumulative  uint64    `json:"cumulative"`  // of the hour, up to and with this batch
	Final       bool      `json:"final"`       // the hour is over, and its log was read
}

// Lost is what was dropped since the last acknowledged batch because the spool was full.
type Lost struct {
	Points   uint64 `json:"points"`
	APICalls uint64 `json:"apiCalls"`
}

// IdempotencyKey is the header that carries Batch.BatchID.
const IdempotencyKey = "Idempotency-Key"

// Ack is the answer (200 or 202) to a Batch. AckedSeq less than the batch's: go on from there.
type Ack struct {
	Accepted bool   `json:"accepted"`
	AckedSeq uint64 `json:"ackedSeq"`
}
