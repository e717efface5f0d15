package deep

// Most bounds the number of files.
func (c *Cache) Most(n int) *Cache { c.folder.Entries = n; return c }
