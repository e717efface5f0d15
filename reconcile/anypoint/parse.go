package anypoint

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Parse reads a registration from its text. name is what places in it are called by; beside reads a file in the same folder and
// returns fs.ErrNotExist for one that is not there. Path and CA are not set.
func Parse(name string, src []byte, beside func(name string) ([]byte, error)) (*File, error) {
	p, err := parse(name, src, beside)
	if err != nil {
		return nil, err
	}
	return p.file, nil
}

// Doubts are the warnings about a text that may be a registration, of one that is broken or a half too: what is told of it while it is a
// file among declarations. beside is as for Parse.
func Doubts(name string, src []byte, beside func(name string) ([]byte, error)) diag.List {
	p, _ := parse(name, src, beside) // what is wrong with it is told by who uses it
	return p.file.Doubts
}

// parse is Parse. The file has Doubts whatever the error says.
func parse(name string, src []byte, beside func(name string) ([]byte, error)) (*parser, error) {
	name = filepath.ToSlash(name)
	t, docs, list := trees(name, src)
	p := &parser{file: &File{Version: 1, texts: []text{t}}, name: name, docs: docs}
	if list.HasErrors() {
		return p, wrong(Broken, errorsOf(list)...)
	}
	if blank(name, src) {
		return p, wrong(Empty, diag.Diagnostic{Code: "registration/empty", Subject: diag.Range{File: name},
			Summary: "the registration is empty: an attempt to register left it behind",
			Hint:    "remove the file, and register again with flexgw register"})
	}
	p.file.at.urls = map[string]diag.Range{}
	connection := p.connection()
	if connection == nil {
		return p, wrong(None, diag.Diagnostic{Code: "registration/none", Subject: diag.Range{File: name},
			Summary: "this is no registration: no Configuration in it has spec.platformConnection",
			Hint:    "name the registration.yaml that flexgw register, or flexctl registration create, wrote"})
	}
	p.platform(connection)
	p.secret(connection, beside)
	p.doubt(connection)
	if p.list.HasErrors() {
		return p, wrong(Broken, p.list.Sort()...)
	}
	if err := p.file.pair(); err != nil {
		return p, wrong(Strange, diag.Diagnostic{Code: "registration/key-mismatch", Subject: p.file.at.key,
			Summary: "the key in tls.key is not that of the certificate in tls.crt",
			Hint:    "the two were written together: put the file back as it was, or get a new one with flexgw renew"})
	}
	return p, nil
}

// doubt looks for what makes reports of usage fail. Real files have it all [C]; nothing that is documented asks for it, so that none of it
// keeps a registration from being used: it can be renewed, and deleted.
func (p *parser) doubt(n *syntax.Node) {
	f := p.file
	warn := func(code diag.Code, at diag.Range, hint, format string, args ...any) {
		at.File = p.name
		f.Doubts = append(f.Doubts, diag.Diagnostic{Severity: diag.Warning, Code: code, Subject: at, Summary: fmt.Sprintf(format, args...), Hint: hint})
	}
	if v := n.Get("metering"); n.Kind == syntax.Mapping && (v.IsNull() || v.Kind == syntax.Scalar && v.Text == "") {
		warn("registration/no-metering", f.at.connection, "flexgw renew --update-urls gets it from the platform; until then calls are counted and kept",
			"platformConnection has no metering, the URL that usage is reported to: nothing can be reported")
	}
	if of := f.certified(); of != "" && f.AgentID != "" && !strings.EqualFold(of, f.AgentID) {
		warn("registration/other-agent", n.Get("agentId").Range, "the two belong together: put the file back as it was written; if agentId is right, flexgw renew gets its certificate",
			"agentId is %s, and the certificate in tls.crt is that of %s: the platform will not take reports of usage", f.AgentID, of)
	}
}

// certified is the gateway that the certificate names [C]; "": it does not look like one of the platform's.
func (f *File) certified() string {
	of, _, _ := strings.Cut(f.CommonName, ".")
	if !uuidPattern.MatchString(of) {
		return ""
	}
	return of
}

// trees parses a file as YAML, whatever it is called: JSON is YAML too.
func trees(name string, src []byte) (text, []*syntax.Document, diag.List) {
	const shown = FileName
	units, list := syntax.Units(source.NewSet([]source.File{source.NewFile(shown, src)}))
	if len(units) != 1 {
		return text{}, nil, list
	}
	docs, more := units[0].Parse()
	list = append(list, more...)
	for i := range list {
		list[i].Subject.File = name
		for j := range list[i].Related {
			list[i].Related[j].Subject.File = name
		}
		list[i].Fixes = nil
	}
	return text{name: name, src: src, unit: units[0]}, docs, list
}

