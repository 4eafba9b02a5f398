package bench

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/bench/candidtext"
)

// A mark is what a message is known by when it comes back: 16 characters that
// all messages of a run share, and 20 for the sender and the sender's count.
const (
	runLength  = 16
	markLength = runLength + 8 + 12
)

// payloadPlace is where the payload stands in --content.
const payloadPlace = "{payload}"

// A template makes contents: each is the same but for its mark, so that no
// Candid has to be encoded while messages are made.
type template struct {
	run     []byte // the beginning of all marks
	content []byte // with an unfinished mark
	at      int    // of the mark
}

// newTemplate encodes what an option says: text, blob, or a Candid value in text
// form with {payload} in a text or blob of it. Payloads have size bytes.
func newTemplate(option, content string, size int, run [runLength / 2]byte) (*template, error) {
	t := &template{run: []byte(hex.EncodeToString(run[:]))}
	payload := append(bytes.Clone(t.run), bytes.Repeat([]byte("0"), size-len(t.run))...)
	var err error
	switch {
	case content == "text":
		t.content, err = candid.NewBuilder().Add(candid.TextType, string(payload)).Bytes()
	case content == "blob":
		t.content, err = candid.NewBuilder().Add(candid.BlobType, payload).Bytes()
	case strings.Count(content, payloadPlace) == 1:
		// What is wrong is found with {payload} in its place, as the user knows the text.
		if t.content, err = candidtext.Encode(content); err == nil {
			t.content, err = candidtext.Encode(strings.Replace(content, payloadPlace, string(payload), 1))
		}
	default:
		return nil, fmt.Errorf(`%s: must be "text", "blob", or a Candid value with %s in it, for example '(variant { Say = "%s" })'`, option, payloadPlace, payloadPlace)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	if t.at = bytes.Index(t.content, t.run); t.at < 0 {
		return nil, fmt.Errorf("%s: %s must stand inside a text or a blob", option, payloadPlace)
	}
	return t, nil
}

// make makes the content of a sender's message.
func (t *template) make(sender int, number uint64) []byte {
	content := bytes.Clone(t.content)
	var raw [10]byte
	binary.BigEndian.PutUint32(raw[:4], uint32(sender))           //nolint:gosec // the number of clients is bounded
	copy(raw[4:], binary.BigEndian.AppendUint64(nil, number)[2:]) // 48 bits
	hex.Encode(content[t.at+runLength:t.at+markLength], raw[:])
	return content
}

// find reads the mark of a content that this run has sent, wherever it stands.
func (t *template) find(content []byte) (sender int, number uint64, ok bool) {
	at := bytes.Index(content, t.run)
	if at < 0 || len(content) < at+markLength {
		return 0, 0, false
	}
	var raw [12]byte // with two zero bytes before the number
	if _, err := hex.Decode(raw[:4], content[at+runLength:at+runLength+8]); err != nil {
		return 0, 0, false
	}
	sender = int(binary.BigEndian.Uint32(raw[:4]))
	raw = [12]byte{}
	if _, err := hex.Decode(raw[2:8], content[at+runLength+8:at+markLength]); err != nil {
		return 0, 0, false
	}
	return sender, binary.BigEndian.Uint64(raw[:8]), true
}
