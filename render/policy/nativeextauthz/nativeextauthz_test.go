package nativeextauthz_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/nativeextauthz"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, nativeextauthz.Type) }