func errorsOf(list diag.List) []diag.Diagnostic {
	return slices.DeleteFunc(slices.Clone(list), func(d diag.Diagnostic) bool { return d.Severity != diag.Error })
}

// parser collects what is wrong.
type parser struct {
	file *File
	name string // of the file that docs are from
	docs []*syntax.Document
	list diag.List
}

func (p *parser) wrong(name string, at diag.Range, hint, format string, args ...any) {
	at.File = name
	p.list = append(p.list, diag.Diagnostic{Severity: diag.Error, Code: "registration/broken", Subject: at, Summary: fmt.Sprintf(format, args...), Hint: hint})
}

// connection is the platformConnection; nil: there is none.
func (p *parser) connection() *syntax.Node {
	var found *syntax.Node
	for _, d := range p.docs {
		f := d.Root.Get("spec").Field("platformConnection")
		if f == nil || !isKind(d.Root, "Configuration") {
			continue
		}
		if found != nil {
			p.wrong(p.name, f.Range, "keep the one that is in use", "a second platformConnection: one file holds one registration")
			continue
		}
		found = f.Value
		p.file.at.connection = f.Range
	}
	return found
}

func isKind(root *syntax.Node, kind string) bool {
	k, v := root.Get("kind"), root.Get("apiVersion")
	return k != nil && k.Text == kind && v != nil && strings.HasPrefix(v.Text, "gateway.mulesoft.com/")
}

// known are the keys of version 1 [C].
var known = []string{"agentId", "region", "certificateRef", "assetName", "meteringSchemaId", "anypoint", "arm", "events", "logging", "metering", "monitoring"}

const getNew = "put the file back as it was written, or get a new one with flexgw renew, or flexgw register"

func (p *parser) platform(n *syntax.Node) {
	if n.Kind != syntax.Mapping {
		p.wrong(p.name, n.Range, getNew, "platformConnection is expected to be an object")
		return
	}
	f := p.file
	for _, x := range []struct {
		key string
		to  *string
	}{{"agentId", &f.AgentID}, {"region", &f.Region}, {"assetName", &f.AssetName}, {"meteringSchemaId", &f.MeteringSchemaID}} {
		p.text(n, x.key, x.to)
	}
	if f.AgentID == "" && !p.list.HasErrors() {
		p.wrong(p.name, f.at.connection, getNew, "platformConnection has no agentId")
	} else if f.AgentID != "" && !idPattern.MatchString(f.AgentID) {
		p.wrong(p.name, n.Get("agentId").Range, getNew, "agentId %q: a UUID is expected", f.AgentID)
	}
	for _, x := range f.urls() {
		p.text(n, x.key, x.to)
		if v := n.Get(x.key); v != nil {
			f.at.urls[x.key] = v.Range
		}
		if called := x.key == "anypoint" || x.key == "metering"; called && *x.to != "" {
			if err := checkURL(*x.to); err != nil {
				p.wrong(p.name, n.Get(x.key).Range, getNew, "%s: %s", x.key, err)
			}
		}
	}
	for _, x := range n.Fields {
		if !slices.Contains(known, x.Name) {
			f.Version = 2
		}
	}
}

// text reads a field that is a text, if it is there.
func (p *parser) text(n *syntax.Node, key string, to *string) {
	v := n.Get(key)
	if v.IsNull() {
		return
	}
	if v.Kind != syntax.Scalar {
		p.wrong(p.name, v.Range, getNew, "%s is expected to be a text", key)
		return
	}
	*to = v.Text
}

