package report

import (
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/flexgw/flexgw/schema/diag"
)

// SARIF 2.1.0, as far as it is used. Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool                `json:"tool"`
		Invocations []sarifInvocation        `json:"invocations"`
		Bases       map[string]sarifArtifact `json:"originalUriBaseIds"`
		ColumnKind  string                   `json:"columnKind"`
		Results     []sarifResult            `json:"results"` // never nil: that would mean that nothing was checked
		Properties  sarifProperties          `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID            string              `json:"id"`
		Name          string              `json:"name"`
		Short         *sarifText          `json:"shortDescription,omitempty"`
		Full          *sarifText          `json:"fullDescription,omitempty"`
		Help          *sarifText          `json:"help,omitempty"`
		HelpURI       string              `json:"helpUri,omitempty"`
		Configuration sarifConfiguration  `json:"defaultConfiguration"`
		Properties    sarifRuleProperties `json:"properties"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	// sarifRuleProperties are what GitHub code scanning reads of a rule.
	sarifRuleProperties struct {
		Tags      []string `json:"tags"`
		Precision string   `json:"precision"`
		Severity  string   `json:"problem.severity"`
	}
	sarifProperties struct {
		Summary Summary `json:"summary"`
	}
	sarifText struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Related      []sarifLocation    `json:"relatedLocations,omitempty"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
		Fixes        []sarifFix         `json:"fixes,omitempty"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Baseline     string             `json:"baselineState,omitempty"` // of all results or of none
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Justification string `json:"justification,omitempty"`
	}
	sarifLocation struct {
		ID       int            `json:"id,omitempty"`
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
		Message  *sarifText     `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"name"`
		Full string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifArtifact struct {
		URI         string     `json:"uri,omitempty"`
		Base        string     `json:"uriBaseId,omitempty"`
		Description *sarifText `json:"description,omitempty"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
		EndLine     int `json:"endLine,omitempty"`
		EndColumn   int `json:"endColumn,omitempty"` // exclusive, as ours
	}
	sarifFix struct {
		Description sarifText     `json:"description"`
		Changes     []sarifChange `json:"artifactChanges"`
	}
	sarifChange struct {
		Artifact     sarifArtifact      `json:"artifactLocation"`
		Replacements []sarifReplacement `json:"replacements"`
	}
	sarifReplacement struct {
		Deleted  sarifRegion `json:"deletedRegion"`
		Inserted sarifText   `json:"insertedContent"`
	}
)

const (
	home        = "https://github.com/flexgw/flexgw"
	sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
	sarifBase   = "%SRCROOT%" // of relative names; GitHub and CodeQL call it so
	sarifPrint  = "flexgw/v1" // the key of our fingerprints; a new way to make them gets a new one
	sarifLimit  = 1000        // runes of a rule's descriptions; GitHub takes 1024
)

// sarif is for code scanning. GitHub takes no result without a file and a line, so every one has them.
func sarif(w io.Writer, r Report) error {
	run := sarifRun{
		Tool:        sarifTool{sarifDriver{Name: "flexgw", Version: sarifVersion(r.Version), InformationURI: home, Rules: []sarifRule{}}},
		Invocations: []sarifInvocation{{Successful: len(r.Unread) == 0}},
		Bases:       map[string]sarifArtifact{sarifBase: {Description: &sarifText{Text: "what the names of files are relative to: the repository, or the folder in which flexgw was called"}}},
		ColumnKind:  "unicodeCodePoints",
		Results:     []sarifResult{},
		Properties:  sarifProperties{r.Summary()},
	}
	if r.OnGitHub {
		r.Suppressed, r.Known = nil, nil
	}
	r.Suppressed = slices.Clip(r.Suppressed)
	for _, d := range r.Known {
		r.Suppressed = append(r.Suppressed, Suppressed{Diagnostic: d, Reason: "the baseline holds it"})
	}
	all := append(diag.List{}, r.Diagnostics...)
	for _, s := range r.Suppressed {
		all = append(all, s.Diagnostic)
	}
	rules := r.sarifRules(all)
	run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, rules...)
	index := map[string]int{}
	for i, rule := range rules {
		index[rule.ID] = i
	}
	prints := all.Fingerprints(r.name)
	shown := all.WithoutSecrets(r.Sources) // its fixes
	for i, d := range all {
		res := r.sarifResult(d)
		res.Fixes = r.sarifFixes(shown[i])
		res.RuleIndex = index[res.RuleID]
		res.Fingerprints = map[string]string{sarifPrint: prints[i]}
		if n := i - len(r.Diagnostics); n >= 0 {
			s := sarifSuppression{Kind: "external", Justification: r.Suppressed[n].Reason}
			if r.Suppressed[n].InSource {
				s.Kind = "inSource"
			}
			res.Suppressions = []sarifSuppression{s}
		}
		switch old := len(all) - len(r.Known); {
		case !r.Compared:
		case i >= old:
			res.Baseline = "unchanged"
		default:
			res.Baseline = "new"
		}
		run.Results = append(run.Results, res)
	}
	for _, u := range r.Unread {
		file := r.unreadFile(u)
		run.Invocations[0].Notifications = append(run.Invocations[0].Notifications, sarifNotification{
			Level: "error", Message: plainMessage(unreadText(file, u.Reason)), Locations: []sarifLocation{{Physical: sarifPhysical{Artifact: artifact(file)}}},
		})
	}
	return Indented(w, sarifLog{sarifSchema, "2.1.0", []sarifRun{run}})
}

// sarifVersion starts with a number, as readers that compare versions want it.
func sarifVersion(v string) string {
	v = strings.TrimPrefix(v, "v")
	if v == "" || v[0] < '0' || v[0] > '9' {
		return "0.0.0-" + v
	}
	return v
}

// sarifRules are the rules of l, in the order in which they are met.
func (r Report) sarifRules(l diag.List) []sarifRule {
	var codes []diag.Code
	worst := map[diag.Code]diag.Severity{}
	for _, d := range l {
		if s, ok := worst[d.Code]; !ok {
			codes = append(codes, d.Code)
			worst[d.Code] = d.Severity
		} else {
			worst[d.Code] = max(s, d.Severity)
		}
	}
	rules := make([]sarifRule, len(codes))
	for i, code := range codes {
		var about Rule
		if r.Rule != nil {
			about = r.Rule(code)
		}
		if about.Severity == "" {
			about.Severity = worst[code].String()
		}
		area, _, _ := strings.Cut(string(code), "/")
		rules[i] = sarifRule{
			ID: string(code), Name: pascal(string(code)), Short: optional(shorten(about.Summary), ""), Full: optional(shorten(about.About), ""),
			Help: optional(about.Help, about.Markdown), HelpURI: about.URL, Configuration: sarifConfiguration{about.Severity},
			Properties: sarifRuleProperties{Tags: []string{area}, Precision: "very-high", Severity: sarifProblem(about.Severity)},
		}
	}
	return rules
}

// optional is nil for no text: SARIF has no empty ones.
func optional(text, markdown string) *sarifText {
	if text == "" {
		return nil
	}
	return &sarifText{text, markdown}
}

// sarifProblem is GitHub's word for a severity.
func sarifProblem(severity string) string {
	if severity == diag.Note.String() {
		return "recommendation"
	}
	return severity
}

func (r Report) sarifResult(d diag.Diagnostic) sarifResult {
	d = r.named(d)
	at := location(d.Subject)
	if at.Physical.Region == nil {
		at.Physical.Region = &sarifRegion{StartLine: 1}
	}
	about := d.Objects
	if len(about) == 0 && !d.Object.IsZero() {
		about = []diag.Object{d.Object}
	}
	for _, o := range about {
		at.Logical = append(at.Logical, sarifLogical{Name: o.Name, Full: o.String() + d.Path, Kind: "object"})
	}
	res := sarifResult{RuleID: string(d.Code), Level: d.Severity.String(), Locations: []sarifLocation{at}}
	text := escapeLinks(d.Summary)
	if d.Hint != "" {
		text += "\nhint: " + escapeLinks(d.Hint)
	}
	for _, o := range d.Related {
		what := o.Summary
		if what == "" {
			what = o.Subject.String()
		}
		if o.Subject.File == "" {
			text += "\nsee " + escapeLinks(what)
			continue
		}
		l := location(o.Subject)
		l.ID = len(res.Related) + 1
		l.Message = &sarifText{Text: escapeLinks(what)}
		res.Related = append(res.Related, l)
		text += "\nsee [" + strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`).Replace(what) + "](" + strconv.Itoa(l.ID) + ")" // GitHub shows the places that a message links to
	}
	if strings.TrimSpace(text) == "" {
		text = string(d.Code) // GitHub takes no empty message
	}
	res.Message = sarifText{Text: text}
	return res
}

