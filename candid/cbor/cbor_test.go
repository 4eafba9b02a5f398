package cbor

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestUint takes its numbers from RFC 8949, appendix A.
func TestUint(t *testing.T) {
	for raw, want := range map[string]uint64{
		"00": 0, "17": 23, "1818": 24, "18ff": 255, "190100": 256, "1903e8": 1000, "1a000f4240": 1000000,
		"1b000000e8d4a51000": 1000000000000, "1bffffffffffffffff": math.MaxUint64,
		"c240": 0, "c24100": 0, "c24101": 1, "c248ffffffffffffffff": math.MaxUint64, "c2490000000000000000ff": 0xff,
		"1800": 0, "1b0000000000000001": 1, // longer than needed, as some encoders write them
		"c25f4101 4102 ff": 258,
	} {
		r := NewReader(unhex(t, raw))
		n, err := r.Uint()
		if err != nil || n != want || r.End() != nil {
			t.Errorf("%s: got %d, %v, %v; want %d", raw, n, err, r.End(), want)
		}
		if n2 := AppendUint(nil, n); len(n2) != HeadLen(int(min(n, math.MaxInt64))) { //nolint:gosec // bounded
			t.Errorf("%d: %d bytes", n, len(n2))
		}
	}
	for raw, want := range map[string]string{
		"":                          "ends inside",
		"18":                        "ends inside",
		"19ff":                      "ends inside",
		"1a000000":                  "ends inside",
		"1b00000000000000":          "ends inside",
		"1c":                        "reserved head 0x1c",
		"1f":                        "reserved head 0x1f",
		"20":                        "found a negative integer",
		"c3 41 01":                  "found a tag",
		"c2 49 01 0000000000000000": "exceeds 64 bits",
		"c2 00":                     "expected a byte string",
		"f9 0000":                   "found a float",
		"f4":                        "found a boolean",
		"f6":                        "found null",
		"f7":                        "found undefined",
		"60":                        "found a text string",
		"80":                        "found an array",
		"a0":                        "found a map",
		"ff":                        "found a break",
		"e0":                        "found a simple value",
	} {
		r := NewReader(unhex(t, raw))
		if _, err := r.Uint(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", raw, err, want)
		}
	}
}

func TestInt(t *testing.T) {
	for raw, want := range map[string]int64{
		"00": 0, "20": -1, "3903e7": -1000, "1b7fffffffffffffff": math.MaxInt64, "3b7fffffffffffffff": math.MinInt64,
	} {
		r := NewReader(unhex(t, raw))
		if n, err := r.Int(); err != nil || n != want {
			t.Errorf("%s: got %d, %v", raw, n, err)
		}
	}
	for _, raw := range []string{"1b8000000000000000", "3b8000000000000000", "40", ""} {
		r := NewReader(unhex(t, raw))
		if _, err := r.Int(); err == nil {
			t.Errorf("%s was accepted", raw)
		}
	}
}

func TestStrings(t *testing.T) {
	r := NewReader(unhex(t, "43010203 5f42010243030405ff 63c3bc61 7f62c3bc 6161ff 40 60"))
	want := [][]byte{{1, 2, 3}, {1, 2, 3, 4, 5}}
	for _, w := range want {
		if b, err := r.Bytes(); err != nil || !bytes.Equal(b, w) {
			t.Errorf("got %x, %v", b, err)
		}
	}
	for _, w := range []string{"üa", "üa"} {
		if s, err := r.Text(); err != nil || s != w {
			t.Errorf("got %q, %v", s, err)
		}
	}
	if b, err := r.Bytes(); err != nil || len(b) != 0 {
		t.Errorf("got %x, %v", b, err)
	}
	if s, err := r.Text(); err != nil || s != "" || r.End() != nil {
		t.Errorf("got %q, %v, %v", s, err, r.End())
	}
	for raw, want := range map[string]string{
		"5f 00 ff":       "expected a chunk",
		"5f 61 61 ff":    "expected a chunk",
		"5f 5f 40 ff ff": "expected a chunk",
		"5f 41 01":       "ends inside",
		"5f 42 01 ff":    "ends inside",
	} {
		r := NewReader(unhex(t, raw))
		if _, err := r.Bytes(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", raw, err, want)
		}
		r = NewReader(unhex(t, raw))
		if r.Skip() == nil {
			t.Errorf("%s was skipped", raw)
		}
	}
	for _, raw := range []string{"61c3", "7f61c361bcff"} { // a character does not go on in the next chunk
		r := NewReader(unhex(t, raw))
		if text, err := r.Text(); err == nil {
			t.Errorf("%s is the text %q", raw, text)
		}
	}
	r = NewReader(unhex(t, "43010203"))
	if _, err := r.BytesMax(2); err == nil {
		t.Error("three bytes fit two")
	}
}

