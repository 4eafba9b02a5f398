package candidtext

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/icrelay/icrelay/candid"
)

// Bounds of what is read. Texts come from people, so that they guard against
// accidents alone.
const (
	maxDepth  = 100
	maxDigits = 1000 // of a number
)

// kind is what a node was written as.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindInteger
	kindFloat
	kindText
	kindBlob
	kindPrincipal
	kindOpt
	kindVec
	kindRecord
	kindVariant
)

var kindNames = [...]string{"null", "a bool", "an integer", "a float", "a text", "a blob", "a principal", "an opt", "a vec", "a record", "a variant"}

// A node is a value as it was written.
type node struct {
	kind    kind
	at      int // in the text, for errors
	typ     *typ
	truth   bool
	integer *big.Int
	signed  bool   // whether the integer has a sign
	text    string // of texts, blobs and principals; the digits of floats
	elems   []node // of an opt, a vec, a record or a variant
	labels  []uint32
}

// parser reads a text from its beginning to its end.
type parser struct {
	text  string
	at    int
	depth int
}

// A failure is what parser functions panic with, so that each of them need not
// pass it on. Only the functions of this package that others call recover it.
type failure struct{ err error }

func fail(at int, format string, args ...any) {
	panic(failure{fmt.Errorf("position %d: %s", at+1, fmt.Sprintf(format, args...))})
}

// rescue turns a failure into an error.
func rescue(err *error) {
	switch f := recover().(type) {
	case nil:
	case failure:
		*err = f.err
	default:
		panic(f)
	}
}

// space skips white space and comments.
func (p *parser) space() {
	for {
		p.at = len(p.text) - len(strings.TrimLeftFunc(p.text[p.at:], unicode.IsSpace))
		switch rest := p.text[p.at:]; {
		case strings.HasPrefix(rest, "//"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			p.at += end
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest, "*/")
			if end < 0 {
				fail(p.at, "a comment without end")
			}
			p.at += end + len("*/")
		default:
			return
		}
	}
}

// try takes a sign if it is next.
func (p *parser) try(sign string) bool {
	p.space()
	if !strings.HasPrefix(p.text[p.at:], sign) {
		return false
	}
	p.at += len(sign)
	return true
}

func (p *parser) expect(sign string) {
	if !p.try(sign) {
		fail(p.at, "%q is expected, not %s", sign, p.found())
	}
}

// found is what stands where something else is expected.
func (p *parser) found() string {
	p.space()
	rest := p.text[p.at:]
	if rest == "" {
		return "the end"
	}
	if word := wordOf(rest); word != "" {
		return fmt.Sprintf("%.40q", word)
	}
	_, size := utf8.DecodeRuneInString(rest)
	return fmt.Sprintf("%q", rest[:size])
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func wordOf(text string) string {
	end := 0
	for end < len(text) && isWord(text[end]) {
		end++
	}
	return text[:end]
}

// word takes a name, a keyword or digits.
func (p *parser) word() string {
	p.space()
	word := wordOf(p.text[p.at:])
	p.at += len(word)
	return word
}

// arguments is `( value, value )`, or one value without the brackets.
func (p *parser) arguments() (args []node) {
	if !p.try("(") {
		args = append(args, p.annotated())
	} else {
		for !p.try(")") {
			args = append(args, p.annotated())
			if !p.try(",") {
				p.expect(")")
				break
			}
		}
	}
	if p.space(); p.at < len(p.text) {
		fail(p.at, "nothing more is expected, not %s", p.found())
	}
	return args
}

// annotated is a value, with or without a type.
func (p *parser) annotated() node {
	n := p.value()
	if p.try(":") {
		t := p.datatype()
		n.as(t)
		n.typ = t
	}
	return n
}

func (p *parser) deeper() func() {
	if p.depth++; p.depth > maxDepth {
		fail(p.at, "nested too deep")
	}
	return func() { p.depth-- }
}

func (p *parser) value() node {
	defer p.deeper()()
	p.space()
	n := node{at: p.at}
	switch rest := p.text[p.at:]; {
	case p.try("("):
		at := n.at
		n = p.annotated()
		n.at = at
		p.expect(")")
		return n
	case strings.HasPrefix(rest, `"`):
		n.kind, n.text = kindText, p.utf8()
		return n
	case rest != "" && strings.ContainsRune("+-0123456789", rune(rest[0])):
		return p.number()
	}
	switch word := p.word(); word {
	case "null":
		n.kind = kindNull
	case "true", "false":
		n.kind, n.truth = kindBool, word == "true"
	case "blob":
		n.kind, n.text = kindBlob, p.bytes()
	case "principal":
		n.kind = kindPrincipal
		principal, err := candid.ParsePrincipal(p.utf8())
		if err != nil {
			fail(n.at, "%v", err)
		}
		n.text = string(principal)
	case "opt":
		n.kind, n.elems = kindOpt, []node{p.value()}
	case "vec":
		n.kind = kindVec
		p.braces(func() { n.elems = append(n.elems, p.annotated()) })
	case "record":
		n.kind = kindRecord
		p.record(&n)
	case "variant":
		n.kind = kindVariant
		p.variant(&n)
	case "service", "func":
		fail(n.at, "a reference to a %s is not known here", word)
	default:
		p.at = n.at
		fail(p.at, "a value is expected, not %s", p.found())
	}
	return n
}

// braces reads elements with semicolons between them, or behind them.
func (p *parser) braces(element func()) {
	p.expect("{")
	for !p.try("}") {
		element()
		if !p.try(";") {
			p.expect("}")
			return
		}
	}
}

// record reads fields. One without a label has the number after that of the one
// before (Candid specification, "Shorthand: Tuple Fields").
func (p *parser) record(n *node) {
	next := uint64(0)
	p.braces(func() {
		p.space()
		at := p.at
		label, named := p.label("=")
		if !named {
			if next > math.MaxUint32 {
				fail(at, "no number is left for the field")
			}
			label = uint32(next)
		}
		for _, other := range n.labels {
			if other == label {
				fail(at, "the field is there twice, or another one has the same hash")
			}
		}
		next = uint64(label) + 1
		n.labels = append(n.labels, label)
		n.elems = append(n.elems, p.annotated())
	})
}

func (p *parser) variant(n *node) {
	p.expect("{")
	if label, named := p.label("="); named {
		n.labels, n.elems = []uint32{label}, []node{p.annotated()}
	} else if label, named = p.label(""); named {
		n.labels, n.elems = []uint32{label}, []node{{at: p.at}} // null
	} else {
		fail(p.at, "a tag is expected, not %s", p.found())
	}
	p.try(";")
	p.expect("}")
}

// label takes a label and the sign behind it, or nothing.
func (p *parser) label(sign string) (id uint32, found bool) {
	p.space()
	start := p.at
	switch rest := p.text[p.at:]; {
	case strings.HasPrefix(rest, `"`):
		id = candid.Hash(p.utf8())
	case rest != "" && rest[0] >= '0' && rest[0] <= '9':
		digits := p.word()
		if n, ok := integer(digits); ok && n.IsUint64() && n.Uint64() <= math.MaxUint32 {
			id = uint32(n.Uint64()) //nolint:gosec // see above
		} else if p.try(sign) {
			fail(start, "%q is no number of a field", digits)
		}
	default:
		word := p.word()
		if word == "" {
			return 0, false
		}
		id = candid.Hash(word)
	}
	if !p.try(sign) {
		p.at = start
		return 0, false
	}
	return id, true
}
