package anypoint

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// The names of a registration's files [D]. The last is ours: the product has no place for it.
const (
	FileName        = "registration.yaml"
	CertificateName = "certificate.yaml" // beside it, when the two are split
	CAName          = "registration-ca.pem"
)

// Secret is a text that prints as [redacted].
type Secret = ir.Secret

// File is a registration as it stands on disk: what `flexctl registration create` writes, and `flexgw register`.
type File struct {
	Platform

	// From the SANs org=, env= and masterOrg= of the certificate [C]; "": it does not say.
	OrganizationID, EnvironmentID, MasterOrganizationID string

	Certificate []byte // PEM: leaf, intermediate, root
	Key         Secret // PEM of the leaf's key
	NotBefore   time.Time
	NotAfter    time.Time
	CommonName  string // of the leaf: <agentId>.RR.<region>.prod [C]
	Local       bool   // the leaf has the SAN "offline": it was registered for Local Mode [C]

	CA      []byte     // PEM of the authorities that the platform is trusted by, from CAName beside it; nil: the system's
	Version int        // 1, or 2: platformConnection has keys that 1 has not [S]
	Split   bool       // the certificate stands in CertificateName
	Path    string     // where it was read; "": nowhere
	Exposed []Exposure // the files that others than their owner may use, as they were when it was read
	Doubts  diag.List  // warnings: it can be used, and reports of usage will fail

	texts []text // as it was read, so that what nobody here knows stays as it is; nil: it was not
	at    places
}

// text is one of the files as it was read.
type text struct {
	name string // as it is shown
	src  []byte
	unit syntax.Unit
}

// places are where the values that a renewal changes stand.
type places struct {
	connection           diag.Range // the value of platformConnection
	urls                 map[string]diag.Range
	certificate, key     diag.Range
	configText, certText int // indices in texts
}

// Reason is why a file is no registration that can be used.
type Reason int

// The reasons.
const (
	Empty   Reason = iota + 1 // nothing is in it: an attempt of the product's tool to register has failed
	Old                       // of version 1.0 of the product: a .conf, a .key and a .pem
	None                      // it is about something else
	Broken                    // it begins as one, and something in it is missing or wrong
	Strange                   // its key is not that of its certificate
)

// FileError is what is wrong with a registration file. List has at least one error.
type FileError struct {
	Reason Reason
	List   diag.List
}

// Error is the first problem, with its place.
func (e *FileError) Error() string {
	d := e.List[0]
	text := d.Subject.String() + ": " + d.Summary
	if n := len(e.List) - 1; n > 0 {
		text += fmt.Sprintf(" (and %d more)", n)
	}
	return text
}

// ExistsError says that a registration is there, and is not overwritten.
type ExistsError struct{ Path string }

func (e *ExistsError) Error() string { return e.Path + " is there already" }

// maxFile is how many bytes of a file are read: real ones have 10 KiB.
const maxFile = 1 << 20

// ReadFile reads a registration: one file, or two with CertificateName beside it; in any order, of version 1 or 2. Of a folder it
// reads FileName. It returns a *FileError, or fs.ErrNotExist and other errors of the disk.
func ReadFile(path string) (*File, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, FileName)
	}
	if found := findOld(path); found != "" {
		return nil, old(found)
	}
	src, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	f, err := Parse(path, src, func(name string) ([]byte, error) { return read(filepath.Join(filepath.Dir(path), name)) })
	if err != nil {
		return nil, err
	}
	ca, err := read(CAPath(path))
	switch {
	case err == nil:
		if len(bytes.TrimSpace(ca)) > 0 && !x509.NewCertPool().AppendCertsFromPEM(ca) {
			return nil, fmt.Errorf("read %s: there is no certificate in PEM in it; put back what --ca-file named, or remove it", CAPath(path))
		}
		f.CA = ca
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read %s: %w", CAPath(path), err)
	}
	f.Path = path
	f.Exposed = Exposed(path, f.Split)
	return f, nil
}

// Exposure is a file of a registration that others than its owner may use.
type Exposure struct {
	Path      string
	Mode      fs.FileMode // its permissions
	Everybody bool        // everybody on this host, not the file's group alone
	What      string      // what they can do with it, in words: "read the gateway's key"
}

// String is the exposure in words.
func (e Exposure) String() string {
	return fmt.Sprintf("%s (mode %04o): others than its owner can %s", e.Path, e.Mode, e.What)
}

