package schema

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/syntax"
	"github.com/flexgw/flexgw/schema/v1alpha1"
)

// unitResult is all that is kept of one unit; its trees are dropped.
type unitResult struct {
	apis      []*apiDecl
	services  []*serviceDecl
	bindings  []*bindingDecl
	documents int  // all of them, also those that are not ours
	declared  int  // documents that are ours, right or wrong
	trees     bool // a part of some document's tree is kept
	ds        diag.List
	*others
}

// others are what most units have nothing of.
type others struct {
	configs    []*v1alpha1.Object[v1alpha1.ConfigurationSpec]
	extensions []*v1alpha1.Object[v1alpha1.ExtensionSpec]
	contracts  []*v1alpha1.Object[v1alpha1.ContractSpec]
	secrets    []*v1alpha1.Object[v1alpha1.SecretSpec]
	probes     []*probeDecl
	echoes     []*echoDecl
	kept       []ir.Document // for Documents alone
	doubts     []*doubt      // what could not be read as what it was meant to be

	sealed   []string            // texts that were encrypted, see ir.Gateway
	sealedAt map[diag.Range]bool // values that were, or still are; nil: SOPS did not write the file
	skipped  bool                // some document is encrypted, and was not read
}

// noOthers is what units share that have none. Nobody writes to it.
var noOthers = &others{}

func newUnitResult() *unitResult { return &unitResult{others: &others{}} }

// settle lets go of the memory for others when there are none.
func (r *unitResult) settle() {
	o := r.others
	if len(o.configs)+len(o.extensions)+len(o.contracts)+len(o.secrets)+len(o.probes)+len(o.echoes)+len(o.kept)+len(o.doubts) == 0 && o.sealedAt == nil {
		r.others = noOthers
	}
}

// decoder makes unitResults. It may be used by several goroutines.
type decoder struct {
	o        Options
	patterns *patterns
	policies sync.Map  // policy name → *judge
	docs     sync.Pool // *docDecoder: what one document needs while it is decoded, the next one can have
	keep     *readOnce // not nil: bindings keep their configurations as they were declared
}

// policy is the compiled schema of a listed policy's configuration.
func (d *decoder) policy(t PolicyType) (*judge, error) {
	if j, ok := d.policies.Load(t.Name()); ok {
		return j.(*judge), nil
	}
	j, err := newJudge(t.ConfigSchema())
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", t.Name(), err)
	}
	d.policies.Store(t.Name(), j)
	return j, nil
}

func (d *decoder) lookup(name string) (PolicyType, bool) {
	if d.o.Policies == nil {
		return nil, false
	}
	return d.o.Policies.Lookup(name)
}

// getenv is the environment of policy configs; never nil, so that $NAME is always a variable.
func (d *decoder) getenv(name string) (string, bool) {
	if d.o.Getenv == nil {
		return "", false
	}
	return d.o.Getenv(name)
}

// parsed parses one unit and decodes its documents; the documents of a large file on all cores.
func (d *decoder) parsed(u syntax.Unit) *unitResult {
	const few = 16 // documents for one goroutine at a time
	out := newUnitResult()
	defer out.settle()
	var found diag.List
	var heads []head
	sealed := false
	lent := func(docs []*syntax.Document) (kept bool) {
		if sealed = sealed || out.documents == 0 && len(docs) > 0 && docs[0].Sops != nil; sealed {
			return false // it is needed as a whole
		}
		found = append(found, strayValues(docs)...)
		out.documents += len(docs)
		for _, doc := range docs {
			if doc.Root.Kind == syntax.Mapping {
				heads = append(heads, head{doc.Range, doc.Root.KeyRange("kind"), doc.Root.KeyRange("apiVersion")})
			}
		}
		if len(docs) <= few { // as most files: nothing to put together
			before := out.trees
			out.trees = false
			for _, doc := range docs {
				d.document(doc, out)
			}
			found, out.ds = append(found, out.ds...), nil
			kept, out.trees = out.trees, out.trees || before
			return kept
		}
		parts := make([]unitResult, (len(docs)+few-1)/few)
		syntax.InParallel(len(parts), func(i int) {
			parts[i].others = &others{}
			for _, doc := range docs[i*few : min((i+1)*few, len(docs))] {
				d.document(doc, &parts[i])
			}
		})
		for i := range parts {
			out.add(&parts[i])
			found = append(found, parts[i].ds...)
			kept = kept || parts[i].trees
		}
		return kept
	}
	ds := u.Lend(lent)
	if sealed {
		ds = d.unseal(u, out, &found)
	}
	if ds.HasErrors() {
		for _, o := range doubtful(u, ds, out.documents > 0) {
			o.cause = causeOf(ds)
			out.doubts = append(out.doubts, o)
		}
		ambiguous(u, ds, heads, found)
		partly(u, ds, found)
	}
	out.ds = append(ds, withoutPlaceholders(ds, found)...).Sort()
	for _, o := range out.doubts {
		if ds.HasErrors() && !slices.ContainsFunc(out.ds, func(d diag.Diagnostic) bool { return d.Severity == diag.Error && d.Subject == o.cause }) {
			o.cause = causeOf(ds) // what was said of a placeholder is not said any more
		}
	}
	return out
}

// head is where a document says what it is.
type head struct{ document, kind, version diag.Range }

