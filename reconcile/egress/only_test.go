package egress_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/flexgw/flexgw"

// Whoever dials behind egress's back makes its list a lie. The scan looks at what is compiled into the process.
func TestNobodyElseDials(t *testing.T) {
	t.Parallel()
	compiled := strings.Fields(string(list(t, module)))
	out := list(t, "-json=ImportPath,Dir,GoFiles,Module", module, module+"/cli/...", module+"/reconcile/...")
	files, run := 0, map[string]bool{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, Dir string
			GoFiles         []string
			Module          *struct{ Main bool }
		}
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module == nil || !p.Module.Main || p.ImportPath == module+"/reconcile/egress" {
			continue
		}
		if strings.HasSuffix(p.ImportPath, "test") && !slices.Contains(compiled, p.ImportPath) {
			continue // what tests share
		}
		for _, name := range p.GoFiles {
			files++
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, finding := range dials(fset, f) {
				t.Errorf("%s/%s: use reconcile/egress (or a Unix socket)", p.ImportPath, finding)
			}
			if imports(f, "os/exec") {
				who := strings.TrimPrefix(p.ImportPath, module+"/")
				if run[who] = true; runners[who] == "" {
					t.Errorf("%s/%s runs other programs: whom they call is on no list; add it to runners with the reason", p.ImportPath, name)
				}
			}
		}
	}
	if files == 0 {
		t.Error("no file was looked at")
	}
	for who := range runners {
		if !run[who] {
			t.Errorf("%s runs no other programs any more: take it out of runners", who)
		}
	}
}

func list(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	return out
}

// What opens a connection on its own account. An empty set of names means every name.
var forbidden = map[string]map[string]bool{
	"net": {
		"DialTCP": true, "DialUDP": true, "DialIP": true, "DialTimeout": true, "DefaultResolver": true, "Resolver": true,
		"LookupAddr": true, "LookupCNAME": true, "LookupHost": true, "LookupIP": true, "LookupMX": true, "LookupNS": true,
		"LookupPort": true, "LookupSRV": true, "LookupTXT": true, "ResolveIPAddr": true, "ResolveTCPAddr": true, "ResolveUDPAddr": true,
		// From what listens for datagrams, datagrams can be sent; and whoever makes a socket itself can do anything with it.
		"ListenPacket": true, "ListenUDP": true, "ListenMulticastUDP": true, "ListenIP": true, "FileConn": true, "FilePacketConn": true,
	},
	"net/http": {"DefaultClient": true, "DefaultTransport": true, "Get": true, "Head": true, "Post": true, "PostForm": true,
		"ProxyFromEnvironment": true}, // which proxy counts is egress' to say
	"net/rpc": {}, "net/smtp": {}, "net/rpc/jsonrpc": {}, "net/textproto": {"Dial": true}, "log/syslog": {}, "expvar": {}, "net/http/pprof": {},
	"golang.org/x/net/proxy": {}, "golang.org/x/net/websocket": {}, "golang.org/x/crypto/ssh": {"Dial": true},
	"crypto/tls":            {"Dial": true, "DialWithDialer": true, "Dialer": true},
	"syscall":               {"Connect": true, "Sendto": true, "Sendmsg": true, "Socket": true},
	"golang.org/x/sys/unix": {"Connect": true, "Sendto": true, "Sendmsg": true, "Socket": true},
}

// runners are the packages that may run other programs, which call whom they like, and why.
var runners = map[string]string{
	"reconcile/envoy":     "Envoy itself, and pip, which brings one where none is found (not with --strict-egress)",
	"reconcile/sandbox":   "the command itself, behind walls",
	"reconcile/preflight": "what a host has: it asks programs of the host about the host, and kubectl about its cluster, when a person asks for it",
	"cli":                 "runs the programs that preflight asks",
}

func imports(f *ast.File, path string) bool {
	return slices.ContainsFunc(f.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == strconv.Quote(path) })
}

