package anypoint_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/schema/diag"
)

func write(t testing.TB, f *anypoint.File, dir string, o anypoint.WriteOptions) {
	t.Helper()
	if err := f.Write(dir, o); err != nil {
		t.Fatal(err)
	}
}

func readText(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeText(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// names are the files of a folder, sorted.
func names(t testing.TB, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// TestShape: what is written is what the product writes, byte for byte.
func TestShape(t *testing.T) {
	t.Parallel()
	f := registration(t)
	configuration := `---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Configuration
metadata:
    name: registration
spec:
    platformConnection:
        agentId: aaaaaaaa-0000-4000-8000-00000000a001
        region: us-east-1
        certificateRef:
            kind: Secret
            name: flex-registration
        assetName: orders-edge
        meteringSchemaId: bbbbbbbb-0000-4000-8000-00000000b001
        anypoint: https://anypoint.example.com
        arm: wss://arm.example.com/agent
        events: https://anypoint.example.com/apiruntime/v1/events
        logging: https://logging.example.com/ingestion/api/v1/logging
        metering: https://metering.example.com/ingestion/api/v1/metering
        monitoring: https://monitoring.example.com/ingestion/api/v1/monitoring
`
	enc := base64.StdEncoding.EncodeToString
	secret := fmt.Sprintf(`---
apiVersion: gateway.mulesoft.com/v1alpha1
kind: Secret
metadata:
    name: flex-registration
spec:
    tls.crt: %s
    tls.key: %s
`, enc(f.Certificate), enc([]byte(f.Key.Reveal())))
	one, two := t.TempDir(), t.TempDir()
	write(t, f, one, anypoint.WriteOptions{})
	write(t, f, two, anypoint.WriteOptions{Split: true})
	for path, want := range map[string]string{
		filepath.Join(one, "registration.yaml"): configuration + secret,
		filepath.Join(two, "registration.yaml"): configuration,
		filepath.Join(two, "certificate.yaml"):  secret,
	} {
		if diff := cmp.Diff(want, readText(t, path)); diff != "" {
			t.Errorf("%s: -want +got\n%s", path, diff)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	for _, dir := range []string{one, two} {
		got, err := anypoint.ReadFile(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got.Platform != f.Platform || got.OrganizationID != org || got.EnvironmentID != environment || got.MasterOrganizationID != master || !got.Local || got.Version != 1 ||
			got.CommonName != agent+".RR.us-east-1.prod" || !got.NotAfter.Equal(authorityOf(t).notAfter) || got.Split != (dir == two) || got.Path != filepath.Join(dir, "registration.yaml") {
			t.Errorf("%s: %+v", dir, got)
		}
		if c, err := got.TLS(); err != nil || len(c.Certificate) != 3 {
			t.Errorf("TLS: %v", err)
		}
		if !strings.HasPrefix(got.Key.Reveal(), "-----BEGIN RSA PRIVATE KEY-----\n") {
			t.Error("the key is not PKCS#1")
		}
		if s := fmt.Sprintf("%v %+v %#v", got, got, *got); strings.Contains(s, got.Key.Reveal()) || strings.Contains(s, "PRIVATE KEY") {
			t.Error("a registration that is printed shows its key")
		}
	}
}

// TestRealShapes: files of the product are read as they are, whatever their order and their keys.
func TestRealShapes(t *testing.T) {
	t.Parallel()
	f := registration(t)
	dir := t.TempDir()
	write(t, f, dir, anypoint.WriteOptions{})
	whole := readText(t, filepath.Join(dir, "registration.yaml"))
	at := strings.LastIndex(whole, "---\n")
	configuration, secret := whole[:at], whole[at:]
	v2 := strings.Replace(configuration, "        region:", "        clientId: 0123abcd\n        clientSecret: hush-hush\n        ingest:\n            - url: https://us1.ingest.example.com # as it is\n        region:", 1)
	for name, c := range map[string]struct {
		text    string
		version int
	}{
		"in the other order":  {secret + configuration, 1},
		"without the dashes":  {strings.TrimPrefix(whole, "---\n"), 1},
		"with Windows' lines": {strings.ReplaceAll(whole, "\n", "\r\n"), 1},
		"with a comment":      {"# mine\n" + whole + "# end\n", 1},
		"of version 2":        {v2 + secret, 2},
		"beside others":       {"apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nmetadata: {name: x}\nspec: {logging: {}}\n" + whole, 1},
	} {
		path := writeText(t, filepath.Join(t.TempDir(), "registration.yaml"), c.text)
		got, err := anypoint.ReadFile(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Platform != f.Platform || got.Version != c.version || got.OrganizationID != org {
			t.Errorf("%s: %+v", name, got)
		}
		if s := fmt.Sprintf("%+v", got.Platform); strings.Contains(s, "hush") {
			t.Errorf("%s: shown: %s", name, s)
		}
	}
	// A renewal of version 2 changes the certificate, its key and the URL alone.
	path := writeText(t, filepath.Join(t.TempDir(), "registration.yaml"), "# mine\n"+v2+secret)
	got, err := anypoint.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	renewed := renew(t, got, "https://metering2.example.com/ingestion/api/v1/metering")
	if _, err := renewed.Rewrite(); err != nil {
		t.Fatal(err)
	}
	enc := base64.StdEncoding.EncodeToString
	want := strings.NewReplacer(enc(got.Certificate), enc(renewed.Certificate), enc([]byte(got.Key.Reveal())), enc([]byte(renewed.Key.Reveal())), "https://metering.example", "https://metering2.example").Replace("# mine\n" + v2 + secret)
	if diff := cmp.Diff(want, readText(t, path)); diff != "" {
		t.Error("-want +got\n" + diff)
	}
	if diff := cmp.Diff("# mine\n"+v2+secret, readText(t, path+".bak")); diff != "" {
		t.Error("the old one: -want +got\n" + diff)
	}
	for _, p := range []string{path, path + ".bak"} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", p, info.Mode())
		}
	}
	again, err := anypoint.ReadFile(path)
	if err != nil || again.Metering != "https://metering2.example.com/ingestion/api/v1/metering" || again.Key.Equal(got.Key) || again.Version != 2 {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestDoubts: what makes usage fail later is told when the file is read, at its place, and keeps nobody from using it.
func TestDoubts(t *testing.T) {
	t.Parallel()
	f := registration(t)
	dir := t.TempDir()
	write(t, f, dir, anypoint.WriteOptions{Split: true})
	path := filepath.Join(dir, "registration.yaml")
	whole, certificate := readText(t, path), readText(t, filepath.Join(dir, "certificate.yaml"))
	const line, other = "        metering: https://metering.example.com/ingestion/api/v1/metering\n", "aaaaaaaa-0000-4000-8000-00000000a002"
	none := []string{"registration.yaml:7:5: registration/no-metering"}
	strange := []string{"registration.yaml:8:18: registration/other-agent"}
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"as it was written": {whole, nil},
		"another spelling":  {strings.Replace(whole, agent, strings.ToUpper(agent), 1), nil},
		"no metering":       {strings.Replace(whole, line, "", 1), none},
		"metering is null":  {strings.Replace(whole, line, "        metering:\n", 1), none},
		"metering is empty": {strings.Replace(whole, line, "        metering: ''\n", 1), none},
		"of another":        {strings.Replace(whole, agent, other, 1), strange},
		"both":              {strings.Replace(strings.Replace(whole, agent, other, 1), line, "", 1), append(slices.Clone(none), strange...)},
	} {
		writeText(t, path, c.text)
		got, err := anypoint.ReadFile(path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		alone := anypoint.Doubts("registration.yaml", []byte(c.text), func(string) ([]byte, error) { return []byte(certificate), nil })
		for _, list := range [][]string{places(got.Doubts), places(alone)} {
			if diff := cmp.Diff(c.want, list); diff != "" {
				t.Errorf("%s: -want +got\n%s", name, diff)
			}
		}
		for _, d := range got.Doubts {
			if d.Severity != diag.Warning || d.Hint == "" || strings.Contains(d.Summary, "PRIVATE") {
				t.Errorf("%s: %+v", name, d)
			}
		}
		// A renewal needs neither, and one that is asked for the URLs mends the first.
		if n := renew(t, got, ""); n.Metering != got.Metering || n.Doubts != nil {
			t.Errorf("%s: renewed to %q", name, n.Metering)
		}
		if n := renew(t, got, "https://new.example.com/m"); n.Metering != "https://new.example.com/m" {
			t.Errorf("%s: renewed to %q", name, n.Metering)
		}
	}
	// A half of a registration is judged by what is in it.
	got := anypoint.Doubts("gw/registration.yaml", []byte(strings.Replace(whole, line, "", 1)), func(string) ([]byte, error) { return nil, fs.ErrNotExist })
	if diff := cmp.Diff([]string{"registration.yaml:7:5: registration/no-metering"}, places(got)); diff != "" || got[0].Subject.File != "gw/registration.yaml" {
		t.Errorf("-want +got\n%s%+v", diff, got)
	}
	for _, text := range []string{"", "[", "spec: {platformConnection: x}", certificate} {
		if got := anypoint.Doubts("x.yaml", []byte(text), func(string) ([]byte, error) { return nil, fs.ErrNotExist }); got != nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// places are a list as FILE:LINE:COLUMN: CODE, without folders.
func places(l diag.List) (out []string) {
	for _, d := range l {
		out = append(out, filepath.Base(d.Subject.String())+": "+string(d.Code))
	}
	return out
}

// renew is a registration with a new key; metering is its URL.
func renew(t testing.TB, f *anypoint.File, metering string) *anypoint.File {
	t.Helper()
	key, csr, err := anypoint.NewKey(f.AssetName)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authorityOf(t).chain(csr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.Renewed(anypoint.Registered{Platform: anypoint.Platform{AgentID: f.AgentID, Metering: metering}, CertificateChain: chain}, key, now)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRenewSplit: of a split registration, only the file that changed is written.
func TestRenewSplit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := registration(t)
	first.CA = authorityOf(t).pem
	write(t, first, dir, anypoint.WriteOptions{Split: true})
	f, err := anypoint.ReadFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	if string(f.CA) != string(first.CA) {
		t.Error("the authorities were not kept")
	}
	if _, err := renew(t, f, "").Rewrite(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"certificate.yaml", "certificate.yaml.bak", "registration-ca.pem", "registration.yaml"}, names(t, dir)); diff != "" {
		t.Error("-want +got\n" + diff)
	}
	if got, err := anypoint.ReadFile(dir); err != nil || got.Key.Equal(f.Key) {
		t.Error("not renewed", err)
	}
	// A URL that was not there is put in its place.
	path := filepath.Join(dir, "registration.yaml")
	writeText(t, path, strings.Replace(readText(t, path), "        metering: https://metering.example.com/ingestion/api/v1/metering\n", "", 1))
	if f, err = anypoint.ReadFile(dir); err != nil || f.Metering != "" {
		t.Fatal(f, err)
	}
	if _, err := renew(t, f, "https://new.example.com/m").Rewrite(); err != nil {
		t.Fatal(err)
	}
	if f, err = anypoint.ReadFile(dir); err != nil || f.Metering != "https://new.example.com/m" {
		t.Error(f, err)
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := registration(t)
	path := filepath.Join(dir, "registration.yaml")
	writeText(t, path, " \n") // what the product's tool leaves behind when it fails
	write(t, f, dir, anypoint.WriteOptions{})
	before := readText(t, path)
	var exists *anypoint.ExistsError
	if err := registration(t).Write(dir, anypoint.WriteOptions{}); !errors.As(err, &exists) || exists.Path != path {
		t.Errorf("got %v", err)
	}
	if readText(t, path) != before {
		t.Error("it was overwritten")
	}
	other := registration(t)
	write(t, other, dir, anypoint.WriteOptions{Force: true})
	if got, err := anypoint.ReadFile(dir); err != nil || !got.Key.Equal(other.Key) {
		t.Error("not overwritten", err)
	}
}

// TestTheKeyIsForItsOwner: whatever stood there, whoever it belonged to and whoever has it open, the file with the key is a new one.
func TestTheKeyIsForItsOwner(t *testing.T) {
	t.Parallel()
	for _, split := range []bool{false, true} {
		dir := t.TempDir()
		f := registration(t)
		path := filepath.Join(dir, "registration.yaml")
		key := path
		if split {
			key = filepath.Join(dir, "certificate.yaml")
		}
		check := func(what, path string) {
			t.Helper()
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if s := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o600 || int(s.Uid) != os.Geteuid() {
				t.Errorf("split %v, %s: %v of %d", split, what, info.Mode(), s.Uid)
			}
		}
		open := func() *os.File {
			t.Helper()
			if err := os.Chmod(key, 0o664); err != nil {
				t.Fatal(err)
			}
			_ = os.Chown(key, 65534, 65534) // as root, it is somebody else's
			old, err := os.Open(key)
			if err != nil {
				t.Fatal(err)
			}
			return old
		}
		writeText(t, key, "")
		old := open()
		write(t, f, dir, anypoint.WriteOptions{Split: split})
		check("over an empty one", key)
		if n, _ := old.Read(make([]byte, 1)); n != 0 {
			t.Error("who had the empty file open reads the key")
		}
		old.Close()
		if got, err := anypoint.ReadFile(dir); err != nil || got.Exposed != nil || got.KeyPath() != key {
			t.Errorf("%v, %q, %q", err, got.Exposed, got.KeyPath())
		}
		open().Close()
		got, err := anypoint.ReadFile(dir)
		if err != nil || len(got.Exposed) != 1 || !strings.HasPrefix(got.Exposed[0].String(), key+" (mode 0664): others than its owner can read the gateway's key, and ") {
			t.Errorf("%v, %q", err, got.Exposed)
		}
		if _, err := renew(t, got, "").Rewrite(); err != nil {
			t.Fatal(err)
		}
		check("renewed", key)
		check("the old one", key+".bak")
		open().Close()
		write(t, registration(t), dir, anypoint.WriteOptions{Split: split, Force: true})
		check("by force", key)
	}
}

// TestExposed: the key is in one file, the URLs that credentials go to may be in another, and each is judged by what is in it.
func TestExposed(t *testing.T) {
	t.Parallel()
	const key, urls, other, trust = "read the gateway's key", "change its URLs, which say where credentials go", "put another key in its place", "change by which authorities the platform is trusted"
	for _, split := range []bool{false, true} {
		dir := t.TempDir()
		f := registration(t)
		f.CA = authorityOf(t).pem
		write(t, f, dir, anypoint.WriteOptions{Split: split})
		path := filepath.Join(dir, anypoint.FileName)
		ofKey := path
		if split {
			ofKey = filepath.Join(dir, anypoint.CertificateName)
		}
		for _, c := range []struct {
			path      string
			mode      os.FileMode
			everybody bool
			what      string
		}{
			{ofKey, 0o600, false, ""},
			{ofKey, 0o711, false, ""},
			{ofKey, 0o640, false, key},
			{ofKey, 0o644, true, key},
			{path, 0o622, true, urls},
			{path, 0o620, false, urls},
			{anypoint.CAPath(path), 0o644, false, ""},
			{anypoint.CAPath(path), 0o646, true, trust},
		} {
			if err := os.Chmod(c.path, c.mode); err != nil {
				t.Fatal(err)
			}
			want := []anypoint.Exposure{{Path: c.path, Mode: c.mode, Everybody: c.everybody, What: c.what}}
			if c.what == "" {
				want = nil
			}
			got, err := anypoint.ReadFile(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Exposed); diff != "" {
				t.Errorf("split %v, %s %o (-want +got):\n%s", split, c.path, c.mode, diff)
			}
			if err := os.Chmod(c.path, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for p, mode := range map[string]os.FileMode{path: 0o644, ofKey: 0o622} {
			if err := os.Chmod(p, mode); err != nil {
				t.Fatal(err)
			}
		}
		got := fmt.Sprint(anypoint.Exposed(path, split))
		if split && !strings.HasSuffix(got, other+"]") || split && strings.Contains(got, path) {
			t.Errorf("split: %s", got)
		}
	}
}

// TestOldConf: what the product's migration is given, by one rule for all who look.
func TestOldConf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, anypoint.FileName)
	conf := filepath.Join(dir, "aaaaaaaa-0000-4000-8000-00000000a001.conf")
	writeText(t, filepath.Join(dir, "nginx.conf"), "")
	if got := anypoint.OldConf(path); got != "" {
		t.Errorf("somebody else's: %s", got)
	}
	writeText(t, conf, "x")
	for _, p := range []string{path, dir, conf, strings.TrimSuffix(conf, "conf") + "key"} {
		if got := anypoint.OldConf(p); got != conf {
			t.Errorf("%s: %q", p, got)
		}
	}
	if got := anypoint.OldConf(filepath.Join(dir, "other.yaml")); got != "" {
		t.Errorf("a file of another name: %s", got)
	}
	writeText(t, path, "")
	if got := anypoint.OldConf(path); got != "" {
		t.Errorf("beside a registration.yaml: %s", got)
	}
}

// TestOldAuthoritiesAreNotTrusted: those of the registration that stood there before, of a simulator perhaps, are not those of a new one.
func TestOldAuthoritiesAreNotTrusted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := registration(t)
	f.CA = authorityOf(t).pem
	write(t, f, dir, anypoint.WriteOptions{})
	f.CA = nil
	for _, force := range []bool{true, false} {
		write(t, f, dir, anypoint.WriteOptions{Force: force})
		if got, err := anypoint.ReadFile(dir); err != nil || got.CA != nil {
			t.Errorf("force %v: %v, trusted: %s", force, err, got.CA)
		}
		writeText(t, anypoint.CAPath(filepath.Join(dir, anypoint.FileName)), string(authorityOf(t).pem))
		if err := os.Remove(filepath.Join(dir, anypoint.FileName)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBrokenAuthorities: what can not be used is refused when it is read, so that the registration before it stays in force.
func TestBrokenAuthorities(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, registration(t), dir, anypoint.WriteOptions{})
	writeText(t, anypoint.CAPath(filepath.Join(dir, anypoint.FileName)), "no certificate\n")
	if _, err := anypoint.ReadFile(dir); err == nil || !strings.Contains(err.Error(), "registration-ca.pem") {
		t.Errorf("got %v", err)
	}
}

// TestNothingIsLeft: when one of the files cannot be written, none is.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "registration.yaml"), 0o700); err != nil { // no file can take its place
		t.Fatal(err)
	}
	f := registration(t)
	f.CA = authorityOf(t).pem
	if err := f.Write(dir, anypoint.WriteOptions{Split: true, Force: true}); err == nil {
		t.Error("written over a folder")
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
	gone := filepath.Join(dir, "no", "folder")
	if err := f.Write(gone, anypoint.WriteOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestNoHalves: wherever writing ends, what is read is the registration of before or all of the new one, and never one with the
// certificate of the other.
func TestNoHalves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ was, will, renewed bool }{{false, true, false}, {true, false, false}, {true, true, false}, {false, false, false}, {true, true, true}, {false, false, true}} {
		old := registration(t)
		old.CA = authorityOf(t).pem
		fresh := t.TempDir()
		write(t, old, fresh, anypoint.WriteOptions{Split: c.was})
		var next *anypoint.File
		if c.renewed {
			read, err := anypoint.ReadFile(fresh)
			if err != nil {
				t.Fatal(err)
			}
			next = renew(t, read, "https://new.example.com/m")
		} else {
			next = registration(t)
			next.AgentID = strings.Replace(agent, "a001", "a002", 1)
		}
		next.CA = []byte("# another\n" + string(authorityOf(t).pem))
		for end := 0; ; end++ {
			dir := t.TempDir()
			write(t, old, dir, anypoint.WriteOptions{Split: c.was})
			n, step, err := next.Steps(dir, c.will)
			if err != nil {
				t.Fatal(err)
			}
			for i := range end {
				if err := step(i); err != nil {
					t.Fatal(err)
				}
			}
			got, err := anypoint.ReadFile(dir)
			if err != nil {
				t.Fatalf("%+v after %d of %d: %v", c, end, n, err)
			}
			isOld := got.Key.Equal(old.Key) && got.Platform == old.Platform
			isNew := got.Key.Equal(next.Key) && got.Platform == next.Platform
			if !isOld && !isNew {
				t.Errorf("%+v after %d of %d: a mixture of %s, old key %v", c, end, n, got.AgentID, got.Key.Equal(old.Key))
			}
			want := next.CA
			if isOld {
				want = old.CA
			}
			if !strings.Contains(string(got.CA), string(want)) {
				t.Errorf("%+v after %d of %d: the authorities are those of the other", c, end, n)
			}
			if end == n {
				if !isNew || string(got.CA) != string(next.CA) || got.Split != c.will {
					t.Errorf("%+v: at the end it is not the new one", c)
				}
				break
			}
		}
	}
}

// TestForceKeepsTheOld: by force, the old registration is kept as .bak, both its files, and no half of it stays beside the new one.
func TestForceKeepsTheOld(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ was, will bool }{{true, false}, {false, true}, {true, true}, {false, false}} {
		dir := t.TempDir()
		old, next := registration(t), registration(t)
		write(t, old, dir, anypoint.WriteOptions{Split: c.was})
		write(t, next, dir, anypoint.WriteOptions{Split: c.will, Force: true})
		want := []string{"registration.yaml", "registration.yaml.bak"}
		if c.will {
			want = append([]string{"certificate.yaml"}, want...)
		}
		if c.was {
			want = append(want, "certificate.yaml.bak")
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, names(t, dir)); diff != "" {
			t.Errorf("%+v: -want +got\n%s", c, diff)
		}
		if got, err := anypoint.ReadFile(dir); err != nil || !got.Key.Equal(next.Key) || got.Split != c.will {
			t.Errorf("%+v: %v", c, err)
		}
		// The old one can be put back.
		back := t.TempDir()
		for _, name := range want {
			if bare, ok := strings.CutSuffix(name, ".bak"); ok {
				writeText(t, filepath.Join(back, bare), readText(t, filepath.Join(dir, name)))
				if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v", name, info.Mode())
				}
			}
		}
		if got, err := anypoint.ReadFile(back); err != nil || !got.Key.Equal(old.Key) {
			t.Errorf("%+v: put back: %v", c, err)
		}
		// The same once more is no reason to lose that.
		write(t, next, dir, anypoint.WriteOptions{Split: c.will, Force: true})
		if readText(t, filepath.Join(dir, "registration.yaml.bak")) != readText(t, filepath.Join(back, "registration.yaml")) {
			t.Errorf("%+v: it took the place of the old one with itself", c)
		}
	}
	// A file of that name that is somebody's own stays.
	dir := t.TempDir()
	write(t, registration(t), dir, anypoint.WriteOptions{})
	own := writeText(t, filepath.Join(dir, "certificate.yaml"), "apiVersion: v1\nkind: Other\n")
	write(t, registration(t), dir, anypoint.WriteOptions{Force: true})
	if _, err := os.Stat(own); err != nil {
		t.Error(err)
	}
}

func TestWrongFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, registration(t), dir, anypoint.WriteOptions{})
	whole := readText(t, filepath.Join(dir, "registration.yaml"))
	at := strings.LastIndex(whole, "---\n")
	configuration, secret := whole[:at], whole[at:]
	otherDir := t.TempDir()
	write(t, registration(t), otherDir, anypoint.WriteOptions{Split: true})
	otherSecret := readText(t, filepath.Join(otherDir, "certificate.yaml"))
	key := func(text string) string { return text[strings.Index(text, "    tls.key:"):] }
	for name, c := range map[string]struct {
		file, text string
		beside     string // certificate.yaml; "": none
		reason     anypoint.Reason
		code, want string // want: part of the first problem with its place
	}{
		"empty":           {text: "", reason: anypoint.Empty, code: "registration/empty", want: "registration.yaml: the registration is empty"},
		"only dashes":     {text: "---\n# nothing\n", reason: anypoint.Empty, code: "registration/empty"},
		"1.0":             {file: "0123abcd-0000-4000-8000-000000000001.conf", text: "x", reason: anypoint.Old, code: "registration/old-format", want: "had three files"},
		"1.0, its key":    {file: "0123abcd-0000-4000-8000-000000000001.key", text: "x", reason: anypoint.Old, code: "registration/old-format"},
		"1.0, env":        {file: "env.conf", text: "x", reason: anypoint.Old, code: "registration/old-format"},
		"something else":  {text: "apiVersion: gateway.mulesoft.com/v1alpha1\nkind: ApiInstance\n", reason: anypoint.None, code: "registration/none"},
		"a list":          {text: "- 1\n", reason: anypoint.None, code: "registration/none"},
		"no YAML":         {text: "a: [\n", reason: anypoint.Broken, want: "registration.yaml:"},
		"no agent":        {text: strings.Replace(whole, "agentId", "agent", 1), reason: anypoint.Broken, code: "registration/broken", want: "registration.yaml:7:5: platformConnection has no agentId"},
		"a strange agent": {text: strings.Replace(whole, agent, "../x", 1), reason: anypoint.Broken, code: "registration/broken", want: `registration.yaml:8:18: agentId "../x"`},
		"plain http":      {text: strings.Replace(whole, "metering: https:", "metering: http:", 1), reason: anypoint.Broken, code: "registration/broken", want: "registration.yaml:19:19: metering: an https:// URL is expected, not http://"},
		"no URL":          {text: strings.Replace(whole, "anypoint: https://anypoint", "anypoint: anypoint", 1), reason: anypoint.Broken, code: "registration/broken", want: "anypoint: a URL is expected"},
		"no Secret":       {text: configuration, reason: anypoint.Broken, code: "registration/broken", want: `registration.yaml:12:19: no Secret named "flex-registration" in this file, and no certificate.yaml beside it`},
		"another Secret":  {text: configuration, beside: strings.Replace(secret, "name: flex", "name: x", 1), reason: anypoint.Broken, code: "registration/broken", want: "in this file or in certificate.yaml"},
		"broken beside":   {text: configuration, beside: "a: [", reason: anypoint.Broken, want: "certificate.yaml:"},
		"no base64":       {text: strings.Replace(whole, "tls.crt: ", "tls.crt: §", 1), reason: anypoint.Broken, code: "registration/broken", want: "registration.yaml:27:14: tls.crt: base64 is expected"},
		"no certificate":  {text: strings.Replace(whole, "tls.crt: ", "tls.crt: eA==\n    x: ", 1), reason: anypoint.Broken, code: "registration/broken", want: "tls.crt: no certificate in PEM"},
		"no key":          {text: strings.Replace(whole, "tls.key: ", "tls.key: eA==\n    x: ", 1), reason: anypoint.Broken, code: "registration/broken", want: "tls.key: no key in PEM"},
		"key missing":     {text: strings.Replace(whole, "tls.key: ", "x: ", 1), reason: anypoint.Broken, code: "registration/broken", want: "the Secret has no tls.key"},
		"another key":     {text: strings.Replace(whole, key(whole), key(otherSecret), 1), reason: anypoint.Strange, code: "registration/key-mismatch", want: "registration.yaml:28:14: the key in tls.key"},
		"two of them":     {text: whole + configuration, reason: anypoint.Broken, code: "registration/broken", want: "a second platformConnection"},
	} {
		dir := t.TempDir()
		if c.file == "" {
			c.file = "registration.yaml"
		}
		path := writeText(t, filepath.Join(dir, c.file), c.text)
		if c.beside != "" {
			writeText(t, filepath.Join(dir, "certificate.yaml"), c.beside)
		}
		_, err := anypoint.ReadFile(path)
		var wrong *anypoint.FileError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		d := wrong.List[0]
		if wrong.Reason != c.reason || c.code != "" && string(d.Code) != c.code || d.Hint == "" && c.code != "" || !strings.Contains(strings.TrimPrefix(err.Error(), dir+"/"), c.want) {
			t.Errorf("%s: got %d %v %q (%s)", name, wrong.Reason, err, d.Code, d.Hint)
		}
		if strings.Contains(err.Error(), strings.TrimSpace(strings.TrimPrefix(key(whole), "    tls.key:"))) {
			t.Errorf("%s: the key is in the error", name)
		}
	}
	// What 1.0 left where a registration is looked for.
	old := t.TempDir()
	writeText(t, filepath.Join(old, "0123abcd-0000-4000-8000-000000000001.conf"), "")
	_, err := anypoint.ReadFile(old)
	var wrong *anypoint.FileError
	if !errors.As(err, &wrong) || wrong.Reason != anypoint.Old || !strings.Contains(wrong.List[0].Hint, "flexctl migrate "+old+"/0123abcd-0000-4000-8000-000000000001.conf") {
		t.Errorf("got %v", err)
	}
	if _, err := anypoint.ReadFile(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func FuzzReadFile(f *testing.F) {
	dir := f.TempDir()
	write(f, registration(f), dir, anypoint.WriteOptions{})
	whole := readText(f, filepath.Join(dir, "registration.yaml"))
	f.Add([]byte(whole), []byte(nil))
	at := strings.LastIndex(whole, "---\n")
	f.Add([]byte(whole[:at]), []byte(whole[at:]))
	f.Add([]byte(""), []byte(nil))
	f.Add([]byte("apiVersion: gateway.mulesoft.com/v1alpha1\nkind: Configuration\nspec: {platformConnection: {agentId: a, certificateRef: {name: x}, metering: https://x}}"), []byte("kind: Secret"))
	f.Fuzz(func(t *testing.T, text, beside []byte) {
		got, err := anypoint.Parse("registration.yaml", text, func(string) ([]byte, error) {
			if beside == nil {
				return nil, fs.ErrNotExist
			}
			return beside, nil
		})
		var wrong *anypoint.FileError
		switch {
		case err == nil:
			if got.AgentID == "" || got.NotAfter.IsZero() {
				t.Errorf("taken: %+v", got)
			}
			if _, err := got.TLS(); err != nil {
				t.Error(err)
			}
		case !errors.As(err, &wrong):
			t.Errorf("%T: %v", err, err)
		case !wrong.List.HasErrors():
			t.Errorf("refused for nothing: %v", wrong.List)
		default:
			for _, d := range wrong.List {
				src := text
				if d.Subject.File == "certificate.yaml" {
					src = beside
				}
				if int(d.Subject.End.Offset) > len(src) {
					t.Errorf("%s is outside of the file", d.Subject)
				}
			}
		}
	})
}
