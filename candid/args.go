package candid

import (
	"encoding/binary"
	"fmt"
)

// build starts a message with room for n more bytes after its header.
func build(header []byte, n int) []byte {
	return append(make([]byte, 0, len(header)+n), header...)
}

func appendNat64(dst []byte, n uint64) []byte { return binary.LittleEndian.AppendUint64(dst, n) }

func appendClientKey(dst []byte, k ClientKey) []byte {
	return appendNat64(appendPrincipal(dst, k.Principal), k.Nonce)
}

// decodeRecordArg reads a message whose first argument is a record, calling
// field for each of its fields. Further arguments are skipped.
func decodeRecordArg(b []byte, what string, field func(*decoder, typeField) error) error {
	d, err := newDecoder(b)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	t, err := d.arg()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fields, err := d.record(t)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, f := range fields {
		if err := field(d, f); err != nil {
			return fmt.Errorf("%s: field %s: %w", what, fieldLabel(f.hash), err)
		}
	}
	if err := d.end(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func missing(what string, seen, want int, labels ...string) error {
	for i, l := range labels {
		if want&^seen&(1<<i) != 0 {
			return fmt.Errorf("%s: candid: field %s is missing", what, l)
		}
	}
	return nil
}

// EncodeOpenArgs encodes the argument of ws_open.
func EncodeOpenArgs(nonce uint64, gateway Principal) []byte {
	return appendNat64(appendPrincipal(build(openArgsHeader, 2+len(gateway)+8), gateway), nonce)
}

// DecodeOpenArgs reads the argument of ws_open.
func DecodeOpenArgs(b []byte) (nonce uint64, gateway Principal, err error) {
	const what = "ws_open arguments"
	seen := 0
	err = decodeRecordArg(b, what, func(d *decoder, f typeField) (err error) {
		switch f.hash {
		case hashClientNonce:
			nonce, err = d.nat64(f.typ)
			seen |= 1
		case hashGatewayPrincipal:
			gateway, err = d.principal(f.typ)
			seen |= 2
		default:
			err = d.skip(f.typ)
		}
		return err
	})
	if err == nil {
		err = missing(what, seen, 3, "client_nonce", "gateway_principal")
	}
	return nonce, gateway, err
}

// EncodeCloseArgs encodes the argument of ws_close.
func EncodeCloseArgs(k ClientKey) []byte {
	return appendClientKey(build(closeArgsHeader, 2+len(k.Principal)+8), k)
}

// DecodeCloseArgs reads the argument of ws_close.
func DecodeCloseArgs(b []byte) (k ClientKey, err error) {
	const what = "ws_close arguments"
	seen := 0
	err = decodeRecordArg(b, what, func(d *decoder, f typeField) (err error) {
		if f.hash != hashClientKey {
			return d.skip(f.typ)
		}
		seen = 1
		return d.clientKey(f.typ, &k)
	})
	if err == nil {
		err = missing(what, seen, 1, "client_key")
	}
	return k, err
}

// EncodeMessageArgs encodes the arguments of ws_message, the second of them null.
func EncodeMessageArgs(m WebsocketMessage) []byte {
	out := build(messageArgsHeader, 8+10+len(m.Content)+2+len(m.ClientKey.Principal)+8+8+1+1)
	out = appendNat64(out, m.SequenceNum)
	out = appendBlob(out, m.Content)
	out = appendClientKey(out, m.ClientKey)
	out = appendNat64(out, m.Timestamp)
	return append(out, boolByte(m.IsServiceMessage), 0)
}

// DecodeMessageArgs reads the arguments of ws_message. The second, whatever its
// type, is skipped. The content aliases b.
func DecodeMessageArgs(b []byte) (m WebsocketMessage, err error) {
	const what = "ws_message arguments"
	seen := 0
	err = decodeRecordArg(b, what, func(d *decoder, f typeField) error {
		if f.hash != hashMsg {
			return d.skip(f.typ)
		}
		seen = 1
		return d.websocketMessage(f.typ, &m)
	})
	if err == nil {
		err = missing(what, seen, 1, "msg")
	}
	return m, err
}

// EncodeGetMessagesArgs encodes the argument of ws_get_messages.
func EncodeGetMessagesArgs(nonce uint64) []byte {
	return appendNat64(build(getMessagesArgsHeader, 8), nonce)
}

// DecodeGetMessagesArgs reads the argument of ws_get_messages.
func DecodeGetMessagesArgs(b []byte) (nonce uint64, err error) {
	const what = "ws_get_messages arguments"
	seen := 0
	err = decodeRecordArg(b, what, func(d *decoder, f typeField) (err error) {
		if f.hash != hashNonce {
			return d.skip(f.typ)
		}
		seen = 1
		nonce, err = d.nat64(f.typ)
		return err
	})
	if err == nil {
		err = missing(what, seen, 1, "nonce")
	}
	return nonce, err
}

func (d *decoder) clientKey(t typeRef, k *ClientKey) error {
	fields, err := d.record(t)
	if err != nil {
		return err
	}
	seen := 0
	for _, f := range fields {
		switch f.hash {
		case hashClientPrincipal:
			if f.typ != opPrincipal {
				return d.mismatch("principal", f.typ)
			}
			var raw []byte
			raw, err = d.principalBytes()
			// Messages of one client follow each other in a batch: keep the string
			// that k already holds if it is the same.
			if string(raw) != string(k.Principal) {
				k.Principal = Principal(raw)
			}
			seen |= 1
		case hashClientNonce:
			k.Nonce, err = d.nat64(f.typ)
			seen |= 2
		default:
			err = d.skip(f.typ)
		}
		if err != nil {
			return err
		}
	}
	return missing("client key", seen, 3, "client_principal", "client_nonce")
}

func (d *decoder) websocketMessage(t typeRef, m *WebsocketMessage) error {
	fields, err := d.record(t)
	if err != nil {
		return err
	}
	seen := 0
	for _, f := range fields {
		switch f.hash {
		case hashClientKey:
			err = d.clientKey(f.typ, &m.ClientKey)
			seen |= 1
		case hashSequenceNum:
			m.SequenceNum, err = d.nat64(f.typ)
			seen |= 2
		case hashTimestamp:
			m.Timestamp, err = d.nat64(f.typ)
			seen |= 4
		case hashIsServiceMessage:
			m.IsServiceMessage, err = d.bool(f.typ)
			seen |= 8
		case hashContent:
			m.Content, err = d.blob(f.typ)
			seen |= 16
		default:
			err = d.skip(f.typ)
		}
		if err != nil {
			return err
		}
	}
	return missing("message", seen, 31, "client_key", "sequence_num", "timestamp", "is_service_message", "content")
}
