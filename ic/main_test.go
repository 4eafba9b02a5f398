package ic

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "rewrite testdata/js/ours.json")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func equal[T comparable](tb testing.TB, got, want T) {
	tb.Helper()
	if got != want {
		tb.Errorf("got %v, want %v", got, want)
	}
}

func equalBytes(tb testing.TB, got, want []byte) {
	tb.Helper()
	if !bytes.Equal(got, want) {
		tb.Errorf("got %x, want %x", got, want)
	}
}

func noError(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func errorContains(tb testing.TB, err error, part string) {
	tb.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		tb.Errorf("got error %v, want one with %q", err, part)
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		noError(tb, err)
		return v
	}
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	return must(hex.DecodeString(strings.Join(strings.Fields(s), "")))(tb)
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	return must(os.ReadFile(path))(tb)
}

func readJSON(tb testing.TB, path string, into any) {
	tb.Helper()
	noError(tb, json.Unmarshal(readFile(tb, path), into))
}

func writeJSON(tb testing.TB, path string, v any) {
	tb.Helper()
	raw := must(json.MarshalIndent(v, "", " "))(tb)
	noError(tb, os.WriteFile(path, append(raw, '\n'), 0o600))
}

func path(labels ...string) [][]byte {
	p := make([][]byte, len(labels))
	for i, l := range labels {
		p[i] = []byte(l)
	}
	return p
}
