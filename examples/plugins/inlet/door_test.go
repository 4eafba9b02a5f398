package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
	"github.com/icrelay/icrelay/candid"
)

// pushed is a relay canister that remembers the last push.
type pushed struct {
	client  sdk.Principal
	message []byte
	err     error
}

func (p *pushed) broadcast(_ context.Context, message []byte) (uint64, error) {
	p.message = message
	return 2, p.err
}

func (p *pushed) send(_ context.Context, client sdk.Principal, message []byte) (uint64, error) {
	p.client, p.message = client, message
	return 1, p.err
}

func TestAlerts(t *testing.T) {
	const good = `{"title":"t","text":"x"}`
	tests := map[string]struct {
		method, path, token, kind, body string
		err                             error
		status                          int
		answer                          string
	}{
		"to everybody":         {status: 200, answer: `{"reached":2}`},
		"to one client":        {path: "/alerts/2vxsx-fae", status: 200, answer: `{"reached":1}`},
		"kind with a charset":  {kind: "application/json; charset=utf-8", status: 200, answer: `{"reached":2}`},
		"no token":             {token: "none", status: 401, answer: "Authorization"},
		"another token":        {token: "Bearer other", status: 401, answer: "Authorization"},
		"GET":                  {method: "GET", status: 405},
		"another path":         {path: "/", status: 404},
		"to nobody":            {path: "/alerts/x", status: 404, answer: "no principal"},
		"no kind":              {kind: "text/plain", status: 415, answer: "application/json"},
		"nothing":              {body: " ", status: 400, answer: "no alert"},
		"no JSON":              {body: "{", status: 400, answer: "no alert"},
		"unknown field":        {body: `{"title":"t","colour":"red"}`, status: 400, answer: "colour"},
		"two alerts":           {body: good + good, status: 400, answer: "more than one"},
		"a number for a text":  {body: `{"title":1}`, status: 400, answer: "title"},
		"no title":             {body: `{"text":"x"}`, status: 422, answer: "title is missing"},
		"too long":             {body: `{"title":"` + strings.Repeat("x", maxBody) + `"}`, status: 413, answer: "65536"},
		"refused":              {err: fmt.Errorf("%w: queue is full", errPush), status: 502, answer: "queue is full"},
		"rejected":             {err: fmt.Errorf("call: %w", &sdk.RejectError{Code: 5, Text: "stopped"}), status: 502, answer: "stopped"},
		"too many calls":       {err: fmt.Errorf("call: %w", sdk.ErrBusy), status: 503, answer: "too many"},
		"network not reached":  {err: context.DeadlineExceeded, status: 504, answer: "deadline"},
		"not an alert, a list": {body: `[` + good + `]`, status: 400, answer: "no alert"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			or := func(text, otherwise string) string {
				if text == "" {
					return otherwise
				}
				return text
			}
			to := &pushed{err: test.err}
			r := httptest.NewRequest(or(test.method, "POST"), or(test.path, "/alerts"), strings.NewReader(or(test.body, good)))
			r.Header.Set("Authorization", or(test.token, "Bearer secret"))
			r.Header.Set("Content-Type", or(test.kind, "application/json"))
			w := httptest.NewRecorder()
			handler("secret", to).ServeHTTP(w, r)
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.answer) {
				t.Fatalf("%d %s, want %d %s", w.Code, w.Body, test.status, test.answer)
			}
			if w.Code != 405 && test.path != "/" && !json.Valid(w.Body.Bytes()) {
				t.Fatalf("no JSON: %s", w.Body)
			}
			if w.Code/100 == 4 && to.message != nil {
				t.Fatal("pushed all the same")
			}
		})
	}
}

func TestAlertInCandid(t *testing.T) {
	link := "https://example.org/ü"
	for name, alert := range map[string]Alert{
		"with a link":    {Title: "a", Text: strings.Repeat("ä", 1000), Link: &link, Time: 1},
		"without a link": {Title: "b", Time: 1<<64 - 1},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := alert.encode()
			if err != nil {
				t.Fatal(err)
			}
			values, err := candid.Decode(raw, candid.Limits{})
			if err != nil || len(values) != 1 || values[0].Len() != 4 {
				t.Fatalf("%v, %v", values, err)
			}
			title, _ := values[0].Field("title").Text()
			text, _ := values[0].Field("text").Text()
			at, _ := values[0].Field("time").Uint64()
			inner, there := values[0].Field("link").Opt()
			if title != alert.Title || text != alert.Text || at != alert.Time || there != (alert.Link != nil) {
				t.Fatalf("%v", values[0])
			}
			if got, _ := inner.Text(); there && got != link {
				t.Fatalf("link %q", got)
			}
		})
	}
}

func TestPushResult(t *testing.T) {
	result := candid.VariantOf(candid.Field{Label: "Ok", Type: candid.Nat64Type}, candid.Field{Label: "Err", Type: candid.TextType})
	encode := func(typ candid.Type, v any) []byte {
		raw, err := candid.NewBuilder().Add(typ, v).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	tests := map[string]struct {
		reply   []byte
		reached uint64
		err     string
	}{
		"reached":      {encode(result, candid.Tag{Label: "Ok", Value: uint64(7)}), 7, ""},
		"refused":      {encode(result, candid.Tag{Label: "Err", Value: "full"}), 0, "refuses: full"},
		"no result":    {encode(candid.TextType, "x"), 0, "no result"},
		"nothing":      {[]byte("DIDL\x00\x00"), 0, "empty"},
		"not readable": {[]byte("x"), 0, "cannot be read"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			reached, err := pushResult(test.reply)
			if reached != test.reached || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("%d, %v", reached, err)
			}
		})
	}
}

// A changed route starts before the old one has ended, with the same address.
func TestDoorTakesOverItsAddress(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	named := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Door", name) })
	}
	first, err := listen(t.Context(), address, named("first"), log)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, address, "first")
	second, err := listen(t.Context(), address, named("second"), log)
	if err != nil {
		t.Fatal(err)
	}
	first.End()
	waitFor(t, address, "second")
	third, err := listen(t.Context(), address, named("third"), log)
	if err != nil {
		t.Fatal(err)
	}
	third.End() // it never had the address
	waitFor(t, address, "second")
	second.End()
	if conn, err := net.Dial("tcp", address); err == nil {
		t.Fatalf("%s still answers", conn.RemoteAddr())
	}
}

func waitFor(t *testing.T, address, door string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if answer, err := client.Get("http://" + address); err == nil {
			_ = answer.Body.Close()
			if answer.Header.Get("Door") == door {
				return
			}
		}
	}
	t.Fatalf("the door %s does not open", door)
}

func TestDoorWithoutAnAddress(t *testing.T) {
	if _, err := listen(t.Context(), "127.0.0.1:nowhere", http.NotFoundHandler(), slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("no error")
	}
}