// Exposed are the files of the registration at path that others than their owner may use: who reads the key is the gateway to the
// platform, and who writes changes where credentials go. split says that the key stands in CertificateName.
func Exposed(path string, split bool) []Exposure {
	type file struct{ path, read, write string }
	files := []file{{path, "read the gateway's key", "change its URLs, which say where credentials go"}}
	if split {
		files[0].read = ""
		files = append(files, file{filepath.Join(filepath.Dir(path), CertificateName), "read the gateway's key", "put another key in its place"})
	}
	files = append(files, file{CAPath(path), "", "change by which authorities the platform is trusted"})
	var all []Exposure
	for _, f := range files {
		info, err := os.Stat(f.path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		e := Exposure{Path: f.path, Mode: info.Mode().Perm()}
		var what []string
		for _, x := range []struct {
			bits fs.FileMode
			what string
		}{{0o044, f.read}, {0o022, f.write}} {
			if x.what != "" && e.Mode&x.bits != 0 {
				what = append(what, x.what)
				e.Everybody = e.Everybody || e.Mode&x.bits&0o007 != 0
			}
		}
		if e.What = strings.Join(what, ", and "); e.What != "" {
			all = append(all, e)
		}
	}
	return all
}

// KeyPath is the file of the registration that has the certificate and its key.
func (f *File) KeyPath() string {
	if f.Split {
		return filepath.Join(filepath.Dir(f.Path), CertificateName)
	}
	return f.Path
}

// CAPath is where the authorities of the registration at path are kept: registration-ca.pem for registration.yaml.
func CAPath(path string) string {
	return strings.TrimSuffix(path, filepath.Ext(path)) + strings.TrimPrefix(CAName, strings.TrimSuffix(FileName, ".yaml"))
}

// Trust says in words whose certificates the platform of the registration is believed by: for whom it was not.
func (f *File) Trust() string {
	own := CAPath(f.Path)
	if f.CA != nil {
		return fmt.Sprintf("trusted are the authorities of this host, and those in %s", own)
	}
	text := fmt.Sprintf("trusted are the authorities of this host alone: those of this registration would be in %s, which is not there", own)
	if other := filepath.Join(filepath.Dir(f.Path), CAName); other != own {
		if _, err := os.Stat(other); err == nil {
			text += fmt.Sprintf("; there is %s, which belongs to %s: if it is for %s, copy it to %s", other, FileName, filepath.Base(f.Path), own)
		}
	}
	return text
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, disk.Cause(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		if err == nil {
			err = errors.New("it is no plain file")
		}
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		return nil, fmt.Errorf("it has more than %d bytes, which no registration has", maxFile)
	}
	return b, disk.Cause(err)
}

// oldName is what version 1.0 of the product called its files [D]; FLEX_RTM_ARM_AGENT_CONFIG pointed at the .conf, which some have
// renamed.
var oldName = regexp.MustCompile(`(?i)^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|env|platform)\.(conf|key|pem)$`)

var uuidPattern = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func isOld(path string) bool { return oldName.MatchString(filepath.Base(path)) }

// findOld is a file of version 1.0: path itself, or one beside it where no registration.yaml is; "": there is none.
func findOld(path string) string {
	if isOld(path) {
		return path
	}
	if _, err := os.Stat(path); filepath.Base(path) != FileName || !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	entries, _ := os.ReadDir(filepath.Dir(path)) // a folder that cannot be read has none
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".conf" && isOld(e.Name()) {
			return filepath.Join(filepath.Dir(path), e.Name())
		}
	}
	return ""
}

// OldConf is the .conf of a registration of version 1.0 of the product that path names, or that stands where path is expected to be:
// what flexctl migrate is given. "": there is none. path is a file or a folder.
func OldConf(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, FileName)
	}
	if path = findOld(path); path == "" {
		return ""
	}
	return confOf(path)
}

func confOf(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".conf" }

func old(path string) *FileError {
	conf := confOf(path)
	return wrong(Old, diag.Diagnostic{Code: "registration/old-format", Subject: diag.Range{File: filepath.ToSlash(path)},
		Summary: fmt.Sprintf("%s is of a registration of version 1.0 of the product, which had three files; a registration.yaml is expected", filepath.Base(path)),
		Hint:    fmt.Sprintf("make one of them with the product's own tool: flexctl migrate %s", conf)})
}

