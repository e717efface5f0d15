package schema

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/sops"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// What SOPS encrypted is decrypted here, between parsing and judging: whoever comes later sees the values at their places.

// sealedName stands for a value that nobody can read where names of unset variables are expected.
const sealedName = "(encrypted by SOPS)"

// unseal reads a file that SOPS wrote. Its documents are needed together: one MAC is over all of them.
func (d *decoder) unseal(u syntax.Unit, out *unitResult, found *diag.List) diag.List {
	docs, ds := u.Parse()
	out.documents, out.trees, out.sealedAt = len(docs), true, map[diag.Range]bool{}
	if ds.HasErrors() {
		return ds // which hides whether it was changed beside SOPS too
	}
	block := docs[0].Sops
	if !slices.ContainsFunc(docs, func(doc *syntax.Document) bool { return sops.Any(doc.Root) }) && d.o.Keys == nil {
		return append(ds, d.decodeSealed(docs, out, found)...)
	}
	opened, more := sops.Open(docs, d.o.Keys)
	ds = append(ds, more...)
	switch {
	case len(more) > 0:
		return ds
	case !opened.Plain && d.o.RequireEnv:
		return append(ds, diag.Diagnostic{Severity: diag.Error, Code: "sops/no-key", Subject: block.Range, Summary: "the file is encrypted by SOPS, and no age key is at hand",
			Hint: "give one with --age-key-file, $SOPS_AGE_KEY_FILE, $SOPS_AGE_KEY or the credential age-key of the unit"})
	case !opened.Plain:
		ds = append(ds, diag.Diagnostic{Severity: diag.Note, Code: "sops/no-key", Subject: block.Range, Summary: "the file is encrypted by SOPS, and no age key is at hand: its encrypted values were not judged",
			Hint: "they are taken as right here; give a key with --age-key-file to have them judged"})
	}
	out.sealed, out.sealedAt = opened.Secret, opened.At
	return append(ds, d.decodeSealed(docs, out, found)...)
}

// decodeSealed decodes documents, but for those of which more than a policy's configuration is encrypted still.
func (d *decoder) decodeSealed(docs []*syntax.Document, out *unitResult, found *diag.List) (ds diag.List) {
	for _, doc := range docs {
		if path := vital(doc.Root); path != "" {
			out.skipped = true
			out.declared++
			ds = append(ds, diag.Diagnostic{Severity: diag.Note, Code: "sops/skipped", Subject: doc.Root.Locate(), Summary: fmt.Sprintf("this document was not judged: its %s is encrypted", path),
				Hint: "give an age key, or encrypt only what is secret: encrypted_regex in .sops.yaml"})
			continue
		}
		d.document(doc, out)
	}
	out.ds = slices.DeleteFunc(out.ds, func(d diag.Diagnostic) bool { // in the file, nobody can read it
		return d.Code == "link/plain-text-secret" && out.sealedAt[d.Subject]
	})
	*found = append(*found, out.ds...)
	out.ds = nil
	return ds
}

// vital is where a value is still encrypted that is not within the configuration of a policy; "": nowhere.
func vital(root *syntax.Node) (at string) {
	kind := ""
	if f := root.Fold("kind"); f != nil {
		kind = text(f.Value).Value
	}
	sops.Values(root, func(path []string, _ *syntax.Node) {
		if at == "" && !inConfig(kind, path) {
			at = strings.Join(path, ".")
		}
	})
	return at
}

// inConfig reports whether a path leads into the configuration of a policy.
func inConfig(kind string, path []string) bool {
	if len(path) < 3 || path[0] != "spec" {
		return false
	}
	switch kind {
	case v1alpha1.PolicyBinding:
		return path[1] == "config"
	case v1alpha1.ApiInstance:
		return len(path) > 4 && path[1] == "policies" && path[3] == "config"
	}
	return false
}

// strayValues finds values of SOPS in a file that says nothing of a key: a gateway would take the text itself for the value.
func strayValues(docs []*syntax.Document) (ds diag.List) {
	for _, doc := range docs {
		if doc.Sops != nil || !sops.Any(doc.Root) {
			continue
		}
		sops.Values(doc.Root, func(_ []string, n *syntax.Node) {
			ds = append(ds, diag.Diagnostic{Severity: diag.Error, Code: "sops/no-block", Subject: n.Range, Summary: "a value encrypted by SOPS, in a file without the block of SOPS that says how to read it",
				Hint: "values can not be copied from one file to another: put the plain value here, and have SOPS encrypt this file"})
		})
	}
	return ds
}

// sealedFile reports whether SOPS wrote a file, as far as its text shows: a change by anybody else would break its MAC.
func sealedFile(f source.File) bool {
	b, err := f.Bytes()
	return err == nil && !isCUEFile(f.Name) && bytes.Contains(b, []byte("ENC[AES256_GCM,")) && bytes.Contains(b, []byte("lastmodified"))
}

// withoutSealedFixes takes away the edits and fixes of files that SOPS wrote.
func withoutSealedFixes(set source.Set, ds diag.List) {
	known := map[string]bool{}
	sealed := func(name string) bool {
		is, ok := known[name]
		if !ok {
			i := slices.IndexFunc(set.Files, func(f source.File) bool { return f.Name == name })
			is = i >= 0 && sealedFile(set.Files[i])
			known[name] = is
		}
		return is
	}
	for i := range ds {
		if slices.ContainsFunc(ds[i].Edits, func(e diag.Edit) bool { return sealed(e.At.File) }) || slices.ContainsFunc(ds[i].Fixes, func(f diag.Fix) bool { return sealed(f.Range.File) }) {
			ds[i].Edits, ds[i].Fixes = nil, nil
		}
	}
}

// sealed are the texts that were encrypted in the files of this load, sorted.
func (s *state) sealed() []string {
	var all []string
	for _, k := range s.order {
		all = append(all, k.result.sealed...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// lacking makes dangling references notes while documents could not be read for want of a key: what they name may be there.
func (s *state) lacking() {
	partial := s.decoder.o.Partial || slices.ContainsFunc(s.order, func(k *keptUnit) bool { return k.result.skipped })
	if partial != s.partial {
		s.partial, s.all = partial, true
	}
}
