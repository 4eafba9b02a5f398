package soak

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/client"
)

const (
	ann = candid.Principal("\x01ann\x02")
	ben = candid.Principal("\x01ben\x02")

	target = candid.Principal("\x01target\x02")
)

func kindOf(method string) *kind {
	for i := range kinds {
		if kinds[i].method == method {
			return &kinds[i]
		}
	}
	panic(method)
}

// sane is a history that has nothing wrong with it: Ann's connection 1, which
// stays, and Ben's connection 2, which was killed.
func sane() *history {
	clock := uint64(0)
	tick := func() uint64 { clock++; return clock }
	connect := func(who candid.Principal, nonce uint64, before, most uint64, methods ...string) *session {
		s := newSession(who, nonce, "A")
		s.before = knowledge{at: tick(), known: map[string]uint64{postStream: before}}
		s.open = knowledge{at: tick(), most: map[string]uint64{postStream: most}}
		s.conn = new(client.Conn) // nobody asks it
		for _, m := range methods {
			s.sent = append(s.sent, sentMessage{kind: kindOf(m), at: tick()})
		}
		return s
	}
	a := connect(ann, 1, 2, 3, "note", "trap", "late", "tell", "note", "post", "push")
	b := connect(ben, 2, 3, 4, "note", "shout", "post", "note", "note")
	a.stayed = true
	a.noted = map[uint64]int{1: 1}
	a.failed = map[uint64]int{2: 1, 3: 1}
	a.nameless = []string{"IC0508: Canister " + target.String() + " is stopped"} // number 5
	a.answered, a.acknowledged = 3, 7
	a.shouted = map[note]int{{2, 2}: 1}
	a.streams[postStream] = []item{{1, note{9, 2}}, {2, note{9, 3}}, {3, note{1, 6}}, {4, note{2, 3}}}
	a.streams["connection 1"] = []item{{0, note{1, 7}}}
	b.how, b.endedAt = killed, time.Unix(0, 0)
	b.noted = map[uint64]int{1: 1}
	b.answered = 1
	b.streams[postStream] = []item{{2, note{9, 3}}}

	entries := []entry{}
	write := func(who candid.Principal, connection uint64, what string, number uint64) {
		entries = append(entries, entry{what: what, client: who, note: note{connection, number}})
	}
	write(ann, 1, "opened", 0)
	write(ann, 1, "note", 1)
	write(ben, 2, "opened", 0)
	write(ann, 1, "late", 3)
	write(ben, 2, "note", 1)
	write(ben, 2, "shout", 2)
	write(ann, 1, "tell", 4)
	write(ann, 1, "post", 6)
	write(ben, 2, "post", 3)
	write(ann, 1, "push", 7)
	write(ben, 2, "note", 4) // nobody has heard that it arrived
	write(ben, 2, "closed", 0)
	write(ann, 1, "closed", 0)
	return &history{
		target:   target,
		sessions: []*session{a, b},
		entries:  entries,
		streams: map[string]*stream{
			postStream:     {last: 2, items: []sentItem{{cause: note{9, 1}}, {cause: note{9, 2}}, {cause: note{9, 3}}, {cause: note{1, 6}}, {cause: note{2, 3}}}},
			"connection 1": {items: []sentItem{{cause: note{1, 7}}}},
			"connection 2": {items: []sentItem{{cause: note{2, 9}, skipped: true}}},
		},
	}
}

func TestCheckFindsNothing(t *testing.T) {
	if got := sane().check(true); len(got) > 0 {
		t.Errorf("found:\n%s", strings.Join(got, "\n"))
	}
}

