package fetch

import "github.com/flexgw/flexgw/render/policy"

// Err is why the last try of a wanted need failed; nil if it did not.
func (f *Fetcher) Err(n policy.Need) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w := f.wants[n]; w != nil {
		return w.err
	}
	return nil
}
