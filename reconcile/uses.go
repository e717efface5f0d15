package reconcile

import (
	"iter"
	"time"
)

// uses are names (of policy instances, of files) that some Envoy may still use. An Envoy that refuses a resource keeps the
// version of it that it had, so while a revision is not programmed whole, what any revision since the last one that was
// may be in use. It holds each name once, however often revisions follow each other.
type uses struct {
	now   map[string]bool      // named by the newest revision, or by one since the last programmed one
	until map[string]time.Time // named by none of those; not in use any more after it
	look  time.Time            // when something is over; zero: nothing is
}

// publish adds what a published revision names.
func (u *uses) publish(names iter.Seq[string]) {
	if u.now == nil {
		u.now, u.until = map[string]bool{}, map[string]time.Time{}
	}
	for n := range names {
		u.now[n] = true
		delete(u.until, n)
	}
}

// programmed lets go, after a while, of what the programmed revision does not name. Leftovers of an earlier process are
// looked for then, too.
func (u *uses) programmed(names iter.Seq[string], over time.Time) {
	old := u.now
	u.now = make(map[string]bool, len(old))
	for n := range names {
		u.now[n] = true
		delete(old, n)
	}
	first := u.look.IsZero() && len(u.until) == 0
	for n := range old {
		u.until[n] = over
	}
	if len(old) > 0 || first {
		u.look = over
	}
}

// over forgets what is not in use any more, and reports whether it is time to clean up.
func (u *uses) over(now time.Time) bool {
	if u.look.IsZero() || now.Before(u.look) && len(u.until) == 0 {
		return false
	}
	gone := !now.Before(u.look)
	for n, t := range u.until {
		if !now.Before(t) {
			delete(u.until, n)
			gone = true
		}
	}
	if gone && len(u.until) == 0 {
		u.look = farAway
	}
	return gone
}

// farAway stands for never, and for having been looked at once.
var farAway = time.Unix(1<<40, 0)

func (u *uses) has(name string) bool {
	_, leaving := u.until[name]
	return u.now[name] || leaving
}
