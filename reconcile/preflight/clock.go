package preflight

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kernel is what the kernel says of its clock (adjtimex(2)).
type Kernel struct {
	Synchronised bool          // a time service says so
	MaxError     time.Duration // that the service thinks possible
}

// skew is how far off the clock may be (table 4.6). No HTTP request is sent, so no Date header is there to compare with; what is:
// the kernel's word on the service that keeps the clock, the hardware clock, and the times in certificates (see network.go).
const skew = 5 * time.Minute

// built is a day on which this table was true: a clock before it is wrong.
var built = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (r *run) clock() {
	expected := ""
	for _, x := range table("files") {
		if x["check"] == "clock.synchronised" {
			expected = x["expected"]
		}
	}
	now := r.Now()
	res := Result{"clock.plausible", OK, "clock", "a time after " + built.Format(time.DateOnly), now.UTC().Format(time.RFC3339), "ours", ""}
	if now.Before(built) {
		res.Severity, res.Hint = Error, "set the clock: every certificate would be refused"
	}
	r.add(res)
	if r.OS != "linux" {
		r.add(Result{"clock.synchronised", Skipped, "time service", expected, "not looked at on " + r.OS, "ours, files and permissions", ""})
		return
	}
	service := ""
	for _, p := range r.procs {
		if slices.Contains([]string{"chronyd", "ntpd", "systemd-timesyn", "openntpd", "ptp4l"}, p.name) {
			service = p.String()
			break
		}
	}
	res = Result{"clock.synchronised", OK, "time service", expected, "", "ours, files and permissions; kernel: adjtimex(2)", ""}
	kernel, known := Kernel{}, false
	if r.Kernel != nil {
		kernel, known = r.Kernel()
	}
	switch {
	case known && kernel.Synchronised && kernel.MaxError <= skew:
		res.Observed = fmt.Sprintf("synchronised, at most %s off by the kernel's reckoning", kernel.MaxError.Round(time.Microsecond))
	case known && kernel.Synchronised:
		res.Severity, res.Observed, res.Hint = Warn, fmt.Sprintf("synchronised, and perhaps %s off", kernel.MaxError.Round(time.Second)), "see what the time service says: chronyc tracking, or timedatectl"
	case service != "":
		res.Severity, res.Observed, res.Hint = Warn, service+" runs, and has not set the clock", "see whether it reaches its servers (123/udp): chronyc tracking, or timedatectl timesync-status"
	case r.exists("/run/systemd/timesync/synchronized"):
		res.Observed = "systemd-timesyncd has set the clock"
	default:
		res.Severity, res.Observed, res.Hint = Warn, "no time service, and the kernel knows of none", "install one (chrony, systemd-timesyncd); in a container its host keeps the clock"
	}
	r.add(res)
	if text := r.line("/sys/class/rtc/rtc0/since_epoch"); text != "" {
		seconds, _ := strconv.ParseInt(text, 10, 64) // the kernel wrote it
		off := now.Sub(time.Unix(seconds, 0)).Abs().Round(time.Second)
		res := Result{"clock.hardware", OK, "hardware clock", "within " + shortDuration(skew), off.String() + " apart", "ours", ""}
		if off > skew {
			res.Severity, res.Hint = Info, "a hardware clock in local time is that far apart; else one of the two is wrong"
		}
		r.add(res)
	}
}

// shortDuration is 5m for 5m0s.
func shortDuration(d time.Duration) string {
	return strings.TrimSuffix(strings.TrimSuffix(d.String(), "0s"), "h0m")
}

// stamp is a time that a TLS server showed.
type stamp struct {
	host             string
	from, until      time.Time // of the certificate
	answered, expiry time.Time // of a stapled OCSP response; zero: none
}

// stamps judges the clock by what servers showed: a certificate is valid now, and an answer about it is not from the future.
func (r *run) stamps(list []stamp) {
	expected := "this clock between the times that servers show"
	if len(list) == 0 {
		r.add(Result{"clock.certificates", Skipped, "clock", expected, "no server was asked", "ours: certificates and stapled OCSP answers", ""})
		return
	}
	now := r.Now()
	for _, s := range list {
		res := Result{"clock.certificates", OK, s.host, expected, "", "ours: certificates and stapled OCSP answers; no HTTP request is sent, so no Date header is compared", ""}
		from, until, of := s.from, s.until, "the certificate is"
		if !s.answered.IsZero() {
			from, until, of = s.answered.Add(-skew), s.expiry.Add(skew), "the answer about the certificate is"
			if s.expiry.IsZero() {
				until = s.until
			}
		}
		res.Observed = fmt.Sprintf("%s; %s from %s to %s", now.UTC().Format(time.RFC3339), of, from.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339))
		switch {
		case now.Before(from):
			res.Severity, res.Hint = Error, "this clock is behind: set it (chronyc makestep, or timedatectl set-ntp true)"
		case now.After(until):
			res.Severity, res.Hint = Error, "this clock is ahead, or the server shows an old certificate: compare with another clock"
		}
		r.add(res)
	}
}
