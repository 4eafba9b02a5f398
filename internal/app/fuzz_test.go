package app

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/config"
	"github.com/icrelay/icrelay/internal/testalloc"
)

// configurations are the project's own, and all of its documents' examples.
func configurations(f *testing.F) []string {
	f.Helper()
	var all []string
	for _, pattern := range []string{"config.toml", "README.md", "docs/*.md", "examples/motoko/*/README.md"} {
		files, err := filepath.Glob(filepath.Join("../..", pattern))
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file) //nolint:gosec // the project's own
			if err != nil {
				f.Fatal(err)
			}
			if strings.HasSuffix(file, ".toml") {
				all = append(all, string(text))
			}
			for _, block := range regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
				all = append(all, block[1])
			}
		}
	}
	return all
}

// everyKey has a relay route with all that there is.
const everyKey = `
[gateway]
listen = "127.0.0.1:0"
trusted_proxies = ["10.0.0.0/8", "::1"]
allowed_origins = ["https://*.example.com", "null"]
metrics_listen = "off"
[gateway.limits]
max_connections = 3
idle_timeout = "2m"
[gateway.polling]
interval = "5ms"
[network]
url = "https://icp-api.io"
[[route]]
canister = "*"
adapter = "cdk"
deny = ["ryjl3-tyaaa-aaaaa-aaaba-cai"]
[[route]]
canister = "rrkah-fqaaa-aaaaa-aaaaq-cai"
adapter = "relay"
[route.relay]
admins = ["aaaaa-aa"]
pushers = ["ryjl3-tyaaa-aaaaa-aaaba-cai"]
gateways = ["ryjl3-tyaaa-aaaaa-aaaba-cai"]
ack_interval = "10s"
keep_alive_timeout = "5s"
max_messages = 7
max_calls_in_flight = 8
watch_interval = "10ms"
[[route.relay.call]]
target = "ryjl3-tyaaa-aaaaa-aaaba-cai"
method = "jo\u0000in"
tag = "t\"\\"
pass_client = true
reply = "everybody"
reply_tag = "r"
error_tag = "e"
[[route.relay.feed]]
target = "ryjl3-tyaaa-aaaaa-aaaba-cai"
method = "since"
tag = "ü"
recipient = "owner"
last = 10
interval = "1.5s"
[[route.relay.hook]]
target = "ryjl3-tyaaa-aaaaa-aaaba-cai"
open = "o"
close = "c"
`

// FuzzConfiguration: a configuration is refused with problems that name a line
// of it, or it is complete: no number is negative, every duration is one that
// somebody can wait for, and its relay routes can be encoded for a canister.
func FuzzConfiguration(f *testing.F) {
	f.Add(everyKey)
	for _, text := range configurations(f) {
		f.Add(text)
	}
	_, _ = net.LookupPort("tcp", "http") // reads the system's list of ports, once
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 64<<10 {
			return
		}
		var cfg *config.Config
		var err error
		// A key may stand in some hundred problems, each with its path.
		testalloc.Within(t, "a configuration", 4096*len(text), func() { cfg, err = config.Parse("config.toml", []byte(text)) })
		if err != nil {
			checkProblems(t, text, err)
			return
		}
		again, err := config.Parse("config.toml", []byte(text))
		if err != nil || !reflect.DeepEqual(cfg, again) {
			t.Fatalf("read twice, it is another: %v", err)
		}
		checkNumbers(t, "", reflect.ValueOf(*cfg))
		named := make(map[string]candid.Principal)
		for _, c := range cfg.Network.Canisters {
			named[c.Name] = "\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01"
		}
		for _, route := range cfg.Routes {
			if route.Relay == nil {
				continue
			}
			settings, err := relaySettings(route.Relay, named, "\x01\x02")
			if err != nil {
				continue // a feed that is named by name and by principal
			}
			if _, err := settings.Argument(); err != nil {
				t.Fatalf("accepted, but it cannot be encoded: %v", err)
			}
		}
	})
}

func checkProblems(t *testing.T, text string, err error) {
	t.Helper()
	var bad *config.Error
	if !errors.As(err, &bad) || len(bad.Problems) == 0 {
		t.Fatalf("%T: %v", err, err)
	}
	last := 0
	for _, p := range bad.Problems {
		if p.Line < last || p.Line > strings.Count(text, "\n")+1 || p.Text == "" {
			t.Fatalf("a problem after line %d: %+v", last, p)
		}
		last = p.Line
	}
}

// checkNumbers looks at every number of an accepted configuration.
func checkNumbers(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			checkNumbers(t, name, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				checkNumbers(t, name+"."+field.Name, v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			checkNumbers(t, name, v.Index(i))
		}
	case reflect.Int, reflect.Int64:
		n, most := v.Int(), int64(1<<27)
		if v.Type() == reflect.TypeFor[config.Duration]() {
			most = int64(24 * time.Hour)
		}
		if n < 0 || n > most {
			t.Fatalf("%s is %v", name, v.Interface())
		}
	}
}
