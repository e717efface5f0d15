package echo_test

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/flexgw/flexgw/reconcile/echo"
	"github.com/flexgw/flexgw/schema/diag"
	"github.com/flexgw/flexgw/schema/ir"
)

func TestEchoesFollowTheList(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	s := echo.New(slog.New(slog.DiscardHandler))
	defer s.Close()
	list := []*ir.Echo{{Origin: ir.Origin{Object: diag.Object{Name: "one"}}, Address: address}}
	if err := s.Set(list); err == nil {
		t.Error("an address that is taken was served")
	}
	l.Close()
	if err := s.Set(list); err != nil {
		t.Fatal(err)
	}
	res, err := http.Post("http://"+address+"/a?b=c", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got struct{ Echo, Method, Target, Body string }
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Echo != "one" || got.Method != "POST" || got.Target != "/a?b=c" || got.Body != "hello" {
		t.Errorf("got %+v", got)
	}
	if err := s.Set(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := http.Get("http://" + address); err == nil {
		t.Error("an echo that nobody wants still answers")
	}
}
