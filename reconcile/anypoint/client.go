package anypoint

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Client asks the platform. What it is told is documented, or was seen in the vendor's own clients; Register and Renew are invented,
// and ask Hello first. A call is tried again when the platform, or a proxy on the way, is busy or down, or a connection breaks: each can
// be made twice, but for Mint, which is tried again only where the platform can not have done it. It is not safe for concurrent use.
type Client struct {
	Base      string       // https://anypoint.mulesoft.com
	HTTP      *http.Client // of egress; redirects are not followed, whatever it says
	UserAgent string
	Now       func() time.Time                           // nil: the clock
	Sleep     func(context.Context, time.Duration) error // nil: it does
	Wait      func(why string, d time.Duration)          // told before a call is tried again; nil: nobody is
	Trust     string                                     // what is advised when the server's certificate is not trusted: whose would be

	date time.Time
}

// Date is what the clock of the server said in its last answer; zero: it did not.
func (c *Client) Date() time.Time { return c.date }

// Kind is what a refusal of the platform means.
type Kind int

// The kinds, by what is to be done.
const (
	Unexpected       Kind = iota // an answer that nobody here knows
	WrongCredentials             // [D] 401 of a login or of a connected app
	Disabled                     // [D] 403 of a login: the user may not log in
	SecondFactor                 // [C] the user logs in with a second factor, or (302 [D]) with the browser
	Elsewhere                    // [D] 418: the user belongs to another platform
	Unauthorized                 // 401: the token is not known, has expired, or is of another organization [S]
	Forbidden                    // 403: a scope is missing
	NotFound                     // 404: no such organization, environment or gateway
	NameTaken                    // [D] 400, [S] 409: a gateway of that name is there
	TokenUnknown                 // [D] 400: the registration token has expired, or is none
	Deleted                      // [C] 400: it was deleted already; or 410
	Busy                         // 429, or 503 with Retry-After
	Unavailable                  // 5xx, or no answer at all
	Redirected                   // 3xx, which is not followed
	NoPlatform                   // the answer is not of the platform: a proxy, or another server
)

// Error is a refusal of the platform, or that it did not answer.
type Error struct {
	Op      string // what was asked for: "log in"
	Kind    Kind
	Status  int    // of HTTP; 0: no answer
	Message string // of the platform, made visible; "": none
	After   time.Duration
	Scopes  []string // of Forbidden: what the call needs, or, where that could be told, what is missing
	Missing bool     // Scopes are those that are missing
	App     bool     // of a log-in: it is that of a connected app
	Maybe   []string // of Missing: those that may be missing, too
	Err     error    // of Status 0
	Trust   string   // of Err: the client's, if nobody who is trusted has signed the server's certificate
	Doubt   bool     // this try or one before it may have done what was asked for: no answer of the platform says that it did not
}

