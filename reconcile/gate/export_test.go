package gate

import "time"

// Patient gives handshakes that begin from now on another limit.
func (g *Gate) Patient(limit time.Duration) { g.patience = limit }

// Fail is a handshake that failed.
func (g *Gate) Fail(address string, err error) { g.failed(address, err) }
