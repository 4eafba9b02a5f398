package ic

import (
	"errors"
	"fmt"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/candid/cbor"
)

// fields reads a self-described map as the only item of b.
func fields(b []byte, value func(r *cbor.Reader, key string) (known bool, err error)) error {
	r := cbor.NewReader(b)
	r.SkipSelfDescribe()
	err := eachKey(&r, func(key []byte) (bool, error) { return value(&r, string(key)) })
	if err != nil {
		return err
	}
	return r.End()
}

func decodeStatus(b []byte) (s Status, err error) {
	err = fields(b, func(r *cbor.Reader, key string) (known bool, err error) {
		var text *string
		switch key {
		case "root_key":
			if !r.Null() {
				s.RootKey, err = r.Bytes()
			}
			return true, err
		case "impl_version":
			text = &s.Version
		case "replica_health_status":
			text = &s.Health
		default:
			return false, nil
		}
		if !r.Null() {
			*text, err = r.Text()
		}
		return true, err
	})
	return s, err
}

// callAnswer is the body of a 200 to a call: a certificate or a reject that no
// certificate covers.
type callAnswer struct {
	certificate []byte
	reject      *RejectError
}

func decodeCallAnswer(b []byte) (a callAnswer, err error) {
	var status string
	var reject rejectFields
	err = fields(b, func(r *cbor.Reader, key string) (bool, error) {
		var err error
		switch key {
		case "status":
			status, err = r.Text()
		case "certificate":
			a.certificate, err = r.Bytes()
		default:
			return reject.read(r, key)
		}
		return true, err
	})
	switch {
	case err != nil:
		return a, err
	case status == "replied" && a.certificate != nil:
		return a, nil
	case status == "non_replicated_rejection", status == "" && reject.hasCode: // version 2 has no status
		if !reject.hasCode {
			return a, errors.New("rejection without a reject code")
		}
		return callAnswer{reject: &reject.RejectError}, nil
	}
	return a, fmt.Errorf("unknown status %q", clipText(status))
}

// rejectFields reads the fields that all rejects share.
type rejectFields struct {
	RejectError
	hasCode bool
}

func (f *rejectFields) read(r *cbor.Reader, key string) (known bool, err error) {
	switch key {
	case "reject_code":
		var code uint64
		if code, err = r.Uint(); err == nil && code > 1<<16 {
			err = errors.New("out of range")
		}
		f.Code, f.hasCode = int(code&0xffff), true //nolint:gosec // masked
	case "reject_message":
		f.Text, err = r.Text()
	case "error_code":
		if !r.Null() {
			f.ErrorCode, err = r.Text()
		}
	default:
		return false, nil
	}
	return true, err
}

func decodeReadState(b []byte) (certificate []byte, err error) {
	err = fields(b, func(r *cbor.Reader, key string) (known bool, err error) {
		if key != "certificate" {
			return false, nil
		}
		certificate, err = r.Bytes()
		return true, err
	})
	if err == nil && certificate == nil {
		err = errors.New("no certificate")
	}
	return certificate, err
}

// NodeSignature is a node's signature of a query response.
type NodeSignature struct {
	Timestamp uint64 // nanoseconds since 1970
	Signature []byte
	Node      candid.Principal
}

// QueryResponse is the answer to a query call: a reply or a reject.
type QueryResponse struct {
	Reply      []byte
	Reject     *RejectError // nil if there is a reply
	Signatures []NodeSignature
}

// maxSignatures bounds the signatures of one response; today there is one.
const maxSignatures = 64

// DecodeQueryResponse reads the body of an answer to a query. It aliases b.
func DecodeQueryResponse(b []byte) (*QueryResponse, error) {
	q := new(QueryResponse)
	var status string
	var reject rejectFields
	hasReply := false
	err := fields(b, func(r *cbor.Reader, key string) (bool, error) {
		var err error
		switch key {
		case "status":
			status, err = r.Text()
		case "reply":
			hasReply = true
			q.Reply, err = readReply(r)
		case "signatures":
			if !r.Null() {
				q.Signatures, err = readSignatures(r)
			}
		default:
			return reject.read(r, key)
		}
		return true, err
	})
	switch {
	case err != nil:
		return nil, err
	case status == "replied" && hasReply:
	case status == "rejected" && reject.hasCode:
		q.Reply, q.Reject = nil, &reject.RejectError
	default:
		return nil, fmt.Errorf("status %q without what belongs to it", clipText(status))
	}
	return q, nil
}

func readReply(r *cbor.Reader) (arg []byte, err error) {
	err = eachKey(r, func(key []byte) (known bool, err error) {
		if string(key) != "arg" {
			return false, nil
		}
		arg, err = r.Bytes()
		if arg == nil {
			arg = []byte{}
		}
		return true, err
	})
	if err == nil && arg == nil {
		err = errors.New("no arg")
	}
	return arg, err
}

func readSignatures(r *cbor.Reader) ([]NodeSignature, error) {
	c, err := r.Array()
	if err != nil {
		return nil, err
	}
	var list []NodeSignature
	for {
		more, err := r.Next(&c)
		if err != nil || !more {
			return list, err
		}
		if len(list) == maxSignatures {
			return nil, errors.New("too many signatures")
		}
		s, err := readSignature(r)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
}

func readSignature(r *cbor.Reader) (s NodeSignature, err error) {
	hasNode := false
	err = eachKey(r, func(key []byte) (known bool, err error) {
		switch string(key) {
		case "timestamp":
			s.Timestamp, err = r.Uint()
		case "signature":
			s.Signature, err = r.Bytes()
		case "identity":
			var raw []byte
			if raw, err = r.Bytes(); err == nil {
				hasNode = true
				s.Node, err = candid.PrincipalFromBytes(raw)
			}
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && (!hasNode || s.Timestamp == 0 || s.Signature == nil) {
		err = errors.New("node signature lacks a field")
	}
	return s, err
}

// Encode returns the response as a replica sends it.
func (q *QueryResponse) Encode() []byte {
	out := cbor.AppendSelfDescribe(make([]byte, 0, 256+len(q.Reply)))
	if q.Reject == nil {
		out = cbor.AppendMap(out, 3)
		out = cbor.AppendText(cbor.AppendText(out, "status"), "replied")
		out = cbor.AppendMap(cbor.AppendText(out, "reply"), 1)
		out = cbor.AppendBytes(cbor.AppendText(out, "arg"), q.Reply)
	} else {
		n := 4
		if q.Reject.ErrorCode != "" {
			n++
		}
		out = cbor.AppendMap(out, n)
		out = cbor.AppendText(cbor.AppendText(out, "status"), "rejected")
		out = appendReject(out, q.Reject)
	}
	out = cbor.AppendArray(cbor.AppendText(out, "signatures"), len(q.Signatures))
	for _, s := range q.Signatures {
		out = cbor.AppendMap(out, 3)
		out = cbor.AppendUint(cbor.AppendText(out, "timestamp"), s.Timestamp)
		out = cbor.AppendBytes(cbor.AppendText(out, "signature"), s.Signature)
		out = cbor.AppendBytes(cbor.AppendText(out, "identity"), s.Node)
	}
	return out
}

// appendReject appends the fields of a reject to a map.
func appendReject(out []byte, e *RejectError) []byte {
	out = cbor.AppendUint(cbor.AppendText(out, "reject_code"), uint64(max(e.Code, 0))) //nolint:gosec // not negative
	out = cbor.AppendText(cbor.AppendText(out, "reject_message"), e.Text)
	if e.ErrorCode != "" {
		out = cbor.AppendText(cbor.AppendText(out, "error_code"), e.ErrorCode)
	}
	return out
}
