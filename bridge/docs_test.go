package bridge

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func reliability(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every reason has a name of its own and stands in the documentation, as does every metric.
func TestReasonsAreDocumented(t *testing.T) {
	text := reliability(t)
	seen := make(map[string]bool)
	for c, name := range causeNames {
		if name == "" || seen[name] {
			t.Errorf("cause %d has the name %q", c, name)
		}
		seen[name] = true
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/reliability.md does not mention `%s`", name)
		}
	}
	for _, f := range flawNames {
		if !strings.Contains(text, "`"+f+"`") {
			t.Errorf("docs/reliability.md does not mention `%s`", f)
		}
	}
	b := newBench(t, nil)
	b.open()
	for name := range scrape(t, b.gateway) {
		base, _, _ := strings.Cut(name, "{")
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			base = strings.TrimSuffix(base, suffix)
		}
		if strings.HasPrefix(base, "relay_") && !strings.Contains(text, "`"+base) {
			t.Errorf("docs/reliability.md does not mention `%s`", base)
		}
	}
}

// The tests that the documentation names are there.
func TestDocumentedTests(t *testing.T) {
	have := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == ".git"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			have[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`).FindAllString(reliability(t), -1)
	if len(named) < 30 {
		t.Errorf("docs/reliability.md names %d tests", len(named))
	}
	for _, name := range named {
		if !have[name] {
			t.Errorf("docs/reliability.md names %s, which is not there", name)
		}
	}
}
