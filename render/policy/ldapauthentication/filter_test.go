package ldapauthentication

import "testing"

// FuzzReaders: no text makes a reader fail, and what it names lies within the text.
func FuzzReaders(f *testing.F) {
	for _, s := range []string{"", "(uid={0})", "(&(a=b)(|(c=d)(!(e=*))))", `(a=\2a\`, "dc=a,ou=b+c=d;e=f", `cn="a, b",o=\,`, "((", "(!", "a=b(", "  ( & ) "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, read := range map[string]func(string) *problem{"filter": readFilter, "name": readDN} {
			if p := read(text); p != nil && (p.start < 0 || p.end < p.start || p.end > max(len(text), p.start+1) || p.what == "") {
				t.Errorf("%s %q: %+v", name, text, p)
			}
		}
	})
}
