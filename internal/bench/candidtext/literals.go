package candidtext

import (
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

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
