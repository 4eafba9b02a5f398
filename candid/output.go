package candid

import "fmt"

// EncodeOutputMessages encodes the Ok answer of ws_get_messages.
func EncodeOutputMessages(m OutputMessages) []byte {
	n := 40 + len(m.Cert) + len(m.Tree)
	for i := range m.Messages {
		msg := &m.Messages[i]
		n += 30 + len(msg.Key) + len(msg.Content) + len(msg.ClientKey.Principal)
	}
	out := append(build(outputMessagesHeader, n), okTag)
	out = appendULEB(out, uint64(len(m.Messages)))
	for i := range m.Messages {
		msg := &m.Messages[i]
		out = append(appendULEB(out, uint64(len(msg.Key))), msg.Key...)
		out = appendBlob(out, msg.Content)
		out = appendClientKey(out, msg.ClientKey)
	}
	out = appendBlob(out, m.Cert)
	out = appendBlob(out, m.Tree)
	return append(out, boolByte(m.EndOfQueue))
}

// DecodeOutputMessages reads the answer of ws_get_messages: a batch, or the
// text of a refusal. Contents, certificate and witness alias b.
func DecodeOutputMessages(b []byte) (m OutputMessages, refusal string, refused bool, err error) {
	refusal, refused, err = decodeResult(b, func(d *decoder, t typeRef) error {
		return d.outputMessages(t, &m)
	})
	if err != nil {
		return OutputMessages{}, "", false, fmt.Errorf("ws_get_messages result: %w", err)
	}
	return m, refusal, refused, nil
}

func (d *decoder) outputMessages(t typeRef, m *OutputMessages) error {
	fields, err := d.record(t)
	if err != nil {
		return err
	}
	m.EndOfQueue = true // libraries before 0.3.1 do not have the field
	seen := 0
	for _, f := range fields {
		switch f.hash {
		case hashMessages:
			err = d.outputMessageVec(f.typ, m)
			seen |= 1
		case hashCert:
			m.Cert, err = d.blob(f.typ)
			seen |= 2
		case hashTree:
			m.Tree, err = d.blob(f.typ)
			seen |= 4
		case hashIsEndOfQueue:
			m.EndOfQueue, err = d.boolOr(f.typ, true)
		default:
			err = d.skip(f.typ)
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", fieldLabel(f.hash), err)
		}
	}
	return missing("batch", seen, 7, "messages", "cert", "tree")
}

// boolOr reads a bool, or an opt bool or null that may be empty.
func (d *decoder) boolOr(t typeRef, absent bool) (bool, error) {
	if t == opNull || t == opReserved {
		return absent, nil
	}
	if def, ok := d.def(t, opOpt); ok {
		flag, err := d.byte()
		switch {
		case err != nil:
			return false, err
		case flag == 0:
			return absent, nil
		case flag != 1:
			return false, errOptFlag
		}
		return d.bool(def.elem)
	}
	return d.bool(t)
}

// maxOutputMessages bounds the messages of one answer. The CDK sends 50. A query's
// reply of 3 MiB has room for no more, since each takes some 200 bytes with its key
// and client, and as much again in the witness.
const maxOutputMessages = 16_384

func (d *decoder) outputMessageVec(t typeRef, m *OutputMessages) error {
	elem, n, err := d.vec(t)
	if err != nil || n == 0 {
		return err
	}
	// The smallest message takes twelve bytes: key, content, principal, nonce.
	const smallest = 12
	if n > d.left()/smallest {
		return errTruncated
	}
	if n > maxOutputMessages {
		return fmt.Errorf("%d messages, at most %d are read", n, maxOutputMessages)
	}
	m.Messages = make([]OutputMessage, 0, min(n, 256))
	var key ClientKey
	for range n {
		msg := OutputMessage{ClientKey: key}
		if err := d.outputMessage(elem, &msg); err != nil {
			return fmt.Errorf("message %d: %w", len(m.Messages), err)
		}
		key = msg.ClientKey
		m.Messages = append(m.Messages, msg)
	}
	return nil
}

func (d *decoder) outputMessage(t typeRef, m *OutputMessage) error {
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
		case hashKey:
			m.Key, err = d.text(f.typ)
			if err == nil && len(m.Key) > maxKeyLength {
				err = fmt.Errorf("%d bytes", len(m.Key))
			}
			seen |= 2
		case hashContent:
			m.Content, err = d.blob(f.typ)
			seen |= 4
		default:
			err = d.skip(f.typ)
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", fieldLabel(f.hash), err)
		}
	}
	return missing("message", seen, 7, "client_key", "key", "content")
}
