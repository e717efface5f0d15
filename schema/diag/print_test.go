package diag_test

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/flexgw/flexgw/schema/diag"
)

const orders = "\uFEFFkind: Service # á\r\nmetadata:\r\n\tname: orderz\r\n  ü: \"äöü\" x\nlast: \u200bz\x1b[31m"

func spot(file string, line, col, endLine, endCol int) diag.Range {
	return diag.Range{File: file, Start: diag.Pos{Line: int32(line), Column: int32(col)}, End: diag.Pos{Line: int32(endLine), Column: int32(endCol)}}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 200) + "NEEDLE" + strings.Repeat("b", 200)
	files := map[string]string{
		"orders.yaml": orders,
		"long.json":   long,
		"wide.json":   strings.Repeat("x", 500),
		"twelve.yaml": strings.Repeat("\n", 11) + "      name: orderz\n",
		"empty.yaml":  "",
	}
	sources := func(f string) ([]byte, error) {
		if s, ok := files[f]; ok {
			return []byte(s), nil
		}
		return nil, errors.New("gone")
	}
	d := func(r diag.Range) diag.Diagnostic {
		return diag.Diagnostic{Severity: diag.Error, Code: "a/b", Summary: "wrong", Subject: r}
	}
	for _, c := range []struct {
		name string
		p    diag.Printer
		l    diag.List
		want string
	}{
		{"the page of style", diag.Printer{}, diag.List{{Severity: diag.Error, Code: "link/unknown-service",
			Summary: `no Service named "orderz" in namespace "default"`, Subject: spot("twelve.yaml", 12, 13, 12, 19),
			Hint:    `did you mean "orders" (services.yaml:3:9)?`,
			Related: []diag.Related{{Subject: spot("services.yaml", 3, 9, 3, 15), Summary: "the nearest name"}}}},
			`twelve.yaml:12:13: error: no Service named "orderz" in namespace "default" [link/unknown-service]
  12 |       name: orderz
     |             ^^^^^^
  see services.yaml:3:9: the nearest name
  hint: did you mean "orders" (services.yaml:3:9)?
`},
		{"byte order mark and line end", diag.Printer{}, diag.List{d(spot("orders.yaml", 1, 1, 1, 5))},
			"orders.yaml:1:1: error: wrong [a/b]\n  1 | kind: Service # á\n    | ^^^^\n"},
		{"tab", diag.Printer{}, diag.List{d(spot("orders.yaml", 3, 8, 3, 14))},
			"orders.yaml:3:8: error: wrong [a/b]\n  3 | \tname: orderz\n    | \t      ^^^^^^\n"},
		{"runes", diag.Printer{}, diag.List{d(spot("orders.yaml", 4, 6, 4, 11))},
			"orders.yaml:4:6: error: wrong [a/b]\n  4 |   ü: \"äöü\" x\n    |      ^^^^^\n"},
		{"several lines", diag.Printer{}, diag.List{d(spot("orders.yaml", 2, 1, 4, 3))},
			"orders.yaml:2:1: error: wrong [a/b]\n  2 | metadata:\n    | ^^^^^^^^^\n"},
		{"end of a line", diag.Printer{}, diag.List{d(spot("orders.yaml", 2, 10, 2, 10))},
			"orders.yaml:2:10: error: wrong [a/b]\n  2 | metadata:\n    |          ^\n"},
		{"what a terminal hides or obeys", diag.Printer{}, diag.List{d(spot("orders.yaml", 5, 7, 5, 8))},
			"orders.yaml:5:7: error: wrong [a/b]\n  5 | last: ·z·[31m\n    |       ^\n"},
		{"long line", diag.Printer{}, diag.List{d(spot("long.json", 1, 201, 1, 207))},
			"long.json:1:201: error: wrong [a/b]\n  1 | …" + strings.Repeat("a", 39) + "NEEDLE" + strings.Repeat("b", 73) + "…\n    | " +
				strings.Repeat(" ", 40) + "^^^^^^\n"},
		{"long subject", diag.Printer{}, diag.List{d(spot("wide.json", 1, 1, 1, 501))},
			"wide.json:1:1: error: wrong [a/b]\n  1 | " + strings.Repeat("x", 119) + "…\n    | " + strings.Repeat("^", 119) + "\n"},
		{"end of a long line", diag.Printer{}, diag.List{d(spot("wide.json", 1, 501, 1, 501))},
			"wide.json:1:501: error: wrong [a/b]\n  1 | …" + strings.Repeat("x", 119) + "\n    | " + strings.Repeat(" ", 120) + "^\n"},
		{"a line that is not there", diag.Printer{}, diag.List{d(spot("orders.yaml", 99, 1, 99, 2)), d(spot("empty.yaml", 1, 1, 1, 1))},
			"orders.yaml:99:1: error: wrong [a/b]\nempty.yaml:1:1: error: wrong [a/b]\n"},
		{"a file that is not there", diag.Printer{}, diag.List{d(spot("gone.yaml", 1, 1, 1, 2))}, "gone.yaml:1:1: error: wrong [a/b]\n"},
		{"no place", diag.Printer{}, diag.List{d(diag.Range{File: "orders.yaml"}), d(diag.Range{})},
			"orders.yaml: error: wrong [a/b]\nerror: wrong [a/b]\n"},
		{"a name that ends its line", diag.Printer{}, diag.List{{Severity: diag.Error, Code: "a/b", Summary: "x\u2028y", Hint: "tab\there", Subject: diag.Range{File: "a\n::error::\x1b[31m.yaml"},
			Related: []diag.Related{{Subject: diag.Range{File: "b\r.yaml"}, Summary: "\xff"}}}},
			"a·::error::·[31m.yaml: error: x·y [a/b]\n  see b·.yaml: \uFFFD\n  hint: tab·here\n"},
		{"notes are left out", diag.Printer{}, diag.List{{Code: "a/b", Summary: "by the way"}}, ""},
		{"notes are asked for", diag.Printer{Notes: true}, diag.List{{Code: "a/b", Summary: "by the way"}}, "note: by the way [a/b]\n"},
		{"colour", diag.Printer{Color: true}, diag.List{{Severity: diag.Warning, Code: "a/b", Summary: "hm", Hint: "so", Subject: spot("orders.yaml", 2, 1, 2, 5)}},
			"\x1b[1morders.yaml:2:1:\x1b[0m \x1b[1;33mwarning:\x1b[0m hm \x1b[2m[a/b]\x1b[0m\n" +
				"  \x1b[2m2 |\x1b[0m metadata:\n  \x1b[2m  |\x1b[0m \x1b[1;33m^^^^\x1b[0m\n  \x1b[1mhint:\x1b[0m so\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.p.Sources = sources
			var b bytes.Buffer
			if err := c.p.Print(&b, c.l); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, b.String()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestPrintWithoutSources(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := (diag.Printer{}).Print(&b, diag.List{{Severity: diag.Error, Code: "a/b", Summary: "wrong", Subject: spot("x", 1, 2, 1, 3)}}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "x:1:2: error: wrong [a/b]\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestPrintReportsTheWriter(t *testing.T) {
	t.Parallel()
	if err := (diag.Printer{}).Print(broken{}, diag.List{{Severity: diag.Error}}); err == nil {
		t.Error("no error from a broken writer")
	}
}

// BenchmarkPrint prints a mistake on each line of a file: what one costs must not grow with the file.
func BenchmarkPrint(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			text := bytes.Repeat([]byte("name: value\n"), n)
			l := make(diag.List, n)
			for i := range l {
				l[i] = diag.Diagnostic{Severity: diag.Error, Code: "a/b", Summary: "s", Subject: diag.Range{File: "f",
					Start: diag.Pos{Line: int32(i + 1), Column: 7, Offset: int32(12*i + 6)}, End: diag.Pos{Line: int32(i + 1), Column: 12, Offset: int32(12*i + 11)}}}
			}
			p := diag.Printer{Sources: func(string) ([]byte, error) { return text, nil }}
			for b.Loop() {
				if err := p.Print(io.Discard, l); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/mistake")
		})
	}
}
