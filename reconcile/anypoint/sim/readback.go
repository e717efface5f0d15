package sim

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/flexgw/flexgw/reconcile/anypoint"
)

// Usage is read back as the platform's Usage API has it [D]; the name of the meter and its dimensions are from one client of a third
// party [S].

const measurement = "api_call_count"

func dimensions() []string { return []string{"org_name", "env_name", "deployment_mode", "asset_name"} }

func resolutions() []string { return []string{"PT1H", "P1D", "P1M"} }

func (s *Sim) viewer(q *query) *answer {
	c, a := s.caller(q)
	if a != nil {
		return a
	}
	return c.needs("", UsageViewer)
}

// describe lists the meters, or describes one.
func (s *Sim) describe(q *query) answer {
	if a := s.viewer(q); a != nil {
		return *a
	}
	dims := []map[string]any{}
	for _, d := range dimensions() {
		dims = append(dims, map[string]any{"name": d, "label": d, "description": "", "enrichment": []string{}})
	}
	meter := map[string]any{
		"name": anypoint.Meter, "description": "Requests to APIs of Flex Gateways, whatever was answered", "dimensions": dims,
		"measurements":        []map[string]any{{"name": measurement, "label": "API calls", "description": "requests"}},
		"supportedTimeSeries": resolutions(), "productName": "flex_gateway", "productLabel": "Flex Gateway", "meterType": "SUM",
	}
	if strings.HasSuffix(q.URL.Path, "/meters:describe") {
		return reply(http.StatusOK, []any{meter})
	}
	name, ok := strings.CutSuffix(q.PathValue("name"), ":describe")
	if !ok {
		a := failure(http.StatusNotFound, "no such path")
		a.unexpected = "unknown path"
		return a
	}
	if name != anypoint.Meter {
		return failure(http.StatusBadRequest, "Unknown meter "+clip(name))
	}
	return reply(http.StatusOK, meter)
}

// search answers one SELECT.
func (s *Sim) search(q *query) answer {
	if a := s.viewer(q); a != nil {
		return *a
	}
	var in struct {
		Query string `json:"query"`
	}
	if err := strict(q.body, &in); err != nil {
		return failure(http.StatusBadRequest, err.Error())
	}
	sel, err := parseSelect(in.Query)
	if err != nil {
		return failure(http.StatusBadRequest, "query: "+err.Error())
	}
	type group struct {
		at   int64
		dims [4]string // of dimensions
	}
	sums := map[group]uint64{}
	for k, c := range s.state.usage {
		g := s.state.gateways[k.Agent]
		at := time.Unix(k.Hour, 0).UTC()
		if g == nil || at.UnixMilli() < sel.from || at.UnixMilli() > sel.to {
			continue
		}
		env := g.Environment
		if o := s.find(g.Organization); o != nil {
			if e := s.findEnvironment(*o, env); e != nil {
				env = e.Name
			}
		}
		all := [4]string{s.nameOf(g.Organization), env, "self-managed", g.Name}
		id := group{at: start(at, sel.every).UnixMilli()}
		fits := true
		for i, d := range dimensions() {
			if want, ok := sel.where[d]; ok && !slices.Contains(want, all[i]) {
				fits = false
			}
			if slices.Contains(sel.group, d) {
				id.dims[i] = all[i]
			}
		}
		if fits {
			sums[id] += c.Cumulative
		}
	}
	keys := make([]group, 0, len(sums))
	for k := range sums {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b group) int { return cmp.Or(cmp.Compare(a.at, b.at), slices.Compare(a.dims[:], b.dims[:])) })
	if sel.limit > 0 {
		keys = keys[:min(len(keys), sel.limit)]
	}
	data := []map[string]any{}
	for _, k := range keys {
		r := map[string]any{"timestamp": k.at, measurement: sums[k]}
		for i, d := range dimensions() {
			if slices.Contains(sel.group, d) {
				r[d] = k.dims[i]
			}
		}
		data = append(data, r)
	}
	return reply(http.StatusOK, map[string]any{"metadata": map[string]any{"responseAsOf": q.now.UnixMilli()}, "data": data})
}

// start is when the hour, day or month began.
func start(t time.Time, every string) time.Time {
	switch every {
	case "P1M":
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	case "P1D":
		return t.Truncate(day)
	}
	return t.Truncate(time.Hour)
}

// selection is what a SELECT asks for.
type selection struct {
	group    []string // dimensions, in the order of the query
	where    map[string][]string
	from, to int64 // milliseconds since 1970, both included
	every    string
	limit    int
}

