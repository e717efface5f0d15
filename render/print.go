package render

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
)

// Text is a printed form: JSON with indentation, its members in a fixed order.
type Text []byte

// YAML is the same text as YAML in block style.
func (t Text) YAML() ([]byte, error) { return yamlOf(t) }

// Print shows all resources and the files that they name. With show, secrets are part of it.
func (r *Resources) Print(show bool) (Text, error) {
	type file struct {
		Path    string `json:"path"`
		Content string `json:"content"`
		Base64  bool   `json:"base64,omitempty"` // the content is not text
	}
	out := struct {
		Listeners []json.RawMessage `json:"listeners"`
		Clusters  []json.RawMessage `json:"clusters"`
		Scopes    []json.RawMessage `json:"scopes"`
		Secrets   []json.RawMessage `json:"secrets"`
		Files     []file            `json:"files"`
	}{Files: []file{}}
	for _, x := range []struct {
		typeURL string
		to      *[]json.RawMessage
	}{{ListenerType, &out.Listeners}, {ClusterType, &out.Clusters}, {ScopeType, &out.Scopes}, {SecretType, &out.Secrets}} {
		*x.to = []json.RawMessage{}
		for _, res := range r.list(x.typeURL) {
			m, err := res.Message()
			if err != nil {
				return nil, fmt.Errorf("print %s: %w", res.Name, err)
			}
			if !show {
				m = Redact(m)
			}
			raw, err := compactJSON(m)
			if err != nil {
				return nil, err
			}
			*x.to = append(*x.to, raw)
		}
	}
	for _, f := range r.Files() {
		x := file{Path: f.Path, Content: string(f.Data)}
		if f.Secret && !show {
			x.Content = "[redacted]"
		} else if !utf8.Valid(f.Data) {
			x.Content, x.Base64 = base64.StdEncoding.EncodeToString(f.Data), true
		}
		out.Files = append(out.Files, x)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		return nil, err
	}
	if !show {
		return Text(diag.Hide(b.String(), r.sealed)), nil
	}
	return b.Bytes(), nil
}
