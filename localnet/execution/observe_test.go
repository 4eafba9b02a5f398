package execution

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// OnExecution tells of every execution, with the count that the code itself sees.
func TestOnExecution(t *testing.T) {
	var seen []Execution // read only while nothing runs
	m := newMachine(t, Options{OnExecution: func(x Execution) { seen = append(seen, x) }})
	id := installText(t, m, replyImports+`
		import ic0 performance_counter (i32) (i64)
		import ic0 canister_self_size () (i32)
		import ic0 canister_self_copy (i32 i32 i32) ()
		import ic0 call_new (i32 i32 i32 i32 i32 i32 i32 i32) ()
		import ic0 call_data_append (i32 i32) ()
		import ic0 call_perform () (i32)
		memory 1
		table 1
		elem 0 $answered
		data 100 "count"
		func $count () ()
		  i32.const 0
		  i32.const 0
		  call $performance_counter
		  i64.store
		  i32.const 0
		  i32.const 8
		  call $msg_reply_data_append
		  call $msg_reply
		end
		func $ask () ()
		  i32.const 200
		  i32.const 0
		  call $canister_self_size
		  call $canister_self_copy
		  i32.const 200
		  call $canister_self_size
		  i32.const 100
		  i32.const 5
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  i32.const 0
		  call $call_new
		  i32.const 0
		  i32.const 3
		  call $call_data_append
		  call $call_perform
		  drop
		end
		func $answered (i32) ()
		  call $msg_reply
		end
		func $fail () ()
		  i32.const 5000
		  i32.const 1
		  i32.store
		  unreachable
		end
		export $count "canister_update count"
		export $count "canister_query peek"
		export $ask "canister_update ask"
		export $fail "canister_update fail"`)
	var counted uint64
	// What the code calls after it has read the counter: two functions and 8 bytes.
	const later = 500 + 500 + 8*50
	count := func(r Result) int {
		t.Helper()
		if r.Reject != nil || len(r.Reply) != 8 {
			t.Fatalf("%+v", r)
		}
		counted = binary.LittleEndian.Uint64(r.Reply)
		return int(counted) // #nosec G115 -- small
	}

	first := count(submit(t, m, id, "count", nil))
	if again := count(submit(t, m, id, "count", []byte("argument"))); again != first {
		t.Errorf("counted %d, then %d", first, again)
	}
	if asked := count(ask(t, m, id, "peek", nil)); asked != first {
		t.Errorf("an update counts %d, a query %d", first, asked)
	}
	if r := submit(t, m, id, "ask", nil); r.Reject != nil {
		t.Fatal(r.Reject)
	}
	if r := submit(t, m, id, "fail", nil); r.Reject == nil {
		t.Fatal("no trap")
	}

	n := counted + later
	want := []Execution{
		{Kind: "update", Method: "count", Caller: user, Reply: 8, Instructions: n},
		{Kind: "update", Method: "count", Caller: user, Argument: 8, Reply: 8, Instructions: n},
		{Kind: "non replicated query", Method: "peek", Caller: user, Reply: 8, Instructions: n},
		{Kind: "update", Method: "ask", Caller: user, Calls: []SentCall{{Callee: id, Method: "count", Argument: 3}}},
		{Kind: "update", Method: "count", Caller: id, Argument: 3, Reply: 8, Instructions: n},
		{Kind: "reply callback", Caller: user, Argument: 8},
		{Kind: "update", Method: "fail", Caller: user},
	}
	for i := range want {
		want[i].Canister = id
		want[i].DirtyPages = 1
	}
	want[5].DirtyPages = 0
	if moduleSuffix == "" {
		for i := range want {
			want[i].DirtyPages = 0
		}
	}
	for i, x := range seen {
		if trapped := x.Err != nil; trapped != (x.Method == "fail") {
			t.Errorf("%s: error %v", x.Method, x.Err)
		}
		if i < len(want) && want[i].Instructions == 0 { // whatever it is
			want[i].Instructions = max(x.Instructions, 1)
		}
	}
	if diff := cmp.Diff(want, seen, cmpopts.IgnoreFields(Execution{}, "Err")); diff != "" {
		t.Error(diff)
	}
	if asking := seen[3].Instructions; asking < 4*500+1500+5000+10+5+3*50 {
		t.Errorf("a call took %d instructions: the system calls alone count more", asking)
	}
	// One for the function, and of the 9 instructions three call and one stores.
	if moduleSuffix == "64" && counted != 1+3*5+2+5+200 {
		t.Errorf("counted %d", counted)
	}
}
