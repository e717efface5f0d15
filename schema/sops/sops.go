// Package sops reads what SOPS (getsops.io) encrypted with age: values in YAML and JSON that stand as ENC[…] where the plain
// ones were.
//
// Keys are handed in; it reads no file, no environment and asks no service. It writes nothing: encrypting is SOPS' own
// business. Other keys than age's are named and refused, for each would bring the client of a cloud along.
package sops

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// Keys are age identities. A nil *Keys has none.
type Keys struct {
	identities []age.Identity
	print      string
}

// ParseKeys reads identities as age-keygen writes them: one a line, comments begin with #. An error does not say what is in
// the text.
func ParseKeys(text string) (*Keys, error) {
	ids, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return nil, errors.New("expected identities as age-keygen writes them, AGE-SECRET-KEY-1…, one a line")
	}
	sum := sha512.Sum512_256([]byte(text))
	return &Keys{identities: ids, print: base64.RawURLEncoding.EncodeToString(sum[:9])}, nil
}

// Join are the keys of both.
func (k *Keys) Join(o *Keys) *Keys {
	switch {
	case k == nil:
		return o
	case o == nil:
		return k
	}
	return &Keys{identities: slices.Concat(k.identities, o.identities), print: k.print + "+" + o.print}
}

// Fingerprint tells keys apart, and nothing of them; "" of none.
func (k *Keys) Fingerprint() string {
	if k == nil {
		return ""
	}
	return k.print
}

// prefix begins an encrypted value.
const prefix = "ENC[AES256_GCM,"

// Encrypted reports whether a value is one that SOPS encrypted.
func Encrypted(n *syntax.Node) bool {
	s, ok := n.Scalar.(string)
	return ok && n.Kind == syntax.Scalar && strings.HasPrefix(s, prefix)
}

// Any reports whether there is an encrypted value below n. It is cheap: files of everybody are asked.
func Any(n *syntax.Node) bool {
	for i := range n.Fields {
		if Any(n.Fields[i].Value) {
			return true
		}
	}
	return slices.ContainsFunc(n.Items, Any) || Encrypted(n)
}

// Values calls f for each encrypted value below n, with its path, which f must not keep.
func Values(n *syntax.Node, f func(path []string, n *syntax.Node)) { values(n, nil, f) }

func values(n *syntax.Node, path []string, f func([]string, *syntax.Node)) {
	switch n.Kind {
	case syntax.Mapping:
		for i := range n.Fields {
			values(n.Fields[i].Value, append(path, n.Fields[i].Name), f)
		}
	case syntax.Sequence:
		for i, item := range n.Items {
			values(item, append(path, strconv.Itoa(i)), f)
		}
	default:
		if Encrypted(n) {
			f(path, n)
		}
	}
}

// Opened is what became of the documents of one file.
type Opened struct {
	Plain  bool                // values stand as they were before they were encrypted
	Secret []string            // the texts among them that nobody may be shown: those of four bytes and more; none of metadata
	At     map[diag.Range]bool // all values that are encrypted in the file
}

// maxAge is how large the data key may be in age's form: for 1,000 recipients, about.
const maxAge = 256 << 10

// Open decrypts the values of all documents of one file, in their order, in place. The first document has the block of SOPS.
// Without keys values stay as they are, and nothing is wrong with that. A file of which anything is wrong stays as it is.
func Open(docs []*syntax.Document, keys *Keys) (Opened, diag.List) {
	block := docs[0].Sops
	m, ds := metadata(block)
	if ds != nil {
		return Opened{}, ds
	}
	if keys == nil || len(keys.identities) == 0 {
		at := map[diag.Range]bool{}
		for _, doc := range docs {
			dropComments(doc.Root)
			Values(doc.Root, func(_ []string, n *syntax.Node) { at[n.Range] = true })
		}
		return Opened{At: at}, nil
	}
	key, err := m.dataKey(keys)
	if err != nil {
		return Opened{}, diag.List{{Severity: diag.Error, Code: "sops/no-key", Subject: block.Range, Summary: "none of the age keys at hand opens this file: " + err.Error(),
			Hint: "give the key of one of " + strings.Join(m.recipients, ", ") + ", or have SOPS encrypt the file for yours (sops updatekeys)"}}
	}
	w := &walk{m: m, aead: gcm(key), at: map[diag.Range]bool{}}
	w.sum = sha512.New()
	if m.only {
		w.sum.Write(onlyEncrypted)
	}
	for _, doc := range docs {
		w.node(doc.Root, nil, true)
	}
	if len(w.ds) > 0 {
		return Opened{}, w.ds
	}
	if err := m.check(key, w.sum.Sum(nil)); err != nil {
		at := block.Range
		if n := block.Value.Get("mac"); n != nil {
			at = n.Range
		}
		return Opened{}, diag.List{{Severity: diag.Error, Code: "sops/damaged", Subject: at, Summary: "the file is not what SOPS wrote: " + err.Error(),
			Hint: "a value was added, removed, moved or changed beside SOPS: take the file back from before, and change it with sops edit"}}
	}
	for _, x := range w.plain {
		*x.at = x.now
	}
	for _, doc := range docs {
		dropComments(doc.Root)
	}
	return Opened{Plain: true, Secret: w.secret, At: w.at}, nil
}

