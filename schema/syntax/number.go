package syntax

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
)

// Numbers beyond these would cost whoever computes with them exactly (math/big) more than they are worth.
const (
	maxDigits   = 400
	maxExponent = 400
)

// plain resolves an unquoted YAML scalar as the core schema of YAML 1.2 does (https://yaml.org/spec/1.2.2/#103-core-schema).
// Numbers that JSON cannot write (.inf, .nan) or that are absurdly large stay strings.
func plain(s string) any {
	if s == "" {
		return nil
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', c == '-', c == '+', c == '.':
		if n, ok := number(s); ok {
			return n
		}
	case c == 't' || c == 'T':
		if s == "true" || s == "True" || s == "TRUE" {
			return true
		}
	case c == 'f' || c == 'F':
		if s == "false" || s == "False" || s == "FALSE" {
			return false
		}
	case c == 'n' || c == 'N':
		if s == "null" || s == "Null" || s == "NULL" {
			return nil
		}
	case s == "~":
		return nil
	}
	return s
}

// number is the JSON form of a YAML number.
func number(s string) (json.Number, bool) {
	if len(s) > maxDigits {
		return "", false
	}
	if base := map[bool]int{strings.HasPrefix(s, "0x"): 16, strings.HasPrefix(s, "0o"): 8}[true]; base != 0 {
		if strings.ContainsAny(s[2:], "+-_") {
			return "", false
		}
		n, ok := new(big.Int).SetString(s[2:], base)
		if !ok {
			return "", false
		}
		return json.Number(n.String()), true
	}
	sign, rest := "", s
	if rest[0] == '-' || rest[0] == '+' {
		if rest[0] == '-' {
			sign = "-"
		}
		rest = rest[1:]
	}
	whole, rest := digits(rest)
	fraction, hasPoint := "", strings.HasPrefix(rest, ".")
	if hasPoint {
		fraction, rest = digits(rest[1:])
	}
	if whole == "" && fraction == "" {
		return "", false
	}
	exponent := ""
	if rest != "" {
		if rest[0] != 'e' && rest[0] != 'E' || !smallExponent(rest[1:]) {
			return "", false
		}
		exponent = rest
	}
	if sign == "" && fraction == "" && !hasPoint && (whole[0] != '0' || len(whole) == 1) && s[0] != '+' {
		return json.Number(s), true // by far the most frequent: already JSON, nothing to build
	}
	whole = strings.TrimLeft(whole, "0")
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return json.Number(sign + whole + fraction + exponent), true
}

// digits splits s after its leading decimal digits.
func digits(s string) (head, rest string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i], s[i:]
}

func smallExponent(s string) bool {
	head, rest := digits(strings.TrimPrefix(strings.TrimPrefix(s, "+"), "-"))
	if strings.HasPrefix(s, "+-") || head == "" || rest != "" {
		return false
	}
	n, err := strconv.Atoi(head)
	return err == nil && n <= maxExponent
}
