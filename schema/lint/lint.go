// Package lint looks for what is legal and rarely meant, over the whole linked model.
//
// It finds no error that stops a gateway: those are found where the model is made. It knows no Envoy and has no clock.
package lint

import (
	"slices"
	"time"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

// Options are the parameters of Check.
type Options struct {
	Today   time.Time  // when certificates are judged
	Target  ir.Release // the product's release that the declarations are for
	Partial bool       // the model is not the whole gateway
	// Asked reports whether somebody wants to hear of a code whose notes are true of many gateways that are right
	// (lint/open-api, lint/clear-credentials); nil: nobody does.
	Asked func(diag.Code) bool
}

// rules are all; each is given the whole model.
func rules() []func(*ir.Gateway, Options) diag.List {
	return []func(*ir.Gateway, Options) diag.List{openAPIs, gettingPast, idlePolicies, certificates, tooManyAPIs, loops, clearCredentials, bytePatterns, withoutStorage, withoutCollector, setTwice}
}

// Check runs every rule. The model may have gaps (schema.Options.Salvage): nothing is said about what they may hide.
func Check(g *ir.Gateway, o Options) diag.List {
	var l diag.List
	for _, rule := range rules() {
		l = append(l, rule(g, o)...)
	}
	return slices.DeleteFunc(l, func(d diag.Diagnostic) bool {
		onRequest := d.Severity == diag.Note && (d.Code == "lint/open-api" || d.Code == "lint/clear-credentials")
		return onRequest && (o.Asked == nil || !o.Asked(d.Code))
	}).Sort()
}
