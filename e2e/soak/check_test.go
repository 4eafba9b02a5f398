package soak

import (
	"fmt"
	"slices"
	"strings"

	"github.com/icrelay/icrelay/candid"
)

// findings collects what is wrong, the first of each sort in full.
type findings struct {
	list  []string
	count map[string]int
}

func (f *findings) add(sort, format string, args ...any) {
	if f.count == nil {
		f.count = make(map[string]int)
	}
	if f.count[sort]++; f.count[sort] <= 5 {
		f.list = append(f.list, sort+": "+fmt.Sprintf(format, args...))
	}
}

// all ends with how often there was more of the same.
func (f *findings) all() []string {
	var more []string
	for sort, n := range f.count {
		if n > 5 {
			more = append(more, fmt.Sprintf("%s: %d times in all", sort, n))
		}
	}
	slices.Sort(more)
	return append(f.list, more...)
}

// check returns what is wrong. With everybodyLeft no connection is open any more.
func (h *history) check(everybodyLeft bool) []string {
	f := &findings{}
	pages := h.byConnection(f)
	for _, s := range h.sessions {
		s.mu.Lock()
		for _, p := range s.problems {
			f.add("a message that nobody can have sent", "%s: %s", s, p)
		}
		checkEnding(f, s)
		checkDiary(f, s, pages[s.nonce], everybodyLeft)
		checkAnswers(f, s, pages[s.nonce], h.target)
		s.mu.Unlock()
	}
	h.checkStreams(f)
	h.checkShouts(f)
	return f.all()
}

// byConnection sorts what the diary has written down by connection, in its order.
func (h *history) byConnection(f *findings) map[uint64][]entry {
	known := make(map[uint64]*session, len(h.sessions))
	for _, s := range h.sessions {
		known[s.nonce] = s
	}
	pages := make(map[uint64][]entry)
	for _, e := range h.entries {
		s := known[e.connection]
		switch {
		case s == nil:
			f.add("a note of nobody", "%s %s", e.what, e.note)
		case e.client != s.client && (e.client != "" || e.what != "plain"):
			f.add("a note in another client's name", "%s %s: %s, it is of %s", e.what, e.note, e.client, s)
		}
		pages[e.connection] = append(pages[e.connection], e)
	}
	return pages
}

// checkEnding: connections end when clients want that, and not otherwise.
func checkEnding(f *findings, s *session) {
	if s.how == lost && !s.excused {
		f.add("a connection that ended by itself", "%s, %d sent, %d answered: %v", s, len(s.sent), s.answered, s.closeErr)
	}
	if s.how == closed && s.closeErr != nil && !s.excused {
		f.add("a connection that did not close", "%s: %v", s, s.closeErr)
	}
}

// certain is the number up to which the canister must have got what was sent.
func (s *session) certain() uint64 {
	if s.stayed || s.how == closed && s.closeErr == nil && !s.excused {
		return uint64(len(s.sent))
	}
	return s.confirmed()
}

// checkDiary: what arrived is written down once, in order, without gaps, from
// the opening of the connection to its end.
func checkDiary(f *findings, s *session, page []entry, everybodyLeft bool) {
	if s.conn == nil && len(page) == 0 {
		return // nobody let it in
	}
	if len(page) == 0 || page[0].what != "opened" {
		f.add("a connection that was not announced", "%s: %d entries, the first is %+v; it was asked for at %d; %s", s, len(page), page[:min(1, len(page))], s.open.at, s.describe())
		return
	}
	page = page[1:]
	if n := len(page); n > 0 && page[n-1].what == "closed" {
		page = page[:n-1]
	} else if everybodyLeft {
		f.add("a connection whose end was not announced", "%s, ended at %s: %v", s, s.endedAt.Format("15:04:05.000"), s.closeErr)
	}

	next := uint64(1) // the first number that has not come
	var missing []uint64
	for _, e := range page {
		switch {
		case e.what == "opened" || e.what == "closed":
			f.add("a connection announced twice", "%s: %s", s, e.what)
			continue
		case e.number == 0 || e.number > uint64(len(s.sent)):
			f.add("a note that was not sent", "%s: %s, %d were sent", e.what, e.note, len(s.sent))
			continue
		case e.number < next:
			f.add("a note twice, or out of order", "%s: %s after %d", e.what, e.note, next-1)
			continue
		}
		if k := s.sent[e.number-1].kind; k.method != e.what {
			f.add("a note to another method", "%s: %s, it was for %s", e.what, e.note, k.method)
		}
		missing = append(missing, s.unwritten(next, e.number)...)
		next = e.number + 1
	}
	missing = append(missing, s.unwritten(next, s.certain()+1)...)
	if len(missing) > len(s.nameless) {
		f.add("a lost note", "%s: %v of %d are not written down, %d failed without a name; %s", s, missing, s.certain(), len(s.nameless), s.describe())
	}
}

