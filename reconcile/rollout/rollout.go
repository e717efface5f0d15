// Package rollout says when a new revision may be applied: some time after it was seen, within maintenance windows, or
// only when somebody says so.
//
// It applies nothing and has no clock: whoever asks brings the times.
package rollout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Plan is what an operator wants. The zero value lets every revision through at once.
type Plan struct {
	ByHand  bool          // nothing is applied until somebody asks for it
	After   time.Duration // since a revision was seen first
	Windows []Window      // none: at any time
}

// Zero says whether nothing has to wait.
func (p Plan) Zero() bool { return !p.ByHand && p.After == 0 && len(p.Windows) == 0 }

// When is the first moment, not before now, at which a revision that was seen at since may be applied. The zero time means
// that no clock brings it.
func (p Plan) When(since, now time.Time) time.Time {
	if p.ByHand {
		return time.Time{}
	}
	at := since.Add(p.After)
	if at.Before(now) {
		at = now
	}
	if len(p.Windows) == 0 {
		return at
	}
	var first time.Time
	for _, w := range p.Windows {
		if t := w.Next(at); !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// ParseAfter reads the value of --approve-after: a duration, or "never".
func (p *Plan) ParseAfter(s string) error {
	if s == "never" {
		p.ByHand = true
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return fmt.Errorf("%q is neither a duration such as 30m nor never", s)
	}
	p.After = d
	return nil
}

// Window is a span of time that comes again on certain days of the week. A span that ends at or before its start ends on
// the day after; the day is that of its start.
type Window struct {
	days       [7]bool // by time.Weekday
	start, end int     // minutes since midnight on the clock of the zone
	zone       *time.Location
}

const form = `expected "DAYS HH:MM-HH:MM [ZONE]", such as "Mon-Fri 22:00-04:00 Europe/Berlin" or "Sat,Sun 00:00-24:00"`

// ParseWindow reads "DAYS HH:MM-HH:MM [ZONE]". DAYS are Mon to Sun, singly, as ranges, and in lists by commas, or "daily";
// ZONE is a name of the IANA database, and UTC when it is left out.
func ParseWindow(s string) (Window, error) {
	w := Window{zone: time.UTC}
	parts := strings.Fields(s)
	if len(parts) < 2 || len(parts) > 3 {
		return w, fmt.Errorf("%q is no window: %s", s, form)
	}
	var err error
	if w.days, err = days(parts[0]); err != nil {
		return w, fmt.Errorf("%q is no window: %w; %s", s, err, form)
	}
	from, to, ok := strings.Cut(parts[1], "-")
	if !ok {
		return w, fmt.Errorf("%q is no window: %s", s, form)
	}
	if w.start, err = clock(from, 23); err == nil {
		w.end, err = clock(to, 24)
	}
	if err != nil {
		return w, fmt.Errorf("%q is no window: %w; %s", s, err, form)
	}
	if w.start == w.end {
		return w, fmt.Errorf("%q is no window: it ends when it starts; a whole day is 00:00-24:00", s)
	}
	if len(parts) == 3 {
		if w.zone, err = time.LoadLocation(parts[2]); err != nil || parts[2] == "Local" {
			return w, fmt.Errorf("%q is no window: no time zone %q is known on this host (UTC always is; the package tzdata has the others)", s, parts[2])
		}
	}
	return w, nil
}

var names = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func days(s string) (set [7]bool, err error) {
	if strings.EqualFold(s, "daily") {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	day := func(s string) (int, error) {
		if i := slices.Index(names, strings.ToLower(s)); i >= 0 {
			return i, nil
		}
		return 0, fmt.Errorf("%q is no day", s)
	}
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := day(from)
		if err != nil {
			return set, err
		}
		last := first
		if isRange {
			if last, err = day(to); err != nil {
				return set, err
			}
		}
		for i := first; ; i = (i + 1) % 7 {
			set[i] = true
			if i == last {
				break
			}
		}
	}
	return set, nil
}

// clock reads HH:MM, 24:00 when the last hour is 24.
func clock(s string, last int) (int, error) {
	hh, mm, ok := strings.Cut(s, ":")
	h, errH := strconv.ParseUint(hh, 10, 8)
	m, errM := strconv.ParseUint(mm, 10, 8)
	if !ok || errH != nil || errM != nil || len(mm) != 2 || len(hh) > 2 || h > uint64(last) || m > 59 || h == 24 && m > 0 {
		return 0, fmt.Errorf("%q is no time of a day", s)
	}
	return int(h)*60 + int(m), nil
}

// Next is t when it is within the window, else the moment at which it opens next. What the clock skips when daylight saving
// begins is read as time.Date does; a window that lies within what is skipped opens where the clock goes on.
func (w Window) Next(t time.Time) time.Time {
	local := t.In(w.zone)
	for day := -1; day <= 8; day++ {
		from := time.Date(local.Year(), local.Month(), local.Day()+day, 0, w.start, 0, 0, w.zone)
		midnight := time.Date(local.Year(), local.Month(), local.Day()+day, 12, 0, 0, 0, w.zone) // for the day of the week alone
		to := time.Date(local.Year(), local.Month(), local.Day()+day, 0, w.end, 0, 0, w.zone)
		if w.end <= w.start {
			to = time.Date(local.Year(), local.Month(), local.Day()+day+1, 0, w.end, 0, 0, w.zone)
		}
		switch {
		case !w.days[midnight.Weekday()] || !t.Before(to):
		case t.Before(from):
			return from
		default:
			return t
		}
	}
	return time.Time{}
}
