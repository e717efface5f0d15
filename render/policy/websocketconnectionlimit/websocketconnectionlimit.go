// Package websocketconnectionlimit is the "websocket-connection-limit-flex" policy: how many WebSocket connections may be open at the same time.
//
// It does not look at what is sent over them, nor at other requests.
//
// Source: https://docs.mulesoft.com/gateway/latest/policies-included-websocket-connection-limit
package websocketconnectionlimit

import (
	_ "embed"

	"github.com/flexgw/flexgw/render/policy"
	"github.com/flexgw/flexgw/schema/ir"
)

//go:embed websocketconnectionlimit.schema.json
var schema []byte

//go:embed websocketconnectionlimit.md
var page []byte

// Type is the policy.
var Type = policy.Define(policy.Spec[config]{
	Name:     "websocket-connection-limit-flex",
	Schema:   schema,
	Page:     page,
	Targets:  ir.TargetAPI,
	Since:    "1.13.0",
	Guard:    policy.Always[config](ir.Restricts),
	Defaults: func() config { return config{Connections: 100} },
})

type config struct {
	Connections uint32 `flex:"maximumConnections"`
}
