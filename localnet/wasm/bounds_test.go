package wasm

import (
	"context"
	"testing"
	"time"
)

// TestTableGrowth: a table grows to its bound, and table.grow fails beyond it.
func TestTableGrowth(t *testing.T) {
	module := func(table string) []byte {
		return []byte("\x00asm\x01\x00\x00\x00" +
			"\x01\x04\x01\x60\x00\x00" + // type () -> ()
			"\x03\x02\x01\x00" +
			"\x04" + string(rune(len(table)+1)) + "\x01" + table +
			"\x07\x05\x01\x01f\x00\x00" +
			// ref.null func, i32.const -1 (4,294,967,295 more), table.grow 0, i32.const -1, i32.ne,
			// if unreachable end; the same with 5 more, which must work
			"\x0a\x20\x01\x1e\x00" +
			"\xd0\x70\x41\x7f\xfc\x0f\x00\x41\x7f\x47\x04\x40\x00\x0b" +
			"\xd0\x70\x41\x05\xfc\x0f\x00\x41\x7f\x46\x04\x40\x00\x0b" + "\x0b")
	}
	for name, table := range map[string]string{
		"without bound":   "\x70\x00\x01",
		"with a far one":  "\x70\x01\x01\xff\xff\xff\xff\x0f",
		"with a near one": "\x70\x01\x01\x06",
	} {
		t.Run(name, func(t *testing.T) {
			e := newEngine(t, Config{})
			m, err := e.Compile(context.Background(), module(table))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(m.Release)
			i, err := m.Instantiate(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = i.Close() })
			if _, err := i.Invoke(context.Background(), Entry{Export: "f"}, nil, Budget{Instructions: 1000, Deadline: time.Now().Add(5 * time.Second)}); err != nil {
				t.Error(err)
			}
		})
	}
}
