package anypoint

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
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

// CAPath is where the authorities of the registration at path are kept: registration-ca.pem for registration.yaml, and for what was kept of
// it as .bak.
func CAPath(path string) string {
	path = strings.TrimSuffix(path, ".bak")
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
