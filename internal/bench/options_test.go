package bench

import (
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

func TestOptions(t *testing.T) {
	good := Defaults()
	good.Gateway, good.Canister = "ws://127.0.0.1:8080", "rrkah-fqaaa-aaaaa-aaaaq-cai"
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no gateway":            {func(o *Options) { o.Gateway = "" }, "--gateway: needs the gateway's WebSocket address"},
		"http":                  {func(o *Options) { o.Gateway = "http://127.0.0.1" }, "--gateway: "},
		"a name and password":   {func(o *Options) { o.Gateway = "ws://ada:secret@127.0.0.1:8080" }, "--gateway: must not have a name"},
		"a large port":          {func(o *Options) { o.Gateway = "ws://127.0.0.1:99999" }, "--gateway: the port must be from 1 to 65535, not 99999"},
		"port 0":                {func(o *Options) { o.Gateway = "ws://127.0.0.1:0" }, "--gateway: the port"},
		"no host":               {func(o *Options) { o.Gateway = "ws://:8080" }, "--gateway: needs"},
		"management canister":   {func(o *Options) { o.Canister = "aaaaa-aa" }, "--canister: aaaaa-aa is the management canister"},
		"no canister":           {func(o *Options) { o.Canister = "" }, "--canister: needs the canister's id"},
		"no principal":          {func(o *Options) { o.Canister = "guestbook" }, "--canister: "},
		"a network without URL": {func(o *Options) { o.Network = "127.0.0.1:4943" }, "--network: "},
		"pattern":               {func(o *Options) { o.Pattern = "storm" }, `--pattern: must be one of idle, echo, send, fanout, churn, not "storm"`},
		"no clients":            {func(o *Options) { o.Clients = 0 }, "--clients: "},
		"ramp":                  {func(o *Options) { o.Ramp = -1 }, "--ramp: "},
		"ramp without end":      {func(o *Options) { o.Ramp = math.Inf(1) }, "--ramp: "},
		"a tiny ramp":           {func(o *Options) { o.Ramp = 1e-11 }, "--ramp: must be 0 (as fast as possible), or from 0.001 to 10000000, not 1e-11"},
		"a tiny rate":           {func(o *Options) { o.Rate = 1e-11 }, "--rate: "},
		"no number":             {func(o *Options) { o.Rate = math.NaN() }, "--rate: "},
		"nothing is confirmed":  {func(o *Options) { o.Pattern, o.Rate = "send", 100 }, "--rate: 100/s for 10s are 10.0 messages for each of 100 clients"},
		"rate":                  {func(o *Options) { o.Rate = -1 }, "--rate: "},
		"in flight":             {func(o *Options) { o.InFlight = 0 }, "--in-flight: "},
		"size":                  {func(o *Options) { o.Size = 10 }, "--size: must be from 36"},
		"duration":              {func(o *Options) { o.Duration = 0 }, "--duration: "},
		"settle":                {func(o *Options) { o.Settle = -time.Second }, "--settle: "},
		"check":                 {func(o *Options) { o.CheckEvery = 0 }, "--check-every: "},
		"open timeout":          {func(o *Options) { o.OpenTimeout = 0 }, "--open-timeout: "},
		"pid":                   {func(o *Options) { o.PID = -1 }, "--pid: "},
		"two":                   {func(o *Options) { o.Size, o.Clients = 1, 0 }, "--clients: must be from 1 to 1000000, not 0\n--size: "},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			test.change(&o)
			if err := o.check(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if _, err := Run(t.Context(), o); err == nil {
				t.Error("it runs")
			}
		})
	}
}

