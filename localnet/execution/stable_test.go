package execution

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// TestStableMemoryModel compares stable memory with a plain slice over random
// messages, some of which are rolled back.
func TestStableMemoryModel(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	root := &stableRoot{}
	var model []byte
	for range 300 {
		s := newStable(root, 64<<20)
		next := bytes.Clone(model)
		for range r.IntN(8) {
			switch r.IntN(4) {
			case 0:
				if n := uint64(r.IntN(3)); len(next) < 40*wasmPage {
					if old, ok := s.grow(n); !ok || old != uint64(len(next))/wasmPage {
						t.Fatalf("grow gave %d, %v", old, ok)
					}
					next = append(next, make([]byte, n*wasmPage)...)
				}
			case 1, 2:
				offset, b := r.IntN(len(next)+10), make([]byte, r.IntN(3*stableGrain))
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				err := s.write(uint64(offset), b)
				if fits := offset+len(b) <= len(next); fits != (err == nil) {
					t.Fatalf("write of %d at %d of %d: %v", len(b), offset, len(next), err)
				}
				if err == nil {
					copy(next[offset:], b)
				}
			case 3:
				offset, b := r.IntN(len(next)+10), make([]byte, r.IntN(3*stableGrain))
				err := s.read(b, uint64(offset))
				if fits := offset+len(b) <= len(next); fits != (err == nil) {
					t.Fatalf("read of %d at %d of %d: %v", len(b), offset, len(next), err)
				}
				if err == nil && !bytes.Equal(b, next[offset:offset+len(b)]) {
					t.Fatal("read something else than was written")
				}
			}
		}
		if r.IntN(3) > 0 {
			root, model = s.commit(), next
		}
	}
	got := make([]byte, len(model))
	if err := newStable(root, 0).read(got, 0); err != nil || !bytes.Equal(got, model) {
		t.Errorf("the committed memory differs: %v", err)
	}
}

func TestStableMemoryBounds(t *testing.T) {
	s := newStable(&stableRoot{}, 2*stableGrain)
	if _, ok := s.grow(maxStablePages + 1); ok {
		t.Error("grew past the limit")
	}
	if _, ok := s.grow(^uint64(0)); ok {
		t.Error("grew by all there is")
	}
	if _, ok := s.grow(maxStablePages); !ok {
		t.Error("did not grow to the limit: nothing is stored yet")
	}
	if _, ok := s.grow(1); ok {
		t.Error("grew past the limit in two steps")
	}
	if err := s.write(^uint64(0), []byte{1}); !errors.Is(err, errStableBounds) {
		t.Errorf("write at the end of the address space: %v", err)
	}
	if err := s.write(100*wasmPage, make([]byte, 2*stableGrain)); err != nil {
		t.Error(err)
	}
	if err := s.write(0, []byte{1}); !errors.Is(err, errStableFull) {
		t.Errorf("a third page: %v", err)
	}
}

// Stable memory is rolled back with everything else, and survives an upgrade.
func TestStableMemoryOfCanisters(t *testing.T) {
	m := newMachine(t, Options{})
	text := replyImports + `
		import ic0 stable64_grow (i64) (i64)
		import ic0 stable64_write (i64 i64 i64) ()
		import ic0 stable64_read (i64 i64 i64) ()
		import ic0 stable_size () (i32)
		import ic0 stable_grow (i32) (i32)
		import ic0 stable_read (i32 i32 i32) ()
		memory 1
		data 200 "xyz"` + replyWith + `
		func $write () ()
		  i64.const 1
		  call $stable64_grow
		  drop
		  i64.const 5
		  i64.const 200
		  i64.const 3
		  call $stable64_write
		end
		func $good () ()
		  call $write
		  call $msg_reply
		end
		func $bad () ()
		  call $write
		  unreachable
		end
		func $read () ()
		  i32.const 300
		  i32.const 6
		  i32.const 1
		  call $stable_read
		  i32.const 300
		  i32.load8_u
		  call $replyByte
		end
		func $size () ()
		  call $stable_size
		  call $replyByte
		end
		func $far () ()
		  i64.const 0
		  i64.const -1
		  i64.const 1
		  call $stable64_read
		end
		func $big () ()
		  i64.const 65537
		  call $stable64_grow
		  drop
		  call $stable_size
		  drop
		end
		func $grow32 () ()
		  i32.const 65536
		  call $stable_grow
		  call $replyByte
		end
		export $good "canister_update good"
		export $bad "canister_update bad"
		export $bad "canister_query badQuery"
		export $good "canister_query goodQuery"
		export $read "canister_query read"
		export $size "canister_query size"
		export $far "canister_update far"
		export $big "canister_update big"
		export $grow32 "canister_update grow32"`
	id := installText(t, m, text)
	wantReject(t, submit(t, m, id, "bad", nil), 5, "IC0502", "unreachable")
	wantReject(t, ask(t, m, id, "badQuery", nil), 5, "IC0502", "unreachable")
	if r := ask(t, m, id, "goodQuery", nil); r.Reject != nil {
		t.Fatal(r.Reject)
	}
	if got := byteOf(t, ask(t, m, id, "size", nil)); got != 0 {
		t.Fatalf("%d pages", got)
	}
	wantReject(t, ask(t, m, id, "read", nil), 5, "IC0502", "Canister trapped: stable memory out of bounds")
	wantReject(t, submit(t, m, id, "far", nil), 5, "IC0502", "Canister trapped: stable memory out of bounds")
	wantReject(t, submit(t, m, id, "big", nil), 5, "IC0502", "32 bit stable memory api used on a memory larger than 4GB")
	if r := submit(t, m, id, "good", nil); r.Reject != nil {
		t.Fatal(r.Reject)
	}
	if got := byteOf(t, submit(t, m, id, "grow32", nil)); got != 255 {
		t.Errorf("grew past 4 GiB: %d", got)
	}
	if got := byteOf(t, ask(t, m, id, "read", nil)); got != 'y' {
		t.Errorf("read %c", got)
	}
	if err := m.Install(t.Context(), id, ModeUpgrade, assemble(forWidth(text)), nil, user); err != nil {
		t.Fatal(err)
	}
	if got := byteOf(t, ask(t, m, id, "read", nil)); got != 'y' {
		t.Errorf("read %c after an upgrade", got)
	}
	if err := m.Install(t.Context(), id, ModeReinstall, assemble(forWidth(text)), nil, user); err != nil {
		t.Fatal(err)
	}
	if got := byteOf(t, ask(t, m, id, "size", nil)); got != 0 {
		t.Errorf("%d pages after a reinstallation", got)
	}
}
