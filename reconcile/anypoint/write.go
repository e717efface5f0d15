package anypoint

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/reconcile/disk"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

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