// idPattern is what ids of the platform look like; they become parts of paths.
var idPattern = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,127}$`)

// checkURL says whether a URL may be called. It is not repeated in the error, which has a place: it may hold a password.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return errors.New("a URL is expected, such as https://anypoint.mulesoft.com")
	case u.Scheme != "https":
		return fmt.Errorf("an https:// URL is expected, not %s://", diag.Visible(u.Scheme))
	case u.User != nil:
		return errors.New("a URL without user and password is expected")
	}
	return nil
}

// secret finds the certificate and its key, in the file itself or beside it.
func (p *parser) secret(connection *syntax.Node, beside func(string) ([]byte, error)) {
	ref := connection.Get("certificateRef")
	name := ""
	if n := ref.Get("name"); n != nil {
		name = n.Text
	}
	if name == "" {
		p.wrong(p.name, p.file.at.connection, getNew, "platformConnection has no certificateRef with a name")
		return
	}
	if p.take(p.docs, p.name, name) {
		return
	}
	src, err := beside(CertificateName)
	at := ref.Get("name").Range
	shown := filepath.ToSlash(filepath.Join(filepath.Dir(filepath.FromSlash(p.name)), CertificateName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.wrong(p.name, at, "put the certificate.yaml that was written with it beside it", "no Secret named %q in this file, and no %s beside it", name, CertificateName)
		return
	case err != nil:
		p.wrong(p.name, at, "see that the user of the daemon may read it", "%s cannot be read: %s", CertificateName, err)
		return
	}
	t, docs, list := trees(shown, src)
	p.file.texts = append(p.file.texts, t)
	p.file.Split, p.file.at.certText = true, 1
	if list.HasErrors() {
		p.list = append(p.list, errorsOf(list)...)
		return
	}
	if !p.take(docs, shown, name) {
		p.wrong(p.name, at, "put the certificate.yaml that was written with it beside it", "no Secret named %q in this file or in %s", name, CertificateName)
	}
}

// take reads the Secret of a name, if it is among the documents.
func (p *parser) take(docs []*syntax.Document, file, name string) bool {
	for _, d := range docs {
		if n := d.Root.Get("metadata").Get("name"); !isKind(d.Root, "Secret") || n == nil || n.Text != name {
			continue
		}
		spec := d.Root.Get("spec")
		crt := p.pem(d, file, spec, "tls.crt", &p.file.at.certificate)
		key := p.pem(d, file, spec, "tls.key", &p.file.at.key)
		if crt == nil || key == nil {
			return true
		}
		p.file.Certificate, p.file.Key = crt, ir.NewSecret(string(key))
		if err := p.file.facts(); err != nil {
			p.wrong(file, p.file.at.certificate, getNew, "tls.crt: %s", err)
		}
		if err := checkKey(key); err != nil {
			p.wrong(file, p.file.at.key, getNew, "tls.key: %s", err)
		}
		return true
	}
	return false
}

// pem is the PEM in a field of a Secret, which is base64 around it; nil: it is not there, which was said.
func (p *parser) pem(d *syntax.Document, file string, spec *syntax.Node, key string, at *diag.Range) []byte {
	v := spec.Get(key)
	if v == nil || v.Kind != syntax.Scalar || v.Text == "" {
		p.wrong(file, d.Root.KeyRange("spec"), getNew, "the Secret has no %s", key)
		return nil
	}
	*at = v.Range
	at.File = file
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(v.Text), ""))
	if err != nil {
		p.wrong(file, v.Range, getNew, "%s: base64 is expected", key)
		return nil
	}
	return b
}

// facts reads what the certificate says of the registration [C].
func (f *File) facts() error {
	chain, err := Chain(f.Certificate)
	if err != nil {
		return err
	}
	leaf := chain[0]
	f.NotBefore, f.NotAfter, f.CommonName, f.Local = leaf.NotBefore.UTC(), leaf.NotAfter.UTC(), leaf.Subject.CommonName, slices.Contains(leaf.DNSNames, "offline")
	f.OrganizationID, f.EnvironmentID, f.MasterOrganizationID = "", "", ""
	for _, name := range leaf.DNSNames {
		for prefix, to := range map[string]*string{"org=": &f.OrganizationID, "env=": &f.EnvironmentID, "masterOrg=": &f.MasterOrganizationID} {
			if v, ok := strings.CutPrefix(name, prefix); ok {
				*to = v
			}
		}
	}
	return nil
}

// Chain reads certificates in PEM: one at least, the leaf first.
func Chain(b []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("certificates are expected, not a %s", diag.Visible(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain cannot be read: %w", len(chain)+1, err)
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("no certificate in PEM is in it")
	}
	return chain, nil
}

// checkKey says whether a key can be read. What is wrong with it in detail would say something about it.
func checkKey(b []byte) error {
	block, _ := pem.Decode(b)
	if block == nil {
		return errors.New("no key in PEM is in it")
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return nil
	}
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return nil
	}
	if _, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return nil
	}
	return errors.New("the key in it cannot be read")
}