func (e *Error) Error() string {
	text := e.Op + ": " + e.what()
	if e.Message != "" {
		text += fmt.Sprintf(" (the platform says %q)", e.Message)
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) what() string {
	status := strconv.Itoa(e.Status)
	switch e.Kind {
	case WrongCredentials:
		return "the platform does not know this user and password, or this client id and secret"
	case Disabled:
		return "the platform does not let this " + e.person() + " in"
	case SecondFactor:
		return "this user logs in with a second factor or through single sign-on, which nobody here can answer for"
	case Elsewhere:
		return "this user belongs to another control plane"
	case Unauthorized:
		return "the token is not known, has expired, or is of another organization (401)"
	case Forbidden:
		if len(e.Scopes) == 0 {
			return "the platform forbids it (403)"
		}
		if e.Missing {
			text := "the scopes " + listed(e.Scopes) + " are missing"
			if len(e.Scopes) == 1 {
				text = "the scope " + e.Scopes[0] + " is missing"
			}
			if len(e.Maybe) > 0 {
				text += ", and " + listed(e.Maybe) + " may be"
			}
			return text + " (403)"
		}
		return "the platform forbids it (403); it needs the scopes " + listed(e.Scopes)
	case NotFound:
		return "there is no such organization, environment or gateway (404)"
	case NameTaken:
		return "a gateway of this name is registered in this organization and environment already (" + status + ")"
	case TokenUnknown:
		return "the registration token has expired, or is none (" + status + ")"
	case Deleted:
		return "the gateway was deleted already (" + status + ")"
	case Busy:
		if e.After > 0 {
			return fmt.Sprintf("the platform wants fewer requests (%s), and to be left alone for %s", status, e.After)
		}
		return "the platform wants fewer requests (" + status + ")"
	case Redirected:
		return "the platform sends us elsewhere (" + status + "), and redirects are not followed"
	case NoPlatform:
		return "what answered is not the platform (" + status + ", and not in its JSON)"
	case Unavailable:
		if e.Err != nil {
			return reason(e.Err)
		}
		return "the platform does not work just now (" + status + ")"
	}
	return "the platform refuses it (" + status + ")"
}

func (e *Error) person() string {
	if e.App {
		return "connected app"
	}
	return "user"
}

func listed(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// reason is an error of HTTP without the method and the URL, which the caller knows.
func reason(err error) string {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}

// Advice is what to do about the refusal; "": there is nothing to say.
func (e *Error) Advice() string {
	switch e.Kind {
	case WrongCredentials:
		return "check them; of a connected app, the client id and secret"
	case Disabled:
		return "an administrator of the organization can enable the " + e.person()
	case SecondFactor:
		return "use a registration token (Runtime Manager, Flex Gateway, Add Gateway), or a connected app with the scopes Read Servers, Manage Servers and View Organization"
	case Elsewhere:
		return "name its control plane with --anypoint-url; that of Europe is " + EU
	case Unauthorized:
		return "get a new one: a registration token lives for four hours; one of Europe needs --anypoint-url " + EU
	case Forbidden:
		return "give the user the permission, or the connected app the scope, for this environment: Access Management in Anypoint Platform"
	case NotFound:
		return "check the ids: they are ids, and not names; those of Europe are at " + EU + ", which --anypoint-url says, or the registration"
	case NameTaken:
		return "take another name, or delete the old gateway: flexgw gateways delete NAME"
	case TokenUnknown:
		return "get a new one: Runtime Manager, Flex Gateway, Add Gateway; it lives for four hours"
	case Busy:
		return "try again later"
	case Redirected, NoPlatform:
		return "check --anypoint-url; a proxy may answer in the platform's place: --https-proxy names yours"
	case Unavailable:
		if e.Err != nil && e.Trust != "" {
			return e.Trust + "\nflexgw preflight says what of the way to the platform works"
		}
		if e.Err != nil {
			return "flexgw preflight says what of the way to the platform works"
		}
		return "try again later"
	}
	return ""
}

// The control planes that are documented for gateways [D].
const (
	US = "https://anypoint.mulesoft.com"
	EU = "https://eu1.anypoint.mulesoft.com"
)

// The scopes, or permissions, that calls need [D].
const (
	ReadServers      = "Read Servers"
	ManageServers    = "Manage Servers"
	ViewOrganization = "View Organization"
)

// NoWireError says that a server is not known to understand what is invented here: it is not told any of it.
type NoWireError struct{ Base string }

func (e *NoWireError) Error() string {
	return e.Base + " does not say that it understands flexgw's registration requests"
}

// Hello asks whether the server understands what is invented. The request carries nothing. A *NoWireError says that it does not.
func (c *Client) Hello(ctx context.Context) error {
	a, err := c.do(ctx, call{op: "ask " + c.Base + " what it understands", method: http.MethodGet, path: PathHello, any: true})
	if err != nil {
		return err
	}
	if a.header.Get(WireHeader) != WireSim {
		return &NoWireError{Base: c.Base}
	}
	return nil
}

// Token is an access token. It prints as [redacted].
type Token struct {
	Secret
	App bool // of a connected app, whose rights are scopes
}

// Login is the access token of a user.
func (c *Client) Login(ctx context.Context, username string, password Secret) (Token, error) {
	a, err := c.do(ctx, call{op: "log in", method: http.MethodPost, path: PathLogin, body: LoginRequest{Username: username, Password: password.Reveal()}, hide: []string{password.Reveal()}, login: true})
	if err != nil {
		return Token{}, err
	}
	t, err := a.token()
	return Token{Secret: t}, err
}

// Connect is the access token of a connected app.
func (c *Client) Connect(ctx context.Context, id string, secret Secret) (Token, error) {
	a, err := c.do(ctx, call{op: "log in as a connected app", method: http.MethodPost, path: PathToken,
		body: TokenRequest{GrantType: "client_credentials", ClientID: id, ClientSecret: secret.Reveal()}, hide: []string{secret.Reveal()}, login: true})
	if err != nil {
		return Token{}, err
	}
	t, err := a.token()
	return Token{Secret: t, App: true}, err
}

// token reads an access token, or that a second factor is wanted in its place [C].
func (a *answer) token() (Secret, error) {
	var t AccessToken
	if err := a.json(&t); err != nil {
		return Secret{}, err
	}
	if t.AccessToken == "" {
		if t.URL != "" || t.RedirectURL != "" {
			return Secret{}, &Error{Op: a.op, Kind: SecondFactor, Status: a.status}
		}
		return Secret{}, &Error{Op: a.op, Kind: NoPlatform, Status: a.status}
	}
	return ir.NewSecret(t.AccessToken), nil
}

// Me is the organization of who has the token [C].
func (c *Client) Me(ctx context.Context, t Token) (organization string, err error) {
	a, err := c.do(ctx, call{op: "find out the organization", method: http.MethodGet, path: PathMe, bearer: t.Secret, scopes: []string{ViewOrganization}})
	if err != nil {
		return "", err
	}
	var me struct {
		Client struct {
			OrgID string `json:"org_id"`
		} `json:"client"`
		User struct {
			Organization struct {
				ID string `json:"id"`
			} `json:"organization"`
			Properties struct {
				Auth struct {
					Active string `json:"activeOrganizationId"`
				} `json:"cs_auth"`
			} `json:"properties"`
		} `json:"user"`
	}
	if err := a.json(&me); err != nil {
		return "", err
	}
	for _, id := range []string{me.Client.OrgID, me.User.Organization.ID, me.User.Properties.Auth.Active} {
		if idPattern.MatchString(id) {
			return id, nil
		}
	}
	return "", &Error{Op: a.op, Kind: NoPlatform, Status: a.status}
}

// In is an environment of an organization, by their ids.
type In struct{ Organization, Environment string }

// Check says whether both can be ids.
func (in In) Check() error {
	for _, x := range []struct{ what, id string }{{"organization", in.Organization}, {"environment", in.Environment}} {
		if !idPattern.MatchString(x.id) {
			return fmt.Errorf("the %s %q is no id: a UUID is expected, and not a name", x.what, x.id)
		}
	}
	return nil
}

func (in In) path(format string, more ...any) string {
	return fmt.Sprintf(format, append([]any{in.Organization, in.Environment}, more...)...)
}

// Mint is a registration token.
func (c *Client) Mint(ctx context.Context, t Token, in In) (Secret, error) {
	if err := in.Check(); err != nil {
		return Secret{}, err
	}
	a, err := c.do(ctx, call{op: "get a registration token", method: http.MethodPost, path: in.path(PathGatewayTokens), bearer: t.Secret, in: in, scopes: needed(t), adds: true})
	if err != nil {
		return Secret{}, c.missing(ctx, err, t, in)
	}
	var g GatewayToken
	if err := a.json(&g); err != nil {
		return Secret{}, err
	}
	if g.RegistrationToken == "" {
		return Secret{}, &Error{Op: a.op, Kind: NoPlatform, Status: a.status}
	}
	return ir.NewSecret(g.RegistrationToken), nil
}

// needed are the scopes with which one registers [D].
func needed(t Token) []string {
	if t.App {
		return []string{ReadServers, ManageServers, ViewOrganization}
	}
	return []string{ReadServers, ManageServers}
}

// missing finds out which scope it was that a call was forbidden for: by asking for what each of the others allows. Nobody but the
// platform knows; where that does not tell, all stay.
func (c *Client) missing(ctx context.Context, err error, t Token, in In) error {
	e := (*Error)(nil)
	if !errors.As(err, &e) || e.Kind != Forbidden {
		return err
	}
	forbidden := func(x call) (yes, known bool) {
		x.op, x.method, x.bearer, x.in, x.once = e.Op, http.MethodGet, t.Secret, in, true
		_, err := c.do(ctx, x)
		var probe *Error
		if errors.As(err, &probe) && probe.Kind == Forbidden {
			return true, true
		}
		return false, err == nil
	}
	missing := map[string]bool{}
	all := true
	for _, scope := range e.Scopes {
		missing[scope] = strings.Contains(e.Message, scope)
	}
	ask := func(scope string, x call) {
		yes, known := forbidden(x)
		missing[scope] = missing[scope] || yes
		all = all && known
	}
	ask(ReadServers, call{path: in.path(PathGateways), query: url.Values{"pageNumber": {"0"}, "pageSize": {"1"}}})
	if t.App {
		ask(ViewOrganization, call{path: fmt.Sprintf(PathOrganization, in.Organization)})
	}
	named := slices.DeleteFunc(slices.Clone(e.Scopes), func(scope string) bool { return !missing[scope] })
	switch {
	case len(named) == 0 && all:
		named = []string{ManageServers} // the one that is left
	case len(named) > 0 && !missing[ManageServers]:
		e.Maybe = []string{ManageServers} // no call that changes nothing needs it
	}
	if len(named) > 0 {
		e.Scopes, e.Missing = named, true
	}
	return e
}

// Register sends a request for a certificate, with a registration token. Call Hello before. The same request gets the same answer.
func (c *Client) Register(ctx context.Context, token Secret, organization string, r RegisterRequest) (Registered, error) {
	return c.signed(ctx, call{op: "register " + strconv.Quote(r.Name), method: http.MethodPost, path: PathRegistrations, bearer: token, in: In{Organization: organization}, body: r, registers: true})
}

// Renew asks for another certificate of a gateway, with an access token. Call Hello before.
func (c *Client) Renew(ctx context.Context, t Token, in In, agent string, r RenewRequest) (Registered, error) {
	out, err := c.signed(ctx, call{op: "renew the registration", method: http.MethodPost, path: fmt.Sprintf(PathRenewals, agent), bearer: t.Secret, in: in, body: r, scopes: needed(t)})
	return out, c.missing(ctx, err, t, in)
}

func (c *Client) signed(ctx context.Context, x call) (Registered, error) {
	a, err := c.do(ctx, x)
	if err != nil {
		return Registered{}, err
	}
	var r Registered
	if err = a.json(&r); err == nil && r.AgentID == "" {
		err = &Error{Op: a.op, Kind: NoPlatform, Status: a.status, Doubt: true} // JSON of somebody in between
	}
	return r, err
}

// PageSize is how many gateways the platform gives at once, at most [C].
const PageSize = 100

// maxPages bounds a list that never ends.
const maxPages = 1000

// Gateways are all gateways of an environment, those that were deleted lately too.
func (c *Client) Gateways(ctx context.Context, t Token, in In) ([]Gateway, error) {
	if err := in.Check(); err != nil {
		return nil, err
	}
	var all []Gateway
	seen := map[string]bool{} // one that comes twice, because another went while we asked
	for page := range maxPages {
		a, err := c.do(ctx, call{op: "list the gateways", method: http.MethodGet, path: in.path(PathGateways), bearer: t.Secret, in: in, scopes: []string{ReadServers},
			query: url.Values{"pageNumber": {strconv.Itoa(page)}, "pageSize": {strconv.Itoa(PageSize)}}})
		if err != nil {
			return nil, err
		}
		var g Gateways
		if err := a.json(&g); err != nil {
			return nil, err
		}
		if g.Content == nil {
			return nil, &Error{Op: a.op, Kind: NoPlatform, Status: a.status} // an empty list is one, too
		}
		for _, x := range g.Content {
			if !seen[x.ID] {
				seen[x.ID] = true
				all = append(all, x)
			}
		}
		// The total is not relied upon: an empty page says 0 [C].
		if len(g.Content) < PageSize {
			return all, nil
		}
	}
	return all, nil
}

// Known reports whether the platform has an organization with such an environment: whether there is a list of its gateways.
func (c *Client) Known(ctx context.Context, t Token, in In) (bool, error) {
	_, err := c.do(ctx, call{op: "list the gateways", method: http.MethodGet, path: in.path(PathGateways), bearer: t.Secret, in: in, scopes: []string{ReadServers},
		query: url.Values{"pageNumber": {"0"}, "pageSize": {"1"}}})
	if e := (*Error)(nil); errors.As(err, &e) && e.Kind == NotFound {
		return false, nil
	}
	return err == nil, err
}

// Gateway is one of them.
func (c *Client) Gateway(ctx context.Context, t Token, in In, id string) (Gateway, error) {
	var g Gateway
	if err := in.Check(); err != nil {
		return g, err
	}
	if !idPattern.MatchString(id) {
		return g, fmt.Errorf("%q is no id of a gateway", id)
	}
	a, err := c.do(ctx, call{op: "look at gateway " + id, method: http.MethodGet, path: in.path(PathGateway, id), bearer: t.Secret, in: in, scopes: []string{ReadServers}})
	if err != nil {
		return g, err
	}
	if err = a.json(&g); err == nil && !strings.EqualFold(g.ID, id) {
		err = &Error{Op: a.op, Kind: NoPlatform, Status: a.status}
	}
	return g, err
}

// StatusDeleted is that of a gateway that was deleted, and can still be looked at [C].
const StatusDeleted = "DELETED"

// Delete has the platform delete a gateway, which takes it a while [C]: WaitDeleted says when it did. A gateway for which it has that order
// already is an *Error of Kind Deleted, and IsDeleted says whether it is done.
func (c *Client) Delete(ctx context.Context, t Token, in In, id string) error {
	if err := in.Check(); err != nil {
		return err
	}
	if !idPattern.MatchString(id) {
		return fmt.Errorf("%q is no id of a gateway", id)
	}
	_, err := c.do(ctx, call{op: "delete gateway " + id, method: http.MethodDelete, path: in.path(PathGateway, id), bearer: t.Secret, in: in, scopes: []string{ManageServers}, empty: true})
	return err
}

// IsDeleted reports whether a gateway that the platform was told to delete is deleted, and not at it still: it says so, or does not know it any more.
func (c *Client) IsDeleted(ctx context.Context, t Token, in In, id string) (bool, error) {
	g, err := c.Gateway(ctx, t, in, id)
	if e := (*Error)(nil); errors.As(err, &e) && (e.Kind == NotFound || e.Kind == Deleted) {
		return true, nil
	}
	return err == nil && g.Status == StatusDeleted, err
}

// lookEvery is how often WaitDeleted looks.
const lookEvery = 2 * time.Second

// WaitDeleted returns when the gateway is deleted: the platform says so, or does not know it any more.
func (c *Client) WaitDeleted(ctx context.Context, t Token, in In, id string) error {
	for {
		if gone, err := c.IsDeleted(ctx, t, in, id); gone || err != nil {
			return err
		}
		if err := c.sleep(ctx, lookEvery); err != nil {
			return err
		}
	}
}

// call is one request.
type call struct {
	op           string
	method, path string
	query        url.Values
	body         any // nil: none
	bearer       Secret
	in           In
	scopes       []string
	hide         []string // what must not be in a message, beside bearer
	login        bool
	registers    bool
	empty        bool // the answer may have no JSON
	any          bool // whatever the status is
	once         bool // it is not tried again
	adds         bool // made twice, there are two: it is not tried again where it may have been done
}

// answer is one that was not refused.
type answer struct {
	op     string
	status int
	header http.Header
	body   []byte
}

func (a *answer) json(v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return &Error{Op: a.op, Kind: NoPlatform, Status: a.status, Doubt: true}
	}
	return nil
}

// The patience of a call.
const (
	maxTries  = 4
	firstWait = time.Second
	maxWait   = 30 * time.Second // that the platform may ask for; for more, the user decides
	maxTrying = 2 * time.Minute  // after which no try begins
	maxAnswer = 4 << 20          // bytes
)

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// do makes a call, and makes it again when it can be hoped to succeed.
func (c *Client) do(ctx context.Context, x call) (*answer, error) {
	wait, doubt, begun := firstWait, false, c.now()
	for try := 1; ; try++ {
		a, err := c.try(ctx, x)
		e := (*Error)(nil)
		if err == nil || !errors.As(err, &e) {
			return a, err
		}
		doubt = doubt || e.undecided()
		e.Doubt = doubt
		if unknown := (x509.UnknownAuthorityError{}); errors.As(e.Err, &unknown) {
			e.Trust = c.Trust
		}
		d := max(wait, e.After)
		if e.Kind != Busy && e.Kind != Unavailable || try == maxTries || x.once || x.adds && doubt || ctx.Err() != nil || permanent(e.Err) || d > maxWait || c.now().Add(d).Sub(begun) > maxTrying {
			return nil, err
		}
		if c.Wait != nil {
			c.Wait(e.Error(), d)
		}
		if c.sleep(ctx, d) != nil {
			return nil, err
		}
		wait *= 2
	}
}

// undecided reports whether what was asked for may have been done all the same. A 503 says that it was not (RFC 9110, 15.6.4); a 502 or
// 504 is of who lost the answer, and of a 2xx or 408 that is not the platform's nobody knows.
func (e *Error) undecided() bool {
	switch {
	case e.Status == 0:
		return !unsent(e.Err)
	case e.Status == http.StatusServiceUnavailable:
		return false
	}
	return e.Status/100 == 5 || e.Status/100 == 2 || e.Status == http.StatusRequestTimeout
}

// unsent reports whether an error is from before the request left: who is called was not found, not reached, or not who they should be.
func unsent(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	var untrusted *tls.CertificateVerificationError
	var between interface{ MayPass() bool } // of egress: nobody was called
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial" || errors.As(err, &untrusted) || errors.As(err, &between)
}

// permanent reports whether an error stays the same when it is tried again: a certificate that is not trusted, a host that is not
// allowed or has no address.
func permanent(err error) bool {
	if err == nil {
		return false
	}
	var between interface{ MayPass() bool }
	if errors.As(err, &between) {
		return !between.MayPass()
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsNotFound
	}
	var op *net.OpError
	var timeout net.Error
	text := reason(err)
	return !errors.As(err, &op) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !(errors.As(err, &timeout) && timeout.Timeout()) &&
		!strings.HasPrefix(text, "http2: ") && !strings.HasPrefix(text, "stream error: ") // the library has no types for a connection of HTTP/2 that breaks
}

func (c *Client) sleep(ctx context.Context, d time.Duration) error {
	if c.Sleep != nil {
		return c.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) try(ctx context.Context, x call) (*answer, error) {
	var body io.Reader = http.NoBody
	if x.body != nil {
		b, err := json.Marshal(x.body)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.op, err)
		}
		body = bytes.NewReader(b)
	}
	to := strings.TrimSuffix(c.Base, "/") + x.path
	if x.query != nil {
		to += "?" + x.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, x.method, to, body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", x.op, err)
	}
	r.Header.Set("Accept", "application/json")
	if x.method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.UserAgent != "" {
		r.Header.Set("User-Agent", c.UserAgent)
	}
	if !x.bearer.IsZero() {
		r.Header.Set("Authorization", "Bearer "+x.bearer.Reveal())
	}
	if x.in.Organization != "" {
		r.Header.Set(HeaderOrganization, x.in.Organization)
	}
	if x.in.Environment != "" {
		r.Header.Set(HeaderEnvironment, x.in.Environment)
	}
	h := *c.HTTP
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	h.Jar = nil
	resp, err := h.Do(r)
	if err != nil {
		return nil, &Error{Op: x.op, Kind: Unavailable, Err: err}
	}
	defer resp.Body.Close()
	c.date, _ = http.ParseTime(resp.Header.Get("Date")) // zero where it can not be read
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, &Error{Op: x.op, Kind: Unavailable, Err: fmt.Errorf("the answer breaks off: %w", err)}
	}
	if len(b) > maxAnswer {
		return nil, &Error{Op: x.op, Kind: NoPlatform, Status: resp.StatusCode}
	}
	a := &answer{op: x.op, status: resp.StatusCode, header: resp.Header, body: b}
	busy := a.status/100 == 5 || a.status == http.StatusTooManyRequests
	if x.any && !busy || a.status/100 == 2 && (x.empty || json.Valid(b)) {
		return a, nil
	}
	return nil, c.refusal(x, a)
}