// ambiguous makes what is said of documents that tell twice what they are, and not the same, consequences of that.
func ambiguous(u syntax.Unit, read diag.List, heads []head, found diag.List) {
	var text []byte
	for _, d := range read {
		if !strings.HasSuffix(string(d.Code), "/duplicate-key") || len(d.Related) == 0 {
			continue
		}
		i := slices.IndexFunc(heads, func(h head) bool { return h.kind == d.Related[0].Subject || h.version == d.Related[0].Subject })
		if i < 0 {
			continue
		}
		if text == nil {
			text, _ = u.Files[0].Bytes()
		}
		if after(text, d.Subject) == after(text, d.Related[0].Subject) {
			continue
		}
		for j := range found {
			if inside(found[j].Subject, heads[i].document) {
				found[j].Cause = d.Subject
			}
		}
	}
}

// after is the word behind a key.
func after(text []byte, key diag.Range) string {
	if int(key.End.Offset) > len(text) {
		return ""
	}
	if m := valueOfKey.FindSubmatch(text[key.End.Offset:]); m != nil {
		return string(m[1])
	}
	return ""
}

var valueOfKey = regexp.MustCompile(`^\s*:\s*["']?([\w./-]+)`)

// partly makes what the documents of a CUE package lack a consequence of its files that cannot be read: it may stand there.
func partly(u syntax.Unit, read, found diag.List) {
	if !isCUE(u) {
		return
	}
	i := slices.IndexFunc(read, func(d diag.Diagnostic) bool { return d.Code == "cue/syntax" || d.Code == "source/merge-conflict" })
	if i < 0 {
		return
	}
	for j := range found {
		if c := found[j].Code; c == "shape/missing-field" || c == "shape/too-few" || c == "shape/empty-value" {
			found[j].Cause = read[i].Subject
		}
	}
}

// withoutPlaceholders drops what is said about the type of a value that is a template's placeholder: {{ name }} reads as a
// mapping, which is said already; and about a text of JSON that holds an unknown escape or character.
func withoutPlaceholders(read, found diag.List) diag.List {
	var inJSON []diag.Range
	for i := range read {
		if read[i].Code == "json/syntax" {
			inJSON = append(inJSON, read[i].Subject)
		}
	}
	if len(inJSON) > 0 {
		found = slices.DeleteFunc(found, func(d diag.Diagnostic) bool {
			return d.Subject.Start.Line == d.Subject.End.Line && slices.ContainsFunc(inJSON, func(r diag.Range) bool {
				return r.Start.Line == d.Subject.Start.Line && (r == d.Subject || r.Start != d.Subject.Start) && inside(r, d.Subject)
			})
		})
	}
	lines := map[int32]bool{}
	for i := range read {
		if read[i].Code == "yaml/key-not-scalar" {
			lines[read[i].Subject.Start.Line] = true
		}
	}
	if len(lines) == 0 {
		return found
	}
	return slices.DeleteFunc(found, func(d diag.Diagnostic) bool { return d.Code == "shape/wrong-type" && lines[d.Subject.Start.Line] })
}

// add takes over what was declared in some more documents, but not what is wrong with them.
func (r *unitResult) add(o *unitResult) {
	r.apis = append(r.apis, o.apis...)
	r.services = append(r.services, o.services...)
	r.bindings = append(r.bindings, o.bindings...)
	r.configs = append(r.configs, o.configs...)
	r.extensions = append(r.extensions, o.extensions...)
	r.contracts = append(r.contracts, o.contracts...)
	r.secrets = append(r.secrets, o.secrets...)
	r.probes = append(r.probes, o.probes...)
	r.echoes = append(r.echoes, o.echoes...)
	r.kept = append(r.kept, o.kept...)
	r.doubts = append(r.doubts, o.doubts...)
	r.declared += o.declared
}

// document decodes one document into out.
func (d *decoder) document(doc *syntax.Document, out *unitResult) {
	dd, _ := d.docs.Get().(*docDecoder)
	if dd == nil {
		dd = &docDecoder{}
	}
	*dd = docDecoder{decoder: d, doc: doc, out: out, rules: dd.rules[:0], policies: dd.policies[:0], path: dd.path[:0]}
	defer d.docs.Put(dd)
	from, bound := len(out.ds), len(out.bindings)
	dd.decode()
	dd.doubt(out.ds[from:], out.bindings[bound:])
	out.ds = append(out.ds[:from], withoutEchoes(out.ds[from:])...)
	for i := from; i < len(out.ds); i++ {
		if x := &out.ds[i]; x.Object.IsZero() {
			if x.Object = dd.id; x.Path == "" && len(out.ds)-from <= maxPaths {
				x.Path, _ = pathOf(doc.Root, x.Subject, "")
			}
		}
	}
}

// withoutEchoes drops what is said about the writing of a value that is refused as a whole.
func withoutEchoes(ds diag.List) diag.List {
	refused := map[diag.Range]bool{}
	for i := range ds {
		if ds[i].Severity == diag.Error {
			refused[ds[i].Subject] = true
		}
	}
	if len(refused) == 0 {
		return ds
	}
	return slices.DeleteFunc(ds, func(d diag.Diagnostic) bool {
		return (d.Code == "shape/empty-value" || d.Code == "shape/ambiguous-scalar" || d.Code == "link/plain-text-secret") && refused[d.Subject]
	})
}

// maxPaths is how many diagnostics of one document are given their paths; each costs a walk over the document.
const maxPaths = 200

// pathOf is the JSON Pointer of what stands at a place: of a field, by its key or its value, or of an item; of a part of a text it
// is the text's.
func pathOf(n *syntax.Node, at diag.Range, here string) (string, bool) {
	if here != "" && (n.Range == at || n.Kind == syntax.Scalar && at.Start.Line > 0 && inside(at, n.Range)) {
		return here, true
	}
	for i := range n.Fields {
		f := &n.Fields[i]
		path := here + "/" + escapePointer(f.Name)
		if f.Range == at {
			return path, true
		}
		if p, ok := pathOf(f.Value, at, path); ok {
			return p, true
		}
	}
	for i, item := range n.Items {
		if p, ok := pathOf(item, at, here+"/"+strconv.Itoa(i)); ok {
			return p, true
		}
	}
	return "", false
}

