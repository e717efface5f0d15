package diag_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/schema/diag"
)

// TestSnippetsHideSecrets prints every line of texts that hold a secret, whole and broken, underlined at each of its columns.
func TestSnippetsHideSecrets(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"block":             "config:\n  username: a\n  password: hunter2\n",
		"flow":              "config: {usrname: a, password: hunter2}\n",
		"flow, comma":       "config: {password: \"x, y: hunter2\", usrname: a}\n",
		"flow, broken":      "config: {password: \"x\" hunter2}\n",
		"flow, comment":     "config: {usrname: a, password: hunter2} # hunter\n",
		"flow, no comment":  "config: {usrname: a, password: x} #hunter2\n",
		"flow, not closed":  "a: {config: {usrname: a, password: x} # hunter2}\n",
		"flow, sign":        "config: {password: \"x} # hunter2\"}\n",
		"list":              "password: [hunter2]\n",
		"list below":        "password:\n- hunter2\n- b\n",
		"list further in":   "a:\n  - password:\n      - hunter2\n",
		"mapping below":     "password:\n  a: hunter2\n",
		"block scalar":      "a:\n  password: |\n\n    first\n    hunter2\n",
		"folded":            "a:\n  password: first\n    hunter2\n",
		"no space":          "password:hunter2\n",
		"assignment":        "PASSWORD=hunter2\n",
		"misspelt":          "a: {pasword: hunter2}\n",
		"snake":             "http_passwd: hunter2\n",
		"kebab":             "client-secret: hunter2\n",
		"camel":             "clientSecret: hunter2\n",
		"whole header":      "authorizationValue: Basic id:hunter2\n",
		"api key":           "apiKey: hunter2\n",
		"certificate":       "certificate:\n  key: hunter2\n  crt: b\n",
		"certificate, flow": "certificate: {crt: b, key: hunter2}\n",
		"JSON":              `{"a": {"password": "hunter2"}, "b": 1}` + "\n",
		"JSON, list":        "{\n \"password\": [\n  \"hunter2\"\n ]\n}\n",
		"JSON, unclosed":    "{\"password\": \"hunter2\n}\n",
		"CUE":               "auth: password: \"hunter2\"\n",
		"CUE, text":         "auth: password: \"\"\"\n\thunter2\n\t\"\"\"\n",
		"PEM, block":        "a: |\n  -----BEGIN RSA PRIVATE KEY-----\n  hunter2\n  -----END RSA PRIVATE KEY-----\n",
		"PEM, unindented":   "a: |\n-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
		"PEM, one line":     `a: "-----BEGIN PRIVATE KEY-----\nhunter2"` + "\n",
		"PEM, base64":       "a: LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0thunter2\n",
		"registration":      "spec:\n    tls.key: hunter2\n",
		"user":              "address: http://u:hunter2@host:1\n",
		"user, a blank":     "address: http://u:hunter2 x@host:1\n",
		"user, a slash":     "jwksUrl: \"http://u:hunter2/ x@host:1\"\n",
		"user, no protocol": "{\"uri\": \"u:hunter2@host:1\"}\n",
		"bearer":            "value: Bearer hunter2\n",
		"tab, wide":         "\tä: {é: ü, password: ähunter2ä, x: y}\n",
		"last line":         "password: hunter2",
		"windows":           "config:\r\n  password: hunter2\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := diag.Printer{Sources: func(string) ([]byte, error) { return []byte(text), nil }}
			for l, line := range strings.Split(text, "\n") {
				for c := range len([]rune(line)) + 2 {
					var b bytes.Buffer
					d := diag.Diagnostic{Severity: diag.Error, Code: "a/b", Summary: "wrong", Subject: spot("f", l+1, c+1, l+1, c+2)}
					if err := p.Print(&b, diag.List{d}); err != nil {
						t.Fatal(err)
					}
					if strings.Contains(b.String(), "hunter2") {
						t.Fatalf("shown:\n%s", b.String())
					}
				}
			}
			if at := strings.Index(text, "hunter2"); !diag.SecretAt([]byte(text), at) {
				t.Errorf("SecretAt does not know")
			}
		})
	}
}

func TestSnippetsShowTheRest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text     string
		from, to int
		want     string
	}{
		{"{usrname: a, password: hunter2}", 2, 9, "  1 | {usrname: a, password: [redacted]}\n    |  ^^^^^^^\n"},
		{"{password: hunter2, usrname: a}", 21, 28, "  1 | {password: [redacted], usrname: a}\n    |                        ^^^^^^^\n"},
		{"password: hunter2", 11, 18, "  1 | password: [redacted]\n    |           ^^^^^^^^^^\n"},
		{"password: [hunter2]", 12, 14, "  1 | password: [redacted]\n    |           ^^^^^^^^^^\n"},
		{"password: $PASSWORD", 11, 20, "  1 | password: $PASSWORD\n    |           ^^^^^^^^^\n"},
		{"password:", 1, 9, "  1 | password:\n    | ^^^^^^^^\n"},
		{"password: |", 1, 9, "  1 | password: |\n    | ^^^^^^^^\n"},
		{"- {key: x, value: y}", 4, 7, "  1 | - {key: x, value: y}\n    |    ^^^\n"},
		{"- key: x", 3, 6, "  1 | - key: x\n    |   ^^^\n"},
		{"tokenUrl: http://a/b", 1, 9, "  1 | tokenUrl: http://a/b\n    | ^^^^^^^^\n"},
		{"secret {x", 1, 7, "  1 | secret {x\n    | ^^^^^^\n"},
		{"crt: abc", 1, 4, "  1 | crt: abc\n    | ^^^\n"},
	} {
		var b bytes.Buffer
		p := diag.Printer{Sources: func(string) ([]byte, error) { return []byte(c.text), nil }}
		if err := p.Print(&b, diag.List{{Severity: diag.Error, Code: "a/b", Summary: "wrong", Subject: spot("f", 1, c.from, 1, c.to)}}); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimPrefix(b.String(), "f:1:"); !strings.HasSuffix(got, c.want) {
			t.Errorf("got\n%swant\n%s", got, c.want)
		}
	}
}

// TestSnippetsShowComments: a comment behind a mapping that ends on its line is none of its secret.
func TestSnippetsShowComments(t *testing.T) {
	t.Parallel()
	const text = "config: {usrname: a, password: hunter2}  # flexgw:ignore shape/unknown-field until 2027-01-01\n"
	p := diag.Printer{Sources: func(string) ([]byte, error) { return []byte(text), nil }}
	var b bytes.Buffer
	if err := p.Print(&b, diag.List{{Severity: diag.Error, Code: "a/b", Summary: "wrong", Subject: spot("f", 1, 10, 1, 17)}}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "password: [redacted]}  # flexgw:ignore shape/unknown-field until 2027-01-01") {
		t.Fatalf("got:\n%s", got)
	}
}
