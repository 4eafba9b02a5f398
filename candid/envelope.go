package candid

import (
	"errors"
	"fmt"

	"github.com/icrelay/icrelay/candid/cbor"
)

// Request types of an envelope.
const (
	RequestCall      = "call"
	RequestQuery     = "query"
	RequestReadState = "read_state"
)

// Limits of the interface specification ("Authentication", "Request: Read
// state") and of the replica's implementation where the specification is silent.
const (
	MaxDelegations       = 20
	maxDelegationTargets = 1000
	maxPaths             = 1000
	maxPathLabels        = 127
	maxNonceLength       = 32
	maxMethodLength      = 20_000 // the longest method name that a canister may export
	maxPublicKeyLength   = 4096
	maxExtraFields       = 16
)

// Delegation lets the owner of one key sign for the owner of another.
type Delegation struct {
	Pubkey      []byte
	Expiration  uint64      // nanoseconds since 1970
	Targets     []Principal // nil: any canister
	Permissions string      // "": not given; "all"; "queries"
	Signature   []byte

	extra []extraField
}

// Envelope is a request to the Internet Computer together with its signature
// (interface specification, "Authentication").
type Envelope struct {
	RequestType   string // RequestCall, RequestQuery or RequestReadState
	Canister      Principal
	Method        string
	Arg           []byte
	Sender        Principal
	IngressExpiry uint64 // nanoseconds since 1970
	Nonce         []byte // nil: none
	Paths         [][][]byte

	SenderPubkey, SenderSig []byte
	Delegations             []Delegation

	extra []extraField
}

// extraField is a field of the content, or of a delegation, that this package
// does not know: sender_info, and what later versions of the specification add.
// It takes part in the hash that is signed, so it is kept.
type extraField struct {
	key  string
	raw  []byte
	hash [32]byte
}

// HasExtraFields reports whether the content has fields besides those of Envelope.
func (e *Envelope) HasExtraFields() bool { return len(e.extra) > 0 }

