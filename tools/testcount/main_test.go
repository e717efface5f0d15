package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestAgain(t *testing.T) {
	t.Parallel()
	const (
		a    = `{"Action":"output","Package":"p","Test":"TestA","Output":"a_test.go:1: wrong\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestA"}`
		part = `{"Action":"fail","Package":"p","Test":"TestA/part"}`
		b    = `{"Action":"fail","Package":"p","Test":"TestB"}`
		c    = `{"Action":"fail","Package":"q","Test":"TestC"}`
		p    = `{"Action":"fail","Package":"p"}`
		q    = `{"Action":"fail","Package":"q"}`
		race = `{"Action":"output","Package":"p","Test":"TestA/part","Output":"WARNING: DATA RACE\n"}`
		late = `{"Action":"output","Package":"p","Output":"panic: test timed out after 10m0s\n"}`
		fine = `{"Action":"pass","Package":"p","Test":"TestD"}`
	)
	for _, tt := range []struct {
		name   string
		stream []string
		want   string
	}{
		{"nothing", []string{fine}, "[]"},
		{"one test", []string{fine, a, p}, "[{p TestA 1}]"},
		{"one with its part", []string{part, a, p}, "[{p TestA 2}]"},
		{"two in two packages", []string{a, p, c, q}, "[{p TestA 1} {q TestC 1}]"},
		{"three", []string{a, b, p, c, q}, "[]"},
		{"a race", []string{race, part, a, p}, "[]"},
		{"a package that ended", []string{a, late, p}, "[]"},
		{"a package without a test that failed", []string{a, p, q}, "[]"},
		{"a build failure", []string{"# p", a, p}, "[]"},
	} {
		r, err := read(strings.NewReader(strings.Join(tt.stream, "\n")+"\n"), io.Discard)
		if got := fmt.Sprint(r.again()); err != nil || got != tt.want {
			t.Errorf("%s: got %s %v, want %s", tt.name, got, err, tt.want)
		}
	}
}
