package sim

import (
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// The two refusals whose words are documented [D].
const (
	nameTaken = "an active target with the same name already exists in this organization and environment"
	noToken   = "no valid registration token was found"
)

// mint makes a registration token [C].
func (s *Sim) mint(q *query) answer {
	if a := s.may(q, ReadServers, ManageServers, ViewOrganization); a != nil {
		return *a
	}
	c, _ := s.caller(q)
	who := "nobody"
	if c.user != nil {
		who = "user " + c.user.Username
	} else if c.app != nil {
		who = "app " + c.app.ClientID
	}
	text, err := s.hand(token{Kind: registrationToken, Principal: who, Organization: q.PathValue("org"), Environment: q.PathValue("env"), Expires: q.now.Add(s.tokenLifetime())}, q.now)
	if err != nil {
		return cannotWrite(err)
	}
	return reply(http.StatusOK, anypoint.GatewayToken{RegistrationToken: text})
}

// maxFacade is the most that the body of a registration or renewal may have, in bytes.
const maxFacade = 64 << 10

// maxGateways is how many registrations there are at most, the deleted ones included.
const maxGateways = 10_000

// registrar is for whom a registration token speaks.
func (s *Sim) registrar(q *query) (t token, text string, a *answer) {
	deny := func(status int, message string) (token, string, *answer) {
		a := failure(status, message)
		return token{}, "", &a
	}
	text, ok := bearerOf(q)
	if !ok {
		return deny(http.StatusUnauthorized, "a registration token is expected: Authorization: Bearer")
	}
	asked := q.Header.Get(anypoint.HeaderOrganization)
	if text == Token {
		t = token{Kind: registrationToken, Organization: asked, Environment: q.Header.Get(anypoint.HeaderEnvironment)}
		if t.Organization == "" {
			t.Organization = s.defaultOrganization()
		}
		if t.Environment == "" {
			t.Environment = s.defaultEnvironment(t.Organization)
		}
		if !validID(t.Organization) || !validID(t.Environment) {
			return deny(http.StatusNotFound, "Organization or environment not found")
		}
		return t, text, nil
	}
	if t, ok = s.bearer(q, registrationToken); !ok {
		return deny(http.StatusBadRequest, noToken)
	}
	if asked != "" && asked != t.Organization {
		return deny(http.StatusUnauthorized, "the registration token is of another organization")
	}
	if a := s.known(t.Organization, t.Environment); a != nil {
		return token{}, "", a
	}
	return t, text, nil
}

// register signs a gateway's key. Invented, but for its base path and the texts of two errors.
func (s *Sim) register(q *query) answer {
	if len(q.body) > maxFacade {
		return failure(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxFacade))
	}
	t, text, refused := s.registrar(q)
	if refused != nil {
		return *refused
	}
	var in anypoint.RegisterRequest
	if err := strict(q.body, &in); err != nil {
		return failure(http.StatusBadRequest, err.Error()+kindOf(q))
	}
	switch {
	case in.Schema != anypoint.RegistrationSchema:
		return failure(http.StatusBadRequest, fmt.Sprintf("schema: %s is expected", anypoint.RegistrationSchema))
	case in.Mode != "local":
		return failure(http.StatusBadRequest, "mode: local is expected; the simulator registers no gateways in Connected Mode")
	case !validName(in.Name):
		return failure(http.StatusBadRequest, "name: 1 to 255 characters are expected, none of them a control character, and no blank at its ends")
	case !isUUID(in.IdempotencyKey):
		return failure(http.StatusBadRequest, "idempotencyKey: a UUID is expected")
	}
	key, err := parseCSR(in.CSR)
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	if g := s.state.byKey[in.IdempotencyKey]; g != nil {
		switch { // whoever asks again, with a new token perhaps, for the old one has expired
		case g.CSR != hash(in.CSR) || g.Name != in.Name || g.Organization != t.Organization || g.Environment != t.Environment:
			return failure(http.StatusConflict, "idempotencyKey: it came before, with another request")
		case !g.Deleted.IsZero():
			return failure(http.StatusGone, gatewayDeleted)
		}
		return reply(http.StatusOK, g.Answer)
	}
	if t.Used && s.options().SingleUseTokens {
		return failure(http.StatusBadRequest, noToken)
	}
	for _, g := range s.state.gateways {
		if g.Deleted.IsZero() && g.Organization == t.Organization && g.Environment == t.Environment && g.Name == in.Name {
			return failure(http.StatusBadRequest, nameTaken)
		}
	}
	if len(s.state.gateways) >= maxGateways {
		return failure(http.StatusServiceUnavailable, fmt.Sprintf("the simulator has %d registrations, and takes no more: remove its folder", maxGateways))
	}
	g := &gateway{ID: anypoint.NewUUID(), Name: in.Name, Organization: t.Organization, Environment: t.Environment, Master: s.master(t.Organization), Created: q.now, Updated: q.now,
		IdempotencyKey: in.IdempotencyKey, CSR: hash(in.CSR), Token: hash(text)}
	chain, ends, err := s.authority.issue(g, key, q.now)
	if err != nil {
		return failure(http.StatusInternalServerError, err.Error())
	}
	g.Expires = ends
	g.Answer = anypoint.Registered{Platform: s.platform(g), OrganizationID: g.Organization, EnvironmentID: g.Environment, CertificateChain: string(chain), CertificateExpirationDate: ends}
	puts := []put{value(kindGateway, g.ID, g)}
	if text != Token {
		t.Used = true
		puts = append(puts, value(kindToken, hash(text), t))
	}
	if err := s.commit(true, puts...); err != nil {
		return cannotWrite(err)
	}
	return reply(http.StatusCreated, g.Answer)
}

