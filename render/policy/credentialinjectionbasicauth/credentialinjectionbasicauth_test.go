package credentialinjectionbasicauth_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/credentialinjectionbasicauth"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, credentialinjectionbasicauth.Type) }
