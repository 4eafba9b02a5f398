package client

import (
	"errors"
	"testing"
	"time"
)

func TestAcksDeadline(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	const timeout = 10 * time.Second

	type send struct {
		sequence uint64
		seconds  float64
	}
	for _, tt := range []struct {
		name  string
		sent  []send
		acked uint64
		want  float64 // seconds; negative for no deadline
	}{
		{"nothing sent", nil, 0, -1},
		{"one message", []send{{1, 0}}, 0, 10},
		{"all acknowledged", []send{{1, 0}, {2, 3}}, 2, -1},
		{"the oldest counts", []send{{1, 0}, {2, 3}, {3, 6}}, 0, 10},
		{"after the first is acknowledged, the second counts", []send{{1, 0}, {2, 3}, {3, 6}}, 1, 13},
		{"the last is left", []send{{1, 0}, {2, 3}, {3, 6}}, 2, 16},
		{"messages of one second share their time", []send{{1, 0}, {2, 0.4}, {3, 0.8}, {4, 1.2}}, 1, 10},
		{"a later second has its own", []send{{1, 0}, {2, 0.4}, {3, 0.8}, {4, 1.2}}, 3, 11.2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := acks{timeout: timeout}
			for _, s := range tt.sent {
				a.sent(s.sequence, false, at(s.seconds))
			}
			if err := a.received(tt.acked); err != nil {
				t.Fatal(err)
			}
			got, waiting := a.deadline()
			if waiting != (tt.want >= 0) {
				t.Fatalf("waiting is %v", waiting)
			}
			if waiting && !got.Equal(at(tt.want)) {
				t.Errorf("deadline %s, want %s", got.Sub(start), at(tt.want).Sub(start))
			}
		})
	}
}

func TestAcksOfWhatWasNotSent(t *testing.T) {
	var a acks
	a.sent(1, false, time.Now())
	if err := a.received(2); !errors.Is(err, ErrService) {
		t.Errorf("error %v", err)
	}
}

func TestAcksOlderThanTheLast(t *testing.T) {
	a := acks{timeout: time.Second}
	a.sent(1, false, time.Unix(0, 0))
	a.sent(2, false, time.Unix(5, 0))
	for _, sequence := range []uint64{2, 1, 0} {
		if err := a.received(sequence); err != nil {
			t.Fatal(err)
		}
		if _, waiting := a.deadline(); waiting {
			t.Errorf("after acknowledgement of %d: still waiting", sequence)
		}
	}
}

func TestAcksMemoryIsBounded(t *testing.T) {
	a := acks{timeout: time.Minute}
	start := time.Now()
	for i := range uint64(100_000) {
		a.sent(i+1, false, start.Add(time.Duration(i)*time.Millisecond)) // 100 s
	}
	if len(a.marks) > 101 {
		t.Errorf("%d marks for 100 seconds of messages", len(a.marks))
	}
}

// Keep-alive messages have numbers too, but are not the program's.
func TestAcksCountMessages(t *testing.T) {
	var a acks
	for sequence := uint64(1); sequence <= 6; sequence++ {
		a.sent(sequence, sequence == 2 || sequence == 5, time.Unix(0, 0))
	}
	for _, tt := range []struct{ acked, want uint64 }{{0, 0}, {1, 1}, {2, 1}, {4, 3}, {3, 3}, {5, 3}, {6, 4}} {
		if err := a.received(tt.acked); err != nil {
			t.Fatal(err)
		}
		if got := a.messages(); got != tt.want {
			t.Errorf("%d acknowledged: %d messages, want %d", tt.acked, got, tt.want)
		}
	}
	if len(a.services) > 0 {
		t.Errorf("%d are remembered", len(a.services))
	}
}
