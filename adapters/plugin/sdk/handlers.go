package sdk

import (
	"fmt"
	"math"
	"reflect"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// handlers are the methods that an adapter has.
type handlers struct {
	Opener
	Messenger
	Closer
	Poller
	Checker
	Watcher
	Windower
	Ender
}

// find looks for an adapter's methods. That there are none is fine: such an
// adapter works in the background. A method with a known name and another form
// is a mistake that would show as a method that is never called.
func find(adapter any) (*handlers, error) {
	if adapter == nil {
		return &handlers{}, nil
	}
	given := reflect.TypeOf(adapter)
	pointer := reflect.PointerTo(given)
	found := reflect.ValueOf(new(handlers)).Elem()
	for i := range found.NumField() {
		field := found.Type().Field(i)
		want := field.Type.Method(0)
		if given.Implements(field.Type) {
			found.Field(i).Set(reflect.ValueOf(adapter))
			continue
		}
		if has, ok := given.MethodByName(want.Name); ok {
			return nil, fmt.Errorf("%s.%s is %s, must be %s", given, want.Name, reflect.ValueOf(adapter).Method(has.Index).Type(), want.Type)
		}
		if given.Kind() != reflect.Interface && pointer.Implements(field.Type) {
			return nil, fmt.Errorf("%s is a method of *%s: return a pointer, not %s", want.Name, given, given)
		}
	}
	return found.Addr().Interface().(*handlers), nil
}

// methods are what the relay has to ask this process for.
func (h *handlers) methods() []contract.Method {
	var list []contract.Method
	for _, m := range []struct {
		has    bool
		method contract.Method
	}{
		{h.Opener != nil, contract.Method_OPEN},
		{h.Messenger != nil, contract.Method_MESSAGE},
		{h.Closer != nil, contract.Method_CLOSE},
		{h.Poller != nil, contract.Method_POLL},
		{h.Checker != nil, contract.Method_CHECK},
		{h.Watcher != nil, contract.Method_WATCH},
	} {
		if m.has {
			list = append(list, m.method)
		}
	}
	return list
}

// window is absent if the adapter does not say: then the relay sends one
// message of a client at a time, or what the base says if that has Message.
func (h *handlers) window() (*contract.Window, error) {
	if h.Windower == nil {
		return nil, nil
	}
	messages, bytes := h.Window()
	if messages < 1 || messages > math.MaxInt32 || bytes < 0 {
		return nil, fmt.Errorf("Window returns (%d, %d): at least one message, and no less than 0 bytes", messages, bytes)
	}
	return &contract.Window{Messages: uint32(messages), Bytes: uint64(bytes)}, nil
}
