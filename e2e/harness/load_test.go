package harness

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// Who ends a connection is told apart: a server that says so, one that does not, and the client itself.
func TestLoadSeesWhoEndsAConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		serve func(w http.ResponseWriter)
		ends  bool
	}{
		"nobody": {func(http.ResponseWriter) {}, false},
		"said":   {func(w http.ResponseWriter) { w.Header().Set("Connection", "close") }, true},
		"unsaid": {func(w http.ResponseWriter) {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			fmt.Fprint(rw, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			rw.Flush()
			c.Close()
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); c.serve(w) }))
			defer s.Close()
			l := KeepAlive(t, 2, s.URL)
			Until(t, func() error {
				if asked.Load() < 50 {
					return fmt.Errorf("%d requests", asked.Load())
				}
				return nil
			})
			l.Stop()
			if n := l.Ended.Load(); n > 0 != c.ends {
				t.Errorf("%d connections were ended by the server", n)
			}
		})
	}
}
