// Package deep asks the real Envoy about resources before anybody serves them, and finds all that it does not take.
//
// It starts no gateway, reaches no network and delivers nothing: Envoy reads configurations in a sandbox (reconcile/sandbox) and
// says yes or no. What it has said once is kept by the content of what it was asked.
package deep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/flexgw/flexgw/reconcile/envoy"
	"github.com/flexgw/flexgw/render"
)

// Options of Judge.
type Options struct {
	Envoy envoy.Found
	Cache *Cache                                       // nil: nothing is kept
	Runs  int                                          // of Envoy, at most; 0: 200
	Limit time.Duration                                // of one run; 0: a minute, and more for much
	Ask   func(context.Context, envoy.Candidate) error // nil: Envoy, in a sandbox; the errors of envoy.Validate
}

const defaultRuns = 200

// Finding is one thing that Envoy does not take.
type Finding struct {
	Parts  []render.Part // one, or several that are taken one by one, but not together; none: everything together
	Words  string        // Envoy's, or how it failed
	Failed bool          // it came to no verdict on this, but does on the rest
}

// Verdict is what came out.
type Verdict struct {
	Findings  []Finding
	Unsettled int   // parts that were not judged one by one, because there were too many runs: something is wrong among them
	Failed    error // Envoy cannot be asked about anything: nothing is judged
	Runs      int   // of Envoy
	Kept      int   // answers that were known
}

// Judge asks about a trial: once, when nothing is wrong. Else it asks about parts until every one that is wrong by itself is
// found. The error is ctx's or that of making a configuration.
func Judge(ctx context.Context, t *render.Trial, o Options) (Verdict, error) {
	if o.Runs == 0 {
		o.Runs = defaultRuns
	}
	if o.Ask == nil {
		o.Ask = func(ctx context.Context, c envoy.Candidate) error {
			limit := o.Limit
			if limit == 0 {
				limit = time.Minute + time.Duration(len(c.Data)>>18)*time.Second // ten times what it takes
			}
			return envoy.Validate(ctx, o.Envoy.Path, c, limit)
		}
	}
	j := &judge{Options: o, ctx: ctx, trial: t, secrets: sync.OnceValue(t.Secrets)}
	if o.Cache != nil {
		j.asked = o.Cache.of(o.Envoy)
	}
	err := j.all()
	return j.Verdict, err
}

// answer is what Envoy said of one configuration.
type answer struct {
	fine   bool
	words  string
	failed *envoy.FailedError // not nil: no verdict
	spent  bool               // not asked: too many runs
}

type judge struct {
	Options
	Verdict
	ctx     context.Context
	trial   *render.Trial
	secrets func() []string
	asked   answers
}

// ask has a configuration judged, or remembers.
func (j *judge) ask(f render.Form, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	if a, ok := j.asked.get(f.Data); ok {
		j.Kept++
		return a, nil
	}
	if j.Verdict.Runs >= j.Options.Runs {
		return answer{spent: true}, nil
	}
	j.Verdict.Runs++
	err = j.Ask(j.ctx, envoy.Candidate{Name: "envoy.pb", Data: f.Data, Clusters: f.Clusters, Listeners: f.Listeners})
	var refused *envoy.RefusedError
	var failed *envoy.FailedError
	switch {
	case j.ctx.Err() != nil:
		return answer{}, j.ctx.Err()
	case err == nil:
		a := answer{fine: true}
		j.asked.put(f.Data, a)
		return a, nil
	case errors.As(err, &refused):
		a := answer{words: envoy.Hide(refused.Message, j.secrets())}
		j.asked.put(f.Data, a)
		return a, nil
	case errors.As(err, &failed):
		said := *failed
		said.Said = envoy.Hide(said.Said, j.secrets())
		return answer{words: said.Error(), failed: &said}, nil
	}
	return answer{}, &unable{err}
}

// unable says that Envoy cannot be run at all.
type unable struct{ error }

func (u *unable) Unwrap() error { return u.error }

func (j *judge) some(parts []render.Part) (answer, error) { return j.ask(j.trial.Some(parts)) }

// all is the whole procedure.
func (j *judge) all() error {
	whole, err := j.ask(j.trial.Whole())
	if err == nil && !whole.fine {
		// Before anybody is blamed: does it take what nobody declared?
		var frame answer
		switch frame, err = j.frame(whole); {
		case err != nil:
		case !frame.fine:
			j.Failed = fmt.Errorf("it does not take an empty configuration: %s", frame.words)
			if frame.failed != nil {
				j.Failed = frame.failed
			}
			return nil
		default:
			err = j.blame(whole)
		}
	}
	var cannot *unable
	if errors.As(err, &cannot) {
		j.Failed = cannot.error
		return nil
	}
	return err
}

// frame is the answer to a configuration that nothing declared is in. An Envoy that hangs is not asked again.
func (j *judge) frame(whole answer) (answer, error) {
	if whole.failed != nil && whole.failed.Limited {
		return whole, nil
	}
	return j.some(nil)
}

func (j *judge) blame(whole answer) error {
	parts, err := j.trial.Parts()
	if err == nil {
		var a answer
		if a, err = j.some(parts); err == nil {
			err = j.find(parts, a)
		}
	}
	if err != nil {
		return err
	}
	if len(j.Findings) == 0 && j.Unsettled == 0 {
		j.Findings = append(j.Findings, Finding{Words: whole.words, Failed: whole.failed != nil})
	}
	return nil
}

// find finds what is wrong among parts, of which a is the answer. It first follows what Envoy's words hint at.
func (j *judge) find(parts []render.Part, a answer) error {
	for !a.fine {
		switch {
		case a.spent:
			j.Unsettled += len(parts)
			return nil
		case len(parts) == 1 || a.failed != nil && a.failed.Limited:
			j.Findings = append(j.Findings, Finding{Parts: parts, Words: a.words, Failed: a.failed != nil})
			return nil
		}
		i := -1
		if a.failed == nil {
			i = j.trial.Guess(parts, a.words)
		}
		if i < 0 {
			return j.halve(parts, a)
		}
		one, err := j.some(parts[i : i+1])
		if err != nil {
			return err
		}
		if one.fine || one.spent {
			return j.halve(parts, a)
		}
		j.Findings = append(j.Findings, Finding{Parts: parts[i : i+1], Words: one.words, Failed: one.failed != nil})
		parts = slices.Delete(slices.Clone(parts), i, i+1)
		if a, err = j.some(parts); err != nil {
			return err
		}
	}
	return nil
}

// halve looks at both halves. When each of them is taken alone, they are wrong together.
func (j *judge) halve(parts []render.Part, whole answer) error {
	known := len(j.Findings) + j.Unsettled
	for _, half := range [][]render.Part{parts[:len(parts)/2], parts[len(parts)/2:]} {
		a, err := j.some(half)
		if err == nil {
			err = j.find(half, a)
		}
		if err != nil {
			return err
		}
	}
	if len(j.Findings)+j.Unsettled == known {
		j.Findings = append(j.Findings, Finding{Parts: parts, Words: whole.words, Failed: whole.failed != nil})
	}
	return nil
}
