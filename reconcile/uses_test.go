package reconcile

import (
	"slices"
	"testing"
	"time"
)

func TestUses(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	names := func(n ...string) func(func(string) bool) { return slices.Values(n) }
	var u uses
	u.publish(names("a", "b"))
	u.programmed(names("a", "b"), at(10))
	if u.over(at(9)) || !u.over(at(10)) || u.over(at(11)) {
		t.Error("leftovers of an earlier process are looked for once, when the first drain is over")
	}
	u.publish(names("a", "c")) // not programmed yet: b stays
	if u.over(at(100)) || !u.has("b") || !u.has("c") {
		t.Error("b is gone before anything replaced it")
	}
	u.publish(names("d"))
	u.programmed(names("d"), at(120))
	if u.over(at(119)) || !u.has("a") || !u.has("b") || !u.has("c") {
		t.Error("something is gone before the drain is over")
	}
	u.publish(names("c", "d")) // c is back
	u.programmed(names("c", "d"), at(130))
	if !u.over(at(120)) || u.has("a") || u.has("b") || !u.has("c") || !u.has("d") {
		t.Errorf("after the drain: %v %v", u.now, u.until)
	}
	for i := range 1000 {
		u.publish(names("c", "d"))
		u.programmed(names("c", "d"), at(200+i))
	}
	if len(u.now)+len(u.until) != 2 {
		t.Errorf("%d names are held for two", len(u.now)+len(u.until))
	}
}
