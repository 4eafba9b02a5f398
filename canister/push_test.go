package canister_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/icrelay/icrelay/candid"
)

// pushMany calls sendMany.
func (w *world) pushMany(sender candid.Principal, clients []candid.Principal, content []byte) (reached uint64, refusal string) {
	w.t.Helper()
	return w.push(sender, "sendMany", candid.NewBuilder().Add(candid.VecOf(candid.PrincipalType), clients).Add(candid.BlobType, content))
}

func (w *world) broadcast(sender candid.Principal, content []byte) (reached uint64, refusal string) {
	w.t.Helper()
	return w.push(sender, "broadcast", candid.NewBuilder().Add(candid.BlobType, content))
}

// to calls send or close for one connection.
func (w *world) to(name string, sender candid.Principal, key candid.ClientKey, content []byte) (reached uint64, refusal string) {
	w.t.Helper()
	b := candid.NewBuilder().Add(candid.PrincipalType, key.Principal)
	if content != nil {
		b = b.Add(candid.BlobType, content)
	}
	return w.push(sender, name, b.Add(candid.OptOf(candid.Nat64Type), key.Nonce))
}

func TestPush(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{calls: []method{{target, "put"}}})
	a, a2 := w.open(client(1), 1, gateway1), w.open(client(1), 2, gateway2)
	b, c := w.open(client(2), 1, gateway1), w.open(client(3), 1, gateway2)
	check := func(what string, reached uint64, refusal string, want uint64) {
		t.Helper()
		if reached != want || refusal != "" {
			t.Errorf("%s reached %d, want %d: %s", what, reached, want, refusal)
		}
	}
	reached, refusal := w.trySend(client(1), candid.EncodeText("to 1"))
	check("send", reached, refusal, 2)
	reached, refusal = w.to("send", controller, a2.key, candid.EncodeText("to 1, second connection"))
	check("send to a connection", reached, refusal, 1)
	// nobody gets it twice, and who is not there is left out
	reached, refusal = w.pushMany(admin, []candid.Principal{client(3), client(1), client(9), client(3)}, candid.EncodeText("to 1 and 3"))
	check("sendMany", reached, refusal, 3)
	reached, refusal = w.pushMany(admin, nil, candid.EncodeText("to nobody"))
	check("sendMany to nobody", reached, refusal, 0)
	reached, refusal = w.broadcast(admin, candid.EncodeText("to all"))
	check("broadcast", reached, refusal, 4)
	for _, want := range []struct {
		conn  *conn
		texts []string
	}{
		{a, []string{"to 1", "to 1 and 3", "to all"}},
		{a2, []string{"to 1", "to 1, second connection", "to 1 and 3", "to all"}},
		{b, []string{"to all"}},
		{c, []string{"to 1 and 3", "to all"}},
	} {
		if diff := cmp.Diff(want.texts, want.conn.texts()); diff != "" {
			t.Errorf("%s: %s", want.conn.key, diff)
		}
	}

	reached, refusal = w.to("close", admin, a.key, nil)
	check("close a connection", reached, refusal, 1)
	if got := a.services(); got[len(got)-1] != "close ClosedByApplication" {
		t.Errorf("service messages %q", got)
	}
	a2.send(candid.EncodeText("still here"))
	if got := w.result(a.start(1, candid.EncodeText("x"))); !strings.Contains(got, "has a different key") {
		t.Errorf("a message of a closed connection: %q", got)
	}
	for name, content := range map[string][]byte{"send": candid.EncodeText("x"), "close": nil} {
		if _, got := w.to(name, admin, a.key, content); got != "Client with key "+a.key.String()+" doesn't have an open connection" {
			t.Errorf("%s: %q", name, got)
		}
	}
	reached, refusal = w.tryShut(client(1))
	check("close", reached, refusal, 1)
	if got := number(t, w.status(admin), "clients"); got != 2 {
		t.Errorf("%d clients are left", got)
	}
}

