package headerremoval

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// names are headers as Envoy spells them, protected ones, neighbours of protected ones and pseudo headers.
var names = []string{"accept", "accep", "accepts", "accept-encoding", "x-accept", "connection", "connections", "content-length", "content-lengthy",
	"content-type", "content-typ", "content-", "content-encoding", "date", "dat", "dates", "host", "hosts", "transfer-encoding", "transfer-encodin",
	"te", "x", "x-a", "x-b", "a", "d", "c", "h", "t", "user-agent", "x_y", "x.y", "1", "!", "authorization", ":path", ":method", ":authority", ":status"}

// want is the meaning of an entry: the whole name, in any case, but for what is protected.
func want(t *testing.T, text, name string) bool {
	t.Helper()
	re, err := regexp.Compile("(?i)^(?:" + text + ")$")
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return re.MatchString(name) && !strings.HasPrefix(name, ":") && !slices.Contains(protected, name)
}

func got(t *testing.T, text string, e entry, name string) bool {
	t.Helper()
	if e.name != "" {
		return e.name == name
	}
	if e.regex == "" {
		return false
	}
	re, err := regexp.Compile("^(?:" + e.regex + ")$")
	if err != nil {
		t.Fatalf("%q became %q: %v", text, e.regex, err)
	}
	return re.MatchString(name)
}

func TestEntriesMeanWhatTheySayLessWhatIsProtected(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"x-a", "X-A", "accept", "HOST", ".*", "[^:].*", ":.*", ":path", "content-.*", "(?:content-.*)|x-a", "accept|x-a", "^accept$|^x-a$", "^(accept|x-.)$",
		"(?i)Content-(?:Type|Length)", "[a-c].*", "d(at)?e?", "date.*", ".*e", ".{4}", ".{1,6}", "(accept)*", "(?:acc|ept)*", "x*", "", "(^a|^x).*", "(^|x-)a",
		"a(^b)?", "(a$|b)c", "(a|b$)*", ".*-.*", "[[:alpha:]]+", `\w+`, `\S+`, `[^-]+`, "access-control.*", "x-[ab]", "é", "a,b", "K", "(?s).+", "(date|host)+?",
		"t(e|ransfer-.*)", "^^accept-?.*$$", "(x?$)*", "(x?^)*.*",
	} {
		e, err := parseEntry(text)
		if err != nil || e.unsupported != "" {
			t.Errorf("%q: %v %s", text, err, e.unsupported)
			continue
		}
		for _, name := range names {
			if got, want := got(t, text, e, name), want(t, text, name); got != want {
				t.Errorf("%q (%+v) and header %q: got removed %v, want %v", text, e, name, got, want)
			}
		}
	}
}

func TestRandomExpressions(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var make func(depth int) string
	make = func(depth int) string {
		atoms := []string{"accept", "content-", "type", "date", "x", "-", ".", "[a-e]", "[^a-d]", "", "^", "$", "h", "o", "st"}
		if depth == 0 {
			return atoms[r.IntN(len(atoms))]
		}
		switch r.IntN(6) {
		case 0:
			return "(?:" + make(depth-1) + ")*"
		case 1:
			return "(?:" + make(depth-1) + ")?"
		case 2:
			return "(?:" + make(depth-1) + "|" + make(depth-1) + ")"
		default:
			return make(depth-1) + make(depth-1)
		}
	}
	for range 150 {
		text := make(4)
		e, err := parseEntry(text)
		if err != nil || e.unsupported != "" {
			continue
		}
		for _, name := range names {
			if got, want := got(t, text, e, name), want(t, text, name); got != want {
				t.Fatalf("%q (%+v) and header %q: got removed %v, want %v", text, e, name, got, want)
			}
		}
	}
}

func TestRewrittenExpressionsStaySmall(t *testing.T) {
	t.Parallel()
	for _, text := range []string{".*", "[^:].*", "content-.*", "(a|b|c|d).*", ".{1,100}", "(?:[a-z]+-)*[a-z]+"} {
		e, err := parseEntry(text)
		if err != nil || e.unsupported != "" || len(e.regex) > 40<<10 {
			t.Errorf("%q: %v %s, %d bytes", text, err, e.unsupported, len(e.regex))
		}
	}
}

func TestPlainEntriesAreWhatTheExpressionIs(t *testing.T) {
	t.Parallel()
	for _, text := range append([]string{"x-debug", "X-Debug_1", "kiosk", "K", "s", "content-Type2", "Accept", "DATE", "-", "_", "x-", "e"}, protected...) {
		got, ok := plainEntry(text)
		want, err := parseExpression(text)
		if !ok || err != nil || got != want {
			t.Errorf("%q: plain %+v (%v), as an expression %+v (%v)", text, got, ok, want, err)
		}
	}
	for _, text := range []string{"", ":path", "x.y", "x-.*", "x-ü", "a b", "a,b", `x\-y`, "x\n", "\u212a"} {
		if e, ok := plainEntry(text); ok {
			t.Errorf("%q counts as plain: %+v", text, e)
		}
	}
}
