package policy

import (
	"fmt"
	"strings"

	"github.com/flexgw/flexgw/schema/diag"
)

// Field is one field of a configuration, by its path, and whether it says something.
type Field struct {
	Path  string // with dots
	Given bool
}

// Mode judges fields that mean something in one mode alone. Setting is how the mode is chosen ("authType: apiKey"), field where.
// In the mode, what is needed must be there (missing); in another, none of the fields has an effect (unused).
func (f *Findings) Mode(on bool, setting, field string, needed, optional []Field, missing, unused diag.Code) {
	var absent []string
	for _, x := range needed {
		switch own := strings.Split(x.Path, "."); {
		case !on || x.Given:
		case f.declares(own):
			f.Error(missing, fmt.Sprintf("%s is empty, and %s needs it", x.Path, setting), "write "+x.Path, own...)
		default:
			absent = append(absent, x.Path)
		}
	}
	if len(absent) > 0 {
		names, are, them := strings.Join(absent, " and "), "is", "it"
		if len(absent) > 1 {
			are, them = "are", "them"
		}
		f.Error(missing, fmt.Sprintf("%s %s missing, and %s needs %s", names, are, setting, them), "add "+names, strings.Split(field, ".")...)
	}
	for _, x := range append(append([]Field(nil), needed...), optional...) {
		if !on && x.Given {
			f.Warn(unused, fmt.Sprintf("%s has no effect without %s", x.Path, setting), "remove it, or write "+setting, strings.Split(x.Path, ".")...)
		}
	}
}

// declares reports whether the configuration has the field at path: then its place is not that of what is missing there.
func (f *Findings) declares(path []string) bool {
	none := append(path[:len(path)-1:len(path)-1], "\x00") // no field has this name
	return f.At(path...) != f.At(none...)
}