// refusal makes an error of an answer.
func (c *Client) refusal(x call, a *answer) *Error {
	e := &Error{Op: x.op, Status: a.status, App: x.path == PathToken, Message: a.message(append([]string{x.bearer.Reveal()}, x.hide...)), After: c.retryAfter(a.header)}
	said := func(words string) bool { return strings.Contains(strings.ToLower(e.Message), words) }
	switch s := a.status; {
	case s/100 == 2:
		e.Kind = NoPlatform
	case x.login && (s == http.StatusFound || s == http.StatusSeeOther):
		e.Kind = SecondFactor
	case s/100 == 3:
		e.Kind = Redirected
	case s == http.StatusUnauthorized && x.login:
		e.Kind = WrongCredentials
	case s == http.StatusForbidden && x.login:
		e.Kind = Disabled
	case s == http.StatusTeapot && x.login:
		e.Kind = Elsewhere
	case s == http.StatusBadRequest && said("no valid registration token"):
		e.Kind = TokenUnknown
	case s == http.StatusBadRequest && said("same name already exists"), s == http.StatusConflict && x.registers:
		e.Kind = NameTaken
	case s == http.StatusBadRequest && said("already deleted"), s == http.StatusGone:
		e.Kind = Deleted
	case s == http.StatusUnauthorized:
		e.Kind = Unauthorized
	case s == http.StatusForbidden:
		e.Kind, e.Scopes, e.Missing = Forbidden, slices.Clone(x.scopes), len(x.scopes) == 1
	case s == http.StatusNotFound && !json.Valid(a.body):
		e.Kind = NoPlatform // a 404 of whoever stands in between says nothing of gateways
	case s == http.StatusNotFound:
		e.Kind = NotFound
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable && e.After > 0:
		e.Kind = Busy
	case s/100 == 5:
		e.Kind = Unavailable
	}
	return e
}

// maxMessage is how much of what the platform says is shown, in bytes.
const maxMessage = 200

func (a *answer) message(hide []string) string { return Message(a.body, hide) }

// Message is what the platform says to people in an answer's JSON, on one line, 200 bytes at most, without what it was told in secret; "": nothing.
func Message(answer []byte, hide []string) string {
	var body struct {
		Message string `json:"message"`
		Error   any    `json:"error"` // OAuth's word; of others an object
	}
	if json.Unmarshal(answer, &body) != nil {
		return ""
	}
	text := body.Message
	if s, ok := body.Error.(string); ok && text == "" {
		text = s
	}
	hide = slices.DeleteFunc(hide, func(s string) bool { return s == "" })
	for _, s := range hide {
		text = strings.ReplaceAll(text, s, diag.Redacted)
	}
	text = diag.Visible(diag.OneLine(text))
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// retryAfter is how long the platform wants to be left alone: seconds or a date (RFC 9110, 10.2.3); 0: it does not say.
func (c *Client) retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return time.Duration(min(n, 24*60*60)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(c.now()).Round(time.Second))
	}
	return 0
}
