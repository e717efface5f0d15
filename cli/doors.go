package cli

import "github.com/flexgw/flexgw/reconcile/gate"

// envoyHints says what to do about an Envoy on another host that was turned away.
func envoyHints() map[string]string {
	return map[string]string{
		gate.NoCertificate:    "give that Envoy tls.crt and tls.key, in the folder that its bootstrap names",
		gate.Expired:          "replace tls.crt and tls.key on that host; if they are new, compare the clocks of both hosts",
		gate.UnknownAuthority: "if it is one of yours, let an authority of --xds-client-ca sign its certificate, or add its authority to that file",
		gate.BadCertificate:   "give that Envoy a certificate that is good for clients (extended key usage clientAuth)",
		gate.NotAllowed:       "if it is one of yours, start the daemon with one of these names as --xds-allow",
		gate.NotTLS:           "if it is an Envoy, use the bootstrap of flexgw render --form bootstrap --remote; a health check should only connect",
		gate.OldTLS:           "if it is an Envoy, use the bootstrap of flexgw render --form bootstrap --remote, and no proxy in between that ends TLS",
		gate.DistrustsUs:      "put the authority of --xds-cert into ca.crt on that host, and see that --xds-cert has the name of --remote or --server-name",
		gate.BadHandshake:     "if it is an Envoy, look into its log, and for a proxy or load balancer in between; else it is a scanner and needs nothing",
		gate.NoNode:           "make its bootstrap with flexgw render --form bootstrap --remote --node-id ID",
		gate.NodeTaken:        "give each Envoy a node id of its own, --node-id of flexgw render",
		gate.TooMany:          "find out who opens so many connections there, and let a firewall admit only the hosts of your Envoys",
		gate.LeftOut:          "see flexgw status; if they are not yours, let a firewall admit only the hosts of your Envoys",
	}
}

// operatorHints says what to do about flexgw on another host that was turned away.
func operatorHints() map[string]string {
	return map[string]string{
		gate.NoCertificate:    "if it is one of yours, have it call flexgw with --tls-cert and --tls-key",
		gate.Expired:          "renew the certificate of its --tls-cert; if it is new, compare the clocks of both hosts",
		gate.UnknownAuthority: "if it is one of yours, let an authority of --api-client-ca sign the certificate of its --tls-cert, or add its authority to that file",
		gate.BadCertificate:   "give it a certificate that is good for clients (extended key usage clientAuth) as --tls-cert",
		gate.NotAllowed:       "if it is one of yours, start the daemon with one of these names as --api-allow",
		gate.NotTLS:           "if it is flexgw, name the daemon with --daemon or --daemons; a health check should only connect",
		gate.OldTLS:           "if it is flexgw, see that no proxy in between ends TLS",
		gate.DistrustsUs:      "give it the authority of --api-cert as --tls-ca, and see that --api-cert has the name or address by which --daemon calls this host",
		gate.BadHandshake:     "if it is flexgw, look for a proxy or load balancer in between; else it is a scanner and needs nothing",
		gate.TooMany:          "find out who opens so many connections there, and let a firewall admit only the hosts of your operators",
		gate.LeftOut:          "see flexgw status; if they are not yours, let a firewall admit only the hosts of your operators",
	}
}
