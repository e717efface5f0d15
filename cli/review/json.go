package review

import (
	"io"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/render/diff"
	"github.com/flexgw/flexgw/schema/diag"
)

// schemaVersion is that of docs/schemas/diff.schema.json. Fields may be added to it; a change of what is there makes the next.
const schemaVersion = 1

// The shape of docs/schemas/diff.schema.json: an absent object or place is null, lists are never null.
type (
	wireDiff struct {
		SchemaVersion int           `json:"schemaVersion"`
		Old           wireSide      `json:"old"`
		New           wireSide      `json:"new"`
		Compared      bool          `json:"compared"`
		Summary       wireSummary   `json:"summary"`
		Changes       []wireChange  `json:"changes"`
		Ports         []wirePort    `json:"ports"`
		Resources     wireResources `json:"resources"`
		Unset         []string      `json:"unset"`
	}
	wireSide struct {
		Name        string    `json:"name"`
		Revision    string    `json:"revision"`
		Valid       bool      `json:"valid"`
		Diagnostics diag.List `json:"diagnostics"`
	}
	wireSummary struct {
		Security int `json:"security"`
		Looser   int `json:"looser"`
		Traffic  int `json:"traffic"`
		Cosmetic int `json:"cosmetic"`
	}
	wireChange struct {
		Class   diff.Class   `json:"class"`
		Way     diff.Way     `json:"way"`
		Kind    diff.Kind    `json:"kind"`
		Object  *wireObject  `json:"object"`
		Affects []wireObject `json:"affects"`
		Summary string       `json:"summary"`
		Reason  string       `json:"reason"`
		Fields  []wireField  `json:"fields"`
		Place   *wirePlace   `json:"place"`
	}
	wireObject struct {
		Kind      string `json:"kind"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	}
	wireField struct {
		Path   string     `json:"path"`
		Old    *string    `json:"old"`
		New    *string    `json:"new"`
		Secret bool       `json:"secret"`
		Place  *wirePlace `json:"place"`
	}
	wirePlace struct {
		Side string `json:"side"`
		diag.Range
	}
	wirePort struct {
		Port    uint16      `json:"port"`
		Address string      `json:"address"`
		Effect  diff.Effect `json:"effect"`
		Reason  string      `json:"reason"`
	}
	wireResources struct {
		Added   []string `json:"added"`
		Changed []string `json:"changed"`
		Removed []string `json:"removed"`
	}
)

func writeJSON(w io.Writer, d Diff) error {
	out := wireDiff{SchemaVersion: schemaVersion, Old: side(d.Old), New: side(d.New), Changes: []wireChange{}, Ports: []wirePort{}, Unset: []string{},
		Resources: wireResources{[]string{}, []string{}, []string{}}}
	if r := d.Found; r != nil {
		out.Compared = true
		out.Summary = wireSummary{Security: r.Count(diff.Security), Traffic: r.Count(diff.Traffic), Cosmetic: r.Count(diff.Cosmetic)}
		for _, c := range r.Changes {
			if c.Way == diff.Looser {
				out.Summary.Looser++
			}
			out.Changes = append(out.Changes, change(c))
		}
		out.Unset = append(out.Unset, r.Unset...)
		for _, p := range r.Ports {
			out.Ports = append(out.Ports, wirePort{p.Port, p.Address, p.Effect, p.Reason})
		}
		out.Resources.Added = append(out.Resources.Added, r.Added...)
		out.Resources.Changed = append(out.Resources.Changed, r.Changed...)
		out.Resources.Removed = append(out.Resources.Removed, r.Removed...)
	}
	return report.Indented(w, out)
}

func side(s Side) wireSide {
	out := wireSide{Name: s.Label, Revision: s.Revision, Valid: s.Invalid == nil, Diagnostics: diag.List{}}
	if s.Invalid != nil {
		out.Diagnostics = append(out.Diagnostics, s.Invalid.Diagnostics.WithoutSecrets(s.Invalid.Sources)...)
	}
	return out
}

func change(c diff.Change) wireChange {
	out := wireChange{Class: c.Class, Way: c.Way, Kind: c.Kind, Affects: []wireObject{}, Summary: c.Summary, Reason: c.Reason, Fields: []wireField{}, Place: placed(c.Place)}
	if !c.Object.IsZero() {
		out.Object = &wireObject{c.Object.Kind, c.Object.Namespace, c.Object.Name}
	}
	for _, o := range c.Affects {
		out.Affects = append(out.Affects, wireObject{o.Kind, o.Namespace, o.Name})
	}
	for _, f := range c.Fields {
		out.Fields = append(out.Fields, wireField{f.Path, present(f.Old), present(f.New), f.Secret, placed(f.Place)})
	}
	return out
}

func present(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func placed(p diff.Place) *wirePlace {
	switch {
	case p.File == "":
		return nil
	case p.Old:
		return &wirePlace{"old", p.Range}
	}
	return &wirePlace{"new", p.Range}
}
