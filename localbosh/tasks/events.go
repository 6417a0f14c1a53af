package tasks

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"
)

// line is one line of the event output (WIRE: "Event lines").
type line struct {
	Time     int64             `json:"time"`
	Stage    string            `json:"stage,omitempty"`
	Tags     *[]string         `json:"tags,omitempty"`
	Total    *int              `json:"total,omitempty"`
	Task     string            `json:"task,omitempty"`
	Index    int               `json:"index,omitempty"`
	State    string            `json:"state,omitempty"`
	Progress *int              `json:"progress,omitempty"`
	Data     map[string]string `json:"data,omitempty"`
	Type     string            `json:"type,omitempty"`
	Message  string            `json:"message,omitempty"`
	Error    *lineError        `json:"error,omitempty"`
}

type lineError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// write appends one whole line; readers never see a part of it.
func (r *Run) write(l line) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		r.log.Error("event lost", "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.events == nil {
		return
	}
	if _, err := r.events.Write(b.Bytes()); err != nil {
		r.log.Error("event lost", "error", err)
		return
	}
	r.q.mu.Lock()
	r.t.events += int64(b.Len())
	r.q.mu.Unlock()
}

// Warn writes a warning that clients show.
func (r *Run) Warn(message string) {
	r.log.Warn(message)
	r.write(line{Time: time.Now().Unix(), Type: "warning", Message: message})
}

// Stage is a titled part of a task with steps, such as "Compiling packages".
type Stage struct {
	r    *Run
	name string
	tags []string

	mu    sync.Mutex
	total int
	index int
}

// Stage begins a part of total steps; nothing is written before its first step.
func (r *Run) Stage(name string, total int, tags ...string) *Stage {
	if tags == nil {
		tags = []string{}
	}
	return &Stage{r: r, name: name, total: total, tags: tags}
}

// Step is one step of a stage.
type Step struct {
	s     *Stage
	task  string
	index int
	begun time.Time
}

// Do runs fn as a step: its start and its end, or its error, become events.
// Steps of one stage may run at the same time.
func (s *Stage) Do(task string, fn func(*Step) error) error {
	p := s.Begin(task)
	err := fn(p)
	p.End(err)
	return err
}

// Begin writes that a step started; End must follow.
func (s *Stage) Begin(task string) *Step {
	s.mu.Lock()
	s.index++
	p := &Step{s: s, task: task, index: s.index, begun: time.Now()}
	s.mu.Unlock()
	p.write("started", 0, nil)
	return p
}

// End writes that the step finished, or failed with err.
func (p *Step) End(err error) {
	p.s.r.log.Debug("step ended", "stage", p.s.name, "step", p.task, "took", time.Since(p.begun))
	if err != nil {
		p.write("failed", 100, map[string]string{"error": taskError(p.s.r.t.ID, err).Description})
		return
	}
	p.write("finished", 100, nil)
}

// Progress writes how far the step is, in percent, and what it does now.
func (p *Step) Progress(percent int, status string) {
	p.s.r.log.Debug("step goes on", "stage", p.s.name, "step", p.task, "status", status, "after", time.Since(p.begun))
	p.write("in_progress", percent, map[string]string{"status": status})
}

func (p *Step) write(state string, progress int, data map[string]string) {
	s := p.s
	s.r.write(line{
		Time: time.Now().Unix(), Stage: s.name, Tags: &s.tags, Total: &s.total,
		Task: p.task, Index: p.index, State: state, Progress: &progress, Data: data,
	})
}
