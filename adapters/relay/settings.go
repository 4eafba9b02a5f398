package relay

import (
	"time"

	"github.com/icrelay/icrelay/candid"
)

// Interface is the version of the relay canister's interface that this package
// speaks: the type Config and the canister's own methods.
const Interface = 1

// Settings is what one relay canister does; it becomes the Config argument of
// canister/relay.did. Zero numbers and durations, and empty texts and lists,
// mean the canister's defaults.
type Settings struct {
	Calls    []Call
	Feeds    []Feed
	Hooks    []Hook
	Admins   []candid.Principal // who may configure
	Pushers  []candid.Principal // who may push beside the targets of calls, feeds and hooks
	Gateways []candid.Principal // none for any

	AckInterval      time.Duration // between acknowledgements; clients must know it. Default 5m
	KeepAliveTimeout time.Duration // for the client's answer to one. Default 1m, or half of a shorter AckInterval
	MaxMessages      uint64        // per poll. Default 50
	MaxCallsInFlight uint64        // per target. Default 100

	Resume    time.Duration // for which a lost connection waits for its client, at most an hour; 0 for not at all
	ResumeTag string        // in which each client is told whether it goes on with a lost connection

	// WatchInterval is how often the feeds' queries are asked while clients
	// are connected; the canister does not know it. 0 means 500ms.
	WatchInterval time.Duration
}

// A Target is a method of a canister.
type Target struct {
	Canister candid.Principal
	Method   string
}

func (t Target) String() string { return t.Canister.String() + "." + t.Method }

// A Call says which method takes what clients send.
type Call struct {
	Target
	Tag        string // of the variant messages that it takes; "" for all that no tag takes
	PassClient bool   // put the client's principal in front of the argument
	Reply      Reply
	ReplyTag   string // that the reply is wrapped in
	ErrorTag   string // in which the sender is told of a failed call
}

// Reply says who gets a method's reply as a message.
type Reply uint8

// The receivers of a reply.
const (
	ReplyNobody Reply = iota
	ReplySender
	ReplyEverybody
)

// replyTags are the tags of the Candid variant.
var replyTags = [...]string{"Nobody", "Sender", "Everybody"}

// A Feed is a query (cursor : nat) -> (vec T), or -> (record { items : vec T;
// next : nat }), whose items become messages.
type Feed struct {
	Target
	Tag       string // that items are wrapped in
	Recipient string // the field of T that names whom an item is for
	Last      uint64 // items for a client that joins

	// Interval is how often the relay canister itself asks the query, in whole
	// milliseconds. 0: the gateway watches it.
	Interval time.Duration
}

// A Hook has methods that are told of connections.
type Hook struct {
	Canister    candid.Principal
	Open, Close string // "" for none
}

// withDefaults fills in what the relay canister does where nothing is set
// (canister/src/Settings.mo).
func (s Settings) withDefaults() Settings {
	if s.AckInterval == 0 {
		s.AckInterval = 5 * time.Minute
	}
	if s.KeepAliveTimeout == 0 {
		s.KeepAliveTimeout = min(time.Minute, s.AckInterval/2)
	}
	if s.MaxMessages == 0 {
		s.MaxMessages = 50
	}
	if s.MaxCallsInFlight == 0 {
		s.MaxCallsInFlight = 100
	}
	return s
}
