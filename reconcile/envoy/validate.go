package envoy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/flexgw/flexgw/reconcile/sandbox"
)

// Candidate is a configuration that Envoy is asked about.
type Candidate struct {
	Name string // of a file: .json, .yaml, or .pb for the binary form
	Data []byte
	// How many static clusters and listeners there are, in the binary form: what Envoy cannot read in it counts as an empty
	// configuration, and that is a good one.
	Clusters, Listeners int
}

// RefusedError is Envoy's word on a configuration.
type RefusedError struct{ Message string }

func (e *RefusedError) Error() string { return "envoy refuses the configuration: " + e.Message }

// FailedError says that Envoy came to no verdict: the configuration may be right or wrong.
type FailedError struct {
	How     string // "ended with status 139", "segmentation fault", "did not answer within 1m0s"
	Said    string // its last words; "" when there are none
	Limited bool   // it was ended at the limit
}

func (e *FailedError) Error() string {
	if e.Said == "" {
		return "envoy came to no verdict: " + e.How
	}
	return fmt.Sprintf("envoy came to no verdict: %s; its last words: %s", e.How, e.Said)
}

// Validate has Envoy judge a configuration (--mode validate) in a sandbox: without a network, a name look-up or a write outside
// of a temporary folder, all three of which it would do. nil is a yes, a *RefusedError a no. Everything else is about Envoy
// and the host, and says nothing of the configuration: a *FailedError, a *sandbox.UnavailableError, or what kept the program from
// being started. A zero limit is a minute.
func Validate(ctx context.Context, binary string, c Candidate, limit time.Duration) error {
	dir, err := os.MkdirTemp("", "flexgw-validate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, c.Name)
	if err := os.WriteFile(path, c.Data, 0o600); err != nil {
		return err
	}
	r, err := sandbox.Run(ctx, sandbox.Command{Path: binary, Dir: dir, Limit: limit, Args: []string{
		"--mode", "validate", "--config-path", path, "--disable-hot-restart", "--concurrency", "1",
		"--log-level", "info",
	}})
	if err != nil {
		return fmt.Errorf("run %s: %w", binary, err)
	}
	return c.verdict(r, path)
}

// verdict believes an exit status only beside the words that belong to it.
func (c Candidate) verdict(r sandbox.Result, path string) error {
	refusal := "error initializing configuration '" + path + "': "
	switch {
	case r.TimedOut:
		return &FailedError{How: "it did not answer in time", Said: lastWords(r.Output), Limited: true}
	case r.Signal != "":
		return &FailedError{How: "it crashed (" + r.Signal + ")", Said: lastWords(r.Output)}
	case r.Code == 0 && strings.Contains(r.Output, "configuration '"+path+"' OK") && c.loaded(r.Output):
		return nil
	case r.Code == 1:
		if _, words, ok := strings.Cut(r.Output, refusal); ok {
			return &RefusedError{Clean(words)}
		}
	}
	return &FailedError{How: fmt.Sprintf("it ended with status %d, and not with a verdict", r.Code), Said: lastWords(r.Output)}
}

// loaded reports whether Envoy said that it loaded what there is.
func (c Candidate) loaded(output string) bool {
	return filepath.Ext(c.Name) != ".pb" ||
		strings.Contains(output, fmt.Sprintf("loading %d cluster(s)", c.Clusters)) && strings.Contains(output, fmt.Sprintf("loading %d listener(s)", c.Listeners))
}

// logHead is what Envoy puts before the text of a log line: time, thread, level, logger, and the place in its source.
var logHead = regexp.MustCompile(`^(?:\[[^\]]*\])+ (?:\[[^\]]*:\d+\] )?`)

// lastWords are what Envoy said of its own end, fit to be shown: the last critical line that is no frame of a stack, else the
// last line.
func lastWords(output string) string {
	last, grave := "", ""
	for line := range strings.Lines(output) {
		text := strings.TrimSpace(logHead.ReplaceAllString(line, ""))
		switch {
		case text == "":
		case strings.Contains(line, "[critical]") && (!strings.Contains(line, "[backtrace]") || strings.HasPrefix(text, "Caught ")):
			grave = text
		default:
			last = text
		}
	}
	switch {
	case grave != "":
		return Clean(grave)
	case last != "":
		return Clean(last)
	}
	return ""
}
