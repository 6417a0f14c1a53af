package render

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"slices"
	"strings"
)

// Render renders all templates of all instances of one deployment and returns one Result per instance, in order.
// Template errors come together as one *Error; every other error means that the renderer itself failed, that a
// Spec cannot be encoded, or that ctx ended, which kills the child. At most two deployments are rendered at a
// time; further calls wait.
func (r *Renderer) Render(ctx context.Context, instances []Instance) ([]Result, error) {
	asked, err := newRequest(instances)
	if err != nil {
		return nil, err
	}
	var answers [][]answer
	if len(asked.Jobs) > 0 {
		if answers, err = r.evaluate(ctx, asked); err != nil {
			return nil, err
		}
		if len(answers) != len(asked.Jobs) {
			return nil, fmt.Errorf("the ERB renderer answered for %d of %d jobs", len(answers), len(asked.Jobs))
		}
	}
	return assemble(instances, answers)
}

// needsRuby says whether a template is evaluated at all; the others are copied (bosh-director-api.md §2.3).
func needsRuby(t Template) bool { return bytes.Contains(t.Body, []byte("<%")) }

func isMonit(t Template) bool { return t.Dest == "monit" }

// dynamic returns the templates of a job that need Ruby, monit first, as the director takes them.
func dynamic(job Job) []Template {
	var monit, others []Template
	for _, t := range job.Templates {
		switch {
		case !needsRuby(t):
		case isMonit(t):
			monit = append(monit, t)
		default:
			others = append(others, t)
		}
	}
	return append(monit, others...)
}

// newRequest collects what needs Ruby; jobs without such templates do not occur in it.
func newRequest(instances []Instance) (request, error) {
	var asked request
	type key struct{ file, body string }
	numbers := map[key]int{}
	for _, instance := range instances {
		for _, job := range instance.Jobs {
			templates := dynamic(job)
			if len(templates) == 0 {
				continue
			}
			spec, err := encodeSpec(job.Spec)
			if err != nil {
				return request{}, fmt.Errorf("instance %s/%d, job %s: %w", instance.Group, instance.Index, job.Name, err)
			}
			wire := wireJob{Spec: spec}
			for _, t := range templates {
				k := key{job.Name + "/" + t.Source, string(t.Body)}
				number, known := numbers[k]
				if !known {
					number = len(asked.Templates)
					numbers[k] = number
					asked.Templates = append(asked.Templates, wireTemplate{File: k.file, Body: t.Body})
				}
				wire.Templates = append(wire.Templates, number)
			}
			asked.Jobs = append(asked.Jobs, wire)
		}
	}
	return asked, nil
}

// assemble puts answers, which are in newRequest's order, and copied templates together.
func assemble(instances []Instance, answers [][]answer) ([]Result, error) {
	var failed failures
	results := make([]Result, 0, len(instances))
	for _, instance := range instances {
		result := Result{Group: instance.Group, Index: instance.Index, ID: instance.ID}
		var broken []string
		for _, job := range instance.Jobs {
			var mine []answer
			templates := dynamic(job)
			if len(templates) > 0 {
				mine, answers = answers[0], answers[1:]
			}
			if len(mine) != len(templates) {
				return nil, fmt.Errorf("the ERB renderer answered for %d of %d templates of job %s", len(mine), len(templates), job.Name)
			}
			if text := jobFailure(job, mine, templates); text != "" {
				broken = append(broken, text)
				continue
			}
			result.Jobs = append(result.Jobs, jobResult(job, templates, mine))
		}
		failed.add(instance.Group, broken)
		results = append(results, result)
	}
	if err := failed.err(); err != nil {
		return nil, err
	}
	return results, nil
}

func jobResult(job Job, templates []Template, answers []answer) JobResult {
	result := JobResult{Name: job.Name}
	add := func(t Template, data []byte) {
		if data == nil {
			data = []byte{}
		}
		if isMonit(t) {
			result.Monit = data
			return
		}
		result.Files = append(result.Files, File{Path: t.Dest, Mode: mode(t.Dest), Data: data})
	}
	for i, t := range templates {
		add(t, answers[i].Data)
	}
	for _, t := range job.Templates {
		if !needsRuby(t) {
			add(t, bytes.Clone(t.Body))
		}
	}
	slices.SortStableFunc(result.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	result.Digest = digest(result)
	return result
}

// mode is what the BOSH agent gives a rendered file.
func mode(dest string) fs.FileMode {
	if strings.HasPrefix(dest, "bin/") {
		return 0o750
	}
	return 0o640
}

func digest(result JobResult) string {
	sum := sha256.New()
	part(sum, []byte(result.Name))
	part(sum, result.Monit)
	for _, file := range result.Files {
		part(sum, []byte(file.Path))
		part(sum, []byte(file.Mode.String()))
		part(sum, file.Data)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// part writes length and bytes, so that no two lists of parts look alike.
func part(sum hash.Hash, data []byte) {
	sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
	sum.Write(data)
}