// dials names each place of a file that could open a connection other than to a Unix socket.
func dials(fset *token.FileSet, f *ast.File) (findings []string) {
	packages := map[string]string{} // local name → path
	usesNet := false
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		name := path[strings.LastIndexByte(path, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		packages[name] = path
		usesNet = usesNet || path == "net"
	}
	found := func(n ast.Node, format string, args ...any) {
		p := fset.Position(n.Pos())
		findings = append(findings, fmt.Sprintf("%s:%d: %s", filepath.Base(p.Filename), p.Line, fmt.Sprintf(format, args...)))
	}
	of := func(e ast.Expr) (path, name string) {
		sel, ok := e.(*ast.SelectorExpr)
		if !ok {
			return "", ""
		}
		id, ok := sel.X.(*ast.Ident)
		if !ok {
			return "", sel.Sel.Name
		}
		return packages[id.Name], sel.Sel.Name
	}
	// made is what new(x) or a variable of type x makes with nothing in it.
	made := func(n ast.Node, e ast.Expr) {
		if path, name := of(e); path == "net/http" && (name == "Client" || name == "Transport") {
			found(n, "http.%s with nothing in it", name)
		}
	}
	local := map[ast.Expr]bool{} // mentions of net.Dialer that reach a Unix socket and nothing else
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			if len(n.Values) == 0 {
				made(n, n.Type)
			}
		case *ast.SelectorExpr:
			path, name := of(n)
			if path == "net" && name == "Dialer" && !local[n] {
				found(n, "a net.Dialer other than new(net.Dialer).DialContext(ctx, \"unix\", …)")
			}
			if names, ok := forbidden[path]; ok && (names[name] || len(names) == 0) {
				found(n, "%s.%s", path, name)
			}
		case *ast.CompositeLit:
			switch path, name := of(n.Type); {
			case path == "net/http" && name == "Client" && !hasKey(n, "Transport"):
				found(n, "http.Client without a Transport")
			case path == "net/http" && name == "Transport" && !hasKey(n, "DialContext"):
				found(n, "http.Transport without a DialContext")
			}
		case *ast.CallExpr:
			path, name := of(n.Fun)
			if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "new" && len(n.Args) == 1 {
				made(n, n.Args[0])
			}
			if x, ok := n.Fun.(*ast.SelectorExpr); ok && name == "DialContext" && isUnix(n.Args, 1) {
				if c, ok := x.X.(*ast.CallExpr); ok && len(c.Args) == 1 {
					local[c.Args[0]] = true
				}
			}
			switch {
			case path == "net" && name == "Dial" && !isUnix(n.Args, 0):
				found(n, "net.Dial of something other than \"unix\"")
			case path == "" && name == "DialContext" && usesNet && !isUnix(n.Args, 1):
				found(n, "DialContext of something other than \"unix\"")
			case path == "google.golang.org/grpc" && (name == "NewClient" || name == "Dial" || name == "DialContext"):
				if !strings.HasPrefix(leading(n.Args), "unix:") && !handed(n, of) {
					found(n, "grpc.%s of something other than \"unix:…\", or of \"passthrough:///…\" with grpc.WithContextDialer", name)
				}
			}
		}
		return true
	})
	return findings
}

// handed tells of a gRPC client that is handed its connections: it resolves no name (passthrough), and the last of its options
// that gives it a dialer stands in the call itself. What that dialer does is looked at like everything else.
func handed(call *ast.CallExpr, of func(ast.Expr) (path, name string)) bool {
	if len(call.Args) == 0 || call.Ellipsis.IsValid() || !strings.HasPrefix(leading(call.Args[:1]), "passthrough:///") {
		return false
	}
	dialers := 0
	for _, a := range call.Args[1:] {
		c, ok := a.(*ast.CallExpr)
		if !ok {
			return false // an option that came from elsewhere may be another dialer
		}
		path, name := of(c.Fun)
		if path != "google.golang.org/grpc" {
			return false
		}
		if name == "WithContextDialer" {
			dialers++
		}
		if name == "WithDialer" {
			return false
		}
	}
	return dialers == 1
}

func hasKey(lit *ast.CompositeLit, key string) bool {
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if id, ok := kv.Key.(*ast.Ident); ok && id.Name == key {
				return true
			}
		}
	}
	return false
}

func isUnix(args []ast.Expr, i int) bool {
	return i < len(args) && literal(args[i]) == "unix"
}

// leading is the constant text that a call's first string-like argument starts with.
func leading(args []ast.Expr) string {
	for _, a := range args {
		for {
			b, ok := a.(*ast.BinaryExpr)
			if !ok {
				break
			}
			a = b.X
		}
		if s := literal(a); s != "" {
			return s
		}
	}
	return ""
}

func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(lit.Value)
	return s
}