func inside(r, outer diag.Range) bool {
	return r.File == outer.File && r.Start.Offset >= outer.Start.Offset && r.End.Offset <= outer.End.Offset
}

// docDecoder decodes one document.
type docDecoder struct {
	*decoder
	doc     *syntax.Document
	out     *unitResult
	id      diag.Object
	name    syntax.Text
	labels  []v1alpha1.Label
	holder  *diag.Object // of what stands inline
	details details      // of the inline policy that is being decoded
	broken  bool         // its shape is wrong: what is absent may have been meant

	rules    []v1alpha1.Rule // memory for those of one document
	policies []v1alpha1.InlinePolicy
	path     []string
}

func (d *docDecoder) report(s diag.Severity, code diag.Code, at diag.Range, summary, hint string) *diag.Diagnostic {
	d.out.ds = append(d.out.ds, diag.Diagnostic{Severity: s, Code: code, Subject: at, Summary: summary, Hint: hint})
	return &d.out.ds[len(d.out.ds)-1]
}

func (d *docDecoder) decode() {
	kind, group, ok := d.classify()
	if !ok {
		return
	}
	d.out.declared++
	d.id = diag.Object{Group: group, Kind: kind}
	d.identify(d.doc.Root)
	d.out.trees = d.out.trees || d.keep != nil || kind != v1alpha1.ApiInstance && kind != v1alpha1.Service && kind != v1alpha1.PolicyBinding
	c := kindJudges()[kind].check(d.doc.Root, nil, diag.Range{}, nil, false)
	d.broken = !c.ok
	d.out.ds = append(d.out.ds, c.ds...)
	root := c.node
	d.identify(root)
	d.metadata(root)
	spec := root.Field("spec")
	if spec == nil || spec.Value.Kind != syntax.Mapping {
		d.broken = true
		spec = &syntax.Field{Name: "spec", Value: &syntax.Node{Kind: syntax.Mapping, Range: d.doc.Range}}
	}
	if kind == v1alpha1.Configuration {
		d.noVariables(spec.Value, []string{"spec"})
	}
	if d.id.Name == "" {
		if kind == v1alpha1.Configuration { // no object of the model, but it can be judged
			s := decodeSpec[v1alpha1.ConfigurationSpec](d, spec.Value).Spec
			d.configurationRules(&s, spec.Value)
		}
		return
	}
	if d.keep != nil {
		d.keepDocument(kindJudges()[kind].root.view(), root)
		return
	}
	switch kind {
	case v1alpha1.ApiInstance:
		d.apiInstance(spec.Value)
	case v1alpha1.Service:
		d.service(spec.Value)
	case v1alpha1.PolicyBinding:
		d.policyBinding(spec.Value)
	case v1alpha1.Configuration:
		d.configuration(root, spec.Value)
	case v1alpha1.Extension:
		d.out.extensions = append(d.out.extensions, decodeSpec[v1alpha1.ExtensionSpec](d, spec.Value))
	case v1alpha1.Secret:
		if keyPair(spec.Value) {
			d.report(diag.Note, "decode/registration", spec.Range, "this is the key pair of a registration with Anypoint: only the daemon reads it, and nothing shows it", "")
			return // a registration has its pair beside it, under a name of its own
		}
		d.out.secrets = append(d.out.secrets, object[v1alpha1.SecretSpec](d))
		d.notYet(root, "remove it, and write the key pair in the policy tls: nothing reads this kind yet")
	case v1alpha1.Contract:
		d.out.contracts = append(d.out.contracts, decodeSpec[v1alpha1.ContractSpec](d, spec.Value))
		d.notYet(root, "remove it: Local Mode checks no contracts")
	case v1alpha1.Echo:
		d.echo(spec.Value)
	case v1alpha1.Probe:
		d.probe(spec.Value)
	}
}

// keyPair reports whether a Secret is the one of a registration, which may be cut.
func keyPair(spec *syntax.Node) bool {
	return spec.Fold("tls.crt") != nil || spec.Fold("tls.key") != nil
}

func (d *docDecoder) notYet(root *syntax.Node, hint string) {
	d.report(diag.Warning, "link/not-supported-yet", kindRange(root), d.id.Kind+" is not supported yet and has no effect", hint)
}

func kindRange(root *syntax.Node) diag.Range {
	if f := root.Fold("kind"); f != nil {
		return f.Value.Range
	}
	return headOf(root)
}

// identify reads metadata as far as it can be read, so that diagnostics name the object.
func (d *docDecoder) identify(root *syntax.Node) {
	f := root.Fold("metadata")
	if f == nil {
		return
	}
	if n := f.Value.Fold("name"); n != nil {
		d.name = text(n.Value)
		d.id.Name = d.name.Value
	}
	d.id.Namespace = "default"
	if n := f.Value.Fold("namespace"); n != nil {
		if t := text(n.Value); t.Value != "" {
			d.id.Namespace = t.Value
		}
	}
}

// badName finds what no name may hold: names stand in Envoy's names and in gRPC metadata, and "/" and "@" part them there.
func badName(s string) (rune, bool) {
	for _, r := range s {
		if r <= ' ' || r >= 0x7f || r == '/' || r == '@' {
			return r, true
		}
	}
	return 0, false
}

