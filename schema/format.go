package schema

import (
	"bytes"
	"slices"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/fix"
	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// Format brings the files of a set into canonical form (see syntax.Format): the fields of declarations in the case and order in
// which the product writes them, texts that readers disagree about in quotes. The rest of set is as it was. Diagnostics name
// files that are left alone, and why; whether declarations are right is not judged.
func Format(set source.Set, o Options) (source.Set, diag.List, error) {
	o.Partial, o.Memo = true, &Memo{}
	var left diag.List
	var alone []source.File
	set.Files = slices.DeleteFunc(slices.Clone(set.Files), func(f source.File) bool {
		if registrationFile(f) {
			alone = append(alone, f)
			left = append(left, diag.Diagnostic{Severity: diag.Note, Code: "registration/left-alone", Subject: diag.Range{File: f.Name}, Summary: "left as it is: this is a registration with Anypoint, which other tools write in a form of their own",
				Hint: "flexgw renew, and the product's own tool, write it"})
			return true
		}
		if !sealedFile(f) {
			return false
		}
		alone = append(alone, f)
		left = append(left, diag.Diagnostic{Severity: diag.Warning, Code: "sops/left-alone", Subject: diag.Range{File: f.Name}, Summary: "left as it is: SOPS wrote this file, and its MAC would no longer fit",
			Hint: "sops edit changes it; a file that SOPS writes has its form"})
		return true
	})
	spelt, err := fix.Apply(set, func(set source.Set) diag.List {
		written := source.NewSet(slices.DeleteFunc(slices.Clone(set.Files), func(f source.File) bool { return isCUEFile(f.Name) }))
		_, ds := Load(written, o) // CUE is not evaluated to be formatted
		return Resolve(set, slices.DeleteFunc(ds, func(d diag.Diagnostic) bool { return d.Code != "shape/key-case" && d.Code != "shape/ambiguous-scalar" }))
	})
	if err != nil {
		return source.Set{}, nil, err
	}
	units, ds := syntax.Units(spelt.Set)
	out := make([][]syntax.Formatted, len(units))
	said := make([]diag.List, len(units))
	syntax.InParallel(len(units), func(i int) { out[i], said[i] = syntax.Format(units[i], envelope) })
	texts := map[string][]byte{}
	for i := range units {
		ds = append(ds, said[i]...)
		for _, f := range out[i] {
			texts[f.Name] = f.Text
		}
	}
	files := slices.Clone(spelt.Set.Files)
	for i, f := range files {
		if text, ok := texts[f.Name]; ok {
			files[i] = source.NewFile(f.Name, text)
		}
	}
	return source.NewSet(append(files, alone...)), append(ds, left...).Sort(), nil
}

// registrationFile reports whether a file has a half of a registration with Anypoint: where the platform is, or the key pair.
func registrationFile(f source.File) bool {
	b, err := f.Bytes()
	if err != nil || isCUEFile(f.Name) || !bytes.Contains(b, []byte("platformConnection")) && !bytes.Contains(b, []byte("tls.")) {
		return false
	}
	units, _ := syntax.Units(source.NewSet([]source.File{f}))
	for _, u := range units {
		docs, _ := u.Parse() // what is wrong with them is reported when they are formatted
		for _, d := range docs {
			spec := d.Root.Get("spec")
			switch kind := d.Root.Get("kind"); {
			case kind == nil:
			case kind.Text == v1alpha1.Configuration && spec.Get("platformConnection") != nil, kind.Text == v1alpha1.Secret && keyPair(spec):
				return true
			}
		}
	}
	return false
}

// envelope is the order of the fields of a declaration.
func envelope(root *syntax.Node) (top, metadata []string) {
	f := root.Fold("apiVersion")
	if f == nil || !slices.Contains([]string{v1alpha1.Version, v1alpha1.Beta, v1alpha1.Ours}, text(f.Value).Value) {
		return nil, nil
	}
	return []string{"apiVersion", "kind", "metadata", "spec"}, []string{"name"}
}
