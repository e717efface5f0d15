package preflight

func (r *run) proxySettings() {}
func (r *run) network()       {}
func (r *run) fabric()        {}

// Proxy is a forward proxy.
type Proxy struct{}
