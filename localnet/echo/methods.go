package echo

import (
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

var (
	okReply    = candid.EncodeResult("")
	emptyReply = candid.EncodeOutputMessages(candid.OutputMessages{EndOfQueue: true})
)

// native gives the machine what it needs to run the canister.
func (c *canister) native() *execution.Native {
	return &execution.Native{
		Interface:   candidInterface,
		Independent: true,
		Methods: map[string]execution.NativeMethod{
			"ws_open":         {Run: c.wsOpen},
			"ws_close":        {Run: c.wsClose},
			"ws_message":      {Run: c.wsMessage},
			"ws_get_messages": {Run: c.wsGetMessages, Query: true},
		},
		Init: func(call *execution.NativeCall) {
			c.nextAck = call.Time() + nanos(c.ackInterval)
			call.SetTimer(c.nextAck)
			call.SetCertifiedData(c.published.Load().root)
		},
		Timer: func(call *execution.NativeCall) {
			call.SetTimer(c.tick(call.Time()))
			c.commit(call)
		},
	}
}

func (c *canister) wsOpen(call *execution.NativeCall) ([]byte, *execution.Reject) {
	nonce, gateway, err := candid.DecodeOpenArgs(call.Raw)
	if err != nil {
		return nil, malformed(call, err)
	}
	return c.answer(call, c.open(call.Caller, nonce, gateway, call.Time()))
}

func (c *canister) wsClose(call *execution.NativeCall) ([]byte, *execution.Reject) {
	key, err := candid.DecodeCloseArgs(call.Raw)
	if err != nil {
		return nil, malformed(call, err)
	}
	return c.answer(call, c.close(call.Caller, key, call.Time()))
}

func (c *canister) wsMessage(call *execution.NativeCall) ([]byte, *execution.Reject) {
	m, err := candid.DecodeMessageArgs(call.Raw)
	if err != nil {
		return nil, malformed(call, err)
	}
	return c.answer(call, c.message(call.Caller, &m, call.Time()))
}

func malformed(call *execution.NativeCall, err error) *execution.Reject {
	return call.Trap("failed to decode call arguments: %v", err)
}

// answer ends a call. A refusal may have changed something, too.
func (c *canister) answer(call *execution.NativeCall, r refusal) ([]byte, *execution.Reject) {
	c.commit(call)
	if r == "" {
		return okReply, nil
	}
	return candid.EncodeResult(r), nil
}

func (c *canister) commit(call *execution.NativeCall) {
	if c.changed {
		call.SetCertifiedData(c.publish().root)
	}
}

// maxAttempts is how often a poll asks for a certificate. Each but the last found
// that the state went on by keptSnapshots calls before it could be answered.
const maxAttempts = 8

func (c *canister) wsGetMessages(call *execution.NativeCall) ([]byte, *execution.Reject) {
	nonce, err := candid.DecodeGetMessagesArgs(call.Raw)
	if err != nil {
		return nil, malformed(call, err)
	}
	for range maxAttempts {
		s := c.published.Load()
		if q := s.queue(call.Caller); q == nil || nonce >= q.next {
			return emptyReply, nil // most polls: nothing to certify
		}
		certificate, certified := call.Certificate()
		if certificate == nil {
			return nil, call.Trap("there is no data certificate in a call that is not a query")
		}
		if !s.covers(certified) {
			if s = c.recent.find(certified); s == nil {
				continue
			}
		}
		q := s.queue(call.Caller)
		if q == nil {
			return emptyReply, nil
		}
		messages, end := q.batch(nonce, c.batchMessages, c.batchBytes)
		if len(messages) == 0 {
			return emptyReply, nil
		}
		return s.encode(q, messages, end, certificate), nil
	}
	return nil, call.Trap("the state changes too fast to be certified")
}