func (d *docDecoder) checkName(what string, t syntax.Text) {
	if r, bad := badName(t.Value); bad {
		d.report(diag.Error, "decode/bad-name", t.Range, fmt.Sprintf("%s %s holds %q", what, quoteShort(t.Value), r), "write letters, digits, -, _ and .")
	}
}

// metadata refuses what belongs to the gateway itself (flex-resources.md, 1) and keeps the labels.
func (d *docDecoder) metadata(root *syntax.Node) {
	meta := root.Get("metadata")
	if ns := meta.Get("namespace"); ns != nil && d.id.Namespace == "x-flex-internal" {
		d.report(diag.Error, "decode/reserved-namespace", ns.Range, `namespace "x-flex-internal" belongs to the gateway itself`, "choose another namespace")
	}
	d.checkName("name", d.name)
	d.checkName("namespace", text(meta.Get("namespace")))
	labels := meta.Get("labels")
	if labels == nil || labels.Kind != syntax.Mapping || len(labels.Fields) == 0 {
		return
	}
	d.labels = make([]v1alpha1.Label, 0, len(labels.Fields))
	for _, f := range labels.Fields {
		if strings.HasPrefix(f.Name, "flex.mulesoft.com/") {
			d.report(diag.Error, "decode/reserved-label", f.Range, fmt.Sprintf("label %q belongs to the gateway itself", f.Name), `choose another prefix: what starts with "flex.mulesoft.com/" is reserved`)
		}
		d.labels = append(d.labels, v1alpha1.Label{Name: f.Name, Value: text(f.Value)})
	}
}

func object[S any](d *docDecoder) *v1alpha1.Object[S] {
	return &v1alpha1.Object[S]{ID: d.id, Name: d.name, Labels: d.labels, Unit: d.doc.Unit, Index: d.doc.Index, Range: d.doc.Range}
}

func decodeSpec[S any](d *docDecoder, spec *syntax.Node) *v1alpha1.Object[S] {
	o := object[S](d)
	ds := spec.Decode(&o.Spec)
	if !d.broken {
		d.out.ds = append(d.out.ds, ds...)
	}
	return o
}

// text is a scalar as it was written; anything else is absent.
func text(n *syntax.Node) syntax.Text {
	if n == nil || n.Kind != syntax.Scalar || n.Scalar == nil {
		return syntax.Text{}
	}
	return syntax.Text{Value: n.Text, Range: n.Range}
}

func texts(n *syntax.Node) map[string]syntax.Text {
	if n == nil || len(n.Fields) == 0 {
		return nil
	}
	out := make(map[string]syntax.Text, len(n.Fields))
	for _, f := range n.Fields {
		out[f.Name] = text(f.Value)
	}
	return out
}

// classify says whether a document is a declaration of ours (design.md, 4), and reports what is not.
func (d *docDecoder) classify() (kind, group string, ok bool) {
	root := d.doc.Root
	if root.Kind != syntax.Mapping {
		if root.IsNull() {
			return "", "", false
		}
		if slices.ContainsFunc(root.Items, isDeclaration) {
			d.wrong("decode/not-a-declaration", listHead(root), "this document is a list of declarations, expected one declaration", "write each of them as a document of its own, without the dash, and --- between them")
			return "", "", false
		}
		what := "a list"
		if root.Kind == syntax.Scalar {
			what = "a single value"
		}
		d.report(diag.Warning, "decode/not-a-declaration", root.Locate(), "this document is "+what+", not a declaration", "write a mapping with apiVersion, kind, metadata and spec, or move it out of the folder")
		return "", "", false
	}
	version, kindField := root.Fold("apiVersion"), root.Fold("kind")
	name := ""
	if kindField != nil {
		name = text(kindField.Value).Value
	}
	if d.cutOff(version) {
		return "", "", false
	}
	if version == nil || version.Value.IsNull() {
		return d.unversioned(name, kindField)
	}
	v := text(version.Value).Value
	if kind, want := ourKind(lone(kindField)); notText(version.Value) && (kind != "" || ourVersion(lone(version))) {
		d.notText("decode/near-miss-version", "apiVersion", version, cmp.Or(want, v1alpha1.Version))
		return "", "", false
	}
	group, _, _ = strings.Cut(v, "/")
	if d.buildSource(v, name) {
		d.report(diag.Note, "decode/foreign-document", version.Range, "this is the source of a policy's definition, which no gateway reads, and is skipped", "the development kit builds the definition from it")
		return "", "", false
	}
	switch {
	case v == v1alpha1.Version || v == v1alpha1.Beta:
		return d.known(name, v1alpha1.Group, kindNames)
	case v == v1alpha1.Ours:
		return d.known(name, "flexgw", ourKinds)
	case group == v1alpha1.Group || group == "flexgw":
		want := quoteAll([]string{v1alpha1.Version, v1alpha1.Beta})
		if group == "flexgw" {
			want = quoteAll([]string{v1alpha1.Ours})
		}
		d.wrong("decode/unknown-version", version.Value.Range, fmt.Sprintf("unknown apiVersion %q, expected %s", v, alternatives(want)), "write "+want[0],
			nearVersion(version.Value.Range, v, want)...)
		return "", "", false
	}
	if want := nearMiss(v, name); want != "" {
		d.wrong("decode/near-miss-version", version.Value.Range, fmt.Sprintf("apiVersion is %q, expected %q for a document of kind %s", v, want, name),
			fmt.Sprintf("write %q: the product skips other versions in silence", want), diag.Edit{Op: diag.Set, At: version.Value.Range, Value: want})
		return "", "", false
	}
	d.foreign(version.Range, fmt.Sprintf("this document has the apiVersion %q and is skipped", v))
	return "", "", false
}

