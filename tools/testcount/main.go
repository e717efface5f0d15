// Command testcount reads the output of `go test -json`, shows what failed, and closes with a line that counts.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

func main() {
	f, err := os.Open(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer f.Close()
	counts := map[string]int{}
	output := map[string][]string{}
	var broken []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text()) // a build failure, said outside the stream
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			output[key] = append(output[key], e.Output)
		case "pass", "fail", "skip":
			if e.Test != "" {
				counts[e.Action]++
			}
			if e.Action == "skip" && e.Test != "" {
				fmt.Printf("skipped: %s\n", key)
			}
			if e.Action == "fail" {
				broken = append(broken, key)
			} else {
				delete(output, key)
			}
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	slices.Sort(broken)
	for _, key := range broken {
		fmt.Printf("--- %s\n%s", key, strings.Join(output[key], ""))
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", counts["pass"], counts["fail"], counts["skip"])
	if counts["pass"] == 0 || len(broken) > 0 {
		os.Exit(1)
	}
}
