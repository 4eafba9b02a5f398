package execution

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// pieces for modules written by hand
const (
	replyWith = ` ; replies with the i32 on the stack as one byte
		func $replyByte (i32) ()
		  i32.const 0
		  local.get 0
		  i32.store8
		  i32.const 0
		  i32.const 1
		  call $msg_reply_data_append
		  call $msg_reply
		end
	`
	replyImports = `
		import ic0 msg_reply () ()
		import ic0 msg_reply_data_append (i32 i32) ()
	`
)

func byteOf(t *testing.T, r Result) int {
	t.Helper()
	if r.Reject != nil {
		t.Fatal(r.Reject)
	}
	if len(r.Reply) != 1 {
		t.Fatalf("reply %x", r.Reply)
	}
	return int(r.Reply[0])
}

// Globals are rolled back as memory is.
func TestGlobalsRollBack(t *testing.T) {
	m := newMachine(t, Options{})
	id := installText(t, m, replyImports+`
		memory 1
		global $n i32 mut 7
		global $big i64 mut 1
		global $f f64 mut 3`+replyWith+`
		func $inc () ()
		  global.get $n
		  i32.const 1
		  i32.add
		  global.set $n
		  global.get $n
		  call $replyByte
		end
		func $bad () ()
		  i32.const 99
		  global.set $n
		  i64.const 99
		  global.set $big
		  unreachable
		end
		export $inc "canister_update inc"
		export $inc "canister_query peek"
		export $bad "canister_update bad"
		export $bad "canister_query bad2"
		export $n "n"`)
	if got := byteOf(t, submit(t, m, id, "inc", nil)); got != 8 {
		t.Fatal(got)
	}
	wantReject(t, submit(t, m, id, "bad", nil), 5, "IC0502", "Canister trapped: unreachable")
	wantReject(t, ask(t, m, id, "bad2", nil), 5, "IC0502", "Canister trapped: unreachable")
	if got := byteOf(t, ask(t, m, id, "peek", nil)); got != 9 {
		t.Fatal(got)
	}
	if got := byteOf(t, submit(t, m, id, "peek", nil)); got != 9 {
		t.Fatal(got)
	}
	if got := byteOf(t, submit(t, m, id, "inc", nil)); got != 9 {
		t.Fatal(got)
	}
}

// Memory grown by a message that fails is gone again, and clean when it comes back.
func TestMemoryGrowthRollsBack(t *testing.T) {
	m := newMachine(t, Options{})
	id := installText(t, m, replyImports+`
		memory 1 20`+replyWith+`
		func $grow () ()
		  i32.const 3
		  memory.grow
		  drop
		  i32.const 65536 ; the first new page must be zero
		  i32.load
		  memory.size
		  i32.add
		  i32.const 65536
		  i32.const 1000
		  i32.store
		  call $replyByte
		end
		func $growAndTrap () ()
		  i32.const 3
		  memory.grow
		  drop
		  i32.const 65536
		  i32.const 77
		  i32.store
		  unreachable
		end
		func $size () ()
		  memory.size
		  call $replyByte
		end
		func $tooMuch () ()
		  i32.const 100
		  memory.grow
		  call $replyByte
		end
		export $grow "canister_update grow"
		export $grow "canister_query growQuery"
		export $growAndTrap "canister_update growAndTrap"
		export $size "canister_query size"
		export $tooMuch "canister_update tooMuch"`)
	for range 3 {
		wantReject(t, submit(t, m, id, "growAndTrap", nil), 5, "IC0502", "unreachable")
		if got := byteOf(t, ask(t, m, id, "size", nil)); got != 1 {
			t.Fatalf("%d pages after a rolled back growth", got)
		}
		if got := byteOf(t, ask(t, m, id, "growQuery", nil)); got != 4 {
			t.Fatalf("%d pages in a query", got)
		}
	}
	if got := byteOf(t, submit(t, m, id, "tooMuch", nil)); got != 255 {
		t.Errorf("growth past the maximum gave %d", got)
	}
	if got := byteOf(t, submit(t, m, id, "grow", nil)); got != 4 {
		t.Errorf("%d pages, expected 4 and clean ones", got)
	}
	if got := byteOf(t, ask(t, m, id, "size", nil)); got != 4 {
		t.Errorf("%d pages", got)
	}
}

