package candid

import (
	"fmt"
	"strconv"
)

// maxPrinted bounds the text that String makes of a value.
const maxPrinted = 4096

// String renders the value as Candid text, for logs and tests. Unknown field
// names appear as their hashes; long values are cut.
func (v Value) String() string {
	var p printer
	p.value(v)
	if p.cut {
		p.text = append(p.text, "..."...)
	}
	return string(p.text)
}

type printer struct {
	text []byte
	cut  bool
}

func (p *printer) put(s string) {
	if room := maxPrinted - len(p.text); len(s) > room {
		s, p.cut = s[:max(room, 0)], true
	}
	p.text = append(p.text, s...)
}

func (p *printer) value(v Value) {
	if p.cut {
		return
	}
	switch v.kind {
	case KindNone, KindNull, KindReserved, KindFuture:
		p.put(v.kind.String())
	case KindBool:
		p.put(strconv.FormatBool(v.word != 0))
	case KindNat, KindInt:
		n, _ := v.Big()
		p.put(n.String())
	case KindFloat:
		f, _ := v.Float()
		p.put(strconv.FormatFloat(f, 'g', -1, 64))
	case KindText:
		p.put(strconv.Quote(string(v.bytes[:min(len(v.bytes), maxPrinted)])))
	case KindPrincipal:
		p.put(`principal "` + Principal(v.bytes).String() + `"`)
	case KindBlob:
		p.put(fmt.Sprintf(`blob "%x"`, v.bytes[:min(len(v.bytes), maxPrinted)]))
	case KindFunc:
		service, method, _ := v.Func()
		p.put(fmt.Sprintf(`func "%s".%q`, service, method))
	case KindOpt:
		if len(v.elems) == 0 {
			p.put("null")
			return
		}
		p.put("opt ")
		p.value(v.elems[0])
	case KindVec:
		p.list("vec", v)
	case KindRecord:
		p.list("record", v)
	case KindVariant:
		p.list("variant", v)
	}
}

func (p *printer) list(name string, v Value) {
	if len(v.elems) == 0 {
		p.put(name + " {}")
		return
	}
	p.put(name + " {")
	for i, e := range v.elems {
		if p.cut {
			return
		}
		if i > 0 {
			p.put(";")
		}
		p.put(" ")
		if v.kind != KindVec {
			p.put(fieldLabel(v.labels[i]))
			if v.kind == KindVariant && e.kind == KindNull {
				break
			}
			p.put(" = ")
		}
		p.value(e)
	}
	p.put(" }")
}
