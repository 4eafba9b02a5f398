package candid

import "fmt"

// EncodeResult encodes variant { Ok; Err : text }: Ok for an empty text, else Err.
func EncodeResult(errText string) []byte {
	if errText == "" {
		return append(build(resultHeader, 1), okTag)
	}
	return appendBlob(append(build(resultHeader, 11+len(errText)), errTag), []byte(errText))
}

// DecodeResult reads the answer of ws_open, ws_close or ws_message. Any type may
// stand behind Ok. refused reports Err, whose text is returned.
func DecodeResult(b []byte) (refusal string, refused bool, err error) {
	refusal, refused, err = decodeResult(b, (*decoder).skip)
	if err != nil {
		err = fmt.Errorf("result: %w", err)
	}
	return refusal, refused, err
}

func decodeResult(b []byte, onOk func(*decoder, typeRef) error) (refusal string, refused bool, err error) {
	d, err := newDecoder(b)
	if err != nil {
		return "", false, err
	}
	t, err := d.arg()
	if err != nil {
		return "", false, err
	}
	tag, err := d.variant(t)
	if err != nil {
		return "", false, err
	}
	switch tag.hash {
	case hashOk:
		err = onOk(d, tag.typ)
	case hashErr:
		refused = true
		refusal, err = d.text(tag.typ)
	default:
		err = fmt.Errorf("candid: tag %s is neither Ok nor Err", fieldLabel(tag.hash))
	}
	if err == nil {
		err = d.end()
	}
	if err != nil {
		return "", false, err
	}
	return refusal, refused, nil
}