func wrong(reason Reason, list ...diag.Diagnostic) *FileError {
	for i := range list {
		list[i].Severity = diag.Error
	}
	return &FileError{Reason: reason, List: list}
}

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

// urls are the fields of a Platform that are URLs, by their keys, in the order of the file.
func (p *Platform) urls() []struct {
	key string
	to  *string
} {
	return []struct {
		key string
		to  *string
	}{{"anypoint", &p.Anypoint}, {"arm", &p.Arm}, {"events", &p.Events}, {"logging", &p.Logging}, {"metering", &p.Metering}, {"monitoring", &p.Monitoring}}
}

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

func (f *File) pair() error {
	_, err := f.TLS()
	return err
}

// TLS is the client certificate with which usage is reported.
func (f *File) TLS() (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(f.Certificate, []byte(f.Key.Reveal()))
	if err != nil {
		return nil, errors.New("the key of the registration is not that of its certificate")
	}
	return &c, nil
}

// secretName is what the product calls the Secret [C].
const secretName = "flex-registration"

// documents are the two halves in the shape of the product [C]: four blanks a level, a leading ---.
func (f *File) documents() (configuration, certificate string) {
	var b strings.Builder
	b.WriteString("---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nmetadata:\n    name: registration\nspec:\n    platformConnection:\n")
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "        %s: %s\n", key, scalar(value))
		}
	}
	line("agentId", f.AgentID)
	line("region", f.Region)
	fmt.Fprintf(&b, "        certificateRef:\n            kind: Secret\n            name: %s\n", secretName)
	line("assetName", f.AssetName)
	line("meteringSchemaId", f.MeteringSchemaID)
	for _, x := range f.urls() {
		line(x.key, *x.to)
	}
	enc := base64.StdEncoding.EncodeToString
	certificate = fmt.Sprintf("---\napiVersion: gateway.mulesoft.com/v1alpha1\nkind: Secret\nmetadata:\n    name: %s\nspec:\n    tls.crt: %s\n    tls.key: %s\n",
		secretName, enc(f.Certificate), enc([]byte(f.Key.Reveal())))
	return b.String(), certificate
}

