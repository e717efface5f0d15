package diag

import "fmt"

// maxGathered is how many places stand beside the first one of what was gathered; the last says how many more there are.
const maxGathered = 5

// Gather tells Notes of a code that say the same as one, at the first place of the sorted list. The others are its related
// places. Warnings and errors stay as they are. The elements of l are not changed.
func (l List) Gather(code Code) List {
	first := map[string]int{} // by summary, in out
	count := map[int]int{}
	out := make(List, 0, len(l))
	for _, d := range l {
		if d.Code != code || d.Severity != Note {
			out = append(out, d)
			continue
		}
		i, again := first[d.Summary]
		if !again {
			first[d.Summary] = len(out)
			d.Related = append([]Related(nil), d.Related...)
			out = append(out, d)
			continue
		}
		if count[i]++; count[i] <= maxGathered {
			out[i].Related = append(out[i].Related, Related{Subject: d.Subject, Summary: "here too"})
		}
	}
	for i, n := range count {
		if n > maxGathered {
			out[i].Related[len(out[i].Related)-1].Summary = fmt.Sprintf("here too, and in %d more places", n-maxGathered)
		}
	}
	return out
}