// dropComments takes away the items of lists that were comments between items: SOPS writes those as items when it encrypts.
func dropComments(n *syntax.Node) {
	for i := range n.Fields {
		dropComments(n.Fields[i].Value)
	}
	isComment := func(item *syntax.Node) bool { return Encrypted(item) && strings.HasSuffix(item.Text, ",type:comment]") }
	if slices.ContainsFunc(n.Items, isComment) {
		n.Items = slices.DeleteFunc(slices.Clone(n.Items), isComment)
	}
	for _, item := range n.Items {
		dropComments(item)
	}
}

// about is the block that SOPS writes into a file.
type about struct {
	recipients []string
	keys       []string // the data key, encrypted for each of them, armored
	mac        string
	modified   string
	only       bool // the MAC is over encrypted values alone
	encrypted  func(path []string, n *syntax.Node) bool
}

// onlyEncrypted begins the MAC where it is over encrypted values alone, so that it is never that of another setting. The bytes
// are SOPS' own constant.
var onlyEncrypted = []byte{0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0xb, 0xb, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69}

// others are the kinds of keys that SOPS has beside age's.
var others = [...]string{"kms", "gcp_kms", "azure_kv", "hc_vault", "hckms", "pgp"}

func metadata(block *syntax.Field) (*about, diag.List) {
	b := block.Value
	text := func(n *syntax.Node) string {
		if n == nil || n.Kind != syntax.Scalar || n.Scalar == nil {
			return ""
		}
		return n.Text
	}
	unsupported := func(at diag.Range, summary, hint string) diag.List {
		return diag.List{{Severity: diag.Error, Code: "sops/not-supported", Subject: at, Summary: summary, Hint: hint}}
	}
	torn := func(what string) diag.List {
		return diag.List{{Severity: diag.Error, Code: "sops/damaged", Subject: block.Range, Summary: "the block of SOPS is torn: " + what, Hint: "take it back from the file as SOPS wrote it"}}
	}
	version := text(b.Get("version"))
	switch major, _, _ := strings.Cut(version, "."); {
	case version == "":
		return nil, torn("it has no version")
	case major != "3":
		return nil, unsupported(b.Get("version").Range, fmt.Sprintf("the file is of SOPS %s, expected 3", version), "encrypt it with SOPS 3")
	}
	if groups := b.Get("key_groups"); groups != nil && len(groups.Items) > 0 {
		if len(groups.Items) > 1 {
			return nil, unsupported(b.Field("key_groups").Range, fmt.Sprintf("the key of this file is split among %d key groups, expected one", len(groups.Items)), "encrypt it for one group of age keys: no host should need two")
		}
		b = groups.Items[0]
	}
	m := &about{mac: text(block.Value.Get("mac")), only: text(block.Value.Get("mac_only_encrypted")) == "true"}
	if ages := b.Get("age"); ages != nil {
		for _, item := range ages.Items {
			m.recipients = append(m.recipients, text(item.Get("recipient")))
			m.keys = append(m.keys, text(item.Get("enc")))
		}
	}
	if len(m.keys) == 0 {
		var found []string
		for _, name := range others {
			if n := b.Get(name); n != nil && len(n.Items) > 0 {
				found = append(found, name)
			}
		}
		if len(found) == 0 {
			return nil, torn("it names no key")
		}
		return nil, unsupported(block.Range, "the file is encrypted with "+strings.Join(found, " and ")+", expected age", "add an age key beside it: sops rotate --add-age age1… --in-place FILE")
	}
	at, err := time.Parse(time.RFC3339, text(block.Value.Get("lastmodified")))
	if err != nil {
		return nil, torn("lastmodified is no time")
	}
	m.modified = at.Format(time.RFC3339)
	m.encrypted, err = rule(func(name string) string { return text(block.Value.Get(name)) })
	if err != nil {
		return nil, torn(err.Error())
	}
	return m, nil
}

