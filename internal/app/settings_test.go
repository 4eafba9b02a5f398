package app

import (
	"reflect"
	"testing"

	"github.com/icrelay/icrelay/internal/config"
)

// Every limit and every interval of the file reaches the gateway under its own name.
func TestSettingsArePassedOn(t *testing.T) {
	var l config.Limits
	var p config.Polling
	for _, pair := range []struct {
		name         string
		file, passed func() reflect.Value
	}{
		{"limits", func() reflect.Value { return reflect.ValueOf(&l).Elem() }, func() reflect.Value { return reflect.ValueOf(limits(l)) }},
		{"polling", func() reflect.Value { return reflect.ValueOf(&p).Elem() }, func() reflect.Value { return reflect.ValueOf(polling(p)) }},
	} {
		file := pair.file()
		for i := range file.NumField() {
			file.Field(i).SetInt(int64(i + 1))
		}
		passed := pair.passed()
		for i := range file.NumField() {
			name := file.Type().Field(i).Name
			if field := passed.FieldByName(name); !field.IsValid() || field.Int() != int64(i+1) {
				t.Errorf("%s: %s does not arrive", pair.name, name)
			}
		}
		if file.NumField() != passed.NumField() {
			t.Errorf("%s: %d settings, %d arrive", pair.name, file.NumField(), passed.NumField())
		}
	}
}
