package cbor

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"unicode/utf8"

	reference "github.com/fxamacker/cbor/v2"
)

// FuzzAgainstReference compares the reader with another implementation: both
// agree about what an item is and how long it is, and a number, a text or a
// byte string has one meaning.
func FuzzAgainstReference(f *testing.F) {
	for _, text := range []string{
		"00", "1bffffffffffffffff", "3bffffffffffffffff", "3903e7", "f4", "f6", "f7", "f820", "f801", "fb3ff199999999999a", "f93c00",
		"40", "5f42010243030405ff", "7f61616161ff", "7f61c361a9ff", "6161", "62c328", "80", "9fff", "bf61610161629f0203ffff", "a201020304", "d9d9f7a0", "c1c1c1c100",
		"ff", "1c", "5f6161ff", "9f", "a1", "bf61ff", "9a0fffffff", "bb7fffffffffffffff", "5bffffffffffffffff", "8181818181818181818181818180",
	} {
		raw, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	mode, err := reference.DecOptions{
		MaxNestedLevels: MaxDepth + 8, MaxArrayElements: 1<<31 - 1, MaxMapPairs: 1<<31 - 1, UTF8: reference.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		item, err := r.Raw()
		if err != nil {
			if wellFormed(mode, b) && !errors.Is(err, errDepth) {
				t.Fatalf("%x is refused: %v", b, err)
			}
			return
		}
		if err := mode.Wellformed(item); err != nil {
			t.Fatalf("%x is accepted: %v", item, err)
		}
		sameMeaning(t, mode, item)
	})
}

// wellFormed reports whether b begins with a well-formed item.
func wellFormed(mode reference.DecMode, b []byte) bool {
	var first reference.RawMessage
	_, err := mode.UnmarshalFirst(b, &first)
	return err == nil
}

func sameMeaning(t *testing.T, mode reference.DecMode, item []byte) {
	t.Helper()
	r := NewReader(item)
	if n, err := r.Uint(); err == nil {
		var want uint64
		if err := mode.Unmarshal(item, &want); err != nil || n != want {
			t.Fatalf("%x is %d, and %d, %v", item, n, want, err)
		}
	}
	r = NewReader(item)
	if n, err := r.Int(); err == nil {
		var want int64
		if err := mode.Unmarshal(item, &want); err != nil || n != want {
			t.Fatalf("%x is %d, and %d, %v", item, n, want, err)
		}
	}
	r = NewReader(item)
	if text, err := r.Text(); err == nil {
		var want string
		if err := mode.Unmarshal(item, &want); err != nil || text != want || !utf8.ValidString(text) {
			t.Fatalf("%x is %q, and %q, %v", item, text, want, err)
		}
	}
	r = NewReader(item)
	if raw, err := r.Bytes(); err == nil {
		var want []byte
		if err := mode.Unmarshal(item, &want); err != nil || !bytes.Equal(raw, want) {
			t.Fatalf("%x is %x, and %x, %v", item, raw, want, err)
		}
	}
	r = NewReader(item)
	if yes, err := r.Bool(); err == nil {
		var want bool
		if err := mode.Unmarshal(item, &want); err != nil || yes != want {
			t.Fatalf("%x is %v, and %v, %v", item, yes, want, err)
		}
	}
}
