package config

import "strings"

// A lineIndex knows on which line of a TOML file each key stands. Package
// toml gives positions for syntax errors only, and a message about a value
// without its line sends people searching. It need not understand all of
// TOML: a key that it misses is reported with the line of its table.
type lineIndex struct {
	byKey map[string]int // gateway.listen, route[0].relay.call[1].target
	first map[string]int // by a table that has no line of its own, the line of the first key in it
}

func indexLines(data []byte) *lineIndex {
	x := &lineIndex{byKey: make(map[string]int), first: make(map[string]int)}
	tables := make(map[string]int) // how many [[name]] so far, by indexed name
	table := ""
	var value valueScanner
	for i, line := range strings.Split(string(data), "\n") {
		if value.open() {
			value.scan(line)
			continue
		}
		text := strings.TrimSpace(line)
		switch {
		case text == "" || text[0] == '#':
		case strings.HasPrefix(text, "[["):
			name, _, _ := strings.Cut(text[2:], "]]")
			name = x.indexed(splitKey(name), tables)
			table = index(name, tables[name])
			tables[name]++
			x.put(table, i+1)
		case text[0] == '[':
			name, _, _ := strings.Cut(text[1:], "]")
			table = x.indexed(splitKey(name), tables)
			x.put(table, i+1)
		default:
			key, rest, ok := strings.Cut(text, "=")
			if !ok {
				continue
			}
			x.put(join(table, strings.Join(splitKey(key), ".")), i+1)
			value.scan(rest)
		}
	}
	return x
}

// indexed names a table with the index of each [[table]] that it is in.
func (x *lineIndex) indexed(parts []string, tables map[string]int) string {
	name := ""
	for i, part := range parts {
		name = join(name, part)
		if n := tables[name]; n > 0 && i < len(parts)-1 {
			name = index(name, n-1)
		}
	}
	return name
}

func (x *lineIndex) put(key string, line int) {
	if _, ok := x.byKey[key]; ok {
		return
	}
	x.byKey[key] = line
	for key = parent(key); key != ""; key = parent(key) {
		if _, ok := x.first[key]; ok {
			return
		}
		x.first[key] = line
	}
}

// line returns the key's line, that of the first key in it, or that of the
// nearest table around it.
func (x *lineIndex) line(key string) int {
	for ; key != ""; key = parent(key) {
		if n, ok := x.byKey[key]; ok {
			return n
		}
		if n, ok := x.first[key]; ok {
			return n
		}
	}
	return 0
}

// has reports whether the key itself stands in the file.
func (x *lineIndex) has(key string) bool {
	_, ok := x.byKey[key]
	return ok
}

func join(table, key string) string {
	if table == "" {
		return key
	}
	return table + "." + key
}

func parent(key string) string {
	return key[:max(0, strings.LastIndexAny(key, ".["))]
}

// splitKey splits a dotted key; quotes are dropped. A quoted dot is not worth
// more care: no key of ours has one.
func splitKey(key string) []string {
	parts := strings.Split(key, ".")
	for i, part := range parts {
		parts[i] = strings.Trim(strings.TrimSpace(part), `"'`)
	}
	return parts
}

// A valueScanner notices values that go on for more lines: arrays, inline
// tables and multi-line strings.
type valueScanner struct {
	depth int
	quote string // the quote that is open, of any of TOML's four kinds
}

func (v *valueScanner) open() bool { return v.depth > 0 || v.quote != "" }

func (v *valueScanner) scan(text string) {
	for i := 0; i < len(text); {
		rest := text[i:]
		if v.quote != "" {
			switch {
			case rest[0] == '\\' && v.quote[0] == '"':
				i += 2
			case strings.HasPrefix(rest, v.quote):
				i += len(v.quote)
				v.quote = ""
			default:
				i++
			}
			continue
		}
		switch c := rest[0]; {
		case c == '#':
			return
		case strings.HasPrefix(rest, `"""`), strings.HasPrefix(rest, `'''`):
			v.quote = rest[:3]
			i += 3
			continue
		case c == '"' || c == '\'':
			v.quote = rest[:1]
		case c == '[' || c == '{':
			v.depth++
		case c == ']' || c == '}':
			v.depth--
		}
		i++
	}
	if len(v.quote) == 1 {
		v.quote = "" // ends with its line
	}
}
