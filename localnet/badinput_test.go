package localnet

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/ic"
)

// TestBadInput is what somebody reads who gets something wrong that is not the
// request itself (for that see TestRefusals): reject code, error code and text,
// for calls and for queries, of a real canister.
func TestBadInput(t *testing.T) {
	user := newIdentity(t)
	n, id := startReal(t, user.Principal())
	c := newClient(t, n)
	ctx := t.Context()
	create := func(controller candid.Principal) candid.Principal {
		id, err := n.CreateCanister(controller)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	empty, stopped, foreign := create(user.Principal()), create(user.Principal()), create("\x01\x02\x03")
	if err := n.Machine().Stop(ctx, stopped); err != nil {
		t.Fatal(err)
	}
	call := func(id candid.Principal, method string, arg []byte) func() error {
		return func() error {
			_, err := c.Call(ctx, user, id, method, arg)
			return err
		}
	}
	query := func(id candid.Principal, method string, arg []byte) func() error {
		return func() error {
			_, err := c.Query(ctx, user, id, method, arg)
			return err
		}
	}
	install := func(id candid.Principal, module []byte) func() error {
		return func() error {
			_, err := c.CallEffective(ctx, user, id, candid.ManagementCanister, "install_code", installArg(t, id, module))
			return err
		}
	}
	plain := create(user.Principal()) // without canister_inspect_message
	if err := n.Install(ctx, plain, readFile(t, counterModule), natArg(t, 1)); err != nil {
		t.Fatal(err)
	}
	none := candid.EncodeEmpty()
	module := func(sections ...string) []byte { return []byte("\x00asm\x01\x00\x00\x00" + strings.Join(sections, "")) }
	const voidType = "\x01\x04\x01\x60\x00\x00"
	for _, test := range []struct {
		name string
		do   func() error
		code int
		ic   string
		text string
	}{
		{"call of an unknown canister", call(absentCanister, "inc", none), 3, "IC0301", "Canister " + absentCanister.String() + " not found"},
		{"query of an unknown canister", query(absentCanister, "get", none), 3, "IC0301", "Canister " + absentCanister.String() + " not found"},
		{"call of an unknown method", call(plain, "fly", none), 5, "IC0536", "Canister has no update method 'fly'"},
		{"query of an unknown method", query(id, "fly", none), 5, "IC0536", "Canister has no query method 'fly'"},
		{"query of an update method", query(id, "inc", none), 5, "IC0536", "Canister has no query method 'inc'"},
		{"a method's name without end", call(plain, strings.Repeat("fly", 5_000), none), 5, "IC0536", "Canister has no update method"},
		{"arguments that are no Candid", call(id, "inc", []byte("hello")), 5, "IC0503", "Error from Canister " + id.String()},
		{"arguments of another type", call(id, "certify", candid.EncodeText("x")), 5, "IC0503", "Error from Canister " + id.String()},
		{"call of an empty canister", call(empty, "inc", none), 5, "IC0537", "the canister contains no Wasm module"},
		{"query of an empty canister", query(empty, "get", none), 5, "IC0537", "the canister contains no Wasm module"},
		{"call of a stopped canister", call(stopped, "inc", none), 5, "IC0508", "is stopped"},
		{"query of a stopped canister", query(stopped, "get", none), 5, "IC0508", "is stopped"},

		{"installing by somebody else", install(foreign, module()), 5, "IC0512", "Only controllers of canister " + foreign.String()},
		{"installing twice", install(id, module()), 5, "IC0514", "not empty"},
		{"no module", install(empty, nil), 5, "IC0505", "magic header"},
		{"no Wasm", install(empty, []byte("#!/bin/sh\nexit 0\n")), 5, "IC0505", "magic header"},
		{"a module cut short", install(empty, module(voidType[:4])), 5, "IC0505", "Canister's Wasm module is not valid"},
		{"a compressed module cut short", install(empty, compressed(t, module(voidType))[:15]), 5, "IC0505", "Failed to decode wasm module"},
		{"a function that does not validate", install(empty, module(voidType, "\x03\x02\x01\x00", "\x0a\x06\x01\x04\x00\x41\x01\x0b")), 5, "IC0505", "failed to validate"},
		{"an import that there is not", install(empty, module(voidType, "\x02\x0b\x01\x03ic0\x03fly\x00\x00")), 5, "IC0505",
			"Module imports function 'fly' from 'ic0' that is not exported by the runtime"},
		{"an import from elsewhere", install(empty, module(voidType, "\x02\x0b\x01\x03env\x03fly\x00\x00")), 5, "IC0505", "Module imports function 'fly' from 'env'"},
		{"an import of another type", install(empty, module("\x01\x05\x01\x60\x01\x7f\x00", "\x02\x11\x01\x03ic0\x09msg_reply\x00\x00")), 5, "IC0505", "is imported with type"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var rej *ic.RejectError
			if err := test.do(); !errors.As(err, &rej) {
				t.Fatalf("%v, want a reject", err)
			}
			if rej.Code != test.code || rej.ErrorCode != test.ic || !strings.Contains(rej.Text, test.text) {
				t.Errorf("%d %s %q\nwant %d %s with %q", rej.Code, rej.ErrorCode, rej.Text, test.code, test.ic, test.text)
			}
			if len(rej.Text) > 20_000 {
				t.Errorf("a text of %d bytes", len(rej.Text))
			}
		})
	}
	if info, _ := n.Machine().Info(empty); info.ModuleHash != nil {
		t.Error("something was installed")
	}
	if _, err := c.Call(ctx, user, id, "inc", none); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func installArg(t *testing.T, id candid.Principal, module []byte) []byte {
	t.Helper()
	field := func(label string, t candid.Type) candid.Field { return candid.Field{Label: label, Type: t} }
	arg, err := candid.NewBuilder().Add(candid.RecordOf(
		field("mode", candid.VariantOf(field("install", candid.NullType))), field("canister_id", candid.PrincipalType),
		field("wasm_module", candid.BlobType), field("arg", candid.BlobType)),
		candid.Fields{"mode": "install", "canister_id": id, "wasm_module": module, "arg": []byte{}}).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return arg
}

func compressed(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestHostileRequestsAreCheap: a request that promises much and holds little, or
// holds as much as is allowed, is refused for little memory beside its own bytes.
func TestHostileRequestsAreCheap(t *testing.T) {
	n, err := newNetwork(Options{Now: time.Now}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.canisters.Close(); err != nil {
			t.Error(err)
		}
	})
	const large = maxBodyBytes - 1000
	huge := func(major int) []byte { return cbor.AppendHead(nil, major, 1<<40) }
	// field puts an item under a key of the content, or of the envelope.
	content := func(kind, key string, item []byte) []byte {
		b := cbor.AppendText(cbor.AppendMap(cbor.AppendSelfDescribe(nil), 1), "content")
		b = cbor.AppendText(cbor.AppendText(cbor.AppendMap(b, 2), "request_type"), kind)
		return append(cbor.AppendText(b, key), item...)
	}
	outside := func(key string, item []byte) []byte {
		return append(cbor.AppendText(cbor.AppendMap(cbor.AppendSelfDescribe(nil), 2), key), item...)
	}
	many := func(item string) []byte {
		count := large / len(item)
		return append(cbor.AppendArray(nil, count), strings.Repeat(item, count)...)
	}
	handler := n.handler()
	for name, body := range map[string][]byte{
		"a map of a lie":                  append(cbor.AppendSelfDescribe(nil), huge(cbor.MajorMap)...),
		"bytes of a lie":                  content("call", "arg", huge(cbor.MajorBytes)),
		"a text of a lie":                 content("call", "method_name", huge(cbor.MajorText)),
		"paths of a lie":                  content("read_state", "paths", huge(cbor.MajorArray)),
		"delegations of a lie":            outside("sender_delegation", huge(cbor.MajorArray)),
		"nested":                          bytes.Repeat([]byte{0x81}, large),
		"nested in a field":               content("call", "extra", bytes.Repeat([]byte{0x81}, large)),
		"nested tags":                     bytes.Repeat([]byte{0xd9, 0xd9, 0xf7}, large/3),
		"many empty paths":                content("read_state", "paths", many("\x80")),
		"many short paths":                content("read_state", "paths", many("\x81\x40")),
		"a path of many labels":           content("read_state", "paths", append([]byte{0x81}, many("\x40")...)),
		"many delegations":                outside("sender_delegation", many("\xa0")),
		"many keys":                       append(cbor.AppendMap(cbor.AppendSelfDescribe(nil), large/3), strings.Repeat("\x61a\x00", large/3)...),
		"chunks without end":              content("call", "arg", append([]byte{0x5f}, bytes.Repeat([]byte{0x40}, large)...)),
		"a nonce of a megabyte":           content("call", "nonce", cbor.AppendBytes(nil, make([]byte, 1<<20))),
		"a sender of a megabyte":          content("call", "sender", cbor.AppendBytes(nil, make([]byte, 1<<20))),
		"an expiry of many digits":        content("call", "ingress_expiry", append([]byte{0xc2}, cbor.AppendBytes(nil, make([]byte, 1<<20))...)),
		"many unknown fields, a megabyte": content("call", "x", cbor.AppendBytes(nil, make([]byte, 1<<20))),
	} {
		t.Run(name, func(t *testing.T) {
			for _, url := range []string{callURL("v4", testCanister), queryURL("v3", testCanister), readStateURL("v3", testCanister)} {
				req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
				req.Header.Set("Content-Type", cborType)
				w := httptest.NewRecorder()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				handler.ServeHTTP(w, req)
				took := time.Since(start)
				runtime.ReadMemStats(&after)
				if w.Code != http.StatusBadRequest || !strings.HasPrefix(w.Body.String(), "Failed to deserialize cbor request: ") {
					t.Errorf("%d %.200q", w.Code, w.Body)
				}
				if w.Body.Len() > 1000 {
					t.Errorf("an answer of %d bytes", w.Body.Len())
				}
				if used := after.TotalAlloc - before.TotalAlloc; used > 2*uint64(len(body))+1<<20 {
					t.Errorf("%d bytes were allocated for a request of %d", used, len(body))
				}
				if took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
			}
		})
	}
}

// TestHostileModulesAreCheap: modules that promise much are refused before they
// get it.
func TestHostileModulesAreCheap(t *testing.T) {
	user := newIdentity(t)
	n, _ := startReal(t, user.Principal())
	id, err := n.CreateCanister(user.Principal())
	if err != nil {
		t.Fatal(err)
	}
	header := []byte("\x00asm\x01\x00\x00\x00")
	lie := binary.AppendUvarint(nil, 1<<32-1)
	section := func(kind byte, content ...byte) []byte {
		b := binary.AppendUvarint(append(bytes.Clone(header), kind), uint64(len(content)))
		return append(b, content...)
	}
	bomb := bytes.Repeat(compressed(t, make([]byte, 1<<20)), 120) // gzip joins what stands behind each other
	for name, module := range map[string][]byte{
		"a section of a lie":     append(append(bytes.Clone(header), 1), lie...),
		"types of a lie":         section(1, lie...),
		"functions of a lie":     section(3, lie...),
		"a memory of a lie":      section(5, append([]byte{1, 0}, lie...)...),
		"a table of a lie":       section(4, append([]byte{1, 0x70, 0}, lie...)...),
		"code of a lie":          section(10, lie...),
		"data of a lie":          section(11, lie...),
		"what unpacks to 120 MB": bomb,
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := n.Install(t.Context(), id, module, nil)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Error("installed")
			}
			most := uint64(8 << 20)
			if strings.HasPrefix(name, "what unpacks") { // to 100 MiB, which is the limit, in a buffer that grows
				most = 700 << 20
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > most {
				t.Errorf("%d bytes were allocated for a module of %d", used, len(module))
			}
		})
	}
}
