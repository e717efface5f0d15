package gate

// Fail is a handshake that failed.
func (g *Gate) Fail(address string, err error) { g.failed(address, err) }
