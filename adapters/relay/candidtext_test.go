package relay

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/icrelay/icrelay/candid"
)

// This file reads Candid text (Candid specification, "Textual format" of
// values), as far as a configuration needs it, independently of text.go.

// A node is a value: a record, a vec, a text, a principal, a number with its
// type, true, a tag, or an opt of one.
type node struct {
	kind   string // of the above, "null" for the opt without
	text   string
	number uint64
	fields map[string]node
	list   []node // elements; the one in an opt
}

type textParser struct {
	t    testing.TB
	rest string
}

func parseText(t testing.TB, text string) node {
	t.Helper()
	p := &textParser{t, text}
	p.expect("(")
	n := p.value()
	p.expect(")")
	if p.peek() != "" {
		t.Fatalf("text after the argument: %q", p.rest)
	}
	return n
}

// peek returns the next token: a word, a text literal, or a sign.
func (p *textParser) peek() string {
	p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace)
	switch {
	case p.rest == "":
		return ""
	case p.rest[0] == '"':
		end := 1
		for end < len(p.rest) && p.rest[end] != '"' {
			if p.rest[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(p.rest) {
			p.t.Fatalf("a text without end: %q", p.rest)
		}
		return p.rest[:end+1]
	}
	end := strings.IndexFunc(p.rest, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	switch end {
	case -1:
		return p.rest
	case 0:
		return p.rest[:1]
	}
	return p.rest[:end]
}

func (p *textParser) next() string {
	token := p.peek()
	p.rest = p.rest[len(token):]
	return token
}

func (p *textParser) expect(want string) {
	p.t.Helper()
	if got := p.next(); got != want {
		p.t.Fatalf("%q where %q is expected, before %q", got, want, p.rest)
	}
}

func (p *textParser) value() node {
	p.t.Helper()
	switch token := p.next(); {
	case token == "(":
		n := p.value()
		if p.peek() == ":" {
			p.next()
			n.text = p.next() // a number's type
		}
		p.expect(")")
		return n
	case token == "null":
		return node{kind: "null"}
	case token == "true":
		return node{kind: "true"}
	case token == "opt":
		return node{kind: "opt", list: []node{p.value()}}
	case token == "principal":
		return node{kind: "principal", text: p.literal(p.next())}
	case strings.HasPrefix(token, `"`):
		return node{kind: "text", text: p.literal(token)}
	case token == "variant":
		p.expect("{")
		n := node{kind: "variant", text: p.next()}
		p.expect("}")
		return n
	case token == "vec":
		n := node{kind: "vec"}
		p.braces(func() { n.list = append(n.list, p.value()) })
		return n
	case token == "record":
		n := node{kind: "record", fields: make(map[string]node)}
		p.braces(func() {
			name := p.next()
			p.expect("=")
			if _, twice := n.fields[name]; twice {
				p.t.Fatalf("field %s twice", name)
			}
			n.fields[name] = p.value()
		})
		return n
	default:
		number, err := strconv.ParseUint(token, 10, 64)
		if err != nil {
			p.t.Fatalf("no value: %q before %q", token, p.rest)
		}
		return node{kind: "number", number: number}
	}
}

// braces reads elements that end with or are separated by semicolons.
func (p *textParser) braces(element func()) {
	p.t.Helper()
	p.expect("{")
	for p.peek() != "}" {
		element()
		if p.peek() != "}" {
			p.expect(";")
		}
	}
	p.next()
}

func (p *textParser) literal(token string) string {
	p.t.Helper()
	var b strings.Builder
	body := strings.TrimSuffix(strings.TrimPrefix(token, `"`), `"`)
	for body != "" {
		if r := rune(body[0]); r < ' ' || r == 0x7f {
			p.t.Fatalf("a control character in %q", token)
		}
		if body[0] != '\\' {
			b.WriteByte(body[0])
			body = body[1:]
			continue
		}
		switch body[1] {
		case '"', '\\':
			b.WriteByte(body[1])
			body = body[2:]
		case 'u':
			code, after, ok := strings.Cut(strings.TrimPrefix(body, `\u{`), "}")
			n, err := strconv.ParseUint(code, 16, 21)
			if !ok || err != nil {
				p.t.Fatalf("an escape in %q", token)
			}
			b.WriteRune(rune(n))
			body = after
		default:
			p.t.Fatalf("an escape in %q", token)
		}
	}
	return b.String()
}

// settingsOfText reads a Config. Every field must be one that the type has.
func settingsOfText(t testing.TB, text string) (s Settings, number uint64) {
	t.Helper()
	r := &nodeReader{t, parseText(t, text)}
	s = Settings{
		Calls: elements(r.take("calls"), func(r *nodeReader) Call {
			c := Call{Target: r.target(), Tag: r.optText("tag"), ReplyTag: r.optText("reply_tag"), ErrorTag: r.optText("error_tag")}
			c.PassClient = r.opt("pass_client").kind == "true"
			if reply := r.opt("reply"); reply.kind == "variant" {
				c.Reply = map[string]Reply{"Nobody": ReplyNobody, "Sender": ReplySender, "Everybody": ReplyEverybody}[reply.text]
			}
			return c
		}, t),
		Feeds: elements(r.take("feeds"), func(r *nodeReader) Feed {
			return Feed{Target: r.target(), Tag: r.optText("tag"), Recipient: r.optText("recipient"), Last: r.optNat("last", "nat64"),
				Interval: time.Duration(r.optNat("interval_ms", "nat64")) * time.Millisecond}
		}, t),
		Hooks: elements(r.opt("hooks"), func(r *nodeReader) Hook {
			return Hook{Canister: r.principal(r.take("target")), Open: r.optText("open"), Close: r.optText("close")}
		}, t),
		AckInterval:      time.Duration(r.optNat("ack_interval_ms", "nat64")) * time.Millisecond,
		KeepAliveTimeout: time.Duration(r.optNat("keep_alive_timeout_ms", "nat64")) * time.Millisecond,
		MaxMessages:      r.optNat("max_messages", "nat64"),
		MaxCallsInFlight: r.optNat("max_calls_in_flight", "nat64"),
		Resume:           time.Duration(r.optNat("resume_ms", "nat64")) * time.Millisecond,
		ResumeTag:        r.optText("resume_tag"),
	}
	for _, p := range r.take("admins").list {
		s.Admins = append(s.Admins, r.principal(p))
	}
	for _, p := range r.opt("pushers").list {
		s.Pushers = append(s.Pushers, r.principal(p))
	}
	for _, p := range r.opt("gateways").list {
		s.Gateways = append(s.Gateways, r.principal(p))
	}
	number = r.optNat("interface", "nat32")
	r.end()
	return s, number
}

// A nodeReader takes fields out of a record.
type nodeReader struct {
	t    testing.TB
	node node
}

func elements[T any](n node, read func(*nodeReader) T, t testing.TB) []T {
	t.Helper()
	var out []T
	for _, element := range n.list {
		r := &nodeReader{t, element}
		out = append(out, read(r))
		r.end()
	}
	return out
}

func (r *nodeReader) take(name string) node {
	r.t.Helper()
	n, ok := r.node.fields[name]
	if !ok {
		r.t.Fatalf("no field %s in %v", name, r.node.fields)
	}
	delete(r.node.fields, name)
	return n
}

// opt is what an opt holds, the zero node where it is null or left out.
func (r *nodeReader) opt(name string) node {
	r.t.Helper()
	if _, ok := r.node.fields[name]; !ok {
		return node{}
	}
	switch n := r.take(name); n.kind {
	case "null":
	case "opt":
		return n.list[0]
	default:
		r.t.Fatalf("%s is a %s, not an opt", name, n.kind)
	}
	return node{}
}

func (r *nodeReader) optText(name string) string {
	r.t.Helper()
	n := r.opt(name)
	if n.kind != "" && n.kind != "text" {
		r.t.Fatalf("%s is a %s, not a text", name, n.kind)
	}
	return n.text
}

func (r *nodeReader) optNat(name, typ string) uint64 {
	r.t.Helper()
	n := r.opt(name)
	if n.kind != "" && (n.kind != "number" || n.text != typ) {
		r.t.Fatalf("%s is a %s : %s, not a %s", name, n.kind, n.text, typ)
	}
	return n.number
}

func (r *nodeReader) principal(n node) candid.Principal {
	r.t.Helper()
	p, err := candid.ParsePrincipal(n.text)
	if err != nil || n.kind != "principal" {
		r.t.Fatalf("%v: %v", n, err)
	}
	return p
}

func (r *nodeReader) target() Target {
	r.t.Helper()
	method := r.take("method")
	if method.kind != "text" {
		r.t.Fatalf("method is a %s", method.kind)
	}
	return Target{r.principal(r.take("target")), method.text}
}

func (r *nodeReader) end() {
	r.t.Helper()
	if len(r.node.fields) > 0 {
		r.t.Fatal("fields that nobody knows: " + fmt.Sprint(r.node.fields))
	}
}
