package envoy

import "context"

// Rotate is what the supervisor does every minute, with a limit of its own.
func (p *Process) Rotate(limit int64) { p.rotate(context.Background(), limit) }
