package syntax

import (
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/source"
)

type cueWorld struct{}

func (w *cueWorld) imported([]source.File) []source.File { return nil }
func cueUnits(files []source.File) ([]Unit, diag.List)   { return nil, nil }
func parseCUE(u Unit) ([]*Node, diag.List)               { return nil, nil }
