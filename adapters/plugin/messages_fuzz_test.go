//go:build unix

package plugin

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/testalloc"
)

// FuzzMessages: what a process answers to a poll is a batch within its bounds,
// or an error; what it is told about an envelope stands in the envelope; and its
// handshake never leads to another machine.
func FuzzMessages(f *testing.F) {
	part := func(p *contract.PollPart) []byte {
		raw, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		return raw
	}
	client := candid.ClientKey{Principal: "\x01me", Nonce: 7}
	message := &contract.OutputMessage{Client: keyMessage(client), Key: "gateway_00000000000000000001", Content: []byte("content")}
	args := candid.EncodeMessageArgs(candid.WebsocketMessage{ClientKey: client, SequenceNum: 1, Content: []byte("hello")})
	envelope := ic.NewCall("\x01\x01", "ws_message", args, time.Unix(1_800_000_000, 0)).Encode()
	whole := part(&contract.PollPart{Messages: []*contract.OutputMessage{message}, Certificate: []byte("certificate"), Witness: []byte("witness")})
	const unix, tcp = "1|1|unix|/tmp/socket|grpc", "1|1|tcp|127.0.0.1:1234|grpc|certificate|true"
	f.Add(envelope, whole, part(&contract.PollPart{More: true}), unix)
	f.Add(envelope, part(&contract.PollPart{Messages: []*contract.OutputMessage{message, message}}), whole, tcp)
	f.Add([]byte{}, whole, whole, "1|1|tcp|[::ffff:203.0.113.1]:1|grpc")
	f.Add(envelope, part(&contract.PollPart{Outcome: &contract.Outcome{Kind: contract.Outcome_UNAVAILABLE, Text: "later", RetryAfterMs: 1 << 62}}), []byte{}, "2|1|unix||grpc")
	f.Add(envelope, part(&contract.PollPart{Messages: []*contract.OutputMessage{{Client: &contract.ClientKey{Principal: make([]byte, 30)}}}}), []byte{}, "hello")
	f.Fuzz(func(t *testing.T, envelope, first, second []byte, line string) {
		checkHeader(t, envelope)
		checkHandshake(t, line)
		var b batch
		for _, raw := range [][]byte{first, second} {
			var p contract.PollPart
			if proto.Unmarshal(raw, &p) != nil {
				return
			}
			if wait := readRetryAfter(p.GetOutcome().GetRetryAfterMs()); wait < 0 || wait > time.Hour {
				t.Fatalf("a pause of %s", wait)
			}
			var err error
			var longer batch
			testalloc.Within(t, "a part of a batch", 256*(len(first)+len(second)), func() {
				longer = b
				longer.messages = slices.Clip(b.messages)
				err = longer.add(&p)
			})
			if err != nil {
				return
			}
			b = longer
		}
		size := len(b.certificate) + len(b.witness)
		for _, m := range b.messages {
			if n := len(m.ClientKey.Principal); n < 1 || n > candid.MaxPrincipalLength || len(m.Key) > maxKeyBytes {
				t.Fatalf("accepted: %+v", m)
			}
			size += len(m.Key) + len(m.Content)
		}
		if size > len(first)+len(second) {
			t.Fatalf("%d bytes came of %d", size, len(first)+len(second))
		}
	})
}

func checkHeader(t *testing.T, envelope []byte) {
	t.Helper()
	h := header(envelope)
	if h == nil {
		return
	}
	decoded, err := candid.DecodeEnvelope(envelope)
	if err != nil {
		t.Fatal(err)
	}
	m, err := candid.DecodeMessageArgs(decoded.Arg)
	if err != nil || h.GetSequenceNum() != m.SequenceNum || h.GetTimestamp() != m.Timestamp || h.GetIsServiceMessage() != m.IsServiceMessage {
		t.Fatalf("%+v of %+v, %v", h, m, err)
	}
	start, end := h.GetContentStart(), h.GetContentEnd()
	if start > end || end > uint64(len(envelope)) || !bytes.Equal(envelope[start:end], m.Content) {
		t.Fatalf("content from %d to %d is not %x", start, end, m.Content)
	}
}

func checkHandshake(t *testing.T, line string) {
	t.Helper()
	accepted, err := readHandshake(line)
	if err != nil {
		return
	}
	parts := strings.Split(accepted, "|")
	if len(parts) != 5 || !strings.HasPrefix(line, accepted) || parts[4] != "grpc" || parts[2] != "unix" && parts[2] != "tcp" {
		t.Fatalf("%q became %q", line, accepted)
	}
	if host, _, err := net.SplitHostPort(parts[3]); parts[2] == "tcp" && (err != nil || !net.ParseIP(host).IsLoopback()) {
		t.Fatalf("%q leads to %q", line, parts[3])
	}
}