var plain = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/:@+-]*[A-Za-z0-9._/@+-])?$`)

// scalar writes a text in YAML, without quotes where every reader takes it for a text.
func scalar(s string) string {
	if plain.MatchString(s) && !syntax.Ambiguous(s) {
		if docs, list := syntax.Embedded(s); len(list) == 0 && len(docs) == 1 && docs[0].Root.Scalar == any(s) {
			return s
		}
	}
	return quoted(s)
}

// WriteOptions are how a registration is written.
type WriteOptions struct {
	Split bool // the certificate to a file of its own; of one that was read, how it was counts
	Force bool // over what is there
}

// part is one file that is written.
type part struct {
	path string
	b    []byte
}

// Write puts the registration into a folder, for its owner alone. Each file is written whole or not at all, and when one of them
// cannot be, all are as they were; whenever it ends, what is there is the registration of before, or all of this one. Authorities of
// another registration do not stay: whoever ran a simulator here would be trusted. With Force, what was there stays as .bak. An
// *ExistsError says that a registration is there; an empty file is none.
func (f *File) Write(dir string, o WriteOptions) error {
	path := filepath.Join(dir, FileName)
	parts, err := f.parts(path, o.Split)
	if err != nil {
		return err
	}
	leftover := "" // the certificate of a registration in two files, under one that has its own
	if o.Force {
		if leftover, err = f.keepOld(path, parts); err != nil {
			return err
		}
	} else if err := Vacant(dir, f.Split || o.Split); err != nil {
		return err
	}
	if err := putAll(f.steps(path, parts)); err != nil {
		return err
	}
	var gone []string
	if leftover != "" {
		gone = append(gone, leftover)
	}
	if f.CA == nil {
		gone = append(gone, CAPath(path))
	}
	for _, name := range gone {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s, of another registration: %w", name, disk.Cause(err))
		}
	}
	return nil
}

// keepOld copies the files that parts take the place of to .bak. It returns the certificate that no part takes the place of, and which
// belongs to a registration in two files; "": none. Of the same registration, half written, there is nothing to keep.
func (f *File) keepOld(path string, parts []part) (leftover string, err error) {
	old, err := ReadFile(path)
	same := err == nil && old.Key.Equal(f.Key)
	beside := filepath.Join(filepath.Dir(path), CertificateName)
	for _, name := range []string{beside, path} {
		was, err := read(name)
		if err != nil || len(bytes.TrimSpace(was)) == 0 {
			continue // what cannot be read cannot be kept; whether it can be written over is found out then
		}
		replaced := slices.ContainsFunc(parts, func(p part) bool { return p.path == name })
		if !replaced && !hasKey(was) {
			continue // somebody's own file of that name
		}
		if !replaced {
			leftover = name
		}
		if same {
			continue
		}
		if err := put(part{name + ".bak", was}); err != nil {
			return "", err
		}
	}
	return leftover, nil
}

// hasKey reports whether a text has a Secret of the product with a key in it.
func hasKey(src []byte) bool {
	_, docs, _ := trees(CertificateName, src)
	return slices.ContainsFunc(docs, func(d *syntax.Document) bool {
		return isKind(d.Root, "Secret") && d.Root.Get("spec").Get("tls.key") != nil
	})
}

// steps are parts in an order in which no reader finds a half of this registration with a half of another. Two files cannot be put in
// place at once, but one can: so first both halves are in the one that is read first.
func (f *File) steps(path string, parts []part) []part {
	texts := map[string][]byte{}
	for _, p := range parts {
		texts[p.path] = p.b
	}
	var out []part
	configuration, certificate := texts[path], texts[filepath.Join(filepath.Dir(path), CertificateName)]
	if configuration != nil && certificate != nil {
		if both := joined(configuration, certificate); both != nil {
			out = append(out, part{path, both})
		}
	}
	ca := CAPath(path)
	if was, err := read(ca); err == nil && texts[ca] != nil && !bytes.Equal(was, texts[ca]) {
		// Whichever of the two is read meanwhile, its authorities are there.
		out = append([]part{{ca, slices.Concat(was, []byte("\n"), texts[ca])}}, out...)
		parts = append(slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return p.path == ca }), part{ca, texts[ca]})
	}
	return append(out, parts...)
}

// joined are the two halves of a registration in one text; nil: they can not be read so.
func joined(configuration, certificate []byte) []byte {
	b := append(bytes.Clone(configuration), '\n')
	if !bytes.HasPrefix(certificate, []byte("---")) {
		b = append(b, "---\n"...)
	}
	b = append(b, certificate...)
	if _, err := Parse(FileName, b, func(string) ([]byte, error) { return nil, fs.ErrNotExist }); err != nil {
		return nil
	}
	return b
}

// Vacant says whether a registration may be written into a folder: an *ExistsError, or that the folder takes no files.
func Vacant(dir string, split bool) error {
	names := []string{FileName}
	if split {
		names = append(names, CertificateName)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		b, err := read(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("look at %s: %w", path, err)
		case !blank(name, b): // the product's tool leaves an empty one when it fails [D]
			return &ExistsError{Path: path}
		}
	}
	return nil
}

// blank reports whether a file has nothing but comments and the ends of documents.
func blank(name string, b []byte) bool {
	_, docs, list := trees(name, b)
	return !list.HasErrors() && !slices.ContainsFunc(docs, func(d *syntax.Document) bool { return !d.Root.IsNull() })
}

// Rewrite puts the registration in the place of the one that it was read from, and keeps that as .bak, for its owner alone. It
// returns the paths of the files that were written.
func (f *File) Rewrite() ([]string, error) {
	parts, err := f.parts(f.Path, f.Split)
	if err != nil {
		return nil, err
	}
	var changed, old []part
	for _, p := range parts {
		was, err := read(p.path)
		if err == nil && bytes.Equal(was, p.b) {
			continue // the half of a split registration that a renewal is not about
		}
		if err == nil {
			old = append(old, part{p.path + ".bak", was})
		}
		changed = append(changed, p)
	}
	for _, p := range old {
		if err := put(p); err != nil {
			return nil, err
		}
	}
	written := make([]string, len(changed))
	for i, p := range changed {
		written[i] = p.path
	}
	return written, putAll(f.steps(f.Path, changed))
}

// parts are the files of the registration at path. The one that names the others is the last.
func (f *File) parts(path string, split bool) ([]part, error) {
	dir := filepath.Dir(path)
	var out []part
	if f.CA != nil {
		out = append(out, part{CAPath(path), f.CA})
	}
	if f.texts != nil {
		texts, err := f.edited()
		if err != nil {
			return nil, err
		}
		if f.Split {
			out = append(out, part{filepath.Join(dir, CertificateName), texts[1]})
		}
		return append(out, part{path, texts[0]}), nil
	}
	configuration, certificate := f.documents()
	if split {
		return append(out, part{filepath.Join(dir, CertificateName), []byte(certificate)}, part{path, []byte(configuration)}), nil
	}
	return append(out, part{path, []byte(configuration + certificate)}), nil
}

// edited are the texts that were read with the values of now: keys that nobody here knows, comments and order stay.
func (f *File) edited() ([][]byte, error) {
	was, err := f.again()
	if err != nil {
		return nil, err
	}
	var ofConnection, ofSecret []diag.Edit
	set := func(to *[]diag.Edit, at diag.Range, v string) {
		at.File = FileName // by which every text was parsed
		*to = append(*to, diag.Edit{Op: diag.Set, At: at, Value: v})
	}
	if !bytes.Equal(was.Certificate, f.Certificate) {
		set(&ofSecret, f.at.certificate, base64.StdEncoding.EncodeToString(f.Certificate))
	}
	if !was.Key.Equal(f.Key) {
		set(&ofSecret, f.at.key, base64.StdEncoding.EncodeToString([]byte(f.Key.Reveal())))
	}
	before := was.urls()
	for i, x := range f.urls() {
		switch at, there := f.at.urls[x.key]; {
		case *x.to == *before[i].to:
		case there:
			set(&ofConnection, at, *x.to)
		default:
			at = f.at.connection
			at.File = FileName
			ofConnection = append(ofConnection, diag.Edit{Op: diag.Insert, At: at, To: []string{x.key}, Value: *x.to})
		}
	}
	lists := make([][][]diag.Edit, len(f.texts))
	lists[0] = append(lists[0], ofConnection)
	lists[f.at.certText] = append(lists[f.at.certText], ofSecret)
	out := make([][]byte, len(f.texts))
	for i, t := range f.texts {
		todo := slices.DeleteFunc(lists[i], func(l []diag.Edit) bool { return len(l) == 0 })
		var all []diag.Fix
		for _, fixes := range syntax.NewEditor(t.unit).EachFixes(todo) {
			if fixes == nil {
				return nil, fmt.Errorf("%s is written in a way in which its values cannot be changed one by one (with anchors, perhaps); write it plainly", t.name)
			}
			all = append(all, fixes...)
		}
		slices.SortFunc(all, func(a, b diag.Fix) int { return a.Range.Compare(b.Range) })
		out[i] = apply(t.src, all)
	}
	return out, nil
}

// again reads the texts once more: what the values were.
func (f *File) again() (*File, error) {
	return Parse(f.texts[0].name, f.texts[0].src, func(string) ([]byte, error) {
		if len(f.texts) < 2 {
			return nil, fs.ErrNotExist
		}
		return f.texts[1].src, nil
	})
}

func apply(src []byte, fixes []diag.Fix) []byte {
	var out []byte
	at := 0
	for _, x := range fixes {
		out = append(append(out, src[at:x.Range.Start.Offset]...), x.Text...)
		at = int(x.Range.End.Offset)
	}
	return append(out, src[at:]...)
}

// quoted writes a text between double quotes; YAML reads those of JSON.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can be encoded, and a buffer takes it
	return strings.TrimSuffix(b.String(), "\n")
}

// putAll writes files; when one cannot be written, those before it are as they were.
func putAll(parts []part) (err error) {
	var undo []func()
	defer func() {
		if err != nil {
			for _, f := range slices.Backward(undo) {
				f()
			}
		}
	}()
	for _, p := range parts {
		was, readErr := read(p.path)
		if err := put(p); err != nil {
			return err
		}
		undo = append(undo, func() {
			if readErr == nil {
				_ = disk.Private(p.path, was) // as well as can be: the error is about another file
			} else if errors.Is(readErr, fs.ErrNotExist) {
				_ = os.Remove(p.path)
			}
		})
	}
	return nil
}

// put writes one file for its owner alone, who runs this.
func put(p part) error {
	if err := disk.Private(p.path, p.b); err != nil {
		return fmt.Errorf("write %s: %w", p.path, disk.Cause(err))
	}
	return nil
}
