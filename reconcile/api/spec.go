package api

import _ "embed"

// spec describes the API: OpenAPI 3.1.
//
//go:embed openapi.json
var spec []byte