func validName(name string) bool {
	return name != "" && len(name) <= 255 && strings.TrimSpace(name) == name && !strings.ContainsFunc(name, unicode.IsControl)
}

// renew signs a new key for a gateway, whose old certificate may have ended. A registration token does not do [D].
func (s *Sim) renew(q *query) answer {
	if len(q.body) > maxFacade {
		return failure(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", maxFacade))
	}
	c, refused := s.caller(q)
	if refused != nil {
		return *refused
	}
	g := s.state.gateways[q.PathValue("agent")]
	if g == nil {
		return failure(http.StatusNotFound, notFound)
	}
	if a := c.needs(g.Environment, ReadServers, ManageServers, ViewOrganization); a != nil {
		return *a
	}
	if !g.Deleted.IsZero() {
		return failure(http.StatusGone, gatewayDeleted)
	}
	var in anypoint.RenewRequest
	if err := strict(q.body, &in); err != nil {
		return failure(http.StatusBadRequest, err.Error()+kindOf(q))
	}
	if in.Schema != anypoint.RegistrationSchema {
		return failure(http.StatusBadRequest, fmt.Sprintf("schema: %s is expected", anypoint.RegistrationSchema))
	}
	key, err := parseCSR(in.CSR)
	if err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	chain, ends, err := s.authority.issue(g, key, q.now)
	if err != nil {
		return failure(http.StatusInternalServerError, err.Error())
	}
	renewed := *g
	renewed.Expires, renewed.Updated = ends, q.now
	renewed.Renewals++
	if err := s.commit(true, value(kindGateway, g.ID, &renewed)); err != nil {
		return cannotWrite(err)
	}
	out := anypoint.Registered{Platform: s.platform(g), OrganizationID: g.Organization, EnvironmentID: g.Environment, CertificateChain: string(chain), CertificateExpirationDate: ends}
	if !in.UpdateURLs {
		out.Anypoint, out.Arm, out.Events, out.Logging, out.Metering, out.Monitoring = "", "", "", "", "", ""
	}
	return reply(http.StatusOK, out)
}
