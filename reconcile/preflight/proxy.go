package preflight

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/flexgw/flexgw/schema/ir"
)

// Socks is a SOCKS5 proxy (RFC 1928), with a user and a password (RFC 1929) or none. However it is printed, they are not.
type Socks struct {
	addr     string // host:port
	user     string
	password ir.Secret
}

// ParseSocks reads socks5://[USER:PASSWORD@]HOST[:PORT]. Its errors never have the text, which may hold a password.
func ParseSocks(text string) (*Socks, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("not a URL: socks5://HOST:PORT is expected")
	case u.Scheme != "socks5" && u.Scheme != "socks5h":
		return nil, fmt.Errorf("the protocol %q: socks5:// is expected", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("no host in it: socks5://HOST:PORT is expected")
	}
	port := u.Port()
	if port == "" {
		port = "1080"
	}
	password, _ := u.User.Password()
	return (&Socks{addr: net.JoinHostPort(u.Hostname(), port)}).WithCredentials(u.User.Username(), password)
}

// WithCredentials are sent to the proxy if it asks for them.
func (s *Socks) WithCredentials(user, password string) (*Socks, error) {
	if len(user) > 255 || len(password) > 255 {
		return nil, errors.New("a user or a password of more than 255 bytes: SOCKS5 cannot say it (RFC 1929)")
	}
	return &Socks{addr: s.addr, user: user, password: ir.NewSecret(password)}, nil
}

// Addr is the proxy's host:port.
func (s *Socks) Addr() string { return s.addr }

// String is the proxy without its credentials.
func (s *Socks) String() string {
	if s.user != "" {
		return "socks5://[redacted]@" + s.addr
	}
	return "socks5://" + s.addr
}

// Format keeps every verb from the fields.
func (s *Socks) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// socksError says why a SOCKS5 proxy made no connection.
type socksError struct {
	proxy, text        string
	credentials, rules bool // it wants other credentials; its rules forbid it
}

func (e *socksError) Error() string { return "proxy " + e.proxy + " " + e.text }

// replies are the words of RFC 1928, 6.
var replies = map[byte]string{
	1: "failed in general", 2: "does not allow it (its rules)", 3: "cannot reach the network", 4: "cannot reach the host", 5: "was refused by the host",
	6: "got no answer in time", 7: "does not know the command", 8: "does not know the kind of address",
}