// sarifFixes is one fix: the edits of a diagnostic belong together.
func (r Report) sarifFixes(d diag.Diagnostic) []sarifFix {
	if len(d.Fixes) == 0 {
		return nil
	}
	what := d.Hint
	if what == "" {
		what = d.Summary
	}
	fix := sarifFix{Description: plainMessage(what)}
	at := map[string]int{}
	for _, f := range d.Fixes {
		i, ok := at[f.Range.File]
		if !ok {
			i = len(fix.Changes)
			at[f.Range.File] = i
			fix.Changes = append(fix.Changes, sarifChange{Artifact: artifact(r.name(f.Range.File))})
		}
		c := &fix.Changes[i]
		c.Replacements = append(c.Replacements, sarifReplacement{Deleted: region(f.Range), Inserted: sarifText{Text: f.Text}})
	}
	return []sarifFix{fix}
}

func location(at diag.Range) sarifLocation {
	l := sarifLocation{Physical: sarifPhysical{Artifact: artifact(at.File)}}
	if !at.Start.IsZero() {
		r := region(at)
		l.Physical.Region = &r
	}
	return l
}

func region(at diag.Range) sarifRegion {
	r := sarifRegion{StartLine: int(at.Start.Line), StartColumn: int(at.Start.Column)}
	if !at.End.IsZero() {
		r.EndLine, r.EndColumn = int(at.End.Line), int(at.End.Column)
	}
	return r
}

