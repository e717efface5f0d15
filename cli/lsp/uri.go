package lsp

import (
	"net/url"
	"path"
	"runtime"
	"strings"
)

// nameOf is the absolute name, with slashes, of the file that a URI means; false: it means none.
func nameOf(uri string) (string, bool) { return nameIn(uri, runtime.GOOS == "windows") }

func nameIn(uri string, windows bool) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil || !strings.EqualFold(u.Scheme, "file") {
		return "", false
	}
	name := u.Path
	if name == "" || strings.Contains(name, "\x00") {
		return "", false
	}
	if windows {
		name = strings.ReplaceAll(name, `\`, "/")
		if drive := strings.TrimPrefix(name, "/"); len(drive) >= 2 && drive[1] == ':' {
			name = strings.ToUpper(drive[:1]) + drive[1:]
		}
	}
	if u.Host != "" && !strings.EqualFold(u.Host, "localhost") {
		return "//" + u.Host + path.Clean("/"+name), true
	}
	return path.Clean(name), true
}

// uriOf is the URI of a file.
func uriOf(name string) string {
	u := url.URL{Scheme: "file", Path: name}
	if host, rest, ok := strings.Cut(strings.TrimPrefix(name, "//"), "/"); ok && strings.HasPrefix(name, "//") {
		u.Host, u.Path = host, "/"+rest
	} else if !strings.HasPrefix(name, "/") {
		u.Path = "/" + name
	}
	return u.String()
}

// inside is the name of a file relative to a folder; false: it is not in there.
func inside(dir, name string) (string, bool) {
	if dir == name {
		return ".", true
	}
	return strings.CutPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}