// unwritten are those of the numbers from and up to but not including to that
// should have been written down.
func (s *session) unwritten(from, to uint64) []uint64 {
	var numbers []uint64
	for n := from; n < to; n++ {
		if !s.sent[n-1].kind.silent {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func (s *session) describe() string {
	return fmt.Sprintf("%s (%v), %d sent, %d acknowledged, %d answered", s.how, s.closeErr, len(s.sent), s.acknowledged, s.answered)
}

// checkAnswers: each message has one answer, of the right kind. One that failed
// because the target was stopped has an answer that does not name it.
func checkAnswers(f *findings, s *session, page []entry, target candid.Principal) {
	written := make(map[uint64]bool, len(page))
	for _, e := range page {
		written[e.number] = true
	}
	for _, text := range s.nameless {
		if !strings.Contains(text, target.String()+" is stopp") { // stopped, stopping
			f.add("a failure without a reason", "%s: %s", s, text)
		}
	}
	unanswered := 0
	for i, m := range s.sent {
		n := uint64(i + 1)
		noted, failed := s.noted[n], s.failed[n]
		if noted > 1 || failed > 1 {
			f.add("an answer twice", "%s of %s: %d answers, %d failures", note{s.nonce, n}, s, noted, failed)
		}
		if noted > 0 && !m.kind.noted() || failed > 0 && !m.kind.fails {
			f.add("a wrong answer", "%s to %s: %d answers, %d failures", note{s.nonce, n}, m.kind.method, noted, failed)
		}
		if noted > 0 && !written[n] {
			f.add("an answer to what is not written down", "%s", note{s.nonce, n})
		}
		isOpen := noted+failed == 0
		if !m.kind.noted() && !m.kind.fails {
			isOpen = !written[n]
		}
		if isOpen {
			unanswered++
		}
	}
	if s.stayed && unanswered != len(s.nameless) {
		f.add("a missing answer", "%s: %d of %d messages have none, %d failed without a name", s, unanswered, len(s.sent), len(s.nameless))
	}
}

// sender gives the message that a note was.
func (h *history) sender() func(note) sentMessage {
	known := make(map[uint64]*session, len(h.sessions))
	for _, s := range h.sessions {
		known[s.nonce] = s
	}
	return func(n note) sentMessage {
		s := known[n.connection]
		if s == nil || n.number == 0 || n.number > uint64(len(s.sent)) {
			return sentMessage{} // found elsewhere
		}
		return s.sent[n.number-1]
	}
}

// checkStreams: a client gets what comes after it joined, and the last so many
// before that, in order, without gap or repetition, and nothing that is not for it.
func (h *history) checkStreams(f *findings) {
	sent := h.sender()
	places := make(map[string]map[note]int)
	for name, st := range h.streams {
		places[name] = make(map[note]int, len(st.items))
		for i, it := range st.items {
			if _, twice := places[name][it.cause]; twice {
				f.add("an item of the target twice", "%s: %s", name, it.cause)
			}
			places[name][it.cause] = i
			if m := sent(it.cause); m.to != "" && letterStream(m.to) != name {
				f.add("a letter to somebody else", "%s, it was to %s", name, m.to)
			}
		}
	}
	for _, s := range h.sessions {
		s.mu.Lock()
		own := []string{postStream, tickStream, "everybody", letterStream(s.client),
			fmt.Sprintf("connection %d", s.nonce), "client " + s.client.String()}
		for name := range s.streams {
			if !slices.Contains(own, name) {
				f.add("a message for somebody else", "%s: of %s", s, name)
			}
		}
		for _, name := range own {
			if st := h.streams[name]; st != nil && s.conn != nil {
				checkStream(f, s, name, st, places[name], sent)
			}
		}
		s.mu.Unlock()
	}
}

func checkStream(f *findings, s *session, name string, st *stream, places map[note]int, sent func(note) sentMessage) {
	// The place of the first item that the client must get, if it stays for long enough.
	first := len(st.items)
	for i, it := range st.items {
		if !it.skipped && sent(it.cause).at > s.open.at {
			first = i
			break
		}
	}
	if st.last > 0 {
		first = min(first, place(s.open.most[name], st.last))
	}
	next := -1 // where the next item must be; -1: nothing came yet
	for _, it := range s.streams[name] {
		at, known := places[it.cause]
		switch {
		case !known:
			f.add("an item from nowhere", "%s: %s %d, caused by %s", s, name, it.index, it.cause)
			return
		case st.items[at].skipped:
			f.add("a push that was refused, and came", "%s: %s %d", s, name, at)
		case next < 0 && at > first:
			f.add("a newcomer misses items", "%s: %s begins at %d, not %d", s, name, at, first)
		case next < 0 && st.last > 0 && at < place(s.before.known[name], st.last):
			f.add("a newcomer gets too much", "%s: %s begins at %d; %d had come before, and the last %d are for newcomers", s, name, at, s.before.known[name], st.last)
		case next >= 0 && at < next:
			f.add("an item twice, or out of order", "%s: %s %d where %d is next", s, name, at, next)
			return
		case next >= 0 && at > next:
			f.add("a lost item", "%s: %s %d where %d is next", s, name, at, next)
		}
		next = st.after(at)
	}
	if end := st.after(-1); next < 0 && s.stayed && end < len(st.items) && first < len(st.items) {
		f.add("a stream that never came", "%s: %s from %d to %d", s, name, first, len(st.items)-1)
	} else if next >= 0 && s.stayed && next < len(st.items) {
		f.add("a stream that broke off", "%s: %s at %d of %d", s, name, next, len(st.items))
	}
}

// after is the place of the next item that was not skipped.
func (st *stream) after(at int) int {
	for at++; at < len(st.items) && st.items[at].skipped; at++ { //nolint:revive // nothing else to do
	}
	return at
}

// place is where the last so many of count items begin.
func place(count, last uint64) int { return int(count - min(count, last)) } //nolint:gosec // small

// checkShouts: replies for everybody reach everybody once. Replies have no order.
func (h *history) checkShouts(f *findings) {
	sent := h.sender()
	all := make(map[note]bool)
	for _, e := range h.entries {
		if e.what == "shout" {
			all[e.note] = true
		}
	}
	for _, s := range h.sessions {
		s.mu.Lock()
		for n, times := range s.shouted {
			if times > 1 || !all[n] {
				f.add("a shout twice, or of nobody", "%s: %s %d times", s, n, times)
			}
		}
		if s.stayed {
			for n := range all {
				if sent(n).at > s.open.at && s.shouted[n] == 0 {
					f.add("a lost shout", "%s: %s", s, n)
				}
			}
		}
		s.mu.Unlock()
	}
}
