package cors_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/cors"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, cors.Type) }