// Whatever goes wrong is found.
func TestCheckFinds(t *testing.T) {
	// entry replaces, or with "" removes, what the diary has of a number.
	change := func(n note, by ...entry) func(*history) {
		return func(h *history) {
			for i, e := range h.entries {
				if e.note == n && e.what != "closed" {
					h.entries = append(h.entries[:i:i], append(by, h.entries[i+1:]...)...)
					return
				}
			}
		}
	}
	a := func(f func(*session)) func(*history) { return func(h *history) { f(h.sessions[0]) } }
	b := func(f func(*session)) func(*history) { return func(h *history) { f(h.sessions[1]) } }
	posts := func(items ...item) func(*history) {
		return a(func(s *session) { s.streams[postStream] = items })
	}
	for _, tc := range []struct {
		name   string
		change func(*history)
		want   string
	}{
		{"a note is lost", change(note{1, 4}), "a lost note"},
		{"the last note is lost", change(note{1, 7}), "a lost note"},
		{"a confirmed note of a broken connection is lost", change(note{2, 1}), "a lost note"},
		{"a gap before an unconfirmed note", change(note{2, 2}), "a lost note"},
		{"everything sent before a close must be there", b(func(s *session) { s.how = closed }), "a lost note"},
		{"a note twice", change(note{1, 4}, entry{"tell", ann, note{1, 4}}, entry{"tell", ann, note{1, 4}}), "a note twice"},
		{"out of order", change(note{1, 6}, entry{"push", ann, note{1, 7}}, entry{"post", ann, note{1, 6}}), "a note twice, or out of order"},
		{"to another method", change(note{1, 4}, entry{"note", ann, note{1, 4}}), "a note to another method"},
		{"in another's name", change(note{1, 4}, entry{"tell", ben, note{1, 4}}), "a note in another client's name"},
		{"without a name", change(note{1, 4}, entry{"tell", "", note{1, 4}}), "a note in another client's name"},
		{"never sent", change(note{1, 7}, entry{"push", ann, note{1, 7}}, entry{"note", ann, note{1, 8}}), "a note that was not sent"},
		{"of nobody", change(note{1, 4}, entry{"tell", ann, note{1, 4}}, entry{"tell", ann, note{3, 1}}), "a note of nobody"},
		{"not opened", change(note{2, 0}), "a connection that was not announced"},
		{"opened twice", change(note{2, 0}, entry{"opened", ben, note{2, 0}}, entry{"opened", ben, note{2, 0}}), "a connection announced twice"},
		{"not closed", func(h *history) { h.entries = h.entries[:len(h.entries)-1] }, "a connection whose end was not announced"},
		{"closed too early", func(h *history) {
			last := len(h.entries) - 2
			h.entries = append([]entry{h.entries[2], h.entries[last]}, append(h.entries[:2:2], append(h.entries[3:last:last], h.entries[last+1:]...)...)...)
		}, "a connection announced twice"},

		{"an answer twice", a(func(s *session) { s.noted[1] = 2 }), "an answer twice"},
		{"a failure twice", a(func(s *session) { s.failed[2] = 2 }), "an answer twice"},
		{"no answer", a(func(s *session) { delete(s.noted, 1) }), "a missing answer"},
		{"no failure", a(func(s *session) { delete(s.failed, 3) }), "a missing answer"},
		{"no nameless failure", a(func(s *session) { s.nameless = nil }), "a missing answer"},
		{"a nameless failure too many", a(func(s *session) { s.nameless = append(s.nameless, s.nameless...) }), "a missing answer"},
		{"an answer and a failure", a(func(s *session) { s.failed[1] = 1 }), "a wrong answer"},
		{"an answer to what has none", a(func(s *session) { s.noted[4] = 1 }), "a wrong answer"},
		{"an answer to what never came", b(func(s *session) { s.noted[5] = 1 }), "an answer to what is not written down"},
		{"another failure", a(func(s *session) { s.nameless[0] = "IC0503: trapped" }), "a failure without a reason"},
		{"the failure of another canister", a(func(s *session) { s.nameless[0] = "IC0509: Canister " + ann.String() + " is stopping" }), "a failure without a reason"},
		{"a strange message", a(func(s *session) { s.problem("?") }), "a message that nobody can have sent"},

		{"lost", b(func(s *session) { s.how, s.closeErr = lost, errors.New("gone") }), "a connection that ended by itself"},
		{"not closed well", b(func(s *session) { s.how, s.closeErr = closed, errors.New("late") }), "a connection that did not close"},

		{"a lost item", posts(item{1, note{9, 2}}, item{2, note{9, 3}}, item{4, note{2, 3}}), "a lost item"},
		{"an item twice", posts(item{1, note{9, 2}}, item{2, note{9, 3}}, item{2, note{9, 3}}), "an item twice"},
		{"items out of order", posts(item{1, note{9, 2}}, item{3, note{1, 6}}, item{2, note{9, 3}}), "an item twice, or out of order"},
		{"an unknown item", posts(item{1, note{9, 9}}), "an item from nowhere"},
		{"it breaks off", posts(item{1, note{9, 2}}, item{2, note{9, 3}}), "a stream that broke off"},
		{"it never comes", posts(), "a stream that never came"},
		{"too few for a newcomer", posts(item{2, note{9, 3}}, item{3, note{1, 6}}, item{4, note{2, 3}}), "a newcomer misses items"},
		{"too many for a newcomer", b(func(s *session) { s.streams[postStream] = []item{{0, note{9, 1}}, {1, note{9, 2}}} }), "a newcomer gets too much"},
		{"an item of the target twice", func(h *history) { h.append(postStream, sentItem{cause: note{9, 1}}) }, "an item of the target twice"},
		{"a letter for the wrong one", func(h *history) {
			h.sessions[0].sent[3].to = ann
			h.append(letterStream(ben), sentItem{cause: note{1, 4}})
		}, "a letter to somebody else"},
		{"a push is lost", a(func(s *session) { delete(s.streams, "connection 1") }), "a stream that never came"},
		{"a push for another", a(func(s *session) { s.streams["connection 2"] = []item{{0, note{2, 9}}} }), "a message for somebody else"},
		{"a letter for another", a(func(s *session) { s.streams[letterStream(ben)] = []item{{0, note{2, 9}}} }), "a message for somebody else"},
		{"a push that was refused", b(func(s *session) { s.streams["connection 2"] = []item{{0, note{2, 9}}} }), "a push that was refused, and came"},

		{"a shout twice", a(func(s *session) { s.shouted[note{2, 2}] = 2 }), "a shout twice"},
		{"a shout of nobody", a(func(s *session) { s.shouted[note{2, 3}] = 1 }), "a shout twice, or of nobody"},
		{"a lost shout", a(func(s *session) { s.shouted = nil }), "a lost shout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := sane()
			tc.change(h)
			got := h.check(true)
			for _, line := range got {
				if strings.HasPrefix(line, tc.want) {
					return
				}
			}
			t.Errorf("want %q, found:\n%s", tc.want, strings.Join(got, "\n"))
		})
	}
}

