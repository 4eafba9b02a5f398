//go:build wasm64

package canister_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// go test -tags wasm64 -run TestCostTable -v ./canister          prints the table
// go test -tags wasm64 -run TestCostTable ./canister -update     writes it to docs/cost.md
var update = flag.Bool("update", false, "write the measured table to docs/cost.md")

// costRow is a kind of message and what there is when it comes.
type costRow struct {
	name     string
	clients  int
	settings settings
	times    int
	do       func(w *stage) func(int)
	// pushed: a target calls, and pays for the call; here an admin stands for it.
	pushed bool
}

var (
	plain    = settings{routed: []call{{method: method{name: "put"}}}}
	replying = settings{routed: []call{{method: method{name: "echo"}, reply: "Sender"}}}
	routed   = settings{routed: []call{{method: method{name: "putAs"}, tag: "Say", passClient: true, reply: "Sender", replyTag: "Said"}}}
	hooked   = settings{hooks: []hook{{open: "opened", close: "closed"}}}
	resuming = settings{resumeMs: resumeMs}
)

func costRows() []costRow {
	open := func(w *stage) func(int) { return w.openOne }
	closing := func(w *stage) func(int) { return w.closeOne }
	message := func(w *stage) func(int) { return w.message }
	tagged := func(w *stage) func(int) {
		said := textVariant(w.t, "Say", strings.Repeat("0123456789", 10))
		return func(int) { w.conns[0].send(said) }
	}
	back := func(w *stage) func(int) {
		const away = 20
		for n := range away {
			c := w.open(client(1000+n), 1, gateway1)
			for range away {
				w.tell(c.key.Principal, strings.Repeat("0123456789", 10))
			}
			w.lose(c)
		}
		return func(i int) { w.open(client(1000+i), 2, gateway1) }
	}
	return []costRow{
		{name: "a client opens", clients: 10, times: 50, do: open},
		{name: "a client opens, with a hook", clients: 10, settings: hooked, times: 50, do: open},
		{name: "a client's message to a method", clients: 10, settings: plain, times: 100, do: message},
		{name: "the same, and the reply to the sender", clients: 10, settings: replying, times: 100, do: message},
		{name: "the same by variant tag, with `pass_client` and `reply_tag`", clients: 10, settings: routed, times: 100, do: tagged},
		{name: "a client's sign of life", clients: 10, times: 100, do: func(w *stage) func(int) { return w.keepAlive }},
		{name: "a client closes", clients: 60, times: 50, do: closing},
		{name: "`send` to one client", clients: 10, times: 200, pushed: true, do: func(w *stage) func(int) { return w.sendOne }},
		{name: "`broadcast` to 10 clients", clients: 10, times: 50, pushed: true, do: func(w *stage) func(int) { return w.sendAll }},
		{name: "`broadcast` to 100 clients", clients: 100, times: 20, pushed: true, do: func(w *stage) func(int) { return w.sendAll }},
		{name: "`send` to one client, with `resume`", clients: 10, settings: resuming, times: 200, pushed: true, do: func(w *stage) func(int) { return w.sendOne }},
		{name: "`broadcast` to 100 clients, with `resume`", clients: 100, settings: resuming, times: 20, pushed: true, do: func(w *stage) func(int) { return w.sendAll }},
		{name: "a client is back, and 20 messages are sent again", clients: 10, settings: resuming, times: 20, do: back},
		{name: "`relay_pull`, one new item for one client", clients: 1, times: 100, do: func(w *stage) func(int) { return w.item }},
		{name: "`relay_pull`, one new item for 10 clients", clients: 10, times: 50, do: func(w *stage) func(int) { return w.item }},
		{name: "`relay_pull`, one new item for 100 clients", clients: 100, times: 20, do: func(w *stage) func(int) { return w.item }},
		{name: "`relay_pull`, nothing new", clients: 10, times: 50, do: func(w *stage) func(int) { return w.pullOne }},
		{name: "an acknowledgement interval without clients", clients: 0, times: 10, do: func(w *stage) func(int) { return w.acknowledge }},
		{name: "an acknowledgement interval with 100 clients", clients: 100, times: 1, do: func(w *stage) func(int) { return w.acknowledge }},
		{name: "`ws_get_messages`, nothing there (query)", clients: 1, times: 20, do: func(w *stage) func(int) { return w.pollEnd }},
		{name: "`ws_get_messages` of 50 messages (query)", clients: 100, times: 20, do: func(w *stage) func(int) { return w.poll }},
	}
}

func (row costRow) measure(t *testing.T) cost {
	queued := uint64(51)
	if row.clients == 0 {
		queued = 0
	}
	w := newStage(t, row.clients, queued, row.settings)
	c := w.repeat(row.times, row.do(w))
	if row.pushed {
		c.ingress, c.ingressBytes = 0, 0
	}
	return c
}

