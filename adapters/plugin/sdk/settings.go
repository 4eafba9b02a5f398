package sdk

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings reads the route's settings, the table [route.settings], into a
// struct, by the names in its json tags. An unknown key is an error, and so is
// a value of another kind; what is not in the table stays as it is, so defaults
// go into the struct before. The error names the key: return it as it is.
//
//	s := struct {
//		Token sdk.Principal `json:"token"`
//		Every sdk.Duration  `json:"every"`
//	}{Every: sdk.Duration(time.Minute)}
//	if err := route.Settings(&s); err != nil {
//		return nil, err
//	}
func (r *Route) Settings(into any) error {
	target := reflect.TypeOf(into)
	if target == nil || target.Kind() != reflect.Pointer {
		return fmt.Errorf("settings: a pointer is needed to read them into, not %T", into)
	}
	raw := r.settings
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	if err := checkSettings(raw, target.Elem(), ""); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}

// A Duration is written like "500ms" or "1m30s" in settings.
type Duration time.Duration

// UnmarshalText reads "500ms".
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration such as \"500ms\" or \"1m30s\"", text)
	}
	*d = Duration(parsed)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// checkSettings finds what does not fit, and says where. encoding/json alone
// names neither the place of an unknown key nor that of a value which does not
// know itself what is wrong with it, and takes keys in other letters.
func checkSettings(raw json.RawMessage, t reflect.Type, path string) error {
	for t.Kind() == reflect.Pointer && !reads(t) {
		t = t.Elem()
	}
	kind := t.Kind()
	if reads(t) || reads(reflect.PointerTo(t)) {
		kind = reflect.Invalid
	}
	var err error
	switch first := raw[0]; {
	case kind == reflect.Struct && first == '{':
		return checkStruct(raw, t, path)
	case kind == reflect.Map && first == '{':
		var table map[string]json.RawMessage
		if err = json.Unmarshal(raw, &table); err != nil {
			break
		}
		for _, key := range slices.Sorted(maps.Keys(table)) {
			if err := checkSettings(table[key], t.Elem(), join(path, key)); err != nil {
				return err
			}
		}
	case (kind == reflect.Slice || kind == reflect.Array) && first == '[':
		var list []json.RawMessage
		if err = json.Unmarshal(raw, &list); err != nil {
			break
		}
		for i, value := range list {
			if err := checkSettings(value, t.Elem(), path+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
	default:
		err = json.Unmarshal(raw, reflect.New(t).Interface())
	}
	return misfit(path, err)
}

func reads(t reflect.Type) bool {
	return t.Implements(jsonUnmarshaler) || t.Implements(textUnmarshaler)
}

func checkStruct(raw json.RawMessage, t reflect.Type, path string) error {
	var table map[string]json.RawMessage
	if err := json.Unmarshal(raw, &table); err != nil {
		return misfit(path, err)
	}
	known := make(map[string]reflect.Type)
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case !field.IsExported() || name == "-" || field.Anonymous && name == "":
		case name != "":
			known[name] = field.Type
		default:
			known[field.Name] = field.Type
		}
	}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		field, ok := known[key]
		if !ok {
			return fmt.Errorf("unknown key %q; known are: %s", join(path, key), quoted(slices.Sorted(maps.Keys(known))))
		}
		if err := checkSettings(table[key], field, join(path, key)); err != nil {
			return err
		}
	}
	return nil
}

// misfit names the key and, where encoding/json speaks of Go's types, says it
// in words that somebody who writes a configuration knows.
func misfit(path string, err error) error {
	if err == nil {
		return nil
	}
	where := "the table"
	if path != "" {
		where = strconv.Quote(path)
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("%s must be %s, not %s", where, wanted(kind.Type), kind.Value)
	}
	return fmt.Errorf("%s: %w", where, err)
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "a table"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "an integer of " + strconv.Itoa(t.Bits()) + " bits"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a positive integer of " + strconv.Itoa(t.Bits()) + " bits"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return t.String()
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func quoted(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	for i, name := range names {
		names[i] = strconv.Quote(name)
	}
	return strings.Join(names, ", ")
}