func TestResponses(t *testing.T) {
	m := newMachine(t, Options{})
	id := installText(t, m, replyImports+`
		import ic0 msg_reject (i32 i32) ()
		import ic0 msg_arg_data_copy (i32 i32 i32) ()
		import ic0 msg_arg_data_size () (i32)
		memory 1
		data 10 "sorry"
		data 20 "\xff\xfe"
		func $nothing () ()
		end
		func $twice () ()
		  call $msg_reply
		  call $msg_reply
		end
		func $appendAfter () ()
		  call $msg_reply
		  i32.const 0
		  i32.const 1
		  call $msg_reply_data_append
		end
		func $reject () ()
		  i32.const 10
		  i32.const 5
		  call $msg_reject
		end
		func $rejectBytes () ()
		  i32.const 20
		  i32.const 2
		  call $msg_reject
		end
		func $outside () ()
		  i32.const 65530
		  i32.const 7
		  call $msg_reply_data_append
		end
		func $argOutside () ()
		  i32.const 0
		  i32.const 1
		  call $msg_arg_data_size
		  call $msg_arg_data_copy
		end
		func $argFar () ()
		  i32.const -1
		  i32.const 0
		  i32.const 1
		  call $msg_arg_data_copy
		end
		func $large () ()
		  loop
		    i32.const 0
		    i32.const 65536
		    call $msg_reply_data_append
		    br 0
		  end
		end
		func $empty () ()
		  call $msg_reply
		end
		export $nothing "canister_update nothing"
		export $twice "canister_update twice"
		export $appendAfter "canister_update appendAfter"
		export $reject "canister_update reject"
		export $rejectBytes "canister_update rejectBytes"
		export $outside "canister_update outside"
		export $argOutside "canister_update argOutside"
		export $argFar "canister_update argFar"
		export $large "canister_update large"
		export $large "canister_query largeQuery"
		export $empty "canister_update empty"`)
	for _, c := range []struct {
		method    string
		code      int
		errorCode string
		text      string
	}{
		{"nothing", 5, "IC0506", "did not produce a response"},
		{"twice", 5, "IC0504", "ic0.msg_reply: the call is already replied"},
		{"appendAfter", 5, "IC0504", "ic0.msg_reply_data_append: the call is already replied"},
		{"reject", 4, "IC0406", "sorry"},
		{"rejectBytes", 5, "IC0504", "ic0.msg_reject: invalid UTF-8"},
		{"outside", 5, "IC0504", "ic0_msg_reply_data_append heap: src=65530 + length=7 exceeds the slice size=65536"},
		{"argOutside", 5, "IC0504", "ic0_msg_arg_data_copy payload: src=1 + length=3 exceeds the slice size=3"},
		{"argFar", 5, "IC0504", "ic0_msg_arg_data_copy heap: src=" + farAddress()},
		{"large", 5, "IC0504", "ic0.msg_reply_data_append: application payload size (2162688) cannot be larger than 2097152"},
	} {
		t.Run(c.method, func(t *testing.T) {
			wantReject(t, submit(t, m, id, c.method, []byte("arg")), c.code, c.errorCode, c.text)
		})
	}
	wantReject(t, ask(t, m, id, "largeQuery", nil), 5, "IC0504", "cannot be larger than 3145728")
	if r := submit(t, m, id, "empty", nil); r.Reject != nil || r.Reply == nil || len(r.Reply) != 0 {
		t.Errorf("%+v, expected an empty reply", r)
	}
}

func TestCallAssembly(t *testing.T) {
	m := newMachine(t, Options{})
	id := installText(t, m, replyImports+`
		import ic0 call_new (i32 i32 i32 i32 i32 i32 i32 i32) ()
		import ic0 call_perform () (i32)
		import ic0 call_data_append (i32 i32) ()
		import ic0 call_on_cleanup (i32 i32) ()
		import ic0 call_cycles_add (i64) ()
		import ic0 call_with_best_effort_response (i32) ()
		memory 1
		func $new () ()
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  call $call_new
		end
		func $performOnly () ()
		  call $call_perform
		  drop
		end
		func $appendAfterPerform () ()
		  call $new
		  call $call_perform
		  drop
		  i32.const 0
		  i32.const 1
		  call $call_data_append
		end
		func $cleanupTwice () ()
		  call $new
		  i32.const 0
		  i32.const 0
		  call $call_on_cleanup
		  i32.const 0
		  i32.const 0
		  call $call_on_cleanup
		end
		func $timeoutTwice () ()
		  call $new
		  i32.const 1
		  call $call_with_best_effort_response
		  i32.const 1
		  call $call_with_best_effort_response
		end
		func $tooManyCycles () ()
		  call $new
		  i64.const -1
		  call $call_cycles_add
		end
		func $longName () ()
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 20001
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  call $call_new
		end
		func $longPrincipal () ()
		  i32.const 0
		  i32.const 30
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  call $call_new
		end
		func $noTable () () ; the callback does not exist
		  call $new
		  call $call_perform
		  drop
		end
		export $performOnly "canister_update performOnly"
		export $appendAfterPerform "canister_update appendAfterPerform"
		export $cleanupTwice "canister_update cleanupTwice"
		export $timeoutTwice "canister_update timeoutTwice"
		export $tooManyCycles "canister_update tooManyCycles"
		export $longName "canister_update longName"
		export $longPrincipal "canister_update longPrincipal"
		export $noTable "canister_update noTable"`)
	for _, c := range []struct{ method, errorCode, text string }{
		{"performOnly", "IC0504", "ic0.call_perform called when no call is under construction"},
		{"appendAfterPerform", "IC0504", "ic0.call_data_append called after `ic0.call_perform`"},
		{"cleanupTwice", "IC0504", "ic0.call_on_cleanup can be called at most once"},
		{"timeoutTwice", "IC0504", "ic0_call_with_best_effort_response failed because a timeout is already set"},
		{"tooManyCycles", "IC0504", "out of cycles"},
		{"longName", "IC0504", "Size of method_name 20001 exceeds the allowed limit of 20000"},
		{"longPrincipal", "IC0504", "invalid principal id"},
		{"noTable", "IC0502", "table out of bounds"},
	} {
		t.Run(c.method, func(t *testing.T) {
			wantReject(t, submit(t, m, id, c.method, nil), 5, c.errorCode, c.text)
		})
	}
}