// rule says which values are encrypted. Where comments say it, which are in no tree, the value itself does: the MAC holds all
// the same.
func rule(get func(string) string) (func([]string, *syntax.Node) bool, error) {
	any := func(path []string, is func(string) bool) bool { return slices.ContainsFunc(path, is) }
	if get("encrypted_comment_regex")+get("unencrypted_comment_regex") != "" {
		return func(_ []string, n *syntax.Node) bool { return Encrypted(n) }, nil
	}
	suffix := func(s string) func(string) bool { return func(name string) bool { return strings.HasSuffix(name, s) } }
	var unless, only []func(string) bool
	if s := get("unencrypted_suffix"); s != "" {
		unless = append(unless, suffix(s))
	}
	if s := get("encrypted_suffix"); s != "" {
		only = append(only, suffix(s))
	}
	for _, x := range []struct {
		name string
		to   *[]func(string) bool
	}{{"unencrypted_regex", &unless}, {"encrypted_regex", &only}} {
		if s := get(x.name); s != "" {
			re, err := regexp.Compile(s)
			if err != nil {
				return nil, errors.New(x.name + " is no regular expression")
			}
			*x.to = append(*x.to, re.MatchString)
		}
	}
	return func(path []string, _ *syntax.Node) bool {
		if len(only) > 0 { // SOPS writes one rule; of several the last one that asks for encryption counts
			return any(path, only[len(only)-1])
		}
		return !slices.ContainsFunc(unless, func(f func(string) bool) bool { return any(path, f) })
	}, nil
}

// dataKey is the key of the values.
func (m *about) dataKey(keys *Keys) ([]byte, error) {
	last := errors.New("the file names no key")
	for _, text := range m.keys {
		r, err := age.Decrypt(armor.NewReader(strings.NewReader(text)), keys.identities...)
		if err != nil {
			last = errors.New("no identity matches")
			continue
		}
		key, err := io.ReadAll(io.LimitReader(r, maxAge))
		if err != nil || len(key) != 32 {
			last = errors.New("the data key is torn")
			continue
		}
		return key, nil
	}
	return nil, last
}

func (m *about) check(key, sum []byte) error {
	v, err := open(gcm(key), m.mac, m.modified)
	if err != nil {
		return errors.New("its MAC can not be read")
	}
	if subtle.ConstantTimeCompare([]byte(v.text), fmt.Appendf(nil, "%X", sum)) != 1 {
		return errors.New("its MAC is another")
	}
	return nil
}

func gcm(key []byte) func(nonce int) (cipher.AEAD, error) {
	return func(nonce int) (cipher.AEAD, error) {
		b, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCMWithNonceSize(b, nonce)
	}
}

// value is what an ENC[…] holds.
type value struct{ text, kind string }

// parts are those of an encrypted value. Base64 has neither comma nor bracket.
var parts = regexp.MustCompile(`^ENC\[AES256_GCM,data:([^,]*),iv:([^,]*),tag:([^,]*),type:([a-z]+)\]$`)

func open(aead func(int) (cipher.AEAD, error), text, about string) (value, error) {
	p := parts.FindStringSubmatch(text)
	if p == nil {
		return value{}, errors.New("is torn")
	}
	var raw [3][]byte
	for i := range raw {
		var err error
		if raw[i], err = base64.StdEncoding.DecodeString(p[i+1]); err != nil {
			return value{}, errors.New("is torn")
		}
	}
	data, nonce, tag := raw[0], raw[1], raw[2]
	if len(nonce) == 0 || len(tag) != 16 {
		return value{}, errors.New("is torn")
	}
	a, err := aead(len(nonce))
	if err != nil {
		return value{}, errors.New("is torn")
	}
	plain, err := a.Open(nil, nonce, append(slices.Clip(data), tag...), []byte(about))
	if err != nil {
		return value{}, errors.New("was changed, or moved here from another place")
	}
	return value{string(plain), p[4]}, nil
}

// walk goes through values as SOPS does: in their order, with the names of fields for a path; an item of a list has that of
// its list.
type walk struct {
	m    *about
	aead func(int) (cipher.AEAD, error)
	sum  interface {
		Write([]byte) (int, error)
		Sum([]byte) []byte
	}
	plain  []replaced
	secret []string
	at     map[diag.Range]bool
	ds     diag.List
}

type replaced struct {
	at  *syntax.Node
	now syntax.Node
}

