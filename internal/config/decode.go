package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/BurntSushi/toml"
)

// decode fills c from TOML. Package toml reads the file as tables and lists;
// what they mean is found here, because toml's own decoder stops at the first
// value of a wrong type, takes Listen for listen, and does not say in which
// [[table]] an unknown key is.
func (c *Config) decode(data []byte, p *problems) {
	var tables map[string]any
	if _, err := toml.Decode(string(data), &tables); err != nil {
		line, text := 0, err.Error()
		var parse toml.ParseError
		if errors.As(err, &parse) {
			line, text = parse.Position.Line, parse.Message
		}
		p.fatal(line, text)
		return
	}
	fill(p, "", reflect.ValueOf(c).Elem(), tables)
}

// fill sets v, which stands at key, from a TOML value. Where that is not of
// v's type, v stays as it is and the problem is noted.
func fill(p *problems, key string, v reflect.Value, value any) {
	switch v.Type() {
	case reflect.TypeFor[Duration]():
		fillDuration(p, key, v, value)
		return
	case reflect.TypeFor[Size]():
		fillSize(p, key, v, value)
		return
	case reflect.TypeFor[Settings]():
		fillSettings(p, key, v, value)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		fillTable(p, key, v, value)
	case reflect.Pointer:
		if _, ok := value.(map[string]any); ok {
			v.Set(reflect.New(v.Type().Elem()))
			fill(p, key, v.Elem(), value)
			return
		}
		p.unreadable(key, "a table", value)
	case reflect.Slice:
		fillList(p, key, v, value)
	case reflect.Map:
		fillTexts(p, key, v, value)
	case reflect.String:
		if text, ok := value.(string); ok {
			v.SetString(text)
			return
		}
		p.unreadable(key, "a text in quotes", value)
	case reflect.Bool:
		if yes, ok := value.(bool); ok {
			v.SetBool(yes)
			return
		}
		p.unreadable(key, "true or false", value)
	case reflect.Int, reflect.Int64:
		if n, ok := value.(int64); ok && !v.OverflowInt(n) {
			v.SetInt(n)
			return
		}
		p.unreadable(key, "a whole number", value)
	default:
		panic("config: no TOML for " + v.Type().String()) // a field of Config that this function does not know
	}
}

// fillTable matches keys exactly: a second spelling would be a second value.
func fillTable(p *problems, key string, v reflect.Value, value any) {
	table, ok := value.(map[string]any)
	if !ok {
		p.unreadable(key, "a table", value)
		return
	}
	fields := make(map[string]reflect.Value)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("toml"); name != "" {
			fields[name] = v.Field(i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		at := join(key, name)
		p.give(at)
		if field, known := fields[name]; known {
			fill(p, at, field, table[name])
		} else {
			p.add(at, "unknown key")
		}
	}
}

// fillList keeps the place of an element that cannot be read, so that the
// others keep their indices.
func fillList(p *problems, key string, v reflect.Value, value any) {
	var list []any
	switch value := value.(type) {
	case []any:
		list = value
	case []map[string]any: // [[tables]]
		for _, table := range value {
			list = append(list, table)
		}
	default:
		p.unreadable(key, "a list", value)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	for i, element := range list {
		fill(p, index(key, i), v.Index(i), element)
	}
}

// fillTexts fills a map[string]string.
func fillTexts(p *problems, key string, v reflect.Value, value any) {
	table, ok := value.(map[string]any)
	if !ok {
		p.unreadable(key, "a table", value)
		return
	}
	texts := make(map[string]string, len(table))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if text, ok := table[name].(string); ok {
			texts[name] = text
		} else {
			p.unreadable(join(key, name), "a text in quotes", table[name])
		}
	}
	v.Set(reflect.ValueOf(texts))
}

func fillDuration(p *problems, key string, v reflect.Value, value any) {
	const form = `a duration like "500ms", "5s" or "1m30s"`
	text, ok := value.(string)
	if !ok {
		p.unreadable(key, form, value)
		return
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		p.unreadable(key, form, value)
		return
	}
	v.SetInt(int64(d))
}

// describe says what a TOML value is.
func describe(value any) string {
	switch value := value.(type) {
	case string:
		return fmt.Sprintf("%q", value)
	case int64, float64, bool:
		return fmt.Sprint(value)
	case time.Time:
		return "a date"
	case map[string]any:
		return "a table"
	default:
		return "a list"
	}
}
