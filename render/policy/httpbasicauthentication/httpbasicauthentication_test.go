package httpbasicauthentication_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/httpbasicauthentication"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, httpbasicauthentication.Type) }