// DecodeEnvelope reads a request. The self-describe tag may be missing. It
// refuses duplicate keys, wrong types, fields that do not belong to the request
// type, bytes after the end and everything beyond the specification's limits.
// Whether the signature holds is another question: see ic.VerifyEnvelope.
// Blobs alias b.
func DecodeEnvelope(b []byte) (*Envelope, error) {
	e := new(Envelope)
	hasContent := false
	err := fieldMap(b, "envelope", func(r *cbor.Reader, key string) (bool, error) {
		var err error
		switch key {
		case "content":
			hasContent = true
			err = e.decodeContent(r)
		case "sender_pubkey":
			if !r.Null() {
				e.SenderPubkey, err = nonNil(r.BytesMax(maxPublicKeyLength))
			}
		case "sender_sig":
			if !r.Null() {
				e.SenderSig, err = nonNil(r.Bytes())
			}
		case "sender_delegation":
			if !r.Null() {
				e.Delegations, err = decodeDelegations(r)
			}
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil && !hasContent {
		err = lacks("envelope", "content")
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// nonNil keeps an empty string apart from an absent one.
func nonNil(b []byte, err error) ([]byte, error) {
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// Bits for the fields of the content that were present.
const (
	hasRequestType = 1 << iota
	hasCanister
	hasMethod
	hasArg
	hasSender
	hasExpiry
	hasNonce
	hasPaths
)

var contentFields = []string{
	"request_type", "canister_id", "method_name", "arg", "sender", "ingress_expiry", "nonce", "paths",
}

func (e *Envelope) decodeContent(r *cbor.Reader) error {
	seen := 0
	err := readMap(r, func(r *cbor.Reader, key string) (bool, error) {
		var err error
		switch key {
		case "request_type":
			seen |= hasRequestType
			e.RequestType, err = r.Text()
		case "canister_id":
			seen |= hasCanister
			e.Canister, err = readPrincipal(r)
		case "method_name":
			seen |= hasMethod
			e.Method, err = r.Text()
			if err == nil && len(e.Method) > maxMethodLength {
				err = fmt.Errorf("name of %d bytes", len(e.Method))
			}
		case "arg":
			seen |= hasArg
			e.Arg, err = nonNil(r.Bytes())
		case "sender":
			seen |= hasSender
			e.Sender, err = readPrincipal(r)
		case "ingress_expiry":
			seen |= hasExpiry
			e.IngressExpiry, err = r.Uint()
		case "nonce":
			if !r.Null() {
				seen |= hasNonce
				e.Nonce, err = nonNil(r.BytesMax(maxNonceLength))
			}
		case "paths":
			seen |= hasPaths
			e.Paths, err = decodePaths(r)
		default:
			return true, readExtra(r, key, &e.extra)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	return e.checkContent(seen)
}

func (e *Envelope) checkContent(seen int) error {
	if seen&hasRequestType == 0 {
		return fmt.Errorf("%w: request_type", errMissing)
	}
	required, forbidden := hasSender|hasExpiry, 0
	switch e.RequestType {
	case RequestCall, RequestQuery:
		required |= hasCanister | hasMethod | hasArg
		forbidden = hasPaths
	case RequestReadState:
		required |= hasPaths
		forbidden = hasCanister | hasMethod | hasArg
	default:
		return fmt.Errorf("unknown request_type %q", clip(e.RequestType))
	}
	for i, name := range contentFields {
		bit := 1 << i
		if required&^seen&bit != 0 {
			return fmt.Errorf("%w: %s", errMissing, name)
		}
		if forbidden&seen&bit != 0 {
			return fmt.Errorf("a %s request has no field %s", e.RequestType, name)
		}
	}
	return nil
}

func readExtra(r *cbor.Reader, key string, extra *[]extraField) error {
	if r.Null() {
		return nil // an absent optional field
	}
	if len(*extra) == maxExtraFields {
		return errors.New("too many unknown fields")
	}
	raw, err := r.Raw()
	if err != nil {
		return err
	}
	hash, err := hashCBOR(raw)
	if err != nil {
		return err
	}
	*extra = append(*extra, extraField{key, raw, hash})
	return nil
}

func decodePaths(r *cbor.Reader) ([][][]byte, error) {
	c, err := r.Array()
	if err != nil {
		return nil, err
	}
	paths := make([][][]byte, 0, min(c.Len(), 16))
	for {
		more, err := r.Next(&c)
		if err != nil || !more {
			return paths, err
		}
		if len(paths) == maxPaths {
			return nil, fmt.Errorf("more than %d paths", maxPaths)
		}
		labels, err := r.Array()
		if err != nil {
			return nil, err
		}
		path := make([][]byte, 0, min(labels.Len(), 8))
		for {
			more, err := r.Next(&labels)
			if err != nil {
				return nil, err
			}
			if !more {
				break
			}
			if len(path) == maxPathLabels {
				return nil, fmt.Errorf("a path of more than %d labels", maxPathLabels)
			}
			label, err := nonNil(r.Bytes())
			if err != nil {
				return nil, err
			}
			path = append(path, label)
		}
		paths = append(paths, path)
	}
}

func decodeDelegations(r *cbor.Reader) ([]Delegation, error) {
	c, err := r.Array()
	if err != nil {
		return nil, err
	}
	list := make([]Delegation, 0, min(c.Len(), MaxDelegations))
	for {
		more, err := r.Next(&c)
		if err != nil || !more {
			return list, err
		}
		if len(list) == MaxDelegations {
			return nil, fmt.Errorf("more than %d delegations", MaxDelegations)
		}
		var d Delegation
		if err := d.decodeSigned(r); err != nil {
			return nil, fmt.Errorf("%d: %w", len(list), err)
		}
		list = append(list, d)
	}
}

func (d *Delegation) decodeSigned(r *cbor.Reader) error {
	seen := 0
	err := readMap(r, func(r *cbor.Reader, key string) (bool, error) {
		var err error
		switch key {
		case "delegation":
			seen |= 1
			err = d.decode(r)
		case "signature":
			seen |= 2
			d.Signature, err = nonNil(r.Bytes())
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil {
		err = missing("signed delegation", seen, 3, "delegation", "signature")
	}
	return err
}

func (d *Delegation) decode(r *cbor.Reader) error {
	seen := 0
	err := readMap(r, func(r *cbor.Reader, key string) (bool, error) {
		var err error
		switch key {
		case "pubkey":
			seen |= 1
			d.Pubkey, err = nonNil(r.BytesMax(maxPublicKeyLength))
		case "expiration":
			seen |= 2
			d.Expiration, err = r.Uint()
		case "targets":
			if !r.Null() {
				d.Targets, err = decodeTargets(r)
			}
		case "permissions":
			if !r.Null() {
				d.Permissions, err = r.Text()
				if err == nil && d.Permissions != "all" && d.Permissions != "queries" {
					err = fmt.Errorf("unknown value %q", clip(d.Permissions))
				}
			}
		default:
			return true, readExtra(r, key, &d.extra)
		}
		return true, err
	})
	if err == nil {
		err = missing("delegation", seen, 3, "pubkey", "expiration")
	}
	return err
}

func decodeTargets(r *cbor.Reader) ([]Principal, error) {
	c, err := r.Array()
	if err != nil {
		return nil, err
	}
	targets := make([]Principal, 0, min(c.Len(), 16))
	for {
		more, err := r.Next(&c)
		if err != nil || !more {
			return targets, err
		}
		if len(targets) == maxDelegationTargets {
			return nil, fmt.Errorf("more than %d targets", maxDelegationTargets)
		}
		p, err := readPrincipal(r)
		if err != nil {
			return nil, err
		}
		targets = append(targets, p)
	}
}

// Encode returns the request as a replica expects it: self-described, fields in
// a fixed order, absent ones left out.
func (e *Envelope) Encode() []byte {
	out := make([]byte, 0, 256+len(e.Arg)+len(e.SenderPubkey)+len(e.SenderSig))
	n := 1
	if e.SenderPubkey != nil {
		n++
	}
	if e.SenderSig != nil {
		n++
	}
	if e.Delegations != nil {
		n++
	}
	out = cbor.AppendMap(cbor.AppendSelfDescribe(out), n)
	out = e.appendContent(cbor.AppendText(out, "content"))
	if e.SenderPubkey != nil {
		out = cbor.AppendBytes(cbor.AppendText(out, "sender_pubkey"), e.SenderPubkey)
	}
	if e.SenderSig != nil {
		out = cbor.AppendBytes(cbor.AppendText(out, "sender_sig"), e.SenderSig)
	}
	if e.Delegations != nil {
		out = cbor.AppendArray(cbor.AppendText(out, "sender_delegation"), len(e.Delegations))
		for i := range e.Delegations {
			out = e.Delegations[i].appendSigned(out)
		}
	}
	return out
}

func (e *Envelope) appendContent(out []byte) []byte {
	readState := e.RequestType == RequestReadState
	n := 3 + len(e.extra)
	if readState {
		n++
	} else {
		n += 3
	}
	if e.Nonce != nil {
		n++
	}
	out = cbor.AppendMap(out, n)
	out = cbor.AppendText(cbor.AppendText(out, "request_type"), e.RequestType)
	if readState {
		out = cbor.AppendArray(cbor.AppendText(out, "paths"), len(e.Paths))
		for _, path := range e.Paths {
			out = cbor.AppendArray(out, len(path))
			for _, label := range path {
				out = cbor.AppendBytes(out, label)
			}
		}
	} else {
		out = cbor.AppendBytes(cbor.AppendText(out, "canister_id"), e.Canister)
		out = cbor.AppendText(cbor.AppendText(out, "method_name"), e.Method)
		out = cbor.AppendBytes(cbor.AppendText(out, "arg"), e.Arg)
	}
	out = cbor.AppendBytes(cbor.AppendText(out, "sender"), e.Sender)
	out = cbor.AppendUint(cbor.AppendText(out, "ingress_expiry"), e.IngressExpiry)
	if e.Nonce != nil {
		out = cbor.AppendBytes(cbor.AppendText(out, "nonce"), e.Nonce)
	}
	for _, x := range e.extra {
		out = append(cbor.AppendText(out, x.key), x.raw...)
	}
	return out
}

func (d *Delegation) appendSigned(out []byte) []byte {
	out = cbor.AppendMap(out, 2)
	n := 2 + len(d.extra)
	if d.Targets != nil {
		n++
	}
	if d.Permissions != "" {
		n++
	}
	out = cbor.AppendMap(cbor.AppendText(out, "delegation"), n)
	out = cbor.AppendBytes(cbor.AppendText(out, "pubkey"), d.Pubkey)
	out = cbor.AppendUint(cbor.AppendText(out, "expiration"), d.Expiration)
	if d.Targets != nil {
		out = cbor.AppendArray(cbor.AppendText(out, "targets"), len(d.Targets))
		for _, t := range d.Targets {
			out = cbor.AppendBytes(out, t)
		}
	}
	if d.Permissions != "" {
		out = cbor.AppendText(cbor.AppendText(out, "permissions"), d.Permissions)
	}
	for _, x := range d.extra {
		out = append(cbor.AppendText(out, x.key), x.raw...)
	}
	return cbor.AppendBytes(cbor.AppendText(out, "signature"), d.Signature)
}
