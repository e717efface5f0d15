package envoy

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// EventKind is what happened to the supervised Envoy.
type EventKind uint8

// The kinds of Event.
const (
	Started EventKind = iota // a new process; its admin interface answers
	Adopted                  // a running one was found
	Differs                  // as Adopted, but it was started with another bootstrap
	Died                     // it ended by itself; Err says how, Wait when the next one is started
	Failed                   // one could not be started; Err says why, Wait when that is tried again
)

// String is the word for logs.
func (k EventKind) String() string {
	return [...]string{"started", "adopted", "differs", "died", "failed"}[k]
}

// Event is told once, from the supervisor's goroutine (the first from within Supervise): do not block it.
type Event struct {
	Kind    EventKind
	Process *Process // nil when Failed
	Err     error
	Wait    time.Duration // 0: at once
}

const (
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second
	logLook   = time.Minute
	wellFor   = time.Second // one that served for so long, and as long as its start took, is restarted at once when it dies
	firstLook = 50 * time.Millisecond
	lastLook  = 5 * time.Second
	askFor    = time.Second // the longest wait for one answer of an Envoy
	atOnce    = 3           // deaths within deathsIn after which the next one is started at once; one that keeps dying is given pauses
	deathsIn  = time.Minute
)

// pauses says how long to wait before the next Envoy.
type pauses struct {
	wait   time.Duration
	deaths []time.Time // those within deathsIn
}

// died is the pause after a death; well: it had served well.
func (p *pauses) died(now time.Time, well bool) time.Duration {
	p.deaths = slices.DeleteFunc(p.deaths, func(at time.Time) bool { return now.Sub(at) >= deathsIn })
	p.deaths = append(p.deaths, now)
	if n := len(p.deaths); n > atOnce {
		p.deaths = p.deaths[n-atOnce-1:]
	} else if well {
		p.wait = firstWait
		return 0
	}
	return p.wait
}

// waited says that a pause is over.
func (p *pauses) waited() { p.wait = min(2*p.wait, lastWait) }

// Supervisor keeps one Envoy running.
type Supervisor struct {
	options Options
	tell    func(Event)

	mu      sync.Mutex
	process *Process
	end     context.CancelFunc
	done    chan struct{}
}

// Supervise adopts the Envoy of the state folder, or starts one, and starts another whenever it dies: at once when it had
// served well, three times within a minute at most, else with growing pauses. An error means that there is none. ctx bounds only this call. tell may be nil.
func Supervise(ctx context.Context, o Options, tell func(Event)) (*Supervisor, error) {
	if tell == nil {
		tell = func(Event) {}
	}
	s := &Supervisor{options: o, tell: tell}
	p, kind, err := s.obtain(ctx)
	if err != nil {
		return nil, err
	}
	s.process = p
	tell(Event{Kind: kind, Process: p})
	s.watch()
	return s, nil
}

func (s *Supervisor) obtain(ctx context.Context) (*Process, EventKind, error) {
	p, same, err := Adopt(context.WithoutCancel(ctx), s.options) // who is told to stop takes the one that is there along
	switch {
	case err != nil:
		return nil, 0, err
	case p != nil && same:
		return p, Adopted, nil
	case p != nil:
		return p, Differs, nil
	}
	p, err = Start(ctx, s.options)
	return p, Started, err
}

// watch starts the goroutine; s.end and s.done belong to whoever holds the Supervisor.
func (s *Supervisor) watch() {
	ctx, end := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.mu.Lock()
	s.end, s.done = end, done
	s.mu.Unlock()
	go func() {
		defer close(done)
		s.run(ctx)
	}()
}

func (s *Supervisor) run(ctx context.Context) {
	between, since := pauses{wait: firstWait}, time.Now()
	for p := s.Process(); ; {
		ready, ended := s.attend(ctx, p)
		if !ended {
			return
		}
		next := between.died(time.Now(), !ready.IsZero() && time.Since(ready) >= max(wellFor, ready.Sub(since)))
		err := p.Err()
		if err == nil {
			err = fmt.Errorf("process %d is gone", p.PID)
		}
		event := Event{Kind: Died, Process: p, Err: err, Wait: next}
		for {
			s.tell(event)
			select {
			case <-ctx.Done():
				return
			case <-time.After(event.Wait):
			}
			if event.Wait > 0 {
				between.waited()
			}
			since = time.Now()
			other, kind, err := s.obtain(ctx)
			if ctx.Err() != nil && other == nil {
				return
			}
			if err == nil {
				p = other
				s.mu.Lock()
				s.process = p
				s.mu.Unlock()
				s.tell(Event{Kind: kind, Process: p})
				break
			}
			event = Event{Kind: Failed, Err: err, Wait: between.wait}
		}
	}
}

// attend waits for the end of the process and keeps its log short meanwhile. ready is when it was first seen to serve, zero
// when it never was. ended is false when ctx ended first.
func (s *Supervisor) attend(ctx context.Context, p *Process) (ready time.Time, ended bool) {
	log := time.NewTicker(logLook)
	defer log.Stop()
	pause := firstLook
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ready, false
		case <-p.Done():
			return ready, true
		case <-look.C:
			answer, cancel := context.WithTimeout(ctx, askFor)
			_, err := p.Admin.Get(answer, "/ready")
			cancel()
			if err == nil {
				ready = time.Now()
				continue
			}
			look.Reset(pause)
			pause = min(2*pause, lastLook)
		case <-log.C:
			answer, cancel := context.WithTimeout(ctx, askFor)
			p.rotate(answer, logLimit) // an Envoy that does not answer is not better off without its log
			cancel()
		}
	}
}

// Process is the Envoy of this moment; it may have ended, and then another follows.
func (s *Supervisor) Process() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// Leave ends the supervision and lets Envoy run, for the next daemon to adopt.
func (s *Supervisor) Leave() {
	s.mu.Lock()
	end, done := s.end, s.done
	s.mu.Unlock()
	end()
	<-done
}

// Stop ends the supervision and then Envoy, as Process.Stop does.
func (s *Supervisor) Stop(ctx context.Context, drain time.Duration) error {
	s.Leave()
	p := s.Process()
	select {
	case <-p.Done():
		return nil
	default:
		return p.Stop(ctx, drain)
	}
}