// cutOff reports, and says, that a document ends in the middle of an apiVersion of ours: nobody else's is that alone.
func (d *docDecoder) cutOff(version *syntax.Field) bool {
	if version == nil || len(d.doc.Root.Fields) != 1 || version.Value.Kind != syntax.Scalar || ourVersion(version.Value.Text) || !strings.HasPrefix(v1alpha1.Version, version.Value.Text) && !strings.HasPrefix(v1alpha1.Ours, version.Value.Text) {
		return false
	}
	d.wrong("decode/near-miss-version", version.Range, fmt.Sprintf("this document ends at apiVersion %s, expected %q and what is declared", quoteShort(version.Value.Text), v1alpha1.Version),
		"write the rest of the declaration, kind, metadata and spec, or remove the file: it looks as if it had been cut off")
	return true
}

// notText reports whether a value is a list, a mapping or a scalar that is no text.
func notText(n *syntax.Node) bool {
	_, is := n.Scalar.(string)
	return n.Kind != syntax.Scalar || !is
}

// lone is the text of a field, or that of the only item of a list.
func lone(f *syntax.Field) string {
	if f == nil {
		return ""
	}
	n := f.Value
	if n.Kind == syntax.Sequence && len(n.Items) == 1 {
		n = n.Items[0]
	}
	return text(n).Value
}

func ourVersion(v string) bool {
	return v == v1alpha1.Version || v == v1alpha1.Beta || v == v1alpha1.Ours
}

// notText says that a field which tells what a document is holds no text.
func (d *docDecoder) notText(code diag.Code, name string, f *syntax.Field, want string) {
	found := map[syntax.Kind]string{syntax.Mapping: "a mapping", syntax.Sequence: "a list"}[f.Value.Kind]
	hint := "known kinds: " + strings.Join(kindNames, ", ")
	var edits []diag.Edit
	if want != "" {
		hint = fmt.Sprintf("write %s: %s", name, want)
		edits = []diag.Edit{{Op: diag.Set, At: f.Value.Range, Value: want}}
	}
	d.wrong(code, f.Range, fmt.Sprintf("%q is %s, expected a text", name, cmp.Or(found, shorten(f.Value.Text))), hint, edits...)
}

// isDeclaration reports whether an item of a list is meant to be a declaration of ours.
func isDeclaration(item *syntax.Node) bool {
	kind, _ := ourKind(lone(item.Fold("kind")))
	version := lone(item.Fold("apiVersion"))
	group, _, _ := strings.Cut(version, "/")
	return group == v1alpha1.Group || group == "flexgw" || kind != "" && nearMiss(version, kind) != ""
}

// listHead is what to underline of a list: where it begins.
func listHead(root *syntax.Node) diag.Range {
	r := root.Locate()
	if r.Start.Line != r.End.Line && len(root.Items) > 0 {
		r.End = headOf(root.Items[0]).End
	}
	return r
}

func (d *docDecoder) wrong(code diag.Code, at diag.Range, summary, hint string, edits ...diag.Edit) {
	d.out.declared++
	d.report(diag.Error, code, at, summary, hint).Edits = edits
}

// buildSource reports whether a document is the gcl.yaml of the development kit: the pages print its apiVersion with a dot, and it has
// no name, which the build gives it (flex-resources.md, 1).
func (d *docDecoder) buildSource(version, kind string) bool {
	if kind != v1alpha1.Extension || path.Base(d.doc.Unit.Name) != "gcl.yaml" {
		return false
	}
	meta := d.doc.Root.Fold("metadata")
	named := meta != nil && meta.Value.Fold("name") != nil
	return version == v1alpha1.Group+".v1alpha1" || version == v1alpha1.Version && !named
}

func (d *docDecoder) foreign(at diag.Range, summary string) {
	d.report(diag.Note, "decode/foreign-document", at, summary, "declarations have the apiVersion "+v1alpha1.Version)
}

func (d *docDecoder) unversioned(name string, kindField *syntax.Field) (string, string, bool) {
	root := d.doc.Root
	if kind, want := ourKind(name); kind != "" {
		f := root.Fold("apiVersion")
		at := headOf(root)
		if f != nil {
			at = f.Range
		} else if kindField != nil {
			at = kindField.Range
		}
		add := diag.Edit{Op: diag.Insert, At: root.Range, To: []string{"apiVersion"}, Value: want}
		if typo := misspelt(root, "apiVersion", "kind", "metadata", "spec"); f == nil && typo != nil {
			d.wrong("decode/missing-version", typo.Range, fmt.Sprintf("this %s has no apiVersion, but an unknown field %q", kind, typo.Name), didYouMean("apiVersion"), diag.Edit{Op: diag.Rename, At: typo.Range, Name: "apiVersion"})
			return "", "", false
		}
		if f != nil {
			add = diag.Edit{Op: diag.Set, At: f.Value.Range, Value: want}
		}
		d.wrong("decode/missing-version", at, fmt.Sprintf("this %s has no apiVersion", kind), fmt.Sprintf("add apiVersion: %s", want), add)
		return "", "", false
	}
	at := headOf(root)
	if kindField != nil {
		at = kindField.Range
	}
	d.foreign(at, "this document has no apiVersion and is skipped")
	return "", "", false
}

// misspelt is the field of n that was meant to be called name, when it has none of that name: others are names that are right.
func misspelt(n *syntax.Node, name string, others ...string) *syntax.Field {
	for i := range n.Fields {
		f := &n.Fields[i]
		if !slices.ContainsFunc(others, func(o string) bool { return strings.EqualFold(o, f.Name) }) && diag.Nearest(f.Name, []string{name}) == name {
			return f
		}
	}
	return nil
}

