package localnet

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConformanceTable checks that every test that docs/localnet.md names exists.
func TestConformanceTable(t *testing.T) {
	var sources strings.Builder
	for _, pattern := range []string{"*_test.go", "execution/*_test.go", "wasm/*_test.go", "standin/*_test.go", "echo/*_test.go", "../ic/*_test.go", "../candid/*_test.go", "../e2e/agentgo/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			sources.Write(readFile(t, name))
		}
	}
	doc, err := os.ReadFile("../docs/localnet.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)").FindAllSubmatch(doc, -1)
	if len(named) < 30 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		if !strings.Contains(sources.String(), "func "+string(m[1])+"(") {
			t.Errorf("docs/localnet.md names %s, which does not exist", m[1])
		}
	}
}
