package preflight

import (
	"embed"
	"encoding/csv"
	"strconv"
	"strings"
)

// The tables are reference/anypoint.md 4 as data: what the vendor's pages say of hosts, ports, systems and sizes ([D] unless a column
// says otherwise). They are read whenever they are asked, and a wrong row is a wrong build.
//
//go:embed tables/*.csv
var tables embed.FS

// row is a row by the names of its columns.
type row map[string]string

func table(name string) []row {
	f, err := tables.Open("tables/" + name + ".csv")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		panic("preflight: table " + name + ": " + err.Error())
	}
	rows := make([]row, 0, len(lines)-1)
	for _, l := range lines[1:] {
		x := row{}
		for i, column := range lines[0] {
			x[column] = l[i]
		}
		rows = append(rows, x)
	}
	return rows
}

// list is the values of a cell.
func (x row) list(column string) []string {
	if x[column] == "" {
		return nil
	}
	return strings.Split(x[column], ";")
}

// number is the number of a cell, without "<" or ">"; 0 when it is empty.
func (x row) number(column string) float64 {
	text := strings.TrimLeft(x[column], "<>")
	if text == "" {
		return 0
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic("preflight: " + column + " " + text + " is no number")
	}
	return n
}

// releases is the range of releases that a row is about, in words.
func (x row) releases() string {
	from, to := x["from"], x["to"]
	switch {
	case from == "later":
		return "not known when, on"
	case from == to:
		return from
	case from == "":
		return "up to " + to
	case to == "":
		return from + " on"
	}
	return from + " to " + to
}

// Planes are the planes that the tables name: first those whose hosts are documented for the gateway, then the others.
func Planes() (documented, others []string) {
	seen := map[string]bool{}
	for _, x := range table("hosts") {
		if !seen[x["plane"]] {
			seen[x["plane"]] = true
			documented = append(documented, x["plane"])
		}
	}
	for _, x := range table("other_planes") {
		name, _, _ := strings.Cut(x["plane"], " ") // "CA (Hyperforce)"
		others = append(others, name)
	}
	return documented, others
}

// Sizes are the names of the product's sizes.
func Sizes() []string {
	var names []string
	for _, x := range table("sizes") {
		names = append(names, x["size"])
	}
	return names
}

// span is a range of ports, both ends included.
type span struct{ first, last uint16 }

func (s span) has(port uint16) bool { return s.first <= port && port <= s.last }

// spans reads "443", "2379;2380" and "30000-32767".
func spans(text string) []span {
	var out []span
	for part := range strings.SplitSeq(text, ";") {
		first, last, both := strings.Cut(part, "-")
		if !both {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			panic("preflight: ports " + text)
		}
		b, err := strconv.ParseUint(last, 10, 16)
		if err != nil {
			panic("preflight: ports " + text)
		}
		out = append(out, span{uint16(a), uint16(b)})
	}
	return out
}
