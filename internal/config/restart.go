package config

import (
	"reflect"
	"slices"
)

// NeedsRestart returns the keys at which next differs from what runs, and which
// are read at the start only. Routes, adapters and the certificates of a listener
// that speaks TLS already can change while the relay runs.
func NeedsRestart(running, next *Config) []string {
	was, is := *running, *next
	was.Routes, is.Routes = nil, nil
	was.Adapters, is.Adapters = nil, nil
	if was.Gateway.TLS != nil && is.Gateway.TLS != nil {
		was.Gateway.TLS = &TLS{HTTPListen: was.Gateway.TLS.HTTPListen}
		is.Gateway.TLS = &TLS{HTTPListen: is.Gateway.TLS.HTTPListen}
	}
	return differences("", reflect.ValueOf(was), reflect.ValueOf(is))
}

// differences returns the keys below key at which two values of one type
// differ. A list is compared as a whole.
func differences(key string, a, b reflect.Value) []string {
	if a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil() {
		a, b = a.Elem(), b.Elem()
	}
	if a.Kind() != reflect.Struct {
		if reflect.DeepEqual(a.Interface(), b.Interface()) {
			return nil
		}
		return []string{key}
	}
	var keys []string
	for i := range a.NumField() {
		if name := a.Type().Field(i).Tag.Get("toml"); name != "" {
			keys = append(keys, differences(join(key, name), a.Field(i), b.Field(i))...)
		}
	}
	slices.Sort(keys)
	return keys
}
