package candidtext

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
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

// number is an integer or a float, in either case with or without a sign.
func (p *parser) number() node {
	n := node{at: p.at}
	start := p.at
	if c := p.text[p.at]; c == '+' || c == '-' {
		n.signed = true
		p.at++
	}
	hexadecimal := strings.HasPrefix(p.text[p.at:], "0x") || strings.HasPrefix(p.text[p.at:], "0X")
	exponent := "eE"
	if hexadecimal {
		exponent = "pP"
	}
	float := false
	for p.at < len(p.text) {
		c := p.text[p.at]
		sign := (c == '+' || c == '-') && strings.ContainsRune(exponent, rune(p.text[p.at-1]))
		if !isWord(c) && c != '.' && !sign {
			break
		}
		float = float || c == '.' || strings.ContainsRune(exponent, rune(c))
		p.at++
	}
	digits := p.text[start:p.at]
	if len(digits) > maxDigits {
		fail(start, "a number of more than %d digits", maxDigits)
	}
	if !float {
		var ok bool
		if n.integer, ok = integer(digits); !ok {
			fail(start, "%q is not a number", digits)
		}
		n.kind = kindInteger
		return n
	}
	// The specification's floats are Go's, but that the exponent of those in
	// hexadecimal may be left out there.
	if n.kind, n.text = kindFloat, strings.ReplaceAll(digits, "_", ""); hexadecimal && !strings.ContainsAny(digits, "pP") {
		n.text += "p0"
	}
	if badUnderscore(digits) || !isFloat(n.text, 64) {
		fail(start, "%q is not a number, or too large for one", digits)
	}
	return n
}

// integer reads digits with an optional sign, in hexadecimal after 0x.
func integer(digits string) (*big.Int, bool) {
	body := strings.TrimLeft(digits, "+-")
	base := 10
	if after, ok := strings.CutPrefix(strings.ToLower(body), "0x"); ok {
		body, base = after, 16
	}
	if len(body) > maxDigits || badUnderscore(body) {
		return nil, false
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(body, "_", ""), base)
	if ok && strings.HasPrefix(digits, "-") {
		n.Neg(n)
	}
	return n, ok
}

// badUnderscore reports whether an underscore is anywhere but between two digits.
func badUnderscore(digits string) bool {
	for i := range len(digits) {
		if digits[i] == '_' && (i == 0 || i == len(digits)-1 || !isDigit(digits[i-1]) || !isDigit(digits[i+1])) {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return isWord(c) && c != '_' }

func isFloat(text string, bits int) bool {
	_, err := strconv.ParseFloat(text, bits)
	return err == nil
}

// utf8 takes a text literal.
func (p *parser) utf8() string {
	p.space()
	at := p.at
	text := p.bytes()
	if !utf8.ValidString(text) {
		fail(at, "the text is not UTF-8; a blob may have any bytes")
	}
	return text
}

// bytes takes what stands between quotes, with its escapes resolved.
func (p *parser) bytes() string {
	p.space()
	start := p.at
	p.expect(`"`)
	var b strings.Builder
	for {
		end := strings.IndexAny(p.text[p.at:], `"\`)
		if end < 0 {
			fail(start, "a text without end")
		}
		b.WriteString(p.text[p.at : p.at+end])
		p.at += end + 1
		if p.text[p.at-1] == '"' {
			return b.String()
		}
		p.escape(&b)
	}
}

// escape takes what follows a backslash.
func (p *parser) escape(b *strings.Builder) {
	at, rest := p.at-1, p.text[p.at:]
	if rest == "" {
		fail(at, "a text without end")
	}
	if i := strings.IndexByte(`nrt\"'`, rest[0]); i >= 0 {
		b.WriteByte("\n\r\t\\\"'"[i])
		p.at++
		return
	}
	if after, ok := strings.CutPrefix(rest, "u{"); ok {
		digits, _, ok := strings.Cut(after[:min(len(after), maxDigits)], "}")
		n, valid := integer("0x" + digits)
		if !ok || !valid || !n.IsInt64() || n.Int64() > unicode.MaxRune || !utf8.ValidRune(rune(n.Int64())) { //nolint:gosec // bounded before
			fail(at, `\u{...} is not a character`)
		}
		b.WriteRune(rune(n.Int64())) //nolint:gosec // see above
		p.at += len("u{") + len(digits) + len("}")
		return
	}
	if len(rest) >= 2 {
		if n, err := strconv.ParseUint(rest[:2], 16, 8); err == nil {
			b.WriteByte(byte(n))
			p.at += 2
			return
		}
	}
	fail(at, `no escape: \n, \r, \t, \\, \", \', \u{...} or two hexadecimal digits are`)
}
