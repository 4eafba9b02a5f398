package sdk

import (
	"context"
	"time"

	"github.com/icrelay/icrelay/candid"
)

// An Opener is asked when a client wants to connect: Open forwards its signed
// ws_open to the canister. nil means that the canister said Ok. The same
// envelope given twice opens once; the base keeps that promise for those who
// pass the envelope on to it.
type Opener interface {
	Open(ctx context.Context, env Envelope) error
}

// A Messenger forwards what a client sends: a signed ws_message. For one client
// Message is called in the order in which the client sent, and one at a time,
// unless the adapter is a Windower. nil means that the canister took it. The
// same envelope given twice is delivered once.
type Messenger interface {
	Message(ctx context.Context, env Envelope) error
}

// A Closer tells the canister that a client has gone. That the canister does
// not know it (any more) is no error. lost means that the connection broke and
// the client may come back.
type Closer interface {
	Close(ctx context.Context, canister Principal, client ClientKey, lost bool) error
}

// A Poller fetches the canister's messages to its clients: those with a nonce
// of at least from, in the order of their nonces. It does not wait for
// messages, changes nothing, and may be repeated. The relay verifies
// certificate and witness, and forwards nothing that they do not cover.
type Poller interface {
	Poll(ctx context.Context, canister Principal, from uint64) (Batch, error)
}

// A Checker looks at a canister before clients come. Its error is a line in the
// relay's log; clients may come all the same.
type Checker interface {
	Check(ctx context.Context, canister Principal) error
}

// A Watcher knows when there is something to Poll. Watch runs as long as the
// canister has clients, at most once for a canister at a time, and ends with
// ctx. changed never blocks, and many calls in a row count as one.
type Watcher interface {
	Watch(ctx context.Context, canister Principal, changed func()) error
}

// A Windower says how many Message calls of one client may be under way at
// once, and how many bytes their envelopes may have (0: any). They may come in
// any order, so it is for canisters that put messages back in order. An adapter
// that passes messages on to the base can do as the base does:
//
//	func (a *adapter) Window() (messages, bytes int) { return a.base.Window() }
//
// Window is called once, when the route starts.
type Windower interface {
	Window() (messages, bytes int)
}

// An Ender is told that the route is over. All calls for it have returned, and
// the context that it was started with has ended. When the relay stops, End has
// about half a second.
type Ender interface {
	End()
}

// A Principal is the raw form of a principal, 0 to 29 bytes, in a string: it can
// be compared and used as a map key. String returns its text. In settings and
// JSON it is its text.
type Principal = candid.Principal

// ParsePrincipal reads the text of a principal.
func ParsePrincipal(text string) (Principal, error) { return candid.ParsePrincipal(text) }

// A ClientKey is one connection of a client: Principal, and the Nonce that tells
// several connections of one principal apart.
type ClientKey = candid.ClientKey

// An Envelope is a call that a client has signed. The relay has verified its
// signature, sender, canister, method and expiry.
type Envelope struct {
	Canister  Principal
	Client    ClientKey
	RequestID [32]byte  // representation-independent hash of the signed content
	Expiry    time.Time // after it the network refuses the envelope
	Bytes     []byte    // CBOR, exactly as the client sent it: to read, not to change

	// Header is what the relay has read in a ws_message. It is nil in Open, and
	// if the argument is not what ws_message takes; the canister will say so.
	Header *Header

	given *given
}

// A Header has the fields of a client's message.
type Header struct {
	SequenceNum      uint64
	Timestamp        time.Time // as the client says
	IsServiceMessage bool      // of the client library, not of the application
	Content          []byte    // Candid of the application; a part of Envelope.Bytes
}

// Content returns the application's message, and nil if there is none: in Open,
// or if the relay could not read it.
func (e Envelope) Content() []byte {
	if e.Header == nil {
		return nil
	}
	return e.Header.Content
}

// A Batch is one answer to Poll: messages in the order of their nonces, and one
// certificate and witness that cover them all. An empty batch needs neither.
type Batch struct {
	Messages    []OutputMessage
	Certificate []byte // CBOR; its certified data is the root hash of the witness
	Witness     []byte // CBOR of a hash tree: sha256(Content) of each message at websocket/<Key>
	More        bool   // more messages wait: the next Poll comes at once
}

// An OutputMessage is a message of a canister to one of its clients.
type OutputMessage struct {
	Client  ClientKey
	Key     string // <gateway principal>_<nonce in 20 digits>
	Content []byte // CBOR of the protocol's WebsocketMessage
}
