package oauth2tokenintrospection_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/oauth2tokenintrospection"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, oauth2tokenintrospection.Type) }
