package egress

// Allow adds one destination to those that Set gave.
func (e *Egress) Allow(purpose Purpose, host, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.allowed[Destination{purpose, normal(host), why}] = true
}