// nearVersion is the edit that makes an apiVersion the nearest one that is known, if it is near.
func nearVersion(at diag.Range, v string, known []string) []diag.Edit {
	for _, w := range known {
		if w = strings.Trim(w, `"`); diag.Distance(strings.ToLower(v), w) <= 2 {
			return []diag.Edit{{Op: diag.Set, At: at, Value: w}}
		}
	}
	return nil
}

// ourKind returns the kind of ours that name is, whatever its case, and its apiVersion.
func ourKind(name string) (kind, version string) {
	for _, k := range kindNames {
		if strings.EqualFold(k, name) {
			return k, v1alpha1.Version
		}
	}
	for _, k := range ourKinds {
		if strings.EqualFold(k, name) {
			return k, v1alpha1.Ours
		}
	}
	return "", ""
}

// nearMiss is the apiVersion that v was meant to be, for one of our kinds, or "".
func nearMiss(v, name string) string {
	kind, want := ourKind(name)
	if kind == "" {
		return ""
	}
	plain := func(s string) string {
		return strings.NewReplacer(".", "", "/", "", "-", "", "_", "", " ", "", "\\", "").Replace(strings.ToLower(s))
	}
	all := []string{v1alpha1.Version, v1alpha1.Beta}
	if want == v1alpha1.Ours {
		all = []string{v1alpha1.Ours}
	}
	for _, w := range all {
		_, version, _ := strings.Cut(w, "/")
		if plain(v) == plain(w) || strings.EqualFold(v, version) || diag.Distance(strings.ToLower(v), w) <= 3 {
			return w
		}
	}
	if strings.Contains(strings.ToLower(v), "mulesoft") {
		return want
	}
	return ""
}

func (d *docDecoder) known(name, group string, kinds []string) (string, string, bool) {
	root := d.doc.Root
	f := root.Fold("kind")
	if f == nil || f.Value.IsNull() {
		at := root.Fold("apiVersion").Range
		if f != nil {
			at = f.Range
		}
		if typo := misspelt(root, "kind", "apiVersion", "metadata", "spec"); f == nil && typo != nil {
			d.wrong("decode/missing-kind", typo.Range, fmt.Sprintf("this document has no kind, but an unknown field %q", typo.Name), didYouMean("kind"), diag.Edit{Op: diag.Rename, At: typo.Range, Name: "kind"})
			return "", "", false
		}
		d.wrong("decode/missing-kind", at, "this document has no kind", "add kind: "+alternatives(kinds))
		return "", "", false
	}
	if notText(f.Value) {
		kind, _ := ourKind(lone(f))
		d.notText("shape/wrong-type", "kind", f, kind)
		return "", "", false
	}
	if slices.Contains(kinds, name) {
		return name, group, true
	}
	kind, version := ourKind(name)
	hint := ""
	var edits []diag.Edit
	switch {
	case kind != "" && slices.Contains(kinds, kind):
		hint = didYouMean(kind)
		edits = []diag.Edit{{Op: diag.Set, At: f.Value.Range, Value: kind}}
	case kind != "":
		hint = fmt.Sprintf("%s belongs to the apiVersion %s", kind, version)
		edits = []diag.Edit{{Op: diag.Set, At: root.Fold("apiVersion").Value.Range, Value: version}}
	case name == "Policy":
		hint = "Policy objects are seen in dumps only; write a PolicyBinding"
	default:
		to := diag.Nearest(name, kinds)
		hint = didYouMean(to)
		if to != "" && diag.Unmistakable(name, to, kinds) {
			edits = []diag.Edit{{Op: diag.Set, At: f.Value.Range, Value: to}}
		}
	}
	if hint == "" {
		hint = "known kinds: " + strings.Join(kinds, ", ")
	}
	d.wrong("decode/unknown-kind", f.Value.Range, fmt.Sprintf("unknown kind %q", name), hint, edits...)
	return "", "", false
}

func (d *docDecoder) service(spec *syntax.Node) {
	s := v1alpha1.ServiceSpec{Address: text(spec.Get("address"))}
	out := &serviceDecl{decl: decl{id: d.id, named: d.name.Range, broken: d.broken}, address: s.Address}
	d.endpoint(out, "/spec/address")
	d.out.services = append(d.out.services, out)
}

func (d *docDecoder) endpoint(s *serviceDecl, path string) {
	if s.address.Value == "" {
		return
	}
	e, ds := parseEndpoint(s.address, path)
	s.endpoint = e
	if beside := strings.TrimSuffix(path, "address") + "port"; slices.ContainsFunc(d.out.ds, func(d diag.Diagnostic) bool { return d.Path == beside && d.Severity == diag.Error }) {
		ds = slices.DeleteFunc(ds, func(d diag.Diagnostic) bool { return d.Code == "link/default-port" }) // it stands in the wrong place, which has been said
	}
	d.out.ds = append(d.out.ds, ds...)
}

