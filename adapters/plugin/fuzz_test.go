//go:build unix

package plugin

import (
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
	"github.com/icrelay/icrelay/internal/testlog"
)

// Whatever a program prints first, it is a handshake or a sentence. Of the line
// 80 bytes are in it, which take four each where they have to be quoted.
func FuzzReadHandshake(f *testing.F) {
	for _, seed := range []string{"1|1|unix|/tmp/x|grpc", "1|1|tcp|127.0.0.1:1|grpc|cert|true", "1|2|unix|/tmp/x|grpc", "1|1|unix||grpc", "1|1|tcp|example.com:1|grpc", "hello", "", "||||"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		plain, err := readHandshake(line)
		switch {
		case err == nil && (!strings.HasPrefix(line, plain) || strings.Count(plain, "|") != 4):
			t.Errorf("%q is read as %q", line, plain)
		case err != nil && (plain != "" || len(err.Error()) > 600):
			t.Errorf("%q: %q, %v", line, plain, err)
		}
	})
}

// Whatever a program logs, a line of it is one record at most.
func FuzzLogLine(f *testing.F) {
	for _, seed := range []string{`{"level":"WARN","msg":"x","a":{"b":[1,null]}}`, `{"@level":"info","@message":"x"}`, `{"msg":1}`, `{`, "x", "\xff", `{"msg":"a","":1,"time":0}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		log := new(testlog.Book)
		newLineLog(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))).line(line, false)
		if n := log.Count("\n"); n > 1 {
			t.Errorf("%d lines for %q", n, line)
		}
	})
}

// Whatever a process answers to Poll, what is taken of it keeps the bounds.
func FuzzBatch(f *testing.F) {
	part, err := proto.Marshal(&contract.PollPart{Certificate: []byte("c"), Witness: []byte("w"), More: true,
		Messages: []*contract.OutputMessage{{Client: &contract.ClientKey{Principal: []byte("p"), Nonce: 1}, Key: "k", Content: []byte("x")}, nil}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(part, part)
	f.Add([]byte(nil), part)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var b batch
		for _, raw := range [][]byte{one, two} {
			part := new(contract.PollPart)
			if proto.Unmarshal(raw, part) != nil || b.add(part) != nil {
				return
			}
		}
		for _, m := range b.messages {
			if n := len(m.ClientKey.Principal); n == 0 || n > 29 || len(m.Key) > maxKeyBytes {
				t.Errorf("message = %+v", m)
			}
		}
	})
}
