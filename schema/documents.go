package schema

// Documents is how many documents the last Load read.
func (m *Memo) Documents() int { return 0 }
