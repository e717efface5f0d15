package sandbox

// Without leaves walls out.
func (c Command) Without(l Layers) Command { c.without = l; return c }
