// Package v1alpha1 mirrors the declared kinds, field for field, as they stand in a file.
//
// It holds no defaults and follows no reference; package schema does both.
package v1alpha1

import (
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/syntax"
)

// The API groups that are read: the product's, in any of its versions, and ours.
const (
	Group   = "gateway.mulesoft.com"
	Version = "gateway.mulesoft.com/v1alpha1"
	Beta    = "gateway.mulesoft.com/v1beta1"
	Ours    = "flexgw/v1alpha1"
)

// Object is one declared document of a kind.
type Object[S any] struct {
	ID     diag.Object
	Name   syntax.Text // metadata.name
	Labels map[string]syntax.Text
	Spec   S
	Unit   syntax.Unit // where it was declared, for places that were not kept
	Index  int         // of the document within the unit
	Range  diag.Range  // of the document
}

// ExtensionSpec is the spec of an Extension: a policy definition or an implementation.
type ExtensionSpec struct {
	Extends    []ExtendsRef            `flex:"extends"`
	Properties map[string]*syntax.Node `flex:"properties"`
	Required   []syntax.Text           `flex:"required"`
}

// ExtendsRef names a parent of an Extension.
type ExtendsRef struct {
	Name      syntax.Text `flex:"name"`
	Namespace syntax.Text `flex:"namespace"`
}
