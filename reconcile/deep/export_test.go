package deep

// Most bounds the number of files.
func (c *Cache) Most(n int) *Cache { c.most = n; return c }