func TestBytesAlias(t *testing.T) {
	raw := unhex(t, "43010203 00")
	r := NewReader(raw)
	b, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	raw[1] = 9
	if b[0] != 9 || cap(b) != 3 {
		t.Errorf("%x, capacity %d", b, cap(b))
	}
}

func TestContainers(t *testing.T) {
	for _, raw := range []string{"83010203", "9f010203ff"} {
		r := NewReader(unhex(t, raw))
		c, err := r.Array()
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for {
			more, err := r.Next(&c)
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
			n, err := r.Uint()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, n)
		}
		if len(got) != 3 || got[2] != 3 || r.End() != nil {
			t.Errorf("%s: %v, %v", raw, got, r.End())
		}
	}
	for _, raw := range []string{"9a7fffffff", "84000000", "ba40000000", "a2000000"} {
		r := NewReader(unhex(t, raw))
		if _, err := r.Array(); err == nil {
			t.Errorf("%s: accepted as an array", raw)
		}
		r = NewReader(unhex(t, raw))
		if _, err := r.Map(); err == nil {
			t.Errorf("%s: accepted as a map", raw)
		}
	}
}

func TestSkip(t *testing.T) {
	for raw, ok := range map[string]bool{
		"00": true, "3903e7": true, "43010203": true, "5f4101ff": true, "83010203": true, "9fff": true,
		"a26161016162820203": true, "bf616101ff": true, "d9d9f7a0": true, "f4": true, "f6": true, "f90000": true,
		"fb0000000000000000": true, "f820": true,
		"": false, "ff": false, "9f": false, "bf6161ff": false, "d9d9f7": false, "8201": false, "f818": false, "fc": false,
		strings.Repeat("81", MaxDepth-1) + "00": true,
		strings.Repeat("81", MaxDepth) + "00":   false,
		strings.Repeat("c1", 100_000):           false,
		strings.Repeat("9f", 100_000):           false,
		"9b7fffffffffffffff":                    false,
		"bb7fffffffffffffff":                    false,
		"7bffffffffffffffff":                    false,
	} {
		r := NewReader(unhex(t, raw))
		raw2, err := r.Raw()
		if (err == nil && r.End() == nil) != ok {
			t.Errorf("%.40s: %v, %v", raw, err, r.End())
		}
		if ok && hex.EncodeToString(raw2) != raw {
			t.Errorf("%s came back as %x", raw, raw2)
		}
	}
}

func TestSmallThings(t *testing.T) {
	r := NewReader(unhex(t, "d9d9f7 f5 f4 f6 f7 00"))
	if !r.SkipSelfDescribe() || r.SkipSelfDescribe() {
		t.Error("self-describe tag")
	}
	for _, want := range []bool{true, false} {
		if b, err := r.Bool(); err != nil || b != want {
			t.Error(b, err)
		}
	}
	for _, want := range []bool{true, true, false} { // null, undefined, a number
		if r.Null() != want {
			t.Error("null")
		}
	}
	if _, err := r.Bool(); err == nil {
		t.Error("a number is no boolean")
	}
	if r.Offset() != 8 || r.End() != nil {
		t.Error("offset", r.Offset())
	}
	if _, err := r.Major(); err == nil {
		t.Error("nothing has a type")
	}
	want := unhex(t, "d9d9f7 82 a1 6161 f5 42 0102")
	got := AppendArray(AppendSelfDescribe(nil), 2)
	got = AppendBool(AppendText(AppendMap(got, 1), "a"), true)
	if got = AppendBytes(got, []byte{1, 2}); !bytes.Equal(got, want) {
		t.Errorf("got %x", got)
	}
	if got := AppendBool(nil, false); got[0] != 0xf4 {
		t.Errorf("got %x", got)
	}
}

func FuzzSkip(f *testing.F) {
	for _, raw := range []string{"d9d9f7a26161820102616243010203", "9f5f4101ff7f6161fff4ff", "fb0000000000000000", "c24101"} {
		f.Add(unhex(f, raw))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		raw, err := r.Raw()
		if err != nil {
			return
		}
		if !bytes.Equal(raw, b[:r.Offset()]) {
			t.Fatal("Raw returned other bytes than it read")
		}
		// What was skipped can be read by what it is, or refused, without a panic.
		for _, read := range []func(*Reader) error{
			func(r *Reader) error { _, err := r.Uint(); return err },
			func(r *Reader) error { _, err := r.Int(); return err },
			func(r *Reader) error { _, err := r.Bytes(); return err },
			func(r *Reader) error { _, err := r.Text(); return err },
			func(r *Reader) error { _, err := r.Bool(); return err },
		} {
			r := NewReader(raw)
			if read(&r) == nil && r.End() != nil {
				t.Fatal("a reader and Skip disagree about the length")
			}
		}
	})
}