// parseSelect reads
//
//	SELECT dimension…, api_call_count FROM flex_api_call_count WHERE timestamp BETWEEN ms AND ms [AND dimension = 'value' | IN ('value', …)]… [GROUP BY dimension, …] TIMESERIES P1D [LIMIT n]
//
// in any case, names quoted or not, the measurement also as SUM(api_call_count). That is what is documented, and no more.
func parseSelect(text string) (*selection, error) {
	p := &parser{}
	if err := p.split(text); err != nil {
		return nil, err
	}
	sel := &selection{where: map[string][]string{}, from: -1}
	if err := p.want("select"); err != nil {
		return nil, err
	}
	for {
		switch name := p.name(); {
		case slices.Contains(dimensions(), name):
			sel.group = append(sel.group, name)
		case name == "sum":
			if p.want("(") != nil || p.name() != measurement || p.want(")") != nil {
				return nil, fmt.Errorf("SUM(%s) is expected", measurement)
			}
		case name == measurement, name == "*", name == "timestamp":
		default:
			return nil, fmt.Errorf("%q is neither a dimension (%s) nor the measurement %s", name, strings.Join(dimensions(), ", "), measurement)
		}
		if !p.take(",") {
			break
		}
	}
	if err := p.want("from"); err != nil {
		return nil, err
	}
	if name := p.name(); name != anypoint.Meter {
		return nil, fmt.Errorf("unknown meter %q, expected %s", name, anypoint.Meter)
	}
	if err := p.want("where"); err != nil {
		return nil, err
	}
	for {
		if err := p.condition(sel); err != nil {
			return nil, err
		}
		if !p.take("and") {
			break
		}
	}
	if sel.from < 0 {
		return nil, errors.New("WHERE timestamp BETWEEN is missing")
	}
	if p.take("group") {
		if err := p.want("by"); err != nil {
			return nil, err
		}
		for {
			name := p.name()
			if !slices.Contains(dimensions(), name) {
				return nil, fmt.Errorf("GROUP BY: %q is no dimension, expected %s", name, strings.Join(dimensions(), ", "))
			}
			if !slices.Contains(sel.group, name) {
				sel.group = append(sel.group, name)
			}
			if !p.take(",") {
				break
			}
		}
	}
	if err := p.want("timeseries"); err != nil {
		return nil, err
	}
	sel.every = strings.ToUpper(p.name())
	if !slices.Contains(resolutions(), sel.every) {
		return nil, fmt.Errorf("TIMESERIES: %q, expected %s", sel.every, strings.Join(resolutions(), ", "))
	}
	if p.take("limit") {
		n, err := strconv.Atoi(p.name())
		if err != nil || n < 1 {
			return nil, errors.New("LIMIT: a number from 1 is expected")
		}
		sel.limit = n
	}
	if !p.done() {
		return nil, fmt.Errorf("nothing is expected at %q", p.name())
	}
	return sel, nil
}

// condition reads one of WHERE.
func (p *parser) condition(sel *selection) error {
	name := p.name()
	if name == "timestamp" {
		if err := p.want("between"); err != nil {
			return err
		}
		from, err := strconv.ParseInt(p.name(), 10, 64)
		if err != nil || p.want("and") != nil {
			return errors.New("timestamp BETWEEN: two times in milliseconds are expected")
		}
		to, err := strconv.ParseInt(p.name(), 10, 64)
		if err != nil || from < 0 || to < from {
			return errors.New("timestamp BETWEEN: two times in milliseconds are expected, the earlier one first")
		}
		sel.from, sel.to = from, to
		return nil
	}
	if !slices.Contains(dimensions(), name) {
		return fmt.Errorf("WHERE: %q is neither timestamp nor a dimension (%s)", name, strings.Join(dimensions(), ", "))
	}
	if p.take("=") {
		v, err := p.text()
		sel.where[name] = []string{v}
		return err
	}
	if p.want("in") != nil || p.want("(") != nil {
		return fmt.Errorf("WHERE %s: = or IN ( is expected", name)
	}
	for {
		v, err := p.text()
		if err != nil {
			return err
		}
		sel.where[name] = append(sel.where[name], v)
		if !p.take(",") {
			return p.want(")")
		}
	}
}

// parser has the words of a query.
type parser struct {
	words []word
}

type word struct {
	text   string
	quoted byte // ' of a value, " or ` of a name, 0
}

// maxQuery is how long a query may be, in bytes.
const maxQuery = 16 << 10

func (p *parser) split(text string) error {
	if len(text) > maxQuery {
		return fmt.Errorf("it has more than %d bytes", maxQuery)
	}
	for rest := []rune(text); len(rest) > 0; {
		r := rest[0]
		switch {
		case unicode.IsSpace(r):
			rest = rest[1:]
		case strings.ContainsRune("'\"`", r):
			var b strings.Builder
			i := 1
			for ; i < len(rest) && (rest[i] != r || i+1 < len(rest) && rest[i+1] == r); i++ {
				if rest[i] == r { // doubled: one of the value
					i++
				}
				b.WriteRune(rest[i])
			}
			if i == len(rest) {
				return fmt.Errorf("a quote %c is not closed", r)
			}
			p.words, rest = append(p.words, word{b.String(), byte(r)}), rest[i+1:]
		case strings.ContainsRune("(),=*;", r):
			p.words, rest = append(p.words, word{string(r), 0}), rest[1:]
		default:
			i := slices.IndexFunc(rest, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("(),=*;'\"`", r) })
			if i < 0 {
				i = len(rest)
			}
			p.words, rest = append(p.words, word{string(rest[:i]), 0}), rest[i:]
		}
	}
	if n := len(p.words); n > 0 && p.words[n-1] == (word{";", 0}) {
		p.words = p.words[:n-1]
	}
	return nil
}

func (p *parser) done() bool { return len(p.words) == 0 }

// take skips a keyword or sign if it comes next.
func (p *parser) take(text string) bool {
	if p.done() || p.words[0].quoted != 0 || !strings.EqualFold(p.words[0].text, text) {
		return false
	}
	p.words = p.words[1:]
	return true
}

func (p *parser) want(text string) error {
	if p.take(text) {
		return nil
	}
	if p.done() {
		return fmt.Errorf("it ends where %s is expected", strings.ToUpper(text))
	}
	return fmt.Errorf("%s is expected at %q", strings.ToUpper(text), p.words[0].text)
}

// name is the next word, lower-case unless it is quoted; "" at the end or for a value.
func (p *parser) name() string {
	if p.done() || p.words[0].quoted == '\'' {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	if w.quoted != 0 {
		return w.text
	}
	return strings.ToLower(w.text)
}

// text is a value in quotes.
func (p *parser) text() (string, error) {
	if p.done() || p.words[0].quoted != '\'' {
		return "", errors.New("a value in single quotes is expected")
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w.text, nil
}
