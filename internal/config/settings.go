package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings is a table that only an adapter of one's own understands: a JSON
// object, with its keys in order. nil for none.
type Settings []byte

// JSON returns the object; {} for none.
func (s Settings) JSON() []byte {
	if s == nil {
		return []byte("{}")
	}
	return slices.Clone(s)
}

// fillSettings takes any table. What JSON cannot say is a problem.
func fillSettings(p *problems, key string, v reflect.Value, value any) {
	table, ok := value.(map[string]any)
	if !ok {
		p.unreadable(key, "a table", value)
		return
	}
	var b bytes.Buffer
	appendJSON(p, key, &b, table)
	v.SetBytes(b.Bytes())
}

// appendJSON writes a TOML value as JSON: dates as their text, and numbers as
// they are, so that a whole one beyond 2^53 loses no digits.
func appendJSON(p *problems, key string, b *bytes.Buffer, value any) {
	switch value := value.(type) {
	case map[string]any:
		b.WriteByte('{')
		for i, name := range slices.Sorted(maps.Keys(value)) {
			if i > 0 {
				b.WriteByte(',')
			}
			appendText(b, name)
			b.WriteByte(':')
			appendJSON(p, join(key, name), b, value[name])
		}
		b.WriteByte('}')
	case []any:
		appendList(p, key, b, value)
	case []map[string]any:
		appendList(p, key, b, value)
	case string:
		appendText(b, value)
	case bool:
		b.WriteString(strconv.FormatBool(value))
	case int64:
		b.WriteString(strconv.FormatInt(value, 10))
	case float64:
		if math.IsNaN(value) || math.IsInf(value, 0) {
			p.unreadable(key, "a number that JSON has, too", value)
			return
		}
		text := strconv.FormatFloat(value, 'g', -1, 64)
		if !strings.ContainsAny(text, ".e") {
			text += ".0" // it was no whole number in the file
		}
		b.WriteString(text)
	case time.Time:
		appendText(b, dateText(value))
	}
}

func appendList[V any](p *problems, key string, b *bytes.Buffer, list []V) {
	b.WriteByte('[')
	for i, element := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		appendJSON(p, index(key, i), b, element)
	}
	b.WriteByte(']')
}

func appendText(b *bytes.Buffer, text string) {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a text always can be
	b.Truncate(b.Len() - 1)  // the new line after it
}

// dateText writes one of TOML's four kinds of dates and times. Package toml
// tells those without an offset apart by the names of their zones.
func dateText(t time.Time) string {
	switch t.Location().String() {
	case "datetime-local":
		return t.Format("2006-01-02T15:04:05.999999999")
	case "date-local":
		return t.Format(time.DateOnly)
	case "time-local":
		return t.Format("15:04:05.999999999")
	}
	return t.Format(time.RFC3339Nano)
}
