package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/flexgw/flexgw/cli/report"
	"github.com/flexgw/flexgw/reconcile/api"
	"github.com/flexgw/flexgw/schema/diag"
)

// What the commands that change something on the platform say when it is done: words for people, and with --output json facts for
// programs. docs/anypoint.md, "For programs". No secret is among them.

// factsVersion is the schemaVersion of these facts. Fields may be added; a change of what is there makes the next.
const factsVersion = 1

// tell says what was done. Where no text is asked for, people read the words on standard error. The words may have what others wrote:
// a terminal obeys none of it.
func tell(env Env, outs []output, words string, facts any) error {
	words = visibleLines(words)
	spoken := false
	for _, o := range outs {
		spoken = spoken || o.format == "text"
	}
	if !spoken {
		fmt.Fprint(env.Stderr, words)
	}
	return each(outs, env.Stdout, func(format string, w io.Writer) error {
		if format == "json" {
			return report.Indented(w, facts)
		}
		_, err := io.WriteString(w, words)
		return err
	})
}

// visibleLines is a text of lines, each of which shows what it has.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = diag.Visible(l)
	}
	return strings.Join(lines, "\n")
}

// tellFiles is tell where standard output has something else: the facts that have a file of their own are written.
func tellFiles(env Env, outs []output, facts any) error {
	return tell(env, slices.DeleteFunc(slices.Clone(outs), func(o output) bool { return o.file == "" }), "", facts)
}

// factsBeside reads --output where another flag names the file that the command makes, and may send it to standard output.
func factsBeside(c *cli.Context, flag string) ([]output, error) {
	outs, err := outputsOf(c, "text", "json")
	if err != nil {
		return nil, usage("%s; the file that the command makes is named by --%s", err, flag)
	}
	if c.IsSet("output") && c.String(flag) == "-" && slices.ContainsFunc(outs, func(o output) bool { return o.file == "" }) {
		return nil, usage("--output and --%s - both go to standard output: give one of them a file, as in --output json=facts.json", flag)
	}
	return outs, nil
}

// registrationFacts are those of a registration that was made, renewed or looked at.
type registrationFacts struct {
	SchemaVersion int      `json:"schemaVersion"`
	Result        string   `json:"result,omitempty"`                   // registered or renewed; "": looked at
	Resumed       bool     `json:"resumed,omitempty"`                  // a run before had begun it
	Extended      *bool    `json:"extended,omitempty"`                 // of a renewal: it expires later than before
	Previous      string   `json:"previous_expiration_date,omitempty"` // of a renewal
	Files         []string `json:"files,omitempty"`                    // that were written
	inspection
}

// deletion is how the deletion of a gateway came out.
type deletion string

const (
	isDeleted      deletion = "deleted"
	beingDeleted   deletion = "deleting"       // the platform has the order, and nobody has waited, or not for long enough
	alreadyDeleted deletion = "alreadyDeleted" // before
	unknownNow     deletion = "unknown"        // the environment is there, and in it no such gateway
)

// deletionFacts are those of a gateway that was deleted.
type deletionFacts struct {
	SchemaVersion int      `json:"schemaVersion"`
	Result        deletion `json:"result"`
	AssetName     string   `json:"assetName"`
	AgentID       string   `json:"agentId"`
	Organization  string   `json:"organizationId"`
	Environment   string   `json:"environmentId"`
	Anypoint      string   `json:"anypoint"`
	File          string   `json:"file,omitempty"` // the registration that named it
}

func (d deletionFacts) words() string {
	who := fmt.Sprintf("the gateway %s (%s)", diag.Visible(diag.OneLine(d.AssetName)), d.AgentID)
	switch d.Result {
	case alreadyDeleted:
		return who + " was deleted already\n"
	case beingDeleted:
		return "the platform deletes " + who + ", and takes its time for it: flexgw gateways list says when it is gone\n"
	case unknownNow:
		return fmt.Sprintf("%s is not known to the platform: environment %s is there, and has no such gateway; it was deleted long ago, or never was there\n", who, d.Environment)
	}
	return who + " is deleted\n"
}

// usageFacts are those of usage that was reported, or acknowledged. Names as in usage show --output json.
type usageFacts struct {
	SchemaVersion int    `json:"schemaVersion"`
	Result        string `json:"result"` // reported or acknowledged
	AgentID       string `json:"agentId,omitempty"`
	AssetName     string `json:"assetName,omitempty"`
	Reported      uint64 `json:"reported"` // requests that the platform has of this gateway
	Waiting       uint64 `json:"waiting"`  // likewise, that are still to be reported
	SetAside      uint64 `json:"setAside"` // likewise
	AckedSeq      uint64 `json:"ackedSeq"`
}

func usageFactsOf(result string, u api.Usage, agent string) usageFacts {
	g := gatewayOf(u, agent)
	return usageFacts{SchemaVersion: factsVersion, Result: result, AgentID: agent, AssetName: g.name, Reported: g.sum.Reported, Waiting: g.sum.Waiting, SetAside: g.sum.SetAside, AckedSeq: u.Spool.AckedSeq}
}

// exportFacts are those of a bundle.
type exportFacts struct {
	SchemaVersion int    `json:"schemaVersion"`
	Result        string `json:"result"` // exported or nothing
	File          string `json:"file,omitempty"`
	Batches       int    `json:"batches"`
	Requests      uint64 `json:"requests"`
	Signed        bool   `json:"signed"`
}

// importFacts are those of a bundle that was delivered.
type importFacts struct {
	SchemaVersion int            `json:"schemaVersion"`
	Result        string         `json:"result"` // delivered; refused: some batches were; failed: the platform was not reached for all
	AgentID       string         `json:"agentId"`
	AssetName     string         `json:"assetName"`
	File          string         `json:"file"` // what became of it, for usage export --ack
	Batches       int            `json:"batches"`
	Acknowledged  int            `json:"acknowledged"`
	Refused       []refusedBatch `json:"refused"`
}

type refusedBatch struct {
	Seq uint64 `json:"seq"`
	Why string `json:"why"`
}

// write is what is told of a registration to people.
func (i inspection) write(w io.Writer, now, ends time.Time) error {
	show := func(s string) string { return diag.Visible(diag.OneLine(s)) } // others have written it
	_, err := fmt.Fprintf(w, "gateway       %s (%s), for %s mode\norganization  %s\nenvironment   %s\nplatform      %s\nusage goes to %s\nexpires       %s, %s\n",
		show(i.AssetName), show(i.AgentID), i.Mode, show(i.Organization), show(i.Environment), show(i.Anypoint), show(i.Metering), i.Expiration, inWords(ends.Sub(now)))
	return err
}