const tableHeader = "| message | ingress | calls | executions | instructions | pages | cycles |\n|---|---|---|---|---|---|---|\n"

// line is the row of the table for one message.
func (row costRow) line(c cost) string {
	one := func(n int) string {
		if n%row.times == 0 {
			return strconv.Itoa(n / row.times)
		}
		return fmt.Sprintf("%.1f", float64(n)/float64(row.times))
	}
	times := count(row.times)
	ingress, calls := one(c.ingress), fmt.Sprintf("%s + %s", one(c.targetCalls), one(c.selfCalls))
	if row.pushed {
		calls = "by the target"
	}
	cycles := fmt.Sprintf("%.1f M", float64(c.cycles())/float64(times)/1e6)
	if strings.HasSuffix(row.name, "(query)") {
		calls, cycles = "-", "free"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |\n", row.name, ingress, calls, one(c.executions), thousands(c.instructions/times), one(c.pages), cycles)
}

// thousands writes a number in full thousands.
func thousands(n uint64) string {
	n = (n + 500) / 1000
	if n >= 1000 {
		return fmt.Sprintf("%d,%03d,000", n/1000, n%1000)
	}
	return fmt.Sprintf("%d,000", n)
}

// TestCostTable measures what docs/cost.md tells, and fails when that is off by more than a tenth.
func TestCostTable(t *testing.T) {
	const file = "../docs/cost.md"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(doc), tableHeader)
	if !ok {
		t.Fatalf("%s has no table that begins with\n%s", file, tableHeader)
	}
	told := map[string]string{}
	for strings.HasPrefix(after, "| ") {
		var line string
		line, after, _ = strings.Cut(after, "\n")
		name, _, _ := strings.Cut(line[2:], " |")
		told[name] = line + "\n"
	}
	var table strings.Builder
	for _, row := range costRows() {
		c := row.measure(t)
		line := row.line(c)
		table.WriteString(line)
		if *update {
			continue
		}
		if !near(told[row.name], line) {
			t.Errorf("%s tells\n%smeasured is\n%sgo test -tags wasm64 -run TestCostTable ./canister -update", file, told[row.name], line)
		}
		delete(told, row.name)
	}
	t.Logf("\n%s%s", tableHeader, table.String())
	if *update {
		if err := os.WriteFile(file, []byte(before+tableHeader+table.String()+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name := range told {
		t.Errorf("%s tells of %q, which nobody measures", file, name)
	}
}

// near reports whether two lines have the same words, and numbers that differ by at
// most a tenth; pages, which depend on where the garbage collector is, by a quarter and two.
func near(a, b string) bool {
	x, y := strings.Split(strings.ReplaceAll(a, ",", ""), "|"), strings.Split(strings.ReplaceAll(b, ",", ""), "|")
	if len(x) != len(y) {
		return false
	}
	const pages = 6
	for i := range x {
		words, others := strings.Fields(x[i]), strings.Fields(y[i])
		if len(words) != len(others) {
			return false
		}
		for k := range words {
			n, err := strconv.ParseFloat(words[k], 64)
			m, err2 := strconv.ParseFloat(others[k], 64)
			if (err != nil || err2 != nil) && words[k] != others[k] {
				return false
			}
			allowed := 0.1 * max(n, m)
			if i == pages {
				allowed = 0.25*max(n, m) + 2
			}
			if max(n, m)-min(n, m) > allowed {
				return false
			}
		}
	}
	return true
}

func TestNear(t *testing.T) {
	const line = "| a client opens | 1 | 1 + 2 | 6 | 885,000 | 9.7 | 33.1 M |\n"
	for other, want := range map[string]bool{
		line: true,
		"| a client opens | 1 | 1 + 2 | 6 | 805,000 | 9.7 | 33.1 M |\n":  true,
		"| a client opens | 1 | 1 + 2 | 6 | 785,000 | 9.7 | 33.1 M |\n":  false,
		"| a client opens | 1 | 1 + 2 | 6 | 885,000 | 13.7 | 33.1 M |\n": true,
		"| a client opens | 1 | 1 + 2 | 6 | 885,000 | 19.7 | 33.1 M |\n": false,
		"| a client opens | 1 | 1 + 2 | 6 | 885,000 | 9.7 | 43.1 M |\n":  false,
		"| a client opens | 1 | 1 + 1 | 6 | 885,000 | 9.7 | 33.1 M |\n":  false,
		"| a client opens | 1 | 1 + 2 | 5 | 885,000 | 9.7 | 33.1 M |\n":  false,
		"| a client shuts | 1 | 1 + 2 | 6 | 885,000 | 9.7 | 33.1 M |\n":  false,
		"| a client opens | 1 | 1 + 2 | 6 | 885,000 | 9.7 | free |\n":    false,
		"": false,
	} {
		if near(line, other) != want || near(other, line) != want {
			t.Errorf("%q: expected %v", other, want)
		}
	}
}
