// Audit is an adapter around one of the relay's own: it notes in a file who
// opens, sends and closes, and refuses the clients on a list.
package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/icrelay/icrelay/adapters/plugin/sdk"
)

func main() { sdk.Serve(start) }

// An audit is the adapter of one route. What it has no method for, such as
// Poll, never comes to this process.
type audit struct {
	base    *sdk.Base
	refuse  []sdk.Principal
	journal *journal
}

func start(_ context.Context, route *sdk.Route) (any, error) {
	var settings struct {
		File   string          `json:"file"`
		Refuse []sdk.Principal `json:"refuse"`
	}
	if err := route.Settings(&settings); err != nil {
		return nil, err
	}
	if settings.File == "" {
		return nil, errors.New(`file is missing: where the audit is written, as in file = "audit.jsonl"`)
	}
	journal, err := openJournal(settings.File, route.Log)
	if err != nil {
		return nil, err
	}
	return &audit{route.Base, settings.Refuse, journal}, nil
}

// Open refuses the clients on the list.
func (a *audit) Open(ctx context.Context, env sdk.Envelope) error {
	return a.noted(entry{Event: "open", Canister: env.Canister, Client: env.Client.Principal, Nonce: env.Client.Nonce}, func() error {
		if slices.Contains(a.refuse, env.Client.Principal) {
			return sdk.Refused("This client is on the list of those who may not come in")
		}
		return a.base.Open(ctx, env)
	})
}

// Message notes what the relay has read in the message, and not what it says.
func (a *audit) Message(ctx context.Context, env sdk.Envelope) error {
	e := entry{Event: "message", Canister: env.Canister, Client: env.Client.Principal, Nonce: env.Client.Nonce}
	if h := env.Header; h != nil {
		e.Sequence, e.Bytes, e.Service = h.SequenceNum, len(h.Content), h.IsServiceMessage
	}
	return a.noted(e, func() error { return a.base.Message(ctx, env) })
}

// Window lets several messages of a client pass at a time if the base takes them so.
func (a *audit) Window() (messages, bytes int) { return a.base.Window() }

// Close is never held up: the client has gone.
func (a *audit) Close(ctx context.Context, canister sdk.Principal, client sdk.ClientKey, lost bool) error {
	err := a.base.Close(ctx, canister, client, lost)
	a.note(entry{Event: "close", Canister: canister, Client: client.Principal, Nonce: client.Nonce, Lost: lost}, err)
	return err
}

// End writes what is not written yet.
func (a *audit) End() { a.journal.close() }

// noted makes a call and notes what became of it. What could not be noted is
// not done: the client is asked to come again later.
func (a *audit) noted(e entry, call func() error) error {
	if a.journal.isFull() {
		return sdk.Unavailable("The audit cannot be written at the moment")
	}
	err := call()
	a.note(e, err)
	return err
}

func (a *audit) note(e entry, err error) {
	e.Time = time.Now()
	e.Outcome, e.Text = outcome(err)
	a.journal.note(e)
}

// An entry is one line of the file.
type entry struct {
	Time     time.Time     `json:"time"`
	Event    string        `json:"event"` // open, message or close
	Canister sdk.Principal `json:"canister"`
	Client   sdk.Principal `json:"client"`
	Nonce    uint64        `json:"nonce,string"` // tells connections of one client apart
	Sequence uint64        `json:"sequence,omitempty"`
	Bytes    int           `json:"bytes,omitempty"`   // of the message's content
	Service  bool          `json:"service,omitempty"` // of the client library, not of the application
	Lost     bool          `json:"lost,omitempty"`    // the connection broke
	Outcome  string        `json:"outcome"`
	Text     string        `json:"text,omitempty"`
}

func outcome(err error) (kind, text string) {
	if err == nil {
		return "ok", ""
	}
	if text, refused := sdk.RefusalText(err); refused {
		return "refused", text
	}
	if text, unavailable := sdk.UnavailableText(err); unavailable {
		return "unavailable", text
	}
	return "not reached", err.Error()
}