// artifact names a file: relative to the base, or with all of its path.
func artifact(file string) sarifArtifact {
	if strings.HasPrefix(file, "/") {
		return sarifArtifact{URI: (&url.URL{Scheme: "file", Path: file}).String()}
	}
	return sarifArtifact{URI: relativeURI(file), Base: sarifBase}
}

// relativeURI encodes a path. A colon in its first part would end a scheme, so all are encoded.
func relativeURI(path string) string {
	return strings.ReplaceAll((&url.URL{Path: "/" + path}).EscapedPath()[1:], ":", "%3A")
}

// escapeLinks keeps a text from being taken for a link: SARIF reads [text](target) in messages.
func escapeLinks(text string) string {
	if !strings.Contains(text, "](") {
		return text
	}
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`).Replace(text)
}

func plainMessage(text string) sarifText { return sarifText{Text: escapeLinks(text)} }

// pascal is a code as SARIF names rules for people: LinkUnknownService of link/unknown-service.
func pascal(code string) string {
	var b strings.Builder
	for word := range strings.FieldsFuncSeq(code, func(r rune) bool { return r == '/' || r == '-' || r == '.' || r == '_' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// shorten cuts a text at a word's end.
func shorten(text string) string {
	if utf8.RuneCountInString(text) <= sarifLimit {
		return text
	}
	text = string([]rune(text)[:sarifLimit])
	if i := strings.LastIndexByte(text, ' '); i > 0 {
		text = text[:i]
	}
	return text + " …"
}
