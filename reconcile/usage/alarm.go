package usage

import (
	"slices"
	"strings"
	"time"
)

// Alarm is something that somebody should look at.
type Alarm struct {
	Code    string // a word, the same for the same trouble
	Message string
	Since   time.Time
}

// Figures are what an alarm counts.
type Figures [2]uint64

// Raise tells of trouble that is not the ledger's own, until Clear, over restarts too; fresh: it was not told yet.
func (l *Ledger) Raise(code, message string) (fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raise(code, message)
}

// Tell tells of something that has happened: it stays for a week after the last time, over restarts too. more is added to what say has
// to put in words.
func (l *Ledger) Tell(code string, more Figures, say func(all Figures) string) (fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tell(code, more, say)
}

// Told is what an alarm counts so far.
func (l *Ledger) Told(code string) Figures {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.s.alarms[code].figures
}

// Clear takes an alarm back.
func (l *Ledger) Clear(code string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear(code)
}

func (l *Ledger) raise(code, message string) (fresh bool) {
	return l.alarm(alarm{Alarm: Alarm{Code: code, Message: message}})
}

func (l *Ledger) tell(code string, more Figures, say func(all Figures) string) (fresh bool) {
	a := alarm{figures: more, lapses: true}
	for i, n := range l.s.alarms[code].figures {
		a.figures[i] += n
	}
	a.Alarm = Alarm{Code: code, Message: say(a.figures)}
	if a.figures == (Figures{}) { // nothing adds it up
		a.Message = alongside(l.s.alarms[code].Message, a.Message)
	}
	return l.alarm(a)
}

const (
	toldBefore = "; before that: " // between what happened, the newest first
	toldMost   = 4
)

// alongside is what an alarm of old says when text has happened, too: one that costs nothing must not hide one that did. Of many there are
// the newest and the first.
func alongside(old, text string) string {
	all := []string{text}
	for _, t := range strings.Split(old, toldBefore) {
		if t != "" && t != text {
			all = append(all, t)
		}
	}
	if len(all) > toldMost {
		all = slices.Delete(all, toldMost-1, len(all)-1)
	}
	return strings.Join(all, toldBefore)
}

// alarm writes one down: at once when it is fresh, else with the next transaction.
func (l *Ledger) alarm(a alarm) (fresh bool) {
	now := l.o.Now()
	old, was := l.s.alarms[a.Code]
	a.Since, a.last = now.UTC().Truncate(time.Millisecond), now.UnixMilli()
	if was {
		a.Since = old.Since
		if old.Message == a.Message && !a.lapses {
			return false
		}
	}
	l.s.alarms[a.Code], l.unsaved[a.Code] = a, true
	if !was {
		_ = l.commit(&writer{}) // when it can not be written down, the next transaction does
	}
	return !was
}

func (l *Ledger) clear(code string) {
	if _, is := l.s.alarms[code]; is || l.unopened != nil {
		delete(l.s.alarms, code)
		l.unsaved[code] = true
	}
}

// lapse ends alarms of what happened long ago.
func (l *Ledger) lapse(now time.Time) {
	for code, a := range l.s.alarms {
		if a.lapses && now.Sub(time.UnixMilli(a.last)) > lapse {
			l.clear(code)
		}
	}
}
