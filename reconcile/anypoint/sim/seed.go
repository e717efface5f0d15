package sim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/disk"
)

// Scopes that the platform asks for [D].
const (
	ReadServers      = anypoint.ReadServers
	ManageServers    = anypoint.ManageServers
	ViewOrganization = anypoint.ViewOrganization
	UsageViewer      = "Usage Viewer"
)

// AllScopes are all that anything here needs.
func AllScopes() []string { return []string{ReadServers, ManageServers, ViewOrganization, UsageViewer} }

// Credentials that work unless a seed says otherwise. The token works always, for any organization.
const (
	Token               = "sim-token"
	Username            = "sim-user"
	Password            = "sim-password"
	ClientID            = "sim-client"
	ClientSecret        = "sim-secret"
	DefaultOrganization = "00000000-0000-4000-8000-0000000000aa"
)

// Seed is who and what there is before anybody calls.
type Seed struct {
	// Organizations are all that there are. None: any id is one, and has any environment.
	Organizations      []Organization      `json:"organizations,omitempty"`
	Users              []User              `json:"users,omitempty"`
	ConnectedApps      []ConnectedApp      `json:"connectedApps,omitempty"`
	RegistrationTokens []RegistrationToken `json:"registrationTokens,omitempty"`
	Gateways           []SeedGateway       `json:"gateways,omitempty"`
	Options            Tunables            `json:"options"`
}

// Organization is one, with its environments.
type Organization struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	ParentID     string        `json:"parentId,omitempty"`
	Environments []Environment `json:"environments,omitempty"`
}

// Environment is one of an organization.
type Environment struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Type         string `json:"type"` // sandbox, production, design
	IsProduction bool   `json:"isProduction"`
}

// User may log in.
type User struct {
	Username       string   `json:"username"`
	Password       string   `json:"password"`
	OrganizationID string   `json:"organizationId,omitempty"` // "": the default one
	Scopes         []string `json:"scopes"`
	Environments   []string `json:"environments,omitempty"` // ids in which the scopes hold; none: all
	// State is what a login gets in place of a token: "" (nothing), mfa, redirect, disabled, other-platform, rate-limited.
	State  string `json:"state,omitempty"`
	Target string `json:"target,omitempty"` // of redirect and other-platform
}

// ConnectedApp may get tokens.
type ConnectedApp struct {
	ClientID       string   `json:"clientId"`
	ClientSecret   string   `json:"clientSecret"`
	OrganizationID string   `json:"organizationId,omitempty"`
	Scopes         []string `json:"scopes"`
	Environments   []string `json:"environments,omitempty"`
	GrantTypes     []string `json:"grantTypes,omitempty"` // client_credentials and password unless said
}

// RegistrationToken is one that somebody made in the console.
type RegistrationToken struct {
	Token          string     `json:"token"`
	OrganizationID string     `json:"organizationId"`
	EnvironmentID  string     `json:"environmentId"`
	ExpiresAt      *time.Time `json:"expiresAt,omitempty"` // nil: as if it were made when the simulator starts
}

// SeedGateway is one that was registered before.
type SeedGateway struct {
	ID             string     `json:"id,omitempty"` // "": made of the other fields
	Name           string     `json:"name"`
	OrganizationID string     `json:"organizationId"`
	EnvironmentID  string     `json:"environmentId"`
	Tags           []string   `json:"tags,omitempty"`
	LastUpdate     *time.Time `json:"lastUpdate,omitempty"` // also when it was made; nil: now
	Deleted        bool       `json:"deleted,omitempty"`
}

// Tunables are how the simulator behaves where the platform's ways are not known, or vary. POST /_sim/options sets them.
type Tunables struct {
	TokenLifetime   Duration `json:"tokenLifetime"`   // of registration tokens; 0: 4 h [D]
	SingleUseTokens bool     `json:"singleUseTokens"` // a registration token registers one gateway; not known [U]
	DeleteTakes     Duration `json:"deleteTakes"`     // how long a gateway is DELETING
	Duplicates      int      `json:"duplicates"`      // status of a batch that came before: 200 (unless said) or 409
}

// Duration is a time.Duration that JSON has as "4h".
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("a duration is text, as in \"90s\" or \"4h\": %s", b)
	}
	v, err := time.ParseDuration(text)
	*d = Duration(v)
	return err
}

func (t Tunables) check() error {
	switch {
	case t.Duplicates != 0 && t.Duplicates != 200 && t.Duplicates != 409:
		return fmt.Errorf("options: duplicates is %d, 200 or 409 is expected", t.Duplicates)
	case t.TokenLifetime < 0 || t.DeleteTakes < 0:
		return errors.New("options: a duration is negative")
	}
	return nil
}

