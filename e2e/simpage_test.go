package e2e

import (
	"fmt"
	"image/color"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim"
	"github.com/flexgw/flexgw/reconcile/anypoint/sim/simtest"
)

// luminance is that of WCAG 2, 0 for black and 1 for white.
func luminance(r, g, b float64) float64 {
	part := func(v float64) float64 {
		if v /= 255; v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*part(r) + 0.7152*part(g) + 0.0722*part(b)
}

// TestStatePageOfTheSimulator: a real browser shows what happened; what others wrote is text in it; it asks nobody for anything else,
// runs nothing, is readable in the dark and in the light, and fits a narrow screen.
func TestStatePageOfTheSimulator(t *testing.T) {
	t.Parallel()
	b := harness.NewBrowser(t)
	const hostile = `<img src=x onerror="document.title='owned'"><script>alert(1)</script>`
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	s := simtest.Start(t, sim.Options{Clock: &noon})
	wide := harness.View{Width: 1280, Height: 900}

	// Nothing has happened yet.
	p := b.Open(s.URL()+"/_sim", wide)
	if text := p.Text("body"); !strings.Contains(text, "Nothing unexpected was called.") || !strings.Contains(text, "None was reported.") || !strings.Contains(text, "None is set.") || !strings.Contains(text, "not affiliated") {
		t.Errorf("an empty page: %s", text)
	}

	const org = "00000000-0000-4000-8000-000000000001"
	g := s.Register(org, "orders-edge")
	evil := s.Register(org, hostile)
	if a := g.Send(g.Batch(simtest.UUID(1), 1, 1, noon, "default/shop", 41_999, "default/orders", 7)); a.Status != http.StatusAccepted {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if a := evil.Send(evil.Batch(simtest.UUID(2), 1, 1, noon, "default/<b>bold<b>", 3)); a.Status != http.StatusAccepted {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	s.Call(http.MethodGet, "/agent", nil)
	s.Call(http.MethodGet, "/%3Cimg%20src=x%20onerror=alert(2)%3E/a-path-that-is-longer-than-a-narrow-screen-is-wide/"+strings.Repeat("x", 120), nil)
	s.Call(http.MethodPost, "/_sim/faults", `[{"next": 3, "status": "cut-after", "path": "/accounts/<i>x"}, {"next": 2, "status": 503, "listener": "ingest"}]`)

	section := func(p *harness.Page, id string) string {
		var text string
		p.Eval(fmt.Sprintf(`(() => { let out = ""; for (let e = document.getElementById(%q).nextElementSibling; e && e.tagName != "H2"; e = e.nextElementSibling) { for (const d of e.querySelectorAll("details")) d.open = true; if (e.tagName == "DETAILS") e.open = true; out += e.innerText + "\n" } return out })()`, id), &text)
		return text
	}
	for _, v := range []harness.View{wide, {Width: 1280, Height: 900, Dark: true}, {Width: 320, Height: 640}, {Width: 320, Height: 640, Dark: true}} {
		name := fmt.Sprintf("%d wide, dark %v", v.Width, v.Dark)
		p := b.Open(s.URL()+"/_sim", v)
		for id, wanted := range map[string][]string{
			"registrations": {"orders-edge", "CONNECTED", g.AgentID, hostile, org, simtest.UUID(1), "acknowledged to 1"},
			"usage":         {"default/shop\t41999", "default/orders\t7", "default/<b>bold<b>\t3", "2026-05-01 12:00"},
			"faults":        {"3\tcut-after\t/accounts/<i>x\tboth", "2\t503\tany\tingest"},
			"unexpected":    {"GET /agent", "tripwire", "<img src=x onerror=alert(2)>"},
			"calls":         {"POST /ingestion/api/v1/metering\t202\t2", "POST /amc/registration-facade/api/v1/registrations\t201\t2"},
		} {
			text := section(p, id)
			for _, w := range wanted {
				if !strings.Contains(text, w) {
					t.Errorf("%s: %s does not show %q:\n%s", name, id, w, text)
				}
			}
		}
		if text := p.Text("body"); !strings.Contains(text, "Unexpected calls: 2") {
			t.Errorf("%s: the head does not say how many calls were unexpected:\n%s", name, text)
		}
		var made struct{ Images, Scripts, Bold, Links int }
		p.Eval(`({Images: document.images.length, Scripts: document.scripts.length, Bold: document.querySelectorAll("b, i").length, Links: document.querySelectorAll("link:not([href^='data:']), iframe, object, embed").length})`, &made)
		if made.Images+made.Scripts+made.Bold+made.Links != 0 {
			t.Errorf("%s: what others wrote became elements: %+v", name, made)
		}
		var title string
		if p.Eval("document.title", &title); title != "flexgw sim" {
			t.Errorf("%s: the title is %q", name, title)
		}
		for _, url := range p.Requested() {
			if url != s.URL()+"/_sim" && !strings.HasPrefix(url, "data:") {
				t.Errorf("%s: it asked for %s", name, url)
			}
		}
		if len(p.Requested()) == 0 {
			t.Errorf("%s: no request was seen, not even the page's own", name)
		}
		if c := p.Complaints(); len(c) > 0 {
			t.Errorf("%s: the console says %q", name, c)
		}
		var width int
		if p.Eval("document.documentElement.scrollWidth", &width); width > v.Width {
			t.Errorf("%s: the page is %d wide", name, width)
		}
		readable(t, name, p, v.Dark)
	}
}

// readable holds the colours of text against what is behind it: WCAG 2 asks for a contrast of 4.5.
func readable(t *testing.T, name string, p *harness.Page, dark bool) {
	t.Helper()
	picture := p.Picture()
	c, _ := color.RGBAModel.Convert(picture.At(picture.Bounds().Dx()-2, 2)).(color.RGBA)
	back := luminance(float64(c.R), float64(c.G), float64(c.B))
	if dark != (back < 0.2) || !dark && back < 0.8 {
		t.Errorf("%s: what is behind the text has the luminance %.2f", name, back)
	}
	var colours map[string][]float64
	p.Eval(`(() => { const out = {}; for (const s of ["body", "h1", "td", "td.code", ".bad", ".good"]) { const e = document.querySelector(s); out[s] = getComputedStyle(e).color.match(/[\d.]+/g).slice(0, 3).map(Number) } return out })()`, &colours)
	for selector, rgb := range colours {
		text := luminance(rgb[0], rgb[1], rgb[2])
		if contrast := (max(text, back) + 0.05) / (min(text, back) + 0.05); contrast < 4.5 {
			t.Errorf("%s: %s has a contrast of %.1f", name, selector, contrast)
		}
	}
}
