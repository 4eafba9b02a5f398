package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// stranger starts the relay as a program that is told where to listen and where
// the network is, and nothing else.
const stranger = `printf '%s\n' '[gateway]' "listen = \"$1\"" '[network]' "url = \"$2\"" '[[route]]' 'canister = "*"' 'adapter = "cdk"' > other.toml
exec "$0" --config other.toml`

// TestComparison measures the relay beside itself.
func TestComparison(t *testing.T) {
	relay := relayBinary(t)
	var out bytes.Buffer
	s := settings{
		relay: relay, self: os.Args[0],
		seconds: time.Second, senders: 8, fan: 20, rate: 100, crowds: []int{30}, opens: 100, settle: time.Second,
	}
	err := runComparison(t.Context(), s, []string{"sh", "-c", stranger, relay, "{address}", "{network}"}, &out)
	t.Logf("\n%s", out.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"8 clients, 10 messages/s and back", "fan-out to 20 clients", "30 clients, 100 opens/s", "memory of a session"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the results lack %q", want)
		}
	}
	if n := len(regexp.MustCompile(`(?m)^  errors +none +none$`).FindAllString(out.String(), -1)); n != 5 {
		t.Errorf("%d contests without errors, want 5", n)
	}
}

// TestBrokenOther: what the other gateway says when it does not start.
func TestBrokenOther(t *testing.T) {
	network := &process{said: map[string]string{"network": "http://127.0.0.1:1"}}
	for name, test := range map[string]struct {
		command []string
		want    string
	}{
		"ends":          {[]string{"sh", "-c", "echo no such luck: $1; exit 3", "{address}", "{network}"}, "no such luck: http://127.0.0.1:1"},
		"is not there":  {[]string{"/nowhere/gateway", "{address}"}, "/nowhere/gateway"},
		"hears nothing": {[]string{"sleep", "60"}, "context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := startOther(ctx, t.TempDir(), test.command, network); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	for _, command := range [][]string{nil, {"gateway", "--listen", "127.0.0.1:1"}} {
		if err := start(t.Context(), append([]string{compare}, command...)); err == nil || !strings.Contains(err.Error(), "{address}") {
			t.Errorf("%v: got %v", command, err)
		}
	}
}
