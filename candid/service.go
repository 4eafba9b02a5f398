package candid

import "fmt"

// EncodeServiceMessage encodes the content of a service message. A kind or
// reason that the protocol does not have is a programmer's error and encodes nothing.
func EncodeServiceMessage(m ServiceMessage) []byte {
	out := build(serviceMessageHeader, 48)
	if m.Kind < OpenMessage || m.Kind > CloseMessage {
		return nil
	}
	tag := serviceTagIndex[m.Kind-1]
	switch m.Kind {
	case OpenMessage:
		return appendClientKey(append(out, tag), m.ClientKey)
	case AckMessage, KeepAliveMessage:
		return appendNat64(append(out, tag), m.LastIncoming)
	}
	if m.Reason < WrongSequenceNumber || m.Reason > ClosedByApplication {
		return nil
	}
	return append(out, tag, closeReasonIndex[m.Reason-1])
}

// Positions of the tags in the order of their hashes.
var (
	serviceTagIndex  = tagIndexes(serviceMessageType, serviceTags[:])
	closeReasonIndex = tagIndexes(closeReasonType, closeReasons[:])
)

func tagIndexes(t Type, labels []string) []byte {
	indexes := make([]byte, len(labels))
	for i, l := range labels {
		for j, f := range t.fields {
			if f.label == l {
				indexes[i] = byte(j) //nolint:gosec // four tags
			}
		}
	}
	return indexes
}

// DecodeServiceMessage reads the content of a service message. A close reason
// that a later version of the protocol may add reads as reason 0.
func DecodeServiceMessage(b []byte) (ServiceMessage, error) {
	m, err := decodeServiceMessage(b)
	if err != nil {
		return ServiceMessage{}, fmt.Errorf("service message: %w", err)
	}
	return m, nil
}

func decodeServiceMessage(b []byte) (m ServiceMessage, err error) {
	d, err := newDecoder(b)
	if err != nil {
		return m, err
	}
	t, err := d.arg()
	if err != nil {
		return m, err
	}
	tag, err := d.variant(t)
	if err != nil {
		return m, err
	}
	var wanted uint32
	switch tag.hash {
	case hashOpenMessage:
		m.Kind, wanted = OpenMessage, hashClientKey
	case hashAckMessage:
		m.Kind, wanted = AckMessage, hashLastIncoming
	case hashKeepAliveMessage:
		m.Kind, wanted = KeepAliveMessage, hashLastIncoming
	case hashCloseMessage:
		m.Kind, wanted = CloseMessage, hashReason
	default:
		return m, fmt.Errorf("candid: unknown tag %s", fieldLabel(tag.hash))
	}
	fields, err := d.record(tag.typ)
	if err != nil {
		return m, err
	}
	seen := 0
	for _, f := range fields {
		switch {
		case f.hash != wanted:
			err = d.skip(f.typ)
		case f.hash == hashClientKey:
			seen, err = 1, d.clientKey(f.typ, &m.ClientKey)
		case f.hash == hashLastIncoming:
			seen = 1
			m.LastIncoming, err = d.nat64(f.typ)
		default:
			seen = 1
			m.Reason, err = d.closeReason(f.typ)
		}
		if err != nil {
			return m, fmt.Errorf("field %s: %w", fieldLabel(f.hash), err)
		}
	}
	if err := missing(m.Kind.String(), seen, 1, fieldLabel(wanted)); err != nil {
		return m, err
	}
	return m, d.end()
}

func (d *decoder) closeReason(t typeRef) (CloseReason, error) {
	tag, err := d.variant(t)
	if err != nil {
		return 0, err
	}
	if err := d.skip(tag.typ); err != nil {
		return 0, err
	}
	switch tag.hash {
	case hashWrongSequenceNumber:
		return WrongSequenceNumber, nil
	case hashInvalidServiceMessage:
		return InvalidServiceMessage, nil
	case hashKeepAliveTimeout:
		return KeepAliveTimeout, nil
	case hashClosedByApplication:
		return ClosedByApplication, nil
	}
	return 0, nil
}
