package soak

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/icrelay/icrelay/candid"
)

// A note is what the diary's canister calls so: the number of a message on a connection.
type note struct {
	connection uint64 // the connection's nonce
	number     uint64 // from 1
}

func (n note) String() string { return fmt.Sprintf("%d/%d", n.connection, n.number) }

// A kind of message that clients send.
type kind struct {
	tag    string // "" for messages that are no variant
	method string // of the diary, which notes the message under this name
	reply  string // whom the method's reply goes to
	weight int    // how often it is chosen

	fails  bool // it is answered with a failure
	silent bool // it is not written down
}

// noted is whether the reply tells the sender that the message arrived.
func (k kind) noted() bool { return k.reply == "sender" }

// kinds are about 1000 messages. One that everybody hears of becomes as many
// messages as there are clients.
var kinds = []kind{
	{tag: "Note", method: "note", reply: "sender", weight: 480},
	{tag: "Slow", method: "slow", reply: "sender", weight: 50},
	{tag: "Tell", method: "tell", weight: 100},
	{tag: "", method: "plain", weight: 50},
	{tag: "Trap", method: "trap", weight: 40, fails: true, silent: true},
	{tag: "Refuse", method: "refuse", weight: 20, fails: true, silent: true},
	{tag: "Late", method: "late", weight: 20, fails: true},
	{tag: "Send", method: "send", weight: 100},
	{tag: "Push", method: "push", weight: 80},
	{tag: "PushAll", method: "pushAll", weight: 50},
	{tag: "Post", method: "post", weight: 4},
	{tag: "Tick", method: "tick", weight: 2},
	{tag: "Shout", method: "shout", reply: "everybody", weight: 2},
	{tag: "Broadcast", method: "broadcast", weight: 2},
}

// chosen is a kind at random.
func chosen(random *rand.Rand) *kind {
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	at := random.IntN(sum)
	for i := range kinds {
		if at -= kinds[i].weight; at < 0 {
			return &kinds[i]
		}
	}
	panic("the weights do not come to their sum")
}

var (
	noteType = candid.RecordOf(
		candid.Field{Label: "connection", Type: candid.Nat64Type},
		candid.Field{Label: "number", Type: candid.NatType},
	)
	letterType = candid.RecordOf(
		candid.Field{Label: "to", Type: candid.PrincipalType},
		candid.Field{Label: "note", Type: noteType},
	)
	messageType = func() candid.Type {
		var tags []candid.Field
		for _, k := range kinds {
			switch k.tag {
			case "":
			case "Send":
				tags = append(tags, candid.Field{Label: k.tag, Type: letterType})
			default:
				tags = append(tags, candid.Field{Label: k.tag, Type: noteType})
			}
		}
		return candid.VariantOf(tags...)
	}()
)

// encode is the Candid of a message; to is whom a letter is for.
func (k *kind) encode(n note, to candid.Principal) ([]byte, error) {
	fields := candid.Fields{"connection": n.connection, "number": n.number}
	b := candid.NewBuilder()
	switch k.tag {
	case "":
		b.Add(noteType, fields)
	case "Send":
		b.Add(messageType, candid.Tag{Label: k.tag, Value: candid.Fields{"to": to, "note": fields}})
	default:
		b.Add(messageType, candid.Tag{Label: k.tag, Value: fields})
	}
	return b.Bytes()
}

// What clients hear. The tags are those of the relay canister's configuration,
// and Pushed the diary's own.
const (
	heardNoted   = "Noted"
	heardShouted = "Shouted"
	heardFailed  = "Failed"
	heardPost    = "Post"
	heardTick    = "Tick"
	heardLetter  = "Letter"
	heardPushed  = "Pushed"
)

// A message that a client has received.
type heard struct {
	tag    string
	note   note   // that caused it; of a failure, the one that it names, if it does
	stream string // of an item or push: the sequence that it is part of
	index  uint64 // in the stream
	text   string // of a failure
}

// The streams of everybody.
const (
	postStream = "posts"
	tickStream = "ticks"
)

func letterStream(to candid.Principal) string { return "letters to " + to.String() }

func decode(content []byte) (heard, error) {
	values, err := candid.Decode(content, candid.Limits{})
	if err != nil {
		return heard{}, err
	}
	if len(values) != 1 {
		return heard{}, fmt.Errorf("%d values", len(values))
	}
	v := values[0]
	for _, tag := range []string{heardNoted, heardShouted} {
		if payload, ok := v.Tag(tag); ok {
			n, err := decodeNote(payload)
			return heard{tag: tag, note: n}, err
		}
	}
	if payload, ok := v.Tag(heardFailed); ok {
		text, isText := payload.Text()
		if !isText {
			return heard{}, fmt.Errorf("a failure that is no text: %v", v)
		}
		return heard{tag: heardFailed, text: text, note: named(text)}, nil
	}
	for tag, stream := range map[string]func(candid.Value) string{
		heardPost: func(candid.Value) string { return postStream },
		heardTick: func(candid.Value) string { return tickStream },
		heardLetter: func(item candid.Value) string {
			to, _ := item.Field("to").Principal()
			return letterStream(to)
		},
		heardPushed: func(item candid.Value) string {
			stream, _ := item.Field("stream").Text()
			return stream
		},
	} {
		item, ok := v.Tag(tag)
		if !ok {
			continue
		}
		cause, err := decodeNote(item.Field("cause"))
		index, isNat := item.Field("index").Uint64()
		if err != nil || !isNat {
			return heard{}, fmt.Errorf("an odd %s: %v", tag, v)
		}
		return heard{tag: tag, note: cause, stream: stream(item), index: index}, nil
	}
	return heard{}, fmt.Errorf("an unknown message: %v", v)
}

func decodeNote(v candid.Value) (note, error) {
	connection, ok := v.Field("connection").Uint64()
	number, isNat := v.Field("number").Uint64()
	if !ok || !isNat {
		return note{}, fmt.Errorf("no note: %v", v)
	}
	return note{connection, number}, nil
}

// named is the note that the text of a failure names, if there is one.
func named(text string) note {
	var n note
	if i := strings.IndexByte(text, '<'); i >= 0 {
		if _, err := fmt.Sscanf(text[i:], "<%d %d>", &n.connection, &n.number); err != nil {
			return note{}
		}
	}
	return n
}
