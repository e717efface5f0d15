package dataweave

// Type is what kind of value an expression gives whenever it gives one.
type Type string

// The types. TypeUnknown depends on the message.
const (
	TypeUnknown Type = ""
	TypeNull    Type = "null"
	TypeBool    Type = "a boolean"
	TypeNumber  Type = "a number"
	TypeText    Type = "a text"
	TypeList    Type = "a list"
	TypeObject  Type = "an object"
	TypeBinary  Type = "binary"
)

// TypeOf tells the type of e. A variable that may be absent has the type of what is there.
func TypeOf(e Expr) Type {
	switch e := e.(type) {
	case *Null:
		return TypeNull
	case *Bool, *Not:
		return TypeBool
	case *Number:
		return TypeNumber
	case *String:
		return TypeText
	case *Array:
		return TypeList
	case *Var:
		return typeOfVar(e)
	case *If:
		return common(TypeOf(e.Then), TypeOf(e.Else))
	case *Call:
		return typeOfCall(e.Name)
	case *Binary:
		return typeOfBinary(e)
	}
	return TypeUnknown
}

func common(a, b Type) Type {
	if a == b {
		return a
	}
	return TypeUnknown
}

func typeOfBinary(e *Binary) Type {
	switch e.Op {
	case Equal, NotEqual, AtLeast, AtMost, And, Or, Contains:
		return TypeBool
	case Concat:
		return common(TypeOf(e.X), TypeOf(e.Y))
	case Default:
		if x := TypeOf(e.X); x != TypeNull {
			return common(x, TypeOf(e.Y))
		}
		return TypeOf(e.Y)
	}
	return TypeUnknown
}

func typeOfCall(name string) Type {
	switch name {
	case "sizeOf":
		return TypeNumber
	case "splitBy":
		return TypeList
	case FromBase64, ToBinary:
		return TypeBinary
	case "lower", "upper", "trim", "uuid", SubstringAfter, SubstringAfterLast, SubstringBefore, SubstringBeforeLast, ToBase64, ToString:
		return TypeText
	}
	return TypeUnknown
}

func typeOfVar(v *Var) Type {
	if v.Path[0] != "attributes" {
		return TypeUnknown
	}
	if len(v.Path) == 1 {
		return TypeObject
	}
	switch name := v.Path[1]; {
	case name == "headers" || name == "queryParams":
		if len(v.Path) == 2 {
			return TypeObject
		}
		return TypeText
	case name == "statusCode":
		return TypeNumber
	case len(v.Path) == 2:
		return TypeText
	}
	return TypeUnknown
}
