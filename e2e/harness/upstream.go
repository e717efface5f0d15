package harness

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Answering is the port of an upstream that answers 200.
func Answering(t testing.TB) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}
