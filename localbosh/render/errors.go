package render

import (
	"fmt"
	"strings"
)

// Error holds the template errors of a deployment in the director's own words and indentation. The director gives
// it to the task as code 100.
type Error struct{ text string }

// Error returns the director's text, several lines, beginning "Unable to render instance groups for deployment. Errors are:".
func (e *Error) Error() string { return e.text }

// failures collects errors as the director does: of each instance group it reports the first instance that has
// some, with all its jobs and templates, since the others of the group say the same.
type failures struct {
	order  []string
	groups map[string][]string
}

// add takes the errors of one instance, one text per job.
func (f *failures) add(group string, jobs []string) {
	if len(jobs) == 0 || f.groups[group] != nil {
		return
	}
	if f.groups == nil {
		f.groups = map[string][]string{}
	}
	f.order = append(f.order, group)
	f.groups[group] = jobs
}

func (f *failures) err() error {
	if len(f.order) == 0 {
		return nil
	}
	var groups []string
	for _, group := range f.order {
		groups = append(groups, under(fmt.Sprintf("- Unable to render jobs for instance group '%s'. Errors are:", group), f.groups[group]))
	}
	return &Error{under("Unable to render instance groups for deployment. Errors are:", groups)}
}

// jobFailure is one job's part. A broken monit file hides the errors of the other templates, as in the director.
func jobFailure(job Job, answers []answer, templates []Template) string {
	var all []string
	for i, answer := range answers {
		if answer.Error == "" {
			continue
		}
		text := fmt.Sprintf("Error filling in template '%s' (line %s: %s)", templates[i].Source, answer.Line, answer.Error)
		if isMonit(templates[i]) {
			return text
		}
		all = append(all, "- "+strings.TrimSpace(text))
	}
	if len(all) == 0 {
		return ""
	}
	return under(fmt.Sprintf("- Unable to render templates for job '%s'. Errors are:", job.Name), all)
}

// under puts lines below a header, two blanks deeper.
func under(header string, entries []string) string {
	body := strings.TrimSpace(strings.Join(entries, "\n"))
	return header + "\n  " + strings.ReplaceAll(body, "\n", "\n  ")
}
