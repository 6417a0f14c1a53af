package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a fence of commands, with the prose before it.
type block struct {
	info  string // after the fence: "sh", "sh redis" (where the machine has one), "sh dev" (runs in the background) or "sh long" (not run here)
	prose string
	lines []string
}

// blocks are the fences of a text that have an info string.
func blocks(text string) (found []block) {
	var prose strings.Builder
	var open *block
	fenced := false
	for line := range strings.Lines(text) {
		info, fence := strings.CutPrefix(strings.TrimRight(line, "\n"), "```")
		switch {
		case fence && !fenced:
			fenced = true
			if info != "" {
				open = &block{info: info, prose: prose.String()}
			}
		case fence:
			if open != nil {
				found = append(found, *open)
			}
			open, fenced = nil, false
			prose.Reset()
		case open != nil:
			open.lines = append(open.lines, strings.TrimRight(line, "\n"))
		case !fenced:
			prose.WriteString(line)
		}
	}
	return found
}

// root is the folder of our module.
func root(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(strings.TrimSpace(string(out)))
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// dead are the relative links of a text that lead nowhere.
func dead(dir, text string) (links []string) {
	for _, link := range regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)`).FindAllStringSubmatch(text, -1) {
		target, _, _ := strings.Cut(link[1], "#")
		if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, target)); err != nil {
			links = append(links, link[1])
		}
	}
	return links
}

func TestLinksLeadSomewhere(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root(t), func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == ".git"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".md":
			return nil
		}
		files++
		for _, link := range dead(filepath.Dir(path), readFile(t, path)) {
			t.Errorf("%s: %s leads nowhere", path, link)
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Errorf("%d files: %v", files, err)
	}
	if got := dead(t.TempDir(), "[a](#here) [b](https://example.com/) [c](gone.md#part)"); len(got) != 1 || got[0] != "gone.md#part" {
		t.Errorf("a dead link is not found: %q", got)
	}
}

// TestContributingNamesWhatIsThere looks up the paths in its table "Where do I
// change…"; <x> in them stands for any name.
func TestContributingNamesWhatIsThere(t *testing.T) {
	home, paths := root(t), 0
	for line := range strings.Lines(readFile(t, filepath.Join(home, "CONTRIBUTING.md"))) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		for _, name := range regexp.MustCompile("`([^`\\s]+/[^`\\s]*)`").FindAllStringSubmatch(line, -1) {
			paths++
			pattern := regexp.MustCompile(`<\w+>`).ReplaceAllString(name[1], "*")
			if found, err := filepath.Glob(filepath.Join(home, pattern)); err != nil || len(found) == 0 {
				t.Errorf("there is no %s", name[1])
			}
		}
	}
	if paths < 10 {
		t.Errorf("only %d paths in the table", paths)
	}
}