// Who may push: whoever the configuration names, whatever as, and controllers and admins.
func TestWhoMayPush(t *testing.T) {
	w := newWorld(t)
	called, fed, hooked, pusher, other := w.installTarget(), w.installTarget(), w.installTarget(), w.installTarget(), w.installTarget()
	w.installRelay(settings{
		calls:   []method{{called, "put"}},
		feeds:   []method{{fed, "since"}},
		hooks:   []hook{{target: hooked, open: "opened"}},
		pushers: []candid.Principal{pusher},
	})
	w.open(client(1), 1, gateway1)
	w.idle()
	for _, tc := range []struct {
		who     string
		sender  candid.Principal
		allowed bool
	}{
		{"target of a call", called, true},
		{"target of a feed", fed, true},
		{"target of a hook", hooked, true},
		{"pusher", pusher, true},
		{"controller", controller, true},
		{"admin", admin, true},
		{"another canister", other, false},
		{"client", client(1), false},
		{"gateway", gateway1, false},
		{"anonymous", candid.Anonymous, false},
	} {
		t.Run(tc.who, func(t *testing.T) {
			content := candid.EncodeText("x")
			for name, push := range map[string]func() (uint64, string){
				"send": func() (uint64, string) {
					return w.to("send", tc.sender, candid.ClientKey{Principal: client(1), Nonce: 1}, content)
				},
				"sendMany":  func() (uint64, string) { return w.pushMany(tc.sender, []candid.Principal{client(1)}, content) },
				"broadcast": func() (uint64, string) { return w.broadcast(tc.sender, content) },
				// of a connection that is not there
				"close": func() (uint64, string) {
					return w.to("close", tc.sender, candid.ClientKey{Principal: client(1), Nonce: 5}, nil)
				},
			} {
				reached, refusal := push()
				isRefused := refusal == name+" is only for controllers and admins of the relay canister, and for canisters that its configuration names"
				if isRefused == tc.allowed || (tc.allowed && name != "close" && reached != 1) {
					t.Errorf("%s reached %d: %q", name, reached, refusal)
				}
			}
			clients := w.machine.Query(t.Context(), tc.sender, w.relay, "clients", candid.EncodeEmpty())
			if (clients.Reject == nil) != tc.allowed {
				t.Errorf("clients: %v", clients.Reject)
			}
		})
	}
	// A canister that a new configuration does not name any more may not.
	if text := w.refusal(w.call(admin, w.relay, "relay_configure", settings{}.argument(t))); text != "" {
		t.Fatal(text)
	}
	if _, refusal := w.broadcast(pusher, candid.EncodeText("x")); refusal == "" {
		t.Error("a former pusher may push")
	}
}

// What is pushed is Candid, not too large, and finds room, or it is refused and nobody gets it.
func TestPushRefusals(t *testing.T) {
	w := newRelay(t, settings{})
	for i := range 16 {
		w.open(client(i), 1, gateway1)
	}
	late := w.open(client(100), 1, gateway2)
	large := candid.EncodeText(strings.Repeat("x", 1_000_000))
	for _, tc := range []struct {
		name, want string
		push       func() (uint64, string)
	}{
		{"no Candid", "The message is not a Candid value: not Candid", func() (uint64, string) { return w.broadcast(admin, []byte("hello")) }},
		{"nothing", "The message is not a Candid value: not Candid", func() (uint64, string) { return w.trySend(client(1), nil) }},
		{"no value", "The message holds no value", func() (uint64, string) { return w.trySend(client(1), candid.EncodeEmpty()) }},
		{"too large for all", "1000010 bytes are too many for 17 connections at once", func() (uint64, string) { return w.broadcast(admin, large) }},
		{"many recipients", "20001 recipients are too many, at most 20000 are allowed", func() (uint64, string) {
			return w.pushMany(admin, make([]candid.Principal, 20_001), candid.EncodeText("x"))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reached, refusal := tc.push()
			if reached != 0 || !strings.HasPrefix(refusal, tc.want) {
				t.Errorf("reached %d: %q, want %q", reached, refusal, tc.want)
			}
		})
	}
	// Fill the queue of one gateway. Who comes through another has room.
	var refusal string
	for i := 0; refusal == ""; i++ {
		if i > 10 {
			t.Fatal("a queue takes more than 64 MiB")
		}
		_, refusal = w.pushMany(admin, clients(16), large)
	}
	if refusal != "The queue of a gateway is full, try again later" {
		t.Errorf("refusal %q", refusal)
	}
	if _, refusal := w.broadcast(admin, candid.EncodeText(strings.Repeat("x", 200_000))); refusal != "The queue of a gateway is full, try again later" {
		t.Errorf("broadcast: %q", refusal)
	}
	if got := len(late.texts()); got != 0 {
		t.Errorf("a refused broadcast reached %d", got)
	}
	if reached, refusal := w.trySend(client(100), large); reached != 1 {
		t.Errorf("the client of another gateway: %q", refusal)
	}
}

func clients(count int) []candid.Principal {
	out := make([]candid.Principal, count)
	for i := range out {
		out[i] = client(i)
	}
	return out
}

// A canister pushes with an ordinary inter-canister call, without the nonce where it does not care.
func TestCanistersPush(t *testing.T) {
	w := newWorld(t)
	target := w.installTarget()
	w.installRelay(settings{pushers: []candid.Principal{target}})
	c := w.open(client(1), 1, gateway1)
	arg, err := candid.NewBuilder().Add(candid.PrincipalType, client(1)).Add(candid.BlobType, candid.EncodeText("from a canister")).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	forward, err := candid.NewBuilder().Add(candid.PrincipalType, w.relay).Add(candid.TextType, "send").Add(candid.BlobType, arg).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	reply, _ := w.decode(w.call(stranger, target, "forward", forward)).Blob()
	if ok, _ := w.decode(reply).Tag("Ok"); ok.String() != "1" {
		t.Errorf("reply %v", w.decode(reply))
	}
	if diff := cmp.Diff([]string{"from a canister"}, c.texts()); diff != "" {
		t.Error(diff)
	}
}
