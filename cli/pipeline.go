package cli

import (
	"path"
	"slices"
	"strings"
	"time"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/anypoint"
	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/fix"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/lint"
	"github.com/flexgw/flexgw/schema/require"
	"github.com/flexgw/flexgw/schema/source"
)

// pipeline is the one way from declarations to resources; validate, render and run stop at different points of it.
type pipeline struct {
	load   schema.Options
	render render.Options
	memo   render.Memo
	keys   *keyring
	today  time.Time
	asked  func(diag.Code) bool // see lint.Options
	rules  *require.Rules       // of the organisation, for check; nil: none
	deep   *deepMode            // of check; nil: Envoy is not asked
	cache  *verdicts            // of check; nil: nothing is kept
	read   int                  // documents of the last pass, also those that are not ours
}

// onePass is the pipeline of a command that reads its declarations once.
func onePass(env Env) *pipeline {
	p := newPipeline(env)
	p.load.Memo.Once = true
	return p
}

// newPipeline is a pipeline whose next pass costs what changed.
func newPipeline(env Env) *pipeline {
	return &pipeline{
		load:   schema.Options{Policies: all.Catalog{}, Getenv: env.Getenv, Memo: &schema.Memo{}, Keys: env.keys.now()},
		keys:   env.keys,
		render: render.Options{Files: filesDir, SystemCA: systemCA(env)},
		today:  env.now(),
	}
}

// filesDir is where `render` and `validate` say that content-addressed files are; the daemon has its own.
const filesDir = "/var/lib/flexgw/files"

func (p *pipeline) model(set source.Set) (*ir.Gateway, diag.List) {
	p.load.Keys = p.keys.now()
	g, list := schema.Load(set, p.load)
	p.read = p.load.Memo.Documents()
	return g, list
}

// validModel is the model of the declarations at the paths. If they have mistakes it is nil, the mistakes are written
// to standard error, and the error is the exit code.
func validModel(paths []string, env Env) (*ir.Gateway, error) {
	set, err := readJudged(paths, env)
	if err != nil {
		return nil, err
	}
	p := onePass(env)
	g, list := p.model(set)
	if g == nil || list.HasErrors() {
		return nil, p.refuse(env, set, list)
	}
	return g, nil
}

// build goes on to Envoy's resources; both results are nil if the list has an error.
func (p *pipeline) build(set source.Set) (*ir.Gateway, *render.Resources, diag.List) {
	g, list := p.model(set)
	if g == nil || list.HasErrors() {
		return nil, nil, list
	}
	r, more := render.Render(g, all.Catalog{}, p.render, &p.memo)
	list = append(list, more.Found(set.Bytes).Hiding(g.Sealed)...).Sort()
	if r == nil || list.HasErrors() {
		return nil, nil, list
	}
	return g, r, list
}

// report is what the last pass over set found.
func (p *pipeline) report(set source.Set, list diag.List) report.Report {
	names := make([]string, len(set.Files))
	for i, f := range set.Files {
		names[i] = f.Name
	}
	return report.Report{Files: names, Documents: p.read, Diagnostics: list.Together(), Sources: set.Bytes,
		Fixable: func(l diag.List) int {
			n, _ := fix.Count(set, schema.Resolve(set, l)) // what cannot be read is told elsewhere
			return n
		}}
}

// refuse says on standard error what is wrong with declarations that a command needs to be right.
func (p *pipeline) refuse(env Env, set source.Set, list diag.List) error {
	r := p.report(set, list)
	r.Color = colour(env.Stderr, env)
	return verdict(list, r.Write(env.Stderr, "text"))
}

// check finds every problem of a set: what is wrong in one place hides nothing of the rest.
func (p *pipeline) check(set source.Set) diag.List {
	if p.cache != nil {
		return p.cache.check(p, set)
	}
	list, _ := p.look(set)
	return list
}

// lookAtAll sets what a check asks of schema.
func (p *pipeline) lookAtAll() {
	p.load.Salvage, p.load.AllowUnenforced, p.load.Consequences = true, true, true
}

// look is check without a cache. The model may be nil.
func (p *pipeline) look(set source.Set) (diag.List, *ir.Gateway) {
	p.lookAtAll()
	g, list := p.model(set)
	list = append(list, doubtsAbout(set, list)...)
	if g == nil {
		return list.Sort(), nil
	}
	p.render.Salvage, p.render.Judge = true, p.deep == nil && p.load.Memo.Once
	rare := make(chan diag.List, 1) // analysis goes on beside rendering: both only read the model
	go func() {
		rare <- lint.Check(g, lint.Options{Today: p.today, Target: p.load.Target, Partial: p.load.Partial, Asked: p.asked})
	}()
	r, more := render.Render(g, all.Catalog{}, p.render, &p.memo)
	more = append(more, <-rare...).Found(set.Bytes)
	if p.deep != nil && r != nil {
		more = append(more, p.deep.judge(set, g, r)...)
	}
	if list.HasErrors() {
		more = beside(more, list)
	}
	more = append(more, p.rules.Check(set, g, require.Options{Policies: all.Catalog{}, Found: list, Partial: p.load.Partial, Budget: budgetOf(patience)})...)
	list = append(list, more.Hiding(g.Sealed)...)
	// What the product does and flexgw does not is no mistake of the declaration; who serves it has to refuse it all the same.
	for i := range list {
		if strings.HasSuffix(string(list[i].Code), "/not-supported-yet") {
			list[i].Severity = min(list[i].Severity, diag.Warning)
		}
	}
	return list.Sort(), g
}

// doubtsAbout are the warnings about registrations among the declarations, which list has found.
func doubtsAbout(set source.Set, list diag.List) (doubts diag.List) {
	known := map[string]bool{}
	for _, d := range list {
		name := d.Subject.File
		if d.Code != "decode/registration" || known[name] {
			continue
		}
		known[name] = true
		src, err := set.Bytes(name)
		if err != nil {
			continue // told where it was read
		}
		doubts = append(doubts, anypoint.Doubts(name, src, func(other string) ([]byte, error) { return set.Bytes(path.Join(path.Dir(name), other)) })...)
	}
	return doubts
}

// beside leaves out of what is said about a model with gaps what may only be an echo: of an error at the same place, or of
// what is not there.
func beside(more, list diag.List) diag.List {
	type place struct {
		file string
		line int32
	}
	wrong := map[place][]diag.Range{}
	for _, d := range list {
		if d.Severity == diag.Error {
			at := place{d.Subject.File, d.Subject.Start.Line}
			wrong[at] = append(wrong[at], d.Subject)
		}
	}
	return slices.DeleteFunc(more, func(d diag.Diagnostic) bool {
		switch d.Code {
		case "render/internal", "render/base-path-clash", "render/port-twice":
			return true
		}
		return slices.ContainsFunc(wrong[place{d.Subject.File, d.Subject.Start.Line}], func(r diag.Range) bool {
			return r.Start.Offset < d.Subject.End.Offset && d.Subject.Start.Offset < r.End.Offset
		})
	})
}

// readPaths reads what a one-shot command was given.
func readPaths(paths []string, env Env) (source.Set, error) {
	if len(paths) == 0 {
		return source.Set{}, usage("no PATH given: name files or directories, or - for standard input")
	}
	set, err := watch.ReadPaths(paths, env.Stdin)
	if err != nil {
		return set, world(err)
	}
	return set, nil
}
