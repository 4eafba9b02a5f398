package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/candid"
)

// Dial connects to a gateway, opens a connection to a canister, and returns
// when the canister's certified OpenMessage has arrived. ctx limits all of
// that and nothing after. It fails with an *UpgradeError or a *CloseError
// where the gateway or the canister said no.
func Dial(ctx context.Context, options Options) (*Conn, error) {
	opt, err := options.complete()
	if err != nil {
		return nil, err
	}
	ws, err := dialSocket(ctx, opt)
	if err != nil {
		return nil, err
	}
	// Until the goroutines own the socket, the end of ctx breaks it.
	stop := context.AfterFunc(ctx, func() { _ = ws.Close() })
	deadline := time.Now().Add(opt.OpenTimeout)
	c, err := open(opt, ws, deadline)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = ws.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if closed := (*CloseError)(nil); errors.As(err, &closed) {
			return nil, closed
		}
		return nil, fmt.Errorf("client: opening: %w", err)
	}

	go c.run()
	patience := time.NewTimer(time.Until(deadline))
	defer patience.Stop()
	select {
	case <-c.opened:
		return c, nil
	case <-c.open.Done(): // Err says why
		select {
		case <-c.opened: // it was open; Receive gives what came, and then the reason
			return c, nil
		default:
		}
	case <-patience.C:
		c.violated(ErrOpenTimeout)
	case <-ctx.Done():
		c.broken(ctx.Err())
	}
	<-c.done
	return nil, c.Err()
}

func dialSocket(ctx context.Context, opt Options) (*websocket.Conn, error) {
	ws, resp, err := opt.Dialer.DialContext(ctx, opt.URL, opt.Header)
	if errors.Is(err, websocket.ErrBadHandshake) && resp != nil {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // gorilla keeps the beginning of the body
		return nil, &UpgradeError{
			Status:     resp.StatusCode,
			Text:       strings.TrimSpace(strings.ToValidUTF8(string(text), "?")),
			Location:   resp.Header.Get("Location"),
			RetryAfter: retryAfter(resp.Header),
		}
	}
	if err != nil {
		return nil, fmt.Errorf("client: dialing %s: %w", opt.URL, err)
	}
	ws.SetReadLimit(opt.MaxFrameBytes)
	return ws, nil
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// open takes the gateway's handshake and answers with the ws_open envelope.
func open(opt Options, ws *websocket.Conn, deadline time.Time) (*Conn, error) {
	if err := ws.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	kind, frame, err := ws.ReadMessage()
	if err != nil {
		return nil, readError(err, ErrOpenTimeout)
	}
	if kind != websocket.BinaryMessage {
		return nil, violation(fmt.Errorf("%w: the handshake is not a binary frame", ErrMalformed))
	}
	gateway, err := candid.DecodeHandshake(frame)
	if err != nil {
		return nil, violation(fmt.Errorf("%w: handshake: %w", ErrMalformed, err))
	}
	if opt.Gateway != "" && gateway != opt.Gateway {
		return nil, violation(fmt.Errorf("%w: it is %s, not %s", ErrGateway, gateway, opt.Gateway))
	}
	c := newConn(opt, ws, gateway)
	frame, err = c.sign("ws_open", candid.EncodeOpenArgs(opt.Nonce, gateway))
	if err != nil {
		return nil, err
	}
	if err := c.writeFrame("ws_open", frame); err != nil {
		return nil, err
	}
	return c, nil
}

// readError explains the end of reading; timeout is what a deadline means here.
func readError(err, timeout error) *CloseError {
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		if closed.Code == websocket.CloseAbnormalClosure { // gorilla's word: nobody sends it (RFC 6455, section 7.4.1)
			return &CloseError{Code: closed.Code, Cause: fmt.Errorf("%w: %s", ErrLost, closed.Text)}
		}
		return &CloseError{Code: closed.Code, Reason: closed.Text, Remote: true}
	}
	var slow interface{ Timeout() bool }
	if errors.As(err, &slow) && slow.Timeout() {
		return &CloseError{Code: websocket.CloseAbnormalClosure, Cause: timeout}
	}
	if errors.Is(err, websocket.ErrReadLimit) {
		return &CloseError{Code: websocket.CloseMessageTooBig, Cause: fmt.Errorf("%w: %w", ErrMalformed, err)}
	}
	if text := err.Error(); strings.HasPrefix(text, "websocket: ") {
		// gorilla has told the gateway. These errors have no type: close codes that
		// must not be sent, frames with masks, and the like.
		return &CloseError{Code: websocket.CloseProtocolError, Cause: fmt.Errorf("%w: %s", ErrMalformed, text)}
	}
	return &CloseError{Code: websocket.CloseAbnormalClosure, Cause: err}
}
