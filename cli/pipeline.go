package cli

import (
	"errors"
	"io/fs"

	"github.com/flexgw/flexgw/reconcile/watch"
	"github.com/flexgw/flexgw/render"
	"github.com/flexgw/flexgw/render/policy/all"
	"github.com/flexgw/flexgw/schema"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
	"github.com/flexgw/flexgw/schema/source"
)

// pipeline is the one way from declarations to resources; validate, render and run stop at different points of it.
type pipeline struct {
	load   schema.Options
	render render.Options
	memo   render.Memo
}

func newPipeline(env Env) *pipeline {
	return &pipeline{
		load:   schema.Options{Policies: all.Catalog{}, Getenv: env.Getenv, Memo: &schema.Memo{}},
		render: render.Options{Files: filesDir, SystemCA: systemCA(env)},
	}
}

// filesDir is where `render` and `validate` say that content-addressed files are; the daemon has its own.
const filesDir = "/var/lib/flexgw/files"

func (p *pipeline) model(set source.Set) (*ir.Gateway, diag.List) { return schema.Load(set, p.load) }

// build goes on to Envoy's resources; both results are nil if the list has an error.
func (p *pipeline) build(set source.Set) (*ir.Gateway, *render.Resources, diag.List) {
	g, list := p.model(set)
	if g == nil || list.HasErrors() {
		return nil, nil, list
	}
	r, more := render.Render(g, all.Catalog{}, p.render, &p.memo)
	list = append(list, more...).Sort()
	if r == nil || list.HasErrors() {
		return nil, nil, list
	}
	return g, r, list
}

func (p *pipeline) documents() int { return p.load.Memo.Documents() }

// readPaths reads what a one-shot command was given.
func readPaths(paths []string, env Env) (source.Set, error) {
	if len(paths) == 0 {
		return source.Set{}, usage("no PATH given: name files or directories, or - for standard input")
	}
	set, err := watch.ReadPaths(paths, env.Stdin)
	if err != nil {
		var missing *fs.PathError
		if errors.As(err, &missing) && errors.Is(err, fs.ErrNotExist) {
			return set, world(errors.New(missing.Path + ": no such file or directory"))
		}
		return set, world(err)
	}
	return set, nil
}
