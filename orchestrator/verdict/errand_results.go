package verdict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// errandRun is a line of the result output of an errand's task (WIRE.md 214).
type errandRun struct {
	Instance struct {
		Group string `json:"group"`
		ID    string `json:"id"`
	} `json:"instance"`
	ExitCode int    `json:"exit_code"`
	Stdout   string `json:"stdout"`
	Stderr   string `json:"stderr"`
}

// FailedRuns tells which runs of an errand failed, for users and for operators;
// "" = all of them succeeded. A task that is done says nothing of that: each of
// its results does.
func FailedRuns(output []byte) (short, long string) {
	var codes, words []string
	runs := 0
	for line := range bytes.Lines(output) {
		var run errandRun
		if json.Unmarshal(line, &run) != nil {
			return "its result cannot be read", string(line)
		}
		if runs++; run.ExitCode == 0 {
			continue
		}
		codes = append(codes, fmt.Sprintf("exit code %d on %s", run.ExitCode, run.Instance.Group))
		words = append(words, fmt.Sprintf("exit code %d on %s/%s: %s", run.ExitCode, run.Instance.Group, run.Instance.ID, lastOf(run.Stderr, run.Stdout)))
	}
	if runs == 0 {
		return "it ran on no instance", "the task has no result"
	}
	return strings.Join(slices.Compact(codes), ", "), strings.Join(words, "\n")
}

// lastOf is the end of what a script said, of its errors first.
func lastOf(stderr, stdout string) string {
	said := strings.TrimSpace(stderr)
	if said == "" {
		said = strings.TrimSpace(stdout)
	}
	const most = 512
	if len(said) > most {
		said = "…" + strings.ToValidUTF8(said[len(said)-most:], "")
	}
	return said
}
