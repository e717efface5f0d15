package spikecontrol_test

import (
	"testing"

	"github.com/flexgw/flexgw/render/policy/policytest"
	"github.com/flexgw/flexgw/render/policy/spikecontrol"
)

func TestPolicy(t *testing.T) { policytest.Run(t, spikecontrol.Type) }
