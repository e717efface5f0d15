package testkit_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/flexgw/flexgw/schema/testkit"
)

func TestReadKeepsQuestionAndAnswersApart(t *testing.T) {
	t.Parallel()
	p := filepath.Join(t.TempDir(), "one.txtar")
	text := "Shows that the kit reads a case.\nenv: A=b\n-- a.yaml --\nx: 1\n-- want/out --\nhello\n"
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := testkit.Read(t, p)
	if c.Name != "one" || len(c.Files) != 1 || c.Files[0].Name != "a.yaml" || string(c.Files[0].Data) != "x: 1\n" {
		t.Errorf("got %q with files %v", c.Name, c.Files)
	}
	if v, ok := c.Flag("env"); !ok || v != "A=b" {
		t.Errorf("flag env is %q, %v", v, ok)
	}
	if !c.Has("want/out") || c.Has("want/other") {
		t.Error("Has is wrong about the answers")
	}
	c.Want(t, "want/out", []byte("hello"))
	c.Want(t, "want/other", nil)
	c.Close(t)
}
