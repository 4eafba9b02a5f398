package client

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestCloseTellsWhatWasNotSent: also the message that was just being written.
func TestCloseTellsWhatWasNotSent(t *testing.T) {
	const large = 32 << 20 // more than the system's buffers of a socket
	for _, tt := range []struct {
		name string
		more int // messages behind the large one
		want string
	}{
		{"one being written", 0, "1 queued messages were not sent"},
		{"others behind it", 3, "4 queued messages were not sent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hold := make(chan struct{})
			n := newNetwork(t, func(p *peer) {
				p.open()
				<-hold // the gateway does not read
			})
			defer close(hold)
			c := n.dial(func(o *Options) {
				o.MaxMessageBytes, o.SendBytes = large, large+100
				o.CloseTimeout = 100 * time.Millisecond
			})
			if err := c.Send(deadline(t), make([]byte, large)); err != nil {
				t.Fatal(err)
			}
			for range tt.more {
				if err := c.Send(deadline(t), []byte("more")); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				if err := c.Close(); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("Close = %v, want %q", err, tt.want)
				}
			}
		})
	}
}

// TestSendWhileClosing: what Send took is sent, or Close tells that it was not,
// however close the end was.
func TestSendWhileClosing(t *testing.T) {
	const rounds = 20
	received := make(chan int, 1)
	n := newNetwork(t, func(p *peer) {
		p.open()
		count := 0
		for ; ; count++ {
			if _, err := p.takeMessage(); err != nil {
				break
			}
		}
		received <- count
	})
	content := make([]byte, 8<<20) // takes a while to copy: Close comes meanwhile
	for round := range rounds {
		c := n.dial(func(o *Options) { o.CloseTimeout, o.MaxMessageBytes = patience, len(content) })
		sending, taken := make(chan struct{}), make(chan int)
		go func() {
			count := 0
			close(sending)
			for ; ; count++ {
				if err := c.Send(context.Background(), content); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					break
				}
			}
			taken <- count
		}()
		<-sending
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if want, got := <-taken, <-received; got != want {
			t.Fatalf("round %d: Send took %d messages, %d arrived", round, want, got)
		}
	}
}

// TestSendRoom: places and bytes come back, whichever of the two was short.
func TestSendRoom(t *testing.T) {
	n := newNetwork(t, func(p *peer) {
		p.open()
		for {
			if _, err := p.takeMessage(); err != nil {
				return
			}
		}
	})
	content := bytes.Repeat([]byte("x"), 10)
	for _, change := range []func(*Options){
		func(o *Options) { o.SendMessages = 1 },
		func(o *Options) { o.SendBytes = 10 },
	} {
		c := n.dial(change)
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		for range 50 {
			_ = c.Send(ended, content) // gives its room back, or is sent
			if err := c.Send(deadline(t), content); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOpenTimeoutIsForAll: a late handshake leaves less time for the open message.
func TestOpenTimeoutIsForAll(t *testing.T) {
	const timeout = 2 * time.Second
	n := newNetwork(t, func(p *peer) {
		time.Sleep(timeout * 9 / 10) // a slow gateway
		p.handshake()
		p.closeCode()
	})
	opt := n.options()
	opt.OpenTimeout = timeout
	start := time.Now()
	if _, err := Dial(deadline(t), opt); !errors.Is(err, ErrOpenTimeout) {
		t.Errorf("err = %v", err)
	}
	if took := time.Since(start); took > timeout*8/5 {
		t.Errorf("took %s, with a timeout of %s", took, timeout)
	}
}