func (d *docDecoder) configuration(root, spec *syntax.Node) {
	o := decodeSpec[v1alpha1.ConfigurationSpec](d, spec)
	for _, f := range spec.Fields {
		if f.Name == "platformConnection" {
			o.Spec.PlatformConnection = &v1alpha1.PlatformConnection{Range: f.Range}
			d.report(diag.Note, "decode/registration", f.Range, "this is a registration with Anypoint: only the daemon reads it, and the gateway needs none", "")
			continue
		}
		o.Spec.Keys = append(o.Spec.Keys, syntax.Text{Value: f.Name, Range: f.Range})
	}
	if len(o.Spec.Keys) == 0 && o.Spec.PlatformConnection != nil {
		return // not an object of the model: the registration and its split certificate may share a name
	}
	if text(root.Get("apiVersion")).Value == v1alpha1.Version {
		for _, k := range slices.Clone(o.Spec.Keys) {
			if k.Value == "tracing" || k.Value == "circuitBreaker" {
				d.report(diag.Error, "decode/needs-beta", k.Range, fmt.Sprintf("%q needs the apiVersion %s", k.Value, v1alpha1.Beta), fmt.Sprintf("write apiVersion: %s", v1alpha1.Beta)).Edits =
					[]diag.Edit{{Op: diag.Set, At: root.Fold("apiVersion").Value.Range, Value: v1alpha1.Beta}}
				d.broken = true
				o.Spec.Keys = without(o.Spec.Keys, k)
				below := "/spec/" + k.Value
				d.out.ds = slices.DeleteFunc(d.out.ds, func(x diag.Diagnostic) bool { // what it lacks besides can wait
					return x.Object.IsZero() && x.Code == "shape/missing-field" && (x.Path == below || strings.HasPrefix(x.Path, below+"/"))
				})
			}
		}
	}
	d.configurationRules(&o.Spec, spec)
	d.out.configs = append(d.out.configs, o)
}

func targetRef(spec *syntax.Node) v1alpha1.TargetRef {
	f := spec.Field("targetRef")
	if f == nil {
		return v1alpha1.TargetRef{}
	}
	n := f.Value
	t := v1alpha1.TargetRef{Kind: text(n.Get("kind")), Name: text(n.Get("name")), Namespace: text(n.Get("namespace")), Range: f.Range}
	if s := n.Field("selector"); s != nil && s.Value.Kind == syntax.Mapping {
		t.Selector = &v1alpha1.Selector{Kind: text(s.Value.Get("kind")), Labels: texts(s.Value.Get("labels")), Range: s.Range}
	}
	return t
}

func policyRef(n *syntax.Node) v1alpha1.PolicyRef {
	r := n.Get("policyRef")
	return v1alpha1.PolicyRef{Range: n.KeyRange("policyRef"), Name: text(r.Get("name")), Namespace: text(r.Get("namespace"))}
}

// policyConfig is what a policy is bound with. One that stands a level too deep, as on pages of the product, is an unknown
// field there; it is judged all the same, and nothing else is said to be missing.
func policyConfig(n *syntax.Node) *syntax.Node {
	if c := n.Get("config"); c != nil {
		return c
	}
	return n.Get("policyRef").Get("config")
}

// rulesOf reads rules into memory that is the document's.
func (d *docDecoder) rulesOf(n *syntax.Node) ([]v1alpha1.Rule, diag.Range) {
	f := n.Field("rules")
	if f == nil {
		return nil, diag.Range{}
	}
	from := len(d.rules)
	for _, item := range f.Value.Items {
		r := v1alpha1.Rule{Path: text(item.Get("path")), Host: text(item.Get("host")), Methods: text(item.Get("methods")), Range: item.Locate()}
		if h := item.Get("headers"); h != nil && len(h.Fields) > 0 {
			r.Headers = make([]v1alpha1.HeaderRule, 0, len(h.Fields))
			for _, f := range h.Fields {
				r.Headers = append(r.Headers, v1alpha1.HeaderRule{Name: syntax.Text{Value: f.Name, Range: f.Range}, Value: text(f.Value)})
			}
		}
		d.rules = append(d.rules, r)
	}
	return d.rules[from:len(d.rules):len(d.rules)], f.Range
}

func (d *docDecoder) apiInstanceSpec(spec *syntax.Node) v1alpha1.ApiInstanceSpec {
	s := v1alpha1.ApiInstanceSpec{Address: text(spec.Get("address"))}
	if services := spec.Get("services"); services != nil {
		s.Services = make([]v1alpha1.InlineService, 0, len(services.Fields))
		for _, f := range services.Fields {
			in := v1alpha1.InlineService{Key: syntax.Text{Value: f.Name, Range: f.Range}, Address: text(f.Value.Get("address"))}
			if routes := f.Value.Get("routes"); routes != nil {
				in.Routes = make([]v1alpha1.InlineRoute, 0, len(routes.Items))
				for _, r := range routes.Items {
					route := v1alpha1.InlineRoute{DestinationPath: text(r.Get("config").Get("destinationPath")), Range: headOf(r)}
					route.Rules, route.RulesAt = d.rulesOf(r)
					in.Routes = append(in.Routes, route)
				}
			}
			s.Services = append(s.Services, in)
		}
	}
	if policies := spec.Get("policies"); policies != nil {
		s.Policies = d.policies
		for _, p := range policies.Items {
			in := v1alpha1.InlinePolicy{PolicyRef: policyRef(p), Config: policyConfig(p), Range: headOf(p)}
			in.Rules, in.RulesAt = d.rulesOf(p)
			if in.Config != nil {
				in.Range = p.KeyRange("config")
			}
			s.Policies = append(s.Policies, in)
		}
		d.policies = s.Policies
	}
	return s
}

// routeRules are the rules of a route; unclear: something of them is wrong, and they may take more than they were meant to.
func (d *docDecoder) routeRules(list []v1alpha1.Rule) (rules []ir.Match, unclear bool) {
	from := len(d.out.ds)
	rules = d.match(list, true)
	return rules, slices.ContainsFunc(d.out.ds[from:], func(x diag.Diagnostic) bool { return x.Severity == diag.Error || x.Code == "link/empty-pattern" })
}

