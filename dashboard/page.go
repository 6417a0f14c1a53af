package dashboard

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/serviceforge/serviceforge"
)

// refreshSeconds is how often a page of a busy instance loads itself again.
const refreshSeconds = 2

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Parse(pageSource))

// pageData is what page.html sees.
type pageData struct {
	Status  int
	Problem string // instead of an instance
	Shown   shown
	Groups  []group
	Refresh int // seconds; 0 = never
	Tone    string
}

type group struct {
	Name      string
	Addresses []string
}

func (d *Dashboard) writePage(w http.ResponseWriter, status int, content any) {
	data := pageData{Status: status}
	switch c := content.(type) {
	case failure:
		data.Problem = c.Description
	case shown:
		data.Shown, data.Groups, data.Tone = c, groupsOf(c.Facts), toneOf(c.State)
		if c.Busy {
			data.Refresh = refreshSeconds
		}
	}
	var out bytes.Buffer
	if err := page.Execute(&out, data); err != nil {
		d.log.Error("the page cannot be rendered", "cause", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes())
}

func groupsOf(facts map[string][]string) []group {
	groups := make([]group, 0, len(facts))
	for name, addresses := range facts {
		groups = append(groups, group{name, addresses})
	}
	slices.SortFunc(groups, func(a, b group) int { return strings.Compare(a.Name, b.Name) })
	return groups
}

// toneOf picks the colour of a state.
func toneOf(s serviceforge.State) string {
	switch s {
	case serviceforge.Running:
		return "good"
	case serviceforge.FailedCreation, serviceforge.FailedDeployment:
		return "bad"
	}
	return "busy"
}
