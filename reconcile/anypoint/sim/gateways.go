package sim

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// Texts of the platform [C].
const (
	notFound       = "Gateway not found by id"
	alreadyDeleted = "This target was already deleted"
	wrongPageSize  = "Wrong page size"
)

// gatewayDeleted is what usage of a deleted gateway gets. Invented.
const gatewayDeleted = "gateway deleted"

// Statuses of gateways and replicas.
const (
	connected    = "CONNECTED"
	disconnected = "DISCONNECTED"
	deleting     = "DELETING"
	deleted      = "DELETED"
)

// How long what is not heard of lasts.
const (
	heartbeat    = 15 * time.Minute // the longest that a replica says nothing
	patience     = 3 * heartbeat    // that is then connected still
	replicaLasts = 7 * day          // disconnected [D]
	hiddenAfter  = 30 * day         // [D]: a deleted gateway is not listed any more, and one that stopped not shown in the console
)

const (
	pageSize = 30 // unless asked [C]
	maxPage  = 100
	wrongAt  = 200 // "200 and above" are refused [C]; between, a page has maxPage
)

// page reads pageNumber and pageSize.
func page(v url.Values) (number, size int, ok bool) {
	number, size = 0, pageSize
	if t := v.Get("pageNumber"); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil || n < 0 {
			return 0, 0, false
		}
		number = n
	}
	if t := v.Get("pageSize"); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil || n < 1 || n >= wrongAt {
			return 0, 0, false
		}
		size = min(n, maxPage)
	}
	return number, size, true
}

// slice is one page of a list, and how many there are: none, past the end [C].
func slice[T any](list []T, number, size int) ([]T, int) {
	if number > len(list)/size || number*size >= len(list) {
		return []T{}, 0
	}
	return list[number*size : min((number+1)*size, len(list))], len(list)
}

func (s *Sim) statusOf(g *gateway, now time.Time) string {
	switch {
	case !g.Deleted.IsZero() && now.Before(g.Deleted.Add(time.Duration(s.options().DeleteTakes))):
		return deleting
	case !g.Deleted.IsZero():
		return deleted
	}
	for _, r := range s.state.replicasOf(g.ID) {
		if r.status(now) == connected {
			return connected
		}
	}
	return disconnected
}

func (r *replica) status(now time.Time) string {
	if now.Sub(r.Seen) <= patience {
		return connected
	}
	return disconnected
}

// replicasShown are those of a gateway that are not removed yet.
func (s *Sim) replicasShown(agent string, now time.Time) []*replica {
	var list []*replica
	for _, r := range s.state.replicasOf(agent) {
		if now.Sub(r.Seen) <= patience+replicaLasts {
			list = append(list, r)
		}
	}
	return list
}

// seen is when somebody last heard of a gateway.
func (s *Sim) seen(g *gateway) time.Time {
	at := g.Updated
	for _, r := range s.state.replicasOf(g.ID) {
		at = later(at, r.Seen)
	}
	return at
}

// hidden says whether the console shows a gateway no more. The API lists one that stopped for longer: its name is still taken.
func (s *Sim) hidden(g *gateway, now time.Time) bool { return now.Sub(s.seen(g)) > hiddenAfter }

func (s *Sim) object(g *gateway, now time.Time) anypoint.Gateway {
	o := anypoint.Gateway{OrganizationID: g.Organization, ID: g.ID, Name: g.Name, Status: s.statusOf(g, now), Tags: g.Tags, LastUpdate: s.seen(g), Replicas: []anypoint.ReplicaCount{}}
	if o.Tags == nil {
		o.Tags = []string{}
	}
	for _, status := range []string{connected, disconnected} {
		c := anypoint.ReplicaCount{Status: status, CertificateExpirationDates: []time.Time{}}
		for _, r := range s.replicasShown(g.ID, now) {
			if r.status(now) == status {
				c.Count++
				c.CertificateExpirationDates = append(c.CertificateExpirationDates, r.Expires)
			}
		}
		if c.Count > 0 {
			o.Replicas = append(o.Replicas, c)
		}
	}
	return o
}