// connect has the proxy connect to addr, whose name is not looked up here.
func (s *Socks) connect(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error), addr string) (net.Conn, error) {
	conn, err := dial(ctx, "tcp", s.addr)
	if err != nil {
		return nil, &socksError{proxy: s.addr, text: "cannot be reached: " + dialError(err)}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // wakes who waits below
	err = s.ask(conn, addr)
	if !stop() && err == nil {
		err = &socksError{proxy: s.addr, text: "did not answer in time"}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (s *Socks) ask(conn net.Conn, addr string) error {
	fail := func(format string, args ...any) error {
		return &socksError{proxy: s.addr, text: fmt.Sprintf(format, args...)}
	}
	greeting := []byte{5, 1, 0}
	if s.user != "" {
		greeting = []byte{5, 2, 0, 2}
	}
	if _, err := conn.Write(greeting); err != nil {
		return fail("ended the connection: %v", err)
	}
	answer := make([]byte, 2)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fail("ended the connection before it said how to log in: %v", err)
	}
	switch {
	case answer[0] != 5:
		return fail("speaks no SOCKS5")
	case answer[1] == 2 && s.user != "":
		if err := s.login(conn); err != nil {
			return err
		}
	case answer[1] != 0:
		if s.user == "" {
			return &socksError{proxy: s.addr, text: "wants credentials, and none are configured", credentials: true}
		}
		return &socksError{proxy: s.addr, text: "takes no user and password", credentials: true}
	}
	host, port, _ := net.SplitHostPort(addr)
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || len(host) > 255 {
		return fail("cannot be asked for %s", addr)
	}
	request := append([]byte{5, 1, 0, 3, byte(len(host))}, host...)
	if _, err := conn.Write(append(request, byte(n>>8), byte(n))); err != nil {
		return fail("ended the connection: %v", err)
	}
	return s.reply(conn, addr)
}

// login is RFC 1929.
func (s *Socks) login(conn net.Conn) error {
	password := s.password.Reveal()
	b := append([]byte{1, byte(len(s.user))}, s.user...)
	b = append(append(b, byte(len(password))), password...)
	answer := make([]byte, 2)
	_, err := conn.Write(b)
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil || answer[1] != 0 {
		return &socksError{proxy: s.addr, text: "does not take the credentials that are configured for it", credentials: true}
	}
	return nil
}

func (s *Socks) reply(conn net.Conn, addr string) error {
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		return &socksError{proxy: s.addr, text: fmt.Sprintf("did not answer to %s: %v", addr, err)}
	}
	if head[1] != 0 {
		words := replies[head[1]]
		if words == "" {
			words = fmt.Sprintf("answered %d", head[1])
		}
		return &socksError{proxy: s.addr, text: words + ": " + addr, rules: head[1] == 2}
	}
	rest := map[byte]int{1: 4 - 1, 3: int(head[4]), 4: 16 - 1}[head[3]] + 2 // the address that it is bound to, and a port
	_, err := io.ReadFull(conn, make([]byte, rest))
	if err != nil {
		return &socksError{proxy: s.addr, text: "ended its answer early"}
	}
	return nil
}

// proxySettings tells what a forward proxy is for, row by row, and where it has to be written down.
func (r *run) proxySettings() {
	for _, x := range table("proxy") {
		res := Result{x["id"], Info, "forward proxy", x["expected"], "", "[D] forward proxy", ""}
		declared := r.Forward.Addr()
		switch x["id"] {
		case "proxy.scope":
			res.Observed = "no proxy"
			if r.proxied() {
				res.Observed = "nothing declared goes past the proxy"
			}
			if len(r.Direct) > 0 && (r.proxied() || declared != "") {
				res.Severity, res.Observed, res.Hint = Warn, "declared, and not through the proxy: "+strings.Join(r.Direct, ", "), "open the firewall for them: the proxy does not carry them"
			}
		case "proxy.configuration":
			switch {
			case declared != "" && r.Proxy != nil && declared != r.Proxy.Addr():
				res.Severity, res.Observed, res.Hint = Warn, "usage goes through "+declared+", and registration through "+r.Proxy.Addr(), "if that is not meant, name the same proxy in both places"
			case declared != "":
				res.Severity, res.Observed = OK, "usage goes through "+declared
			case r.Proxy != nil:
				res.Severity, res.Observed, res.Hint = Warn, "none declared: usage goes directly, and registration through "+r.Proxy.Addr(), "if usage is to go through it too, declare a Configuration with spec.forwardProxy (or, without one, use --proxy-from-env)"
			default:
				res.Observed = "none declared"
			}
		case "proxy.registration":
			res.Observed = "no proxy"
			if r.Proxy != nil {
				res.Severity, res.Observed, res.Hint = OK, r.Proxy.String(), "give register the same --https-proxy"
			} else if declared != "" {
				res.Severity, res.Observed, res.Hint = Warn, "usage goes through "+declared+"; registering does not read declarations", "give register, and this preflight, --https-proxy"
			}
		}
		r.add(res)
	}
	if v := r.env("HTTPS_PROXY") + r.env("https_proxy"); v != "" && r.Proxy == nil && r.Forward.IsZero() {
		r.add(Result{"proxy.environment", Info, "$HTTPS_PROXY", "proxies are named by flags", "set, and not followed", "ours", "name it with --https-proxy if hosts are to be reached through it"})
	}
	if r.Socks != nil {
		res := Result{"proxy.socks5", Info, r.Socks.String(), "what is not HTTP(S) goes through it: Monitoring of Runtime Fabric", "", "[D] S-RTF, requirements; ours: flexgw calls nobody through SOCKS5", ""}
		for _, t := range r.targets() {
			if _, socks := r.carrier(t); socks {
				res.Observed = "carries " + t.addr
			}
		}
		if res.Observed == "" {
			res.Severity, res.Observed = Warn, "carries nothing of profile "+r.Profile+": registration and usage do not go through SOCKS5"
			res.Hint = "name an HTTP proxy with --https-proxy, and declare it (spec.forwardProxy) for usage; SOCKS5 is for --profile " + Fabric
		}
		r.add(res)
	}
	if r.PasswordShown {
		r.add(Result{"proxy.credentials", Warn, "command line", "secrets in files", "a password of a proxy stands in the arguments, which everybody on this host can list", "ours", "put it in a file: --proxy-password-file"})
	}
}

func (r *run) proxied() bool { return r.Proxy != nil || r.Socks != nil || !r.Forward.IsZero() }

// proxyReach sees whether the proxies themselves can be reached: without them nothing else can.
func (r *run) proxyReach() {
	reach := func(subject, addr string) {
		res := Result{"proxy.reach", OK, subject, "the proxy takes connections", "", "ours", ""}
		if r.NoNetwork {
			res.Severity, res.Observed = Skipped, "not probed: --no-network"
			r.add(res)
			return
		}
		ctx, cancel := context.WithTimeout(r.ctx, dialLimit)
		defer cancel()
		conn, err := r.Dial(ctx, "tcp", addr)
		if err != nil {
			res.Severity, res.Observed, res.Hint = Error, dialError(err), "see that the proxy runs at "+addr+" and that this host may reach it"
		} else {
			res.Observed = "connected to " + conn.RemoteAddr().String()
			conn.Close()
		}
		r.add(res)
	}
	if r.Proxy != nil {
		reach(r.Proxy.String(), r.Proxy.Addr())
	}
	if f := r.Forward; !f.IsZero() && (r.Proxy == nil || r.Proxy.String() != f.String()) {
		reach(f.String(), f.Addr())
	}
	if r.Socks != nil {
		reach(r.Socks.String(), r.Socks.Addr())
	}
}
