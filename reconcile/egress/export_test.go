package egress

import "time"

// Allow adds one destination to those that Set gave.
func (e *Egress) Allow(purpose Purpose, host, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.allowed[Destination{purpose, normal(host), why}] = true
}

// Hurry makes Anypoint's timeouts of CONNECT and of a handshake as short, or as long, as this.
func (e *Egress) Hurry(d time.Duration) {
	e.patient.connect, e.patient.tls = d, d
}

// Patient are Anypoint's timeouts: to dial, of CONNECT, of a handshake, of a request.
func (e *Egress) Patient() [4]time.Duration {
	l := e.limits(Usage)
	return [4]time.Duration{l.dial, l.connect, l.tls, l.request}
}
