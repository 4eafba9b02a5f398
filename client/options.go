package client

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/ic"
	"github.com/icrelay/icrelay/internal/defaults"
)

// Options say what to connect to and how. URL, Canister, Identity and Verifier
// must be set; the zero value of every other field means its default.
type Options struct {
	URL      string           // of the gateway, ws:// or wss://
	Canister candid.Principal // the canister that speaks the CDK's interface
	Identity ic.Identity      // signs the envelopes; its principal is the client's
	Verifier *ic.Verifier     // verifies certificates with the network's root key

	Gateway candid.Principal  // if set, a gateway with another principal is refused
	Nonce   uint64            // tells connections of one principal apart. Default random
	Header  http.Header       // sent with the HTTP upgrade
	Dialer  *websocket.Dialer // default a dialer with the environment's proxy and 4 KiB buffers
	Now     func() time.Time  // wall clock, for timestamps, expiries and certificates. Default time.Now

	// OnMessage, if set, gets all messages instead of Receive, one after the other
	// on the goroutine that reads the socket: nothing is read while it runs. It must
	// not close the connection. Content is its own only until it returns.
	OnMessage func(Message)

	// CheckEvery, if above 1, has the certification of only each so many-th message
	// verified, beginning with the first: the others are believed. It is for
	// programs that measure a gateway, and would otherwise measure themselves.
	CheckEvery int

	MaxCertificateAge time.Duration // a message's certificate may be as old as this. Default 5m
	OpenTimeout       time.Duration // from the socket's opening to the canister's OpenMessage. Default 60s
	AckTimeout        time.Duration // until the canister acknowledges a sent message. Default 330s: its 300s interval and 30s latency
	WriteTimeout      time.Duration // for one frame to leave. Default 15s
	PingInterval      time.Duration // between pings to the gateway. Default 30s
	IdleTimeout       time.Duration // without a frame, ping or pong from the gateway. Default 90s
	CloseTimeout      time.Duration // for Close to send what is queued and see the gateway's close frame. Default 5s

	MaxFrameBytes   int64 // largest frame from the gateway. Default 4 MiB
	MaxMessageBytes int   // largest content that Send takes. Default 2 MiB - 64 KiB: an ingress message less its envelope
	SendMessages    int   // messages waiting to be sent. Default 256
	SendBytes       int   // bytes waiting to be sent. Default 4 MiB
	ReceiveMessages int   // messages waiting for Receive. Default 1024
	ReceiveBytes    int   // bytes waiting for Receive. Default 8 MiB
}

// complete checks the options and fills in the defaults.
func (o Options) complete() (Options, error) {
	switch {
	case o.URL == "":
		return o, errors.New("client: Options.URL is not set")
	case o.Canister == candid.ManagementCanister:
		return o, errors.New("client: Options.Canister is not set")
	case o.Identity == nil:
		return o, errors.New("client: Options.Identity is not set")
	case o.Verifier == nil:
		return o, errors.New("client: Options.Verifier is not set")
	}
	if o.Nonce == 0 {
		var b [8]byte
		if _, err := rand.Read(b[:]); err != nil {
			return o, fmt.Errorf("client: random nonce: %w", err)
		}
		o.Nonce = binary.BigEndian.Uint64(b[:])
	}
	if o.Dialer == nil {
		o.Dialer = &websocket.Dialer{
			Proxy:            http.ProxyFromEnvironment,
			HandshakeTimeout: 30 * time.Second,
			ReadBufferSize:   4096,
			WriteBufferSize:  4096,
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	defaults.Set(&o.MaxCertificateAge, 5*time.Minute)
	defaults.Set(&o.OpenTimeout, time.Minute)
	defaults.Set(&o.AckTimeout, 330*time.Second)
	defaults.Set(&o.WriteTimeout, 15*time.Second)
	defaults.Set(&o.PingInterval, 30*time.Second)
	defaults.Set(&o.IdleTimeout, 90*time.Second)
	defaults.Set(&o.CloseTimeout, 5*time.Second)
	defaults.Set(&o.MaxFrameBytes, 4<<20)
	defaults.Set(&o.MaxMessageBytes, 2<<20-64<<10)
	defaults.Set(&o.SendMessages, 256)
	defaults.Set(&o.SendBytes, 4<<20)
	defaults.Set(&o.ReceiveMessages, 1024)
	defaults.Set(&o.ReceiveBytes, 8<<20)
	return o, nil
}
