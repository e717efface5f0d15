package messagelogging_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/messagelogging"
	"github.com/flexgw/flexgw/render/policy/policytest"
)

func TestPolicy(t *testing.T) { policytest.Run(t, messagelogging.Type) }
