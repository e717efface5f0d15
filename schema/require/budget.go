package require

// Budget is how long evaluations may take: that of one package of rules, and all of one rule together. CUE has no budget of its
// own and cannot be stopped, so what takes longer is given up, and its evaluation left behind. There is no clock in this package:
// its caller has one. The zero Budget has no end.
type Budget struct {
	Ticks int    // of Clock
	Words string // the same for people: "1m0s"
	Clock func() (ticks <-chan struct{}, stop func())
}

func (b Budget) start() (ticks <-chan struct{}, stop func()) {
	if b.Clock == nil {
		return nil, func() {}
	}
	return b.Clock()
}

// within calls f, and reports whether it was given up.
func within[T any](b Budget, f func() T) (result T, late bool) {
	done := make(chan T, 1)
	go func() { done <- f() }()
	ticks, stop := b.start()
	defer stop()
	for n := 0; ; {
		select {
		case result = <-done:
			return result, false
		case <-ticks:
			if n++; n >= b.Ticks {
				return result, true
			}
		}
	}
}
