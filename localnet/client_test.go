package localnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
)

func newClient(t testing.TB, n *Network) *ic.Client {
	t.Helper()
	v, err := ic.NewVerifier(n.RootKey())
	if err != nil {
		t.Fatal(err)
	}
	c, err := ic.NewClient(ic.Options{URL: n.URL(), Verifier: v, VerifyQueries: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func blobArg(t testing.TB, b []byte) []byte {
	t.Helper()
	arg, err := candid.NewBuilder().Add(candid.BlobType, b).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return arg
}

// TestOwnClient joins the two sides of package ic, with real canister code between them.
func TestOwnClient(t *testing.T) {
	user := newIdentity(t)
	n, id := startReal(t, user.Principal())
	c := newClient(t, n)
	ctx := t.Context()

	status, err := c.Status(ctx)
	if err != nil || !bytes.Equal(status.RootKey, n.RootKey()) {
		t.Fatalf("%+v, %v", status, err)
	}
	nat := func(reply []byte, err error) uint64 {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		v, err := candid.DecodeNat(reply)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if got := nat(c.Call(ctx, user, id, "inc", candid.EncodeEmpty())); got != 1 {
		t.Errorf("inc: %d", got)
	}
	if got := nat(c.Query(ctx, user, id, "get", candid.EncodeEmpty())); got != 1 {
		t.Errorf("get: %d", got)
	}
	var rej *ic.RejectError
	if _, err := c.Call(ctx, user, id, "refuse", candid.EncodeEmpty()); !errors.As(err, &rej) || rej.Code != 4 {
		t.Errorf("refuse: %v", err)
	}
	if _, err := c.Query(ctx, user, id, "trapQuery", candid.EncodeEmpty()); !errors.As(err, &rej) || rej.Code != 5 || rej.ErrorCode != "IC0503" {
		t.Errorf("trapQuery: %v", err)
	}
	if _, err := c.Call(ctx, user, id, "incAndTrap", candid.EncodeEmpty()); !errors.As(err, &rej) || rej.ErrorCode != "IC0503" {
		t.Errorf("incAndTrap: %v", err)
	}
	if got := nat(c.Query(ctx, user, id, "get", candid.EncodeEmpty())); got != 1 {
		t.Errorf("after a trap: %d", got)
	}
}

// TestCertifiedDataFollowUpdates changes a canister's certified data while
// others read them: the certificate that a query returns always fits, is never
// older than an answered update, and its time never goes back.
func TestCertifiedDataFollowUpdates(t *testing.T) {
	user := newIdentity(t)
	n, id := startReal(t, user.Principal())
	c := newClient(t, n)
	ctx := t.Context()
	v := c.Verifier()
	read := func() (value uint64, at time.Time) {
		reply, err := c.Query(ctx, user, id, "certificate", candid.EncodeEmpty())
		if err != nil {
			t.Error(err)
			return 0, at
		}
		values, err := candid.Decode(reply, candid.Limits{})
		if err != nil {
			t.Error(err)
			return 0, at
		}
		inner, ok := values[0].Opt()
		raw, isBlob := inner.Blob()
		if !ok || !isBlob {
			t.Error("a query without certificate")
			return 0, at
		}
		cert, err := v.Verify(raw, id, time.Now(), time.Minute)
		if err != nil {
			t.Error(err)
			return 0, at
		}
		data, result := cert.Lookup([]byte("canister"), id.Bytes(), []byte("certified_data"))
		if result != ic.Found || len(data) != 8 {
			t.Errorf("certified data %x, %v", data, result)
			return 0, at
		}
		return binary.BigEndian.Uint64(data), cert.Time
	}
	write := func(value uint64) {
		if _, err := c.Call(ctx, user, id, "certify", blobArg(t, binary.BigEndian.AppendUint64(nil, value))); err != nil {
			t.Error(err)
		}
	}
	write(1)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			var last uint64
			for {
				select {
				case <-done:
					return
				default:
				}
				value, _ := read()
				if value < last {
					t.Errorf("%d after %d", value, last)
				}
				last = value
			}
		})
	}
	var last time.Time
	for i := uint64(2); i < 60; i++ {
		write(i)
		value, at := read()
		if value != i {
			t.Errorf("%d right after %d was written", value, i)
		}
		if at.Before(last) {
			t.Errorf("time went back by %v", last.Sub(at))
		}
		last = at
	}
	close(done)
	readers.Wait()
}

// TestEndlessCalls are calls that the canister does not answer: their status is
// visible, the network keeps answering others, and Close does not wait for them.
func TestEndlessCalls(t *testing.T) {
	user := newIdentity(t)
	n, id := startReal(t, user.Principal())
	n.syncTimeout = 50 * time.Millisecond
	c := newClient(t, n)
	ctx := t.Context()
	e := ic.NewCall(id, "waitForStop", candid.EncodeEmpty(), time.Now())
	if err := ic.Sign(e, user); err != nil {
		t.Fatal(err)
	}
	outcome, err := c.Submit(ctx, id, e.Encode(), e.RequestID(), nil)
	if err != nil || !outcome.Accepted {
		t.Fatalf("%+v, %v", outcome, err)
	}
	if _, err := c.Call(ctx, user, id, "inc", candid.EncodeEmpty()); err != nil {
		t.Errorf("another call meanwhile: %v", err)
	}
	requestID := e.RequestID()
	statusOf := func() string {
		cert, err := c.ReadState(ctx, user, id, [][][]byte{labels("request_status", requestID)})
		if err != nil {
			t.Fatal(err)
		}
		s, _ := cert.Lookup(labels("request_status", requestID, "status")...)
		return string(s)
	}
	if got := statusOf(); got != "received" && got != "processing" {
		t.Errorf("status %q", got)
	}
	if _, err := c.Call(ctx, user, id, "stopWaiting", candid.EncodeEmpty()); err != nil {
		t.Fatal(err)
	}
	<-n.requests.lookup(requestID).settled
	if got := statusOf(); got != "replied" {
		t.Errorf("status %q", got)
	}
}

// BenchmarkRealQuery polls a canister's certificate over HTTP as a gateway does.
func BenchmarkRealQuery(b *testing.B) {
	user, err := ic.NewEd25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	n, id := startReal(b, user.Principal())
	c, err := ic.NewClient(ic.Options{URL: n.URL()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Query(b.Context(), user, id, "certificate", candid.EncodeEmpty()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRealCall makes update calls over HTTP, one after the other, replies verified.
func BenchmarkRealCall(b *testing.B) {
	user, err := ic.NewEd25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	n, id := startReal(b, user.Principal())
	c := newClient(b, n)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Call(b.Context(), user, id, "inc", candid.EncodeEmpty()); err != nil {
			b.Fatal(err)
		}
	}
}