func (w *walk) node(n *syntax.Node, path []string, named bool) {
	switch n.Kind {
	case syntax.Mapping:
		for i := range n.Fields {
			f := &n.Fields[i]
			w.node(f.Value, append(path, f.Name), len(path) == 0 && (f.Name == "apiVersion" || f.Name == "kind" || f.Name == "metadata") || len(path) > 0 && named)
		}
		return
	case syntax.Sequence:
		for _, item := range n.Items {
			w.node(item, path, named)
		}
		return
	}
	if n.Scalar == nil { // a null is never encrypted, nor in the MAC
		return
	}
	encrypted := w.m.encrypted(path, n)
	if !encrypted {
		if !w.m.only {
			w.sum.Write(plainBytes(n))
		}
		return
	}
	s, isText := n.Scalar.(string)
	if isText && s == "" { // SOPS leaves it as it is
		return
	}
	wrong := func(what string) {
		w.ds = append(w.ds, diag.Diagnostic{Severity: diag.Error, Code: "sops/damaged", Subject: n.Range, Summary: "the encrypted value at " + strings.Join(path, ".") + " " + what,
			Hint: "take the file back from before, and change it with sops edit"})
	}
	if !Encrypted(n) {
		wrong("is not encrypted, and what SOPS wrote beside it says that it is")
		return
	}
	v, err := open(w.aead, s, strings.Join(path, ":")+":")
	if err != nil {
		wrong(err.Error())
		return
	}
	if v.kind == "comment" { // an item of a list, which goes; a comment is not in the MAC
		return
	}
	now, mac, err := v.node(n)
	if err != nil {
		wrong(err.Error())
		return
	}
	w.sum.Write(mac)
	w.plain = append(w.plain, replaced{n, now})
	w.at[n.Range] = true
	if text, ok := now.Scalar.(string); ok && !named && len(text) >= leastSecret {
		w.secret = append(w.secret, text)
	}
}

// leastSecret is how many bytes a text has that is taken out of messages: a shorter one stands in half of all words.
const leastSecret = 4

// node is the value at the place of its encrypted text, and what the MAC is over.
func (v value) node(at *syntax.Node) (syntax.Node, []byte, error) {
	n := syntax.Node{Scalar: v.text, Text: v.text, Quoted: true, Range: at.Range}
	number := func(text string) {
		n.Scalar, n.Text, n.Quoted = json.Number(text), text, false
	}
	switch v.kind {
	case "str", "bytes":
		if !utf8.ValidString(v.text) {
			return n, nil, errors.New("holds bytes that are no text")
		}
	case "int":
		i, err := strconv.Atoi(v.text)
		if err != nil {
			return n, nil, errors.New("is no whole number, as its type says")
		}
		number(strconv.Itoa(i))
	case "float":
		f, err := strconv.ParseFloat(v.text, 64)
		if err != nil {
			return n, nil, errors.New("is no number, as its type says")
		}
		number(strconv.FormatFloat(f, 'f', -1, 64))
	case "bool":
		b, err := strconv.ParseBool(v.text)
		if err != nil {
			return n, nil, errors.New("is neither true nor false, as its type says")
		}
		n.Scalar, n.Text, n.Quoted = b, strconv.FormatBool(b), false
		return n, boolBytes(b), nil
	case "time":
		n.Quoted = false
	default:
		return n, nil, fmt.Errorf("has the type %s, expected str, int, float, bool or bytes", v.kind)
	}
	return n, []byte(n.Text), nil
}

// boolBytes is a boolean as SOPS' first version, in Python, had it.
func boolBytes(b bool) []byte {
	if b {
		return []byte("True")
	}
	return []byte("False")
}

// stamps are the times that SOPS' YAML reader takes for times (https://yaml.org/type/timestamp.html, as far as it goes).
var stamps = [...]string{"2006-1-2T15:4:5.999999999Z07:00", "2006-1-2t15:4:5.999999999Z07:00", "2006-1-2 15:4:5.999999999", "2006-1-2"}

// plainBytes is what the MAC is over of a value that is not encrypted. What is not quoted is read as SOPS' YAML reader does.
func plainBytes(n *syntax.Node) []byte {
	switch v := n.Scalar.(type) {
	case bool:
		return boolBytes(v)
	case string:
		if n.Quoted {
			return []byte(v)
		}
	}
	if n.Quoted {
		return []byte(n.Text)
	}
	text := n.Text
	if text == "" {
		return nil
	}
	if strings.IndexByte("+-.0123456789", text[0]) >= 0 {
		digits := strings.ReplaceAll(text, "_", "")
		if i, err := strconv.ParseInt(digits, 0, 64); err == nil {
			return strconv.AppendInt(nil, i, 10)
		}
		if f, err := strconv.ParseFloat(digits, 64); err == nil && !strings.ContainsAny(digits, "xXpP") {
			return strconv.AppendFloat(nil, f, 'f', -1, 64)
		}
		for _, layout := range stamps {
			if at, err := time.Parse(layout, text); err == nil && len(text) > 4 && strings.IndexByte(text, '-') == 4 {
				if b, err := at.MarshalText(); err == nil {
					return b
				}
			}
		}
	}
	return []byte(text)
}