// DefaultSeed has one user and one connected app, which may do all, and any organization.
func DefaultSeed() *Seed {
	return &Seed{
		Users:         []User{{Username: Username, Password: Password, Scopes: AllScopes()}},
		ConnectedApps: []ConnectedApp{{ClientID: ClientID, ClientSecret: ClientSecret, Scopes: AllScopes()}},
	}
}

// ReadSeed reads a seed from a JSON file. What it does not name, there is not, but for the token sim-token.
func ReadSeed(path string) (*Seed, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, disk.Cause(err))
	}
	var seed Seed
	if err := strict(b, &seed); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := seed.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &seed, nil
}

func (s *Seed) check() error {
	for _, o := range s.Organizations {
		if !validID(o.ID) {
			return fmt.Errorf("organizations: no id of an organization: %q", o.ID)
		}
		for _, e := range o.Environments {
			if !validID(e.ID) {
				return fmt.Errorf("organizations: no id of an environment: %q", e.ID)
			}
		}
	}
	for _, u := range s.Users {
		if u.Username == "" {
			return errors.New("users: one has no username")
		}
		if !slices.Contains([]string{"", "mfa", "redirect", "disabled", "other-platform", "rate-limited"}, u.State) {
			return fmt.Errorf("users: the state of %s is %q; mfa, redirect, disabled, other-platform or rate-limited is expected", u.Username, u.State)
		}
		if err := checkScopes(u.Scopes); err != nil {
			return fmt.Errorf("users: %s: %w", u.Username, err)
		}
	}
	for _, a := range s.ConnectedApps {
		if a.ClientID == "" {
			return errors.New("connectedApps: one has no clientId")
		}
		if err := checkScopes(a.Scopes); err != nil {
			return fmt.Errorf("connectedApps: %s: %w", a.ClientID, err)
		}
	}
	for _, t := range s.RegistrationTokens {
		if t.Token == "" || !validID(t.OrganizationID) || !validID(t.EnvironmentID) {
			return errors.New("registrationTokens: each has a token, an organizationId and an environmentId")
		}
	}
	for _, g := range s.Gateways {
		if g.Name == "" || !validID(g.OrganizationID) || !validID(g.EnvironmentID) || g.ID != "" && !isUUID(g.ID) {
			return fmt.Errorf("gateways: %q: each has a name, an organizationId and an environmentId, and an id if any is a UUID", g.Name)
		}
	}
	return s.Options.check()
}

func checkScopes(scopes []string) error {
	for _, scope := range scopes {
		if !slices.Contains(AllScopes(), scope) {
			return fmt.Errorf("unknown scope %q, expected %s", scope, strings.Join(AllScopes(), ", "))
		}
	}
	return nil
}

// sow makes what a seed declares and is not there. A gateway that was deleted since stays so.
func (s *Sim) sow(seed *Seed) []put {
	now := s.clock.now()
	var list []put
	for _, t := range seed.RegistrationTokens {
		expires := now.Add(s.tokenLifetime())
		if t.ExpiresAt != nil {
			expires = *t.ExpiresAt
		}
		list = append(list, value(kindToken, hash(t.Token), token{Kind: registrationToken, Principal: "the seed", Organization: t.OrganizationID, Environment: t.EnvironmentID, Expires: expires}))
	}
	for _, g := range seed.Gateways {
		id := cmp.Or(g.ID, derived("gateway", g.OrganizationID, g.EnvironmentID, g.Name))
		if s.state.gateways[id] != nil {
			continue
		}
		at := now
		if g.LastUpdate != nil {
			at = g.LastUpdate.UTC()
		}
		made := &gateway{ID: id, Name: g.Name, Organization: g.OrganizationID, Environment: g.EnvironmentID, Master: s.master(g.OrganizationID), Tags: g.Tags, Created: at, Updated: at}
		if g.Deleted {
			made.Deleted = at
		}
		list = append(list, value(kindGateway, id, made))
	}
	return list
}

func (s *Sim) options() Tunables {
	if s.state.options != nil {
		return *s.state.options
	}
	return s.state.seed.Options
}

// said are options with what holds where they say nothing.
func (t Tunables) said() Tunables {
	if t.TokenLifetime <= 0 {
		t.TokenLifetime = Duration(4 * time.Hour)
	}
	t.Duplicates = cmp.Or(t.Duplicates, http.StatusOK)
	return t
}

func (s *Sim) tokenLifetime() time.Duration { return time.Duration(s.options().said().TokenLifetime) }
