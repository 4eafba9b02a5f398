package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/icrelay/icrelay/internal/bench"
)

func TestBenchCommand(t *testing.T) {
	if out, err := run(t, "bench"); err == nil || !strings.Contains(err.Error(), "--gateway: ") || !strings.Contains(err.Error(), "--canister: ") {
		t.Errorf("%v\n%s", err, out)
	}
	// Nobody is there: the report says so, and so does the exit code. The root
	// key of mainnet needs no network.
	out, err := run(t, "bench", "--json", "--quiet", "--gateway", "ws://127.0.0.1:1", "--network", "https://icp-api.io",
		"--canister", "rrkah-fqaaa-aaaaa-aaaaq-cai", "--clients", "3", "--ramp", "0", "--duration", "100ms")
	if err == nil || !strings.Contains(err.Error(), "3 errors") {
		t.Errorf("err = %v", err)
	}
	// A value that cannot be encoded is told of before anything is opened.
	_, valueErr := run(t, "bench", "--quiet", "--gateway", "ws://127.0.0.1:1", "--network", "https://icp-api.io",
		"--canister", "rrkah-fqaaa-aaaaa-aaaaq-cai", "--content", `(record { age = 300 : nat8; text = "{payload}" })`)
	if valueErr == nil || !strings.Contains(valueErr.Error(), "--content: position 17: 300 does not fit nat8") {
		t.Errorf("err = %v", valueErr)
	}
	var report bench.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Errors != 3 || report.Failures[0].Kind != "connection refused" {
		t.Errorf("%v\n%s", err, out)
	}
}
