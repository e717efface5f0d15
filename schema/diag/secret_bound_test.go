package diag_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/testkit"
)

// onOneLine is a document of n mistakes on one line, with their places and fixes. Each is about the word "wrong".
func onOneLine(n int, item string) ([]byte, diag.List) {
	src := []byte("[" + strings.Repeat(item+", ", n) + "1]\n")
	var l diag.List
	for at := 0; ; {
		i := bytes.Index(src[at:], []byte("wrong"))
		if i < 0 {
			return src, l
		}
		at += i
		r := spot("f", 1, at+1, 1, at+6)
		r.Start.Offset, r.End.Offset = int32(at), int32(at+5)
		l = append(l, diag.Diagnostic{Severity: diag.Error, Code: "a/b", Summary: "wrong", Subject: r, Fixes: []diag.Fix{{Range: r, Text: "right"}}})
		at += 5
	}
}

// TestALongLineIsLookedAtOnce counts allocations, so it must not run beside other tests: with eight times the mistakes on one
// line there are about eight times as many, in text and for fixes.
func TestALongLineIsLookedAtOnce(t *testing.T) {
	for _, item := range []string{`{"wrong": "http://h/"}`, `{"password": "hunter2", "wrong": "ü"}`} {
		var text, fixes [2]float64
		for i, n := range []int{500, 4000} {
			src, l := onOneLine(n, item)
			reads := 0
			sources := func(string) ([]byte, error) { reads++; return src, nil }
			text[i] = testing.AllocsPerRun(1, func() {
				if err := (diag.Printer{Sources: sources}).Print(&bytes.Buffer{}, l); err != nil {
					t.Fatal(err)
				}
			})
			reads = 0
			fixes[i] = testing.AllocsPerRun(1, func() { l.WithoutSecrets(sources) })
			if reads > 2 {
				t.Errorf("%s: a file is read %d times", item, reads)
			}
		}
		if text[1] > 20*text[0] || fixes[1] > 20*fixes[0] { // quadratic: 64 times
			t.Errorf("%s: 500 mistakes take %.0f allocations in text and %.0f for fixes, 4,000 take %.0f and %.0f", item, text[0], fixes[0], text[1], fixes[1])
		}
	}
}

// TestSecretsOfALongLineStayHidden: near what is underlined, however far into the line it is, and in lines too long to look at.
func TestSecretsOfALongLineStayHidden(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n    int
		item string
		want string
	}{
		{4000, `{"password": "hunter2", "wrong": "ü"}`, `{"password": [redacted], "wrong": "ü"}`},
		{300_000, `{"wrong": 1}`, `  1 | [redacted]`},
		{3, `{"password": "` + strings.Repeat("hunter2", 9000) + `", "wrong": "ü"}`, `{"password": [redacted], "wrong": "ü"}`},
	} {
		src, l := onOneLine(c.n, c.item)
		for _, d := range []diag.Diagnostic{l[0], l[len(l)/2], l[len(l)-1]} {
			d.Subject.Start.Column, d.Subject.End.Column = columnOf(src, d.Subject.Start.Offset), columnOf(src, d.Subject.End.Offset)
			var b bytes.Buffer
			if err := (diag.Printer{Sources: func(string) ([]byte, error) { return src, nil }}).Print(&b, diag.List{d}); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), "hunter") || !strings.Contains(b.String(), c.want) {
				t.Errorf("got %s", b.String())
			}
			lines := strings.Split(b.String(), "\n")
			if under := strings.Index(lines[2], "^"); c.n < 5000 && !strings.HasPrefix(string([]rune(lines[1])[under:]), "wrong") {
				t.Errorf("underlined elsewhere: %s", b.String())
			}
		}
	}
}

func columnOf(src []byte, offset int32) int32 {
	return int32(len([]rune(string(src[:offset])))) + 1
}

// TestKeysOfALongLine: whether a "key" is a secret is asked of its line once: a long line takes as long as short ones that have as many.
// (All are too long for the faster of the ways in which Go's expressions work.)
func TestKeysOfALongLine(t *testing.T) {
	testkit.Growth(t, 1200, func(n int) func() {
		src := []byte("[" + strings.Repeat(`{"key":1}, `, n) + "1]")
		l := diag.List{{Code: "a/b", Summary: "s", Subject: spot("f", 1, len(src), 1, len(src)+1)}}
		return func() {
			if err := (diag.Printer{Notes: true, Sources: func(string) ([]byte, error) { return src, nil }}).Print(&bytes.Buffer{}, l); err != nil {
				t.Fatal(err)
			}
		}
	})
}