func TestRootKey(t *testing.T) {
	for name, test := range map[string]struct{ network, key, want string }{
		"far away":       {"https://network.example", "", "--root-key: needed"},
		"no hexadecimal": {"https://network.example", "xy", "--root-key: must be"},
		"no key":         {"https://network.example", "abcd", "--root-key: "},
		"nobody there":   {"http://127.0.0.1:1", "", "--network: http://127.0.0.1:1 does not answer"},
		"mainnet":        {"https://icp-api.io", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newVerifier(t.Context(), Options{Network: test.network, RootKey: test.key})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestTemplate(t *testing.T) {
	run := [runLength / 2]byte{1, 2, 3}
	for _, content := range []string{"text", "blob", `(variant { Say = "{payload}" })`, `record { room = "a"; text = "{payload}!" }`,
		`(record { caller = principal "aaaaa-aa"; text = "é\n{payload}"; age = 36 : nat8 })`, `blob "\00{payload}"`} {
		t.Run(content, func(t *testing.T) {
			for _, size := range []int{markLength, 100, 70_000} {
				template, err := newTemplate("--content", content, size, run)
				if err != nil {
					t.Fatal(err)
				}
				one, other := template.make(7, 1<<40+5), template.make(100_000, 1)
				if _, err := candid.Decode(one, candid.Limits{}); err != nil || len(one) != len(other) {
					t.Errorf("size %d: %d and %d bytes, %v", size, len(one), len(other), err)
				}
				around := append(append([]byte("DIDL and whatever "), one...), "more"...)
				if sender, number, ok := template.find(around); !ok || sender != 7 || number != 1<<40+5 {
					t.Errorf("size %d: found %d, %d, %t", size, sender, number, ok)
				}
				if sender, number, ok := template.find(other); !ok || sender != 100_000 || number != 1 {
					t.Errorf("size %d: found %d, %d, %t", size, sender, number, ok)
				}
			}
		})
	}
	template, err := newTemplate("--content", "text", markLength, run)
	if err != nil {
		t.Fatal(err)
	}
	mark := template.make(1, 1)
	another, err := newTemplate("--content", "text", markLength, [runLength / 2]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty":          nil,
		"cut":            mark[:len(mark)-1],
		"of another run": another.make(1, 1),
		"no number":      append(mark[:len(mark)-1:len(mark)-1], 'x'),
	} {
		if _, _, ok := template.find(content); ok {
			t.Errorf("%s: found", name)
		}
	}
	for name, content := range map[string]string{
		"neither":       "json",
		"no Candid":     "variant { {payload} ",
		"not in a text": "(variant { {payload} })",
		"a number":      `(record { a = 300 : nat8; b = "{payload}" })`,
		"in an escape":  `"\{payload}"`,
		"a comment":     `"a" // {payload}`,
		"twice":         `(record { a = "{payload}"; b = "{payload}" })`,
	} {
		if _, err := newTemplate("--content", content, 100, run); err == nil || !strings.HasPrefix(err.Error(), "--content: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSupplyTarget(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		senders int
		want    int
	}{
		"what a rate needs":       {Options{Rate: 1000, Duration: 10 * time.Second}, 100, 102},
		"a minute at most":        {Options{Rate: 1000, Duration: time.Hour}, 1000, 62},
		"no rate":                 {Options{Duration: time.Second}, 100, 202},
		"many senders":            {Options{Duration: time.Hour}, 100_000, 2},
		"more senders than bound": {Options{Duration: time.Hour}, 900_000, 1},
		"large messages":          {Options{Size: 1 << 20, Duration: time.Hour}, 10, 51},
	} {
		if got := supplyTarget(test.options, test.senders); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestSpread(t *testing.T) {
	for name, test := range map[string]struct {
		gateway string
		clients int
		want    bool
	}{
		"few":             {"ws://127.0.0.1:8080", 10_000, false},
		"many":            {"ws://127.0.0.1:8080", 50_000, true},
		"on another host": {"wss://gateway.example", 50_000, false},
		"IPv6":            {"ws://[::1]:8080", 50_000, false},
		"by name":         {"ws://localhost:8080", 50_000, true},
	} {
		if got := spread(Options{Gateway: test.gateway, Clients: test.clients}) > 0; got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if first, last := localAddress(0), localAddress(maxClients/portsOfAnAddress); first.String() != "127.0.0.1" || !last.IsLoopback() {
		t.Errorf("%s to %s", first, last)
	}
}

// TestDialer: as the client's own, it goes through the environment's proxy.
func TestDialer(t *testing.T) {
	if c := (&crowd{}); c.dialer(&member{}).Proxy == nil {
		t.Error("no proxy is asked for")
	}
}

func TestAllowFiles(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := allowFiles(10); err != nil {
		t.Error(err)
	}
	var after syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &after); err != nil || after != limit {
		t.Errorf("%v became %v: %v", limit, after, err)
	}
	if err := allowFiles(1 << 40); err == nil || !strings.Contains(err.Error(), "ulimit -n 1099511627876") {
		t.Errorf("got %v", err)
	}
}