func TestBadModules(t *testing.T) {
	m := newMachine(t, Options{})
	id, err := m.CreateCanister(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		wasm []byte
		text string
	}{
		{"empty", nil, "magic header"},
		{"not wasm", []byte("hello, world"), "magic header"},
		{"bad gzip", []byte{0x1f, 0x8b, 0x08, 0, 1}, "Failed to decode wasm module"},
		{"truncated", assemble("memory 1\nfunc $f () ()\nend")[:13], "unexpected end"},
		{"unknown import", assemble("import ic0 fly_away () ()"), "Module imports function 'fly_away' from 'ic0' that is not exported by the runtime."},
		{"unknown module", assemble("import env msg_reply () ()"), "Module imports function 'msg_reply' from 'env'"},
		{"wrong type", assemble("import ic0 msg_reply (i32) ()"), "is imported with type"},
		{"type error", assemble("func $f () ()\ni32.const 1\nend"), "failed to validate"},
		{"reserved export", assemble("func $f () ()\nend\nexport $f \"canister_fly\""), "Exporting reserved function 'canister_fly'"},
		{"typed export", assemble("func $f (i32) ()\nend\nexport $f \"canister_update f\""), "to have type () -> ()"},
		{"both kinds", assemble("func $f () ()\nend\nexport $f \"canister_update f\"\nexport $f \"canister_query f\""), "Duplicate function 'f'"},
		{"too much memory", assemble("memory 65536"), "at most 16384 are allowed"},
		{"trapping start", assemble("func $f () ()\nunreachable\nend\nstart $f"), "Canister trapped: unreachable"},
		{"endless init", assemble("func $f () ()\nloop\nbr 0\nend\nend\nexport $f \"canister_init\""), "exceeded the"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.limits.InstallTime = 100 * time.Millisecond
			err := m.Install(context.Background(), id, ModeInstall, c.wasm, nil, user)
			if err == nil || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), "Error from Canister "+id.String()) {
				t.Errorf("%v\nexpected an error with %q", err, c.text)
			}
			if info, _ := m.Info(id); info.ModuleHash != nil {
				t.Error("there is a module afterwards")
			}
		})
	}
}

func TestHeartbeatAndLowMemory(t *testing.T) {
	clock := newClock()
	m := newMachine(t, Options{Now: clock.now})
	id := installText(t, m, replyImports+`
		memory 1`+replyWith+`
		func $beat () ()
		  i32.const 100
		  i32.const 100
		  i32.load
		  i32.const 1
		  i32.add
		  i32.store
		end
		func $count () ()
		  i32.const 100
		  i32.load
		  call $replyByte
		end
		func $hook () ()
		  i32.const 100
		  i32.const 50
		  i32.store
		end
		func $grow () ()
		  i32.const 2
		  memory.grow
		  call $replyByte
		end
		export $beat "canister_heartbeat"
		export $hook "canister_on_low_wasm_memory"
		export $grow "canister_update grow"
		export $count "canister_update count"`)
	if got := byteOf(t, submit(t, m, id, "count", nil)); got != 0 {
		t.Fatalf("%d beats", got)
	}
	for n := range 3 {
		clock.advance(time.Second)
		m.Tick()
		submit(t, m, id, "count", nil) // by the next message the beat has run
		if got := byteOf(t, submit(t, m, id, "count", nil)); got != n+1 {
			t.Fatalf("%d beats, expected %d", got, n+1)
		}
	}
	set := candid.Fields{"canister_id": id, "settings": candid.Fields{"wasm_memory_limit": 4 * 65536, "wasm_memory_threshold": 2 * 65536}}
	if r := manage(t, m, user, "update_settings", settingsArgs, set); r.Reject != nil {
		t.Fatal(r.Reject)
	}
	byteOf(t, submit(t, m, id, "grow", nil))
	submit(t, m, id, "count", nil)
	if got := byteOf(t, submit(t, m, id, "count", nil)); got != 50 {
		t.Errorf("the hook for low memory did not run: %d", got)
	}
	wantReject(t, submit(t, m, id, "grow", nil), 5, "IC0539", "Canister exceeded its current Wasm memory limit of 262144 bytes.")
}
