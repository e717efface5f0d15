package syntax_test

import (
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/source"
	"github.com/flexgw/flexgw/schema/syntax"
)

// A file full of characters that no text has is reported in few words.
func TestOddCharactersAreCounted(t *testing.T) {
	t.Parallel()
	text := `{"apiVersion": "gateway.mulesoft.com/v1alpha1", "kind": "Service", "name": "` + strings.Repeat("\x01\\q", 5000) + `"}`
	_, ds := syntax.Parse(source.NewSet([]source.File{source.NewFile("a.json", []byte(text))}))
	if len(ds) != 20 {
		t.Fatalf("%d diagnostics, want 20", len(ds))
	}
	if last := ds[19].Hint; !strings.HasSuffix(last, "; 9980 more characters of this file are as odd") {
		t.Errorf("the last hint is %q", last)
	}
}