// Messages of every kind are read back as what they are.
func TestNamed(t *testing.T) {
	for text, want := range map[string]note{
		"Canister called `ic0.trap` with message: '<17 4>'": {17, 4},
		"<18446744073709551615 1>":                          {1<<64 - 1, 1},
		"Canister x is stopped":                             {},
		"a < b":                                             {},
	} {
		if got := named(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// A trouble excuses what it may have caused, and nothing else.
func TestTroubleCovers(t *testing.T) {
	from := time.Unix(1000, 0)
	tr := &trouble{from: from, to: from.Add(10 * time.Second), gateway: "B", reasons: []string{"the gateway stops"}}
	for _, tc := range []struct {
		name    string
		gateway string
		how     ending
		after   time.Duration
		reason  string
		want    bool
	}{
		{"lost", "B", lost, time.Second, "the gateway stops", true},
		{"lost later", "B", lost, time.Minute, "the gateway stops", true},
		{"lost much later", "B", lost, 71 * time.Second, "the gateway stops", false},
		{"lost before", "B", lost, -time.Second, "the gateway stops", false},
		{"lost for another reason", "B", lost, time.Second, "a message is missing", false},
		{"lost at another gateway", "A", lost, time.Second, "the gateway stops", false},
		{"closed meanwhile", "B", closed, time.Second, "", true},
		{"closed a little later", "B", closed, 14 * time.Second, "", true},
		{"closed later", "B", closed, 16 * time.Second, "", false},
		{"closed before", "B", closed, -time.Second, "", false},
		{"killed", "B", killed, time.Second, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSession(ann, 1, tc.gateway)
			s.how, s.endedAt, s.closeErr = tc.how, from.Add(tc.after), errors.New(tc.reason)
			if got := tr.covers(s); got != tc.want {
				t.Errorf("covers = %v", got)
			}
		})
	}
}
