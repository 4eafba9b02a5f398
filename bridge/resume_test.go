package bridge

import (
	"context"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
)

// A resumer is a testCanister that lets clients come back.
type resumer struct {
	*testCanister
	lost map[candid.ClientKey]int // guarded by mu
}

func (r *resumer) Lost(_ context.Context, _ candid.Principal, client candid.ClientKey) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost[client]++
	return nil
}

// A canister that lets clients come back is told whether one has gone for good. Only the client knows that: a broken
// socket, silence, and whatever the gateway has ended is lost. Any other canister is told that it has gone.
func TestLostOrClosed(t *testing.T) {
	say := func(code int) func(*peer) {
		return func(p *peer) {
			frame := websocket.FormatCloseMessage(code, "")
			if err := p.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(time.Second)); err != nil {
				p.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name string
		end  func(*peer)
		lost bool
	}{
		{"closed by the program", say(websocket.CloseNormalClosure), false},
		{"closed without a code", say(websocket.CloseNoStatusReceived), false},
		{"a page that is left", say(websocket.CloseGoingAway), false},
		{"the stock client's error", say(4000), true},
		{"closed by the canister's word", say(4001), true},
		{"a broken socket", func(p *peer) { _ = p.conn.NetConn().Close() }, true},
		{"half a frame", func(p *peer) { _, _ = p.conn.NetConn().Write([]byte{0x82, 0xff}); _ = p.conn.NetConn().Close() }, true},
		{"silence", func(p *peer) {
			p.conn.SetPingHandler(func(string) error { return nil })
			p.closed(CloseIdle, "")
		}, true},
		{"ended by the gateway", func(p *peer) {
			if err := p.conn.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
				p.Fatal(err)
			}
			p.closed(CloseUnsupportedData, "")
		}, true},
		{"the gateway stops", func(p *peer) {
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				p.stop()
			}()
			p.closed(CloseGoingAway, "") // which the client answers with the same code
			<-stopped
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, resumes := range []bool{true, false} {
				r := &resumer{lost: make(map[candid.ClientKey]int)}
				b := newBench(t, func(o *Options, c *testCanister) {
					r.testCanister = c
					if tt.name == "silence" {
						o.Limits.PingInterval, o.Limits.IdleTimeout = 50*time.Millisecond, 500*time.Millisecond
					}
					if resumes {
						o.Routes[0].Adapter = r
					}
				})
				p := b.open()
				tt.end(p)
				b.eventually("the canister is told", func() bool {
					return get(r.testCanister, func() bool { return r.closed[p.key]+r.lost[p.key] > 0 })
				})
				b.stop()
				if lost := r.lost[p.key] == 1; lost != (tt.lost && resumes) || r.closed[p.key]+r.lost[p.key] != 1 {
					t.Errorf("resumes %v: told %d times that it is lost, %d times that it has closed", resumes, r.lost[p.key], r.closed[p.key])
				}
			}
		})
	}
}