// match turns rules into alternatives and judges their patterns. A route's path may have capture groups.
func (d *docDecoder) match(list []v1alpha1.Rule, route bool) []ir.Match {
	if len(list) == 0 {
		return nil
	}
	out := make([]ir.Match, 0, len(list))
	for _, r := range list {
		m := ir.Match{Path: d.pattern("path", r.Path, true, route), Host: d.pattern("host", r.Host, false, route), Method: d.pattern("methods", r.Methods, false, route)}
		if w := r.Methods.Value; lowerMethods(w) {
			d.report(diag.Warning, "link/lower-case-method", r.Methods.Range, fmt.Sprintf("methods pattern %q matches no method: methods are upper case", w), fmt.Sprintf("write %q", strings.ToUpper(w))).Edits =
				[]diag.Edit{{Op: diag.Set, At: r.Methods.Range, Value: strings.ToUpper(w)}}
		}
		seen := map[string]bool{}
		for _, h := range r.Headers {
			name, ok := d.headerName(h.Name, true, seen)
			if !ok {
				continue
			}
			p := d.pattern("header "+h.Name.Value, h.Value, false, route)
			if p.IsZero() {
				p = ir.Pattern{Text: ".*", Range: h.Value.Range}
			}
			m.Headers = append(m.Headers, ir.HeaderPattern{Name: name, Pattern: p})
		}
		if len(m.Headers) > maxHeaders {
			d.report(diag.Warning, "link/over-limit", r.Range, fmt.Sprintf("this rule has %d headers; the product takes %d", len(m.Headers), maxHeaders), "")
		}
		slices.SortFunc(m.Headers, func(a, b ir.HeaderPattern) int { return strings.Compare(a.Name, b.Name) })
		out = append(out, m)
	}
	return out
}

// headerName is the name of a header in lower case, for HTTP/2's own (pseudo) too. False: it is none, or one that was seen, and that is
// reported.
func (d *docDecoder) headerName(t syntax.Text, pseudo bool, seen map[string]bool) (string, bool) {
	name := strings.ToLower(t.Value)
	plain := name
	if pseudo {
		plain = strings.TrimPrefix(name, ":")
	}
	switch {
	case !ir.IsHeaderName(plain):
		d.report(diag.Error, "link/bad-header-name", t.Range, fmt.Sprintf("%s is no header name", quoteShort(t.Value)), "write one name of letters, digits and -, without spaces or a colon")
		return "", false
	case seen[name]:
		d.report(diag.Error, "link/duplicate-header", t.Range, fmt.Sprintf("header %q is declared twice; the case of header names does not matter", t.Value), "keep one of them")
		return "", false
	}
	seen[name] = true
	return name, true
}

// lowerMethods reports whether an expression is nothing but words, some of them not in upper case.
func lowerMethods(s string) bool {
	return s != strings.ToUpper(s) && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '|' || r == '(' || r == ')')
	}) < 0
}

// The numbers that traffic management promises (flex-resources.md, 8.8).
const (
	maxUpstreams = 50
	maxRoutes    = 50
	maxSplits    = 10
	maxHeaders   = 10
)

// maxGroups is what a regex rewrite of Envoy can name: \1 to \9.
const maxGroups = 9

func (d *docDecoder) pattern(what string, t syntax.Text, path, route bool) ir.Pattern {
	if t.IsZero() {
		return ir.Pattern{}
	}
	if t.Value == "" {
		d.report(diag.Warning, "link/empty-pattern", t.Range, fmt.Sprintf("the %s pattern is empty and counts as absent", what), `remove it, or write ".*"`)
		return ir.Pattern{}
	}
	p := d.patterns.parse(t.Value)
	meant, why := certain(what, t.Value)
	switch {
	case variable.MatchString(t.Value):
		d.report(diag.Error, "link/variable-out-of-place", t.Range, fmt.Sprintf("%s pattern %s is a variable, which only the config of a policy may have", what, quoteShort(t.Value)), "write the pattern itself")
	case p.wrong != "":
		d.report(diag.Error, "link/bad-regex", piece(t, p.from, p.to), fmt.Sprintf("%s pattern %s is not RE2: %s", what, quoteShort(t.Value), p.wrong), p.hint)
	case why != "":
		hint := meant
		if hint != "" {
			hint = fmt.Sprintf("write %q", meant)
		}
		slip := strings.HasSuffix(why, noMethod)
		switch {
		case slip && meant == "":
			hint = "correct it, or remove it"
		case meant == "" && strings.Contains(why, "blank"):
			hint = "write %20 for it"
		case slip:
			hint = fmt.Sprintf("did you mean %q?", meant)
		}
		x := d.report(diag.Warning, "link/suspicious-pattern", t.Range, fmt.Sprintf("%s pattern %s %s", what, quoteShort(t.Value), why), hint)
		if meant != "" && !slip && !strings.Contains(why, "query") { // without its query, a pattern says less than was meant
			x.Edits = []diag.Edit{{Op: diag.Set, At: t.Range, Value: meant}}
		}
	case !path:
	case route && p.groups > maxGroups:
		d.report(diag.Error, "link/too-many-groups", t.Range, fmt.Sprintf("path pattern %s has %d groups, expected at most %d", quoteShort(t.Value), p.groups, maxGroups), "write (?:…) for groups that are not to be forwarded")
	case route && p.nested:
		d.report(diag.Warning, "link/nested-groups", t.Range, fmt.Sprintf("path pattern %s has a group in a group, whose text is forwarded twice", quoteShort(t.Value)), "write (?:…) for groups that are not to be forwarded")
	case !route && p.groups > 0:
		d.report(diag.Warning, "link/useless-group", t.Range, fmt.Sprintf("path pattern %s has a group, which rewrites nothing in a policy's rule", quoteShort(t.Value)), "write (?:…), or no group")
	}
	return ir.Pattern{Text: t.Value, Range: t.Range}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
