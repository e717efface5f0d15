package anypoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

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
	all, told := true, false
	for _, scope := range e.Scopes {
		missing[scope] = strings.Contains(e.Message, scope)
		told = told || missing[scope] // by the platform, which names them all
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
	case len(named) > 0 && !missing[ManageServers] && !told:
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
