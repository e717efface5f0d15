package cli

import (
	"time"

	"github.com/flexgw/flexgw/schema/require"
)

// patience is how long an organisation's rules may take: so long for each package of them, and for each rule.
const patience = time.Minute

// budgetOf measures a time for schema/require, which has no clock.
func budgetOf(limit time.Duration) require.Budget {
	const tick = 20 * time.Millisecond
	return require.Budget{Ticks: int(limit / tick), Words: limit.String(), Clock: func() (<-chan struct{}, func()) {
		ticks, over := make(chan struct{}), make(chan struct{})
		go func() {
			t := time.NewTicker(tick)
			defer t.Stop()
			for {
				select {
				case <-over:
					return
				case <-t.C:
				}
				select {
				case <-over:
					return
				case ticks <- struct{}{}:
				}
			}
		}()
		return ticks, func() { close(over) }
	}}
}