func (s *Sim) listGateways(q *query) answer {
	if a := s.may(q, ReadServers); a != nil {
		return *a
	}
	v := q.URL.Query()
	number, size, ok := page(v)
	if !ok {
		return failure(http.StatusBadRequest, wrongPageSize)
	}
	list := []anypoint.Gateway{}
	for _, g := range s.state.sortedGateways(q.PathValue("org"), q.PathValue("env")) {
		if !g.Deleted.IsZero() && s.hidden(g, q.now) {
			continue
		}
		o := s.object(g, q.now)
		if strings.Contains(strings.ToLower(o.Name), strings.ToLower(v.Get("name"))) && (v.Get("status") == "" || strings.EqualFold(v.Get("status"), o.Status)) {
			list = append(list, o)
		}
	}
	content, total := slice(list, number, size)
	return reply(http.StatusOK, anypoint.Gateways{Content: content, TotalElements: total, PageNumber: number, PageSize: size})
}

// of is the gateway of a path, after asking whether the caller may.
func (s *Sim) of(q *query, scope string) (*gateway, *answer) {
	if a := s.may(q, scope); a != nil {
		return nil, a
	}
	g := s.state.gateways[q.PathValue("id")]
	if g == nil || g.Organization != q.PathValue("org") || g.Environment != q.PathValue("env") {
		a := failure(http.StatusNotFound, notFound)
		return nil, &a
	}
	return g, nil
}

func (s *Sim) getGateway(q *query) answer {
	g, a := s.of(q, ReadServers)
	if a != nil {
		return *a
	}
	o := s.object(g, q.now)
	o.Versions = []string{gatewayVersion}
	return reply(http.StatusOK, o)
}

// gatewayVersion is what a report does not say.
const gatewayVersion = "1.0.0"

func (s *Sim) listReplicas(q *query) answer {
	g, a := s.of(q, ReadServers)
	if a != nil {
		return *a
	}
	v := q.URL.Query()
	number, size, ok := page(v)
	if !ok {
		return failure(http.StatusBadRequest, wrongPageSize)
	}
	list := []anypoint.Replica{}
	for _, r := range s.replicasShown(g.ID, q.now) {
		o := anypoint.Replica{
			ID: r.ID, TargetID: g.ID, GatewayVersion: gatewayVersion, Status: r.status(q.now), ConnectedAt: &r.Connected,
			ConfigurationStatus: anypoint.ConfigurationStatus{Status: "UP_TO_DATE"}, Name: r.ID + "." + g.Name, CID: "arm-mcm2-service-sim", CertificateExpirationDate: &r.Expires, NodeID: r.ID, Provider: "RR",
		}
		if o.Status == disconnected {
			at := r.Seen.Add(patience)
			o.DisconnectedAt = &at
		}
		if want := v.Get("status"); want == "" || strings.EqualFold(want, o.Status) {
			list = append(list, o)
		}
	}
	content, total := slice(list, number, size)
	return reply(http.StatusOK, anypoint.Replicas{Content: content, TotalElements: total, PageNumber: number, PageSize: size, Gateway: s.object(g, q.now)})
}

// deleteGateway is soft, and soon done [C].
func (s *Sim) deleteGateway(q *query) answer {
	g, a := s.of(q, ManageServers)
	if a != nil {
		return *a
	}
	if !g.Deleted.IsZero() {
		return failure(http.StatusBadRequest, alreadyDeleted)
	}
	gone := *g
	gone.Deleted, gone.Updated = q.now, q.now
	if err := s.commit(true, value(kindGateway, g.ID, &gone)); err != nil {
		return cannotWrite(err)
	}
	return answer{status: http.StatusAccepted}
}
