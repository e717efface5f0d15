package anypoint

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Check says what of a batch's values reconcile/usage/batch.schema.json does not allow. That it has no other fields its type says. Who sends a
// batch, and who takes one, holds it to this; a test compares it with the schema.
func (b *Batch) Check() error {
	switch {
	case b.Schema != UsageSchema:
		return fmt.Errorf("schema: %s is expected", UsageSchema)
	case !identifier(b.MeteringSchemaID, 0):
		return errors.New("meteringSchemaId: an identifier of 128 characters at most is expected")
	case !identifier(b.AgentID, 1):
		return errors.New("agentId: an identifier of 1 to 128 characters is expected")
	case utf8.RuneCountInString(b.AssetName) > 256:
		return errors.New("assetName: 256 characters at most are expected")
	case !IsUUID(b.ReplicaID):
		return errors.New("replicaId: a UUID is expected")
	case b.Seq == 0:
		return errors.New("seq: it counts from 1")
	case len(b.BatchID) != 64 || strings.ContainsFunc(b.BatchID, notHex):
		return errors.New("batchId: a SHA-256 in hexadecimal is expected")
	case !inUTC(b.CreatedAt):
		return errors.New("createdAt: a time in UTC is expected")
	case b.Points == nil:
		return errors.New("points: a list is expected")
	}
	for i, p := range b.Points {
		if err := p.check(); err != nil {
			return fmt.Errorf("points[%d].%w", i, err)
		}
	}
	return nil
}

func (p *Point) check() error {
	namespace, name, ok := strings.Cut(p.APIInstance, "/")
	switch {
	case p.Meter != Meter:
		return fmt.Errorf("meter: %s is expected", Meter)
	case !ok || namespace == "" || name == "" || strings.Contains(name, "/") || utf8.RuneCountInString(p.APIInstance) > 512 || strings.ContainsFunc(p.APIInstance, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return errors.New("apiInstance: namespace/name is expected")
	case !inUTC(p.HourStart) || !p.HourStart.Equal(p.HourStart.Truncate(time.Hour)):
		return errors.New("hourStart: the start of an hour in UTC is expected")
	}
	return nil
}

func identifier(s string, least int) bool {
	return len(s) >= least && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("._-", r)
	})
}

// IsUUID reports whether s is a UUID in lower case, of any version.
func IsUUID(s string) bool {
	parts := strings.Split(s, "-")
	if len(parts) != 5 {
		return false
	}
	for i, n := range []int{8, 4, 4, 4, 12} {
		if len(parts[i]) != n || strings.ContainsFunc(parts[i], notHex) {
			return false
		}
	}
	return true
}

func notHex(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') }

// inUTC reports whether a time is written with Z, and with four digits of a year.
func inUTC(t time.Time) bool {
	_, offset := t.Zone()
	return offset == 0 && t.Year() >= 0 && t.Year() <= 9999
}
