package watch

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// GitURL is where a repository is. It holds no credentials.
type GitURL struct {
	Scheme string // file, http, https or ssh
	User   string // of ssh; "": not said
	Host   string // with its port, always; "" of file
	Path   string // absolute, but of ssh, where ~ and relative paths are the server's to read
	text   string // as it was given
}

// String is the URL as it was given.
func (u GitURL) String() string { return u.text }

// scp is what ssh(1) and git take without a scheme: [user@]host:path.
var scp = regexp.MustCompile(`^(?:([^/@:\s]+)@)?(\[[0-9A-Fa-f:.]+\]|[^/@:\s\[\]]+):([^\s]+)$`)

// IsGitURL reports whether a source is a repository somewhere rather than a path here.
func IsGitURL(s string) bool { return strings.Contains(s, "://") || scp.MatchString(s) }

// ParseGitURL reads file:///path, http(s)://host/path, ssh://user@host/path and user@host:path. Credentials in it are refused, without
// saying them again.
func ParseGitURL(s string) (GitURL, error) {
	if !strings.Contains(s, "://") {
		m := scp.FindStringSubmatch(s)
		if m == nil {
			return GitURL{}, errors.New("expected file://, https://, ssh:// or user@host:path")
		}
		if strings.HasPrefix(m[2], "-") || strings.HasPrefix(m[3], "-") {
			return GitURL{}, errors.New("a host and a path do not begin with -")
		}
		return GitURL{Scheme: "ssh", User: m[1], Host: net.JoinHostPort(strings.Trim(m[2], "[]"), "22"), Path: m[3], text: s}, nil
	}
	u, err := url.Parse(s)
	if err != nil {
		return GitURL{}, errors.New("it is no URL") // err has all of it, and it may hold a password
	}
	if _, ok := u.User.Password(); ok || u.User != nil && u.Scheme != "ssh" {
		return GitURL{}, errors.New("a URL with credentials in it would be in the list of processes and in the log; use --git-username with --git-password-file or --git-token-file, $FLEXGW_GIT_TOKEN, or systemd's credentials")
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return GitURL{}, errors.New("what follows ? or # is no part of a repository's URL; --ref names a branch, and --path a folder")
	}
	g := GitURL{Scheme: strings.ToLower(u.Scheme), User: u.User.Username(), Path: strings.TrimSuffix(u.Path, "/"), text: s}
	ports := map[string]string{"http": "80", "https": "443", "ssh": "22"}
	switch port, ok := ports[g.Scheme]; {
	case g.Scheme == "file":
		if u.Host != "" && u.Host != "localhost" {
			return g, fmt.Errorf("a file URL has three slashes: file:///%s%s", u.Host, u.Path)
		}
		if g.Path = filepath.Clean(u.Path); u.Path == "" {
			return g, errors.New("it names no folder: file:///path/to/repository")
		}
		return g, nil
	case !ok:
		return g, fmt.Errorf("the scheme %q is not known: expected file, https, http or ssh", u.Scheme)
	case u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-"):
		return g, errors.New("it names no host")
	case g.Path == "" || strings.HasPrefix(strings.TrimPrefix(g.Path, "/"), "-"):
		return g, errors.New("it names no repository")
	default:
		if u.Port() != "" {
			port = u.Port()
		}
		g.Host = net.JoinHostPort(u.Hostname(), port)
	}
	if g.Scheme == "ssh" && strings.HasPrefix(g.Path, "/~") {
		g.Path = strings.TrimPrefix(g.Path, "/") // ssh://host/~user/path
	}
	return g, nil
}

// base is the URL of HTTP, without a slash at its end.
func (u GitURL) base() string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// ID tells repositories apart: two spellings of one URL have the same.
func (u GitURL) ID() string {
	host := strings.ToLower(u.Host)
	for _, standard := range []string{"http:80", "https:443", "ssh:22"} {
		if scheme, port, _ := strings.Cut(standard, ":"); scheme == u.Scheme {
			host = strings.TrimSuffix(host, ":"+port)
		}
	}
	p := u.Path
	if u.Scheme != "file" {
		p = strings.TrimSuffix(path.Clean("/"+p), ".git")
	}
	user := ""
	if u.User != "" {
		user = u.User + "@"
	}
	return u.Scheme + "://" + user + host + p
}
