package candid

import (
	"fmt"
	"testing"
)

func benchBatch(messages, size int) OutputMessages {
	m := OutputMessages{Cert: testBlob(1500), Tree: testBlob(3000), EndOfQueue: true}
	for i := range messages {
		m.Messages = append(m.Messages, OutputMessage{
			ClientKey{SelfAuthenticating([]byte{byte(i / 4)}), uint64(i)},
			fmt.Sprintf("%s_%020d", gatewayText, i), testBlob(size),
		})
	}
	return m
}

func BenchmarkDecodeOutputMessages(b *testing.B) {
	for _, size := range []int{300, 64 << 10} {
		b.Run(fmt.Sprintf("50x%d", size), func(b *testing.B) {
			raw := EncodeOutputMessages(benchBatch(50, size))
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := DecodeOutputMessages(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncodeOutputFrame(b *testing.B) {
	key, content, cert, tree := gatewayText+"_00000000000000000003", testBlob(300), testBlob(1500), testBlob(800)
	b.ReportAllocs()
	for b.Loop() {
		EncodeOutputFrame(key, content, cert, tree)
	}
}

func BenchmarkDecodeEnvelope(b *testing.B) {
	for _, js := range loadEnvelopes(b) {
		if js.Frame == "" {
			continue
		}
		b.Run(js.Name, func(b *testing.B) {
			raw := js.bytes(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeEnvelope(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRequestID(b *testing.B) {
	e, err := DecodeEnvelope(loadEnvelopes(b)[0].bytes(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		e.RequestID()
	}
}

func BenchmarkDecodeResult(b *testing.B) {
	raw := EncodeResult("")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := DecodeResult(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeMessageArgs(b *testing.B) {
	raw := EncodeMessageArgs(testMessage())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeMessageArgs(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrincipalString(b *testing.B) {
	p := SelfAuthenticating(nil)
	b.ReportAllocs()
	for b.Loop() {
		_ = p.String()
	}
}