func TestScanSees(t *testing.T) {
	t.Parallel()
	const elsewhere = `x.go:3: grpc.NewClient of something other than "unix:…", or of "passthrough:///…" with grpc.WithContextDialer`
	const dialer = `x.go:3: a net.Dialer other than new(net.Dialer).DialContext(ctx, "unix", …)`
	for _, c := range []struct {
		imports, body string
		want          []string
	}{
		{`"net"`, `net.Dial("tcp", a)`, []string{`x.go:3: net.Dial of something other than "unix"`}},
		{`"net"`, `net.Dial("unix", a)`, nil},
		{`"net"`, `new(net.Dialer).DialContext(ctx, "tcp", a)`, []string{`x.go:3: DialContext of something other than "unix"`, dialer}},
		{`"net"`, `(&net.Dialer{}).DialContext(ctx, network, a)`, []string{`x.go:3: DialContext of something other than "unix"`, dialer}},
		{`"net"`, `new(net.Dialer).DialContext(ctx, "unix", a)`, nil},
		{`n "net"`, `new(n.Dialer).DialContext(ctx, "tcp", a)`, []string{`x.go:3: DialContext of something other than "unix"`, dialer}},
		{`"net"`, `new(net.Dialer).Dial("tcp", a)`, []string{dialer}},
		{`"net"`, `var d net.Dialer`, []string{dialer}},
		{`"net"`, `_ = x{DialContext: (&net.Dialer{}).DialContext}`, []string{dialer}},
		{`"net"`, `_ = struct{ net.Dialer }{}`, []string{dialer}},
		{`"net"`, `net.ListenUDP("udp", a)`, []string{`x.go:3: net.ListenUDP`}},
		{`"net/http"`, `_ = new(http.Client)`, []string{`x.go:3: http.Client with nothing in it`}},
		{`"net/http"`, `var c http.Client`, []string{`x.go:3: http.Client with nothing in it`}},
		{`"net/http"`, `var t http.Transport`, []string{`x.go:3: http.Transport with nothing in it`}},
		{`"net/http"`, `var c *http.Client`, nil},
		{`"net/http"`, `_ = http.ProxyFromEnvironment`, []string{`x.go:3: net/http.ProxyFromEnvironment`}},
		{`"golang.org/x/sys/unix"`, `unix.Connect(fd, a)`, []string{`x.go:3: golang.org/x/sys/unix.Connect`}},
		{`"log/syslog"`, `syslog.New(1, "x")`, []string{`x.go:3: log/syslog.New`}},
		{`n "net"`, `n.LookupHost(a)`, []string{`x.go:3: net.LookupHost`}},
		{`"net/http"`, `http.Get(a)`, []string{`x.go:3: net/http.Get`}},
		{`"net/http"`, `_ = http.DefaultClient`, []string{`x.go:3: net/http.DefaultClient`}},
		{`"net/http"`, `_ = &http.Client{}`, []string{`x.go:3: http.Client without a Transport`}},
		{`"net/http"`, `_ = &http.Client{Transport: t}`, nil},
		{`"net/http"`, `_ = &http.Transport{}`, []string{`x.go:3: http.Transport without a DialContext`}},
		{`"net/smtp"`, `smtp.Dial(a)`, []string{`x.go:3: net/smtp.Dial`}},
		{`"google.golang.org/grpc"`, `grpc.NewClient("unix://" + a)`, nil},
		{`"google.golang.org/grpc"`, `grpc.NewClient(a)`, []string{elsewhere}},
		{`"google.golang.org/grpc"`, `grpc.NewClient("passthrough:///" + a, grpc.WithContextDialer(d), grpc.WithUserAgent(u))`, nil},
		{`"google.golang.org/grpc"`, `grpc.NewClient("passthrough:///" + a, grpc.WithUserAgent(u))`, []string{elsewhere}},
		{`"google.golang.org/grpc"`, `grpc.NewClient("passthrough:///" + a, grpc.WithContextDialer(d), grpc.WithContextDialer(e))`, []string{elsewhere}},
		{`"google.golang.org/grpc"`, `grpc.NewClient("passthrough:///" + a, grpc.WithContextDialer(d), o)`, []string{elsewhere}},
		{`"google.golang.org/grpc"`, `grpc.NewClient("passthrough:///" + a, grpc.WithContextDialer(d), other(o))`, []string{elsewhere}},
		{`"google.golang.org/grpc"`, `grpc.NewClient("passthrough:///" + a, append(o, grpc.WithContextDialer(d))...)`, []string{elsewhere}},
		{`"google.golang.org/grpc"`, `grpc.NewClient("dns:///" + a, grpc.WithContextDialer(d))`, []string{elsewhere}},
		{`"google.golang.org/grpc"`, `grpc.NewClient(a, grpc.WithContextDialer(d))`, []string{elsewhere}},
		{`("google.golang.org/grpc"; "net")`, `grpc.NewClient("passthrough:///" + a, grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) { return net.Dial("tcp", a) }))`, []string{`x.go:3: net.Dial of something other than "unix"`}},
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "x.go", "package x; import "+c.imports+"\nfunc f() {\n"+c.body+"\n}", parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, dials(fset, f)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.body, diff)
		}
	}
}
