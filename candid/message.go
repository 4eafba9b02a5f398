package candid

import "strconv"

// ClientKey names one connection of one client.
type ClientKey struct {
	Principal Principal
	Nonce     uint64
}

// String is "<principal>_<nonce>", the form the CDK uses in its error texts.
func (k ClientKey) String() string {
	return k.Principal.String() + "_" + strconv.FormatUint(k.Nonce, 10)
}

// WebsocketMessage is one message of a client to a canister or back.
type WebsocketMessage struct {
	ClientKey        ClientKey
	SequenceNum      uint64 // from 1, without gaps, in each direction
	Timestamp        uint64 // nanoseconds since 1970
	IsServiceMessage bool
	Content          []byte // Candid of one application value or of a service message
}

// OutputMessage is one message that a canister has certified and queued for a client.
type OutputMessage struct {
	ClientKey ClientKey
	Key       string // "<gateway principal>_<nonce, 20 digits>", the label in the witness
	Content   []byte // CBOR of a WebsocketMessage
}

// OutputMessages is a batch of messages with the certificate and the witness that cover them.
type OutputMessages struct {
	Messages   []OutputMessage
	Cert, Tree []byte
	EndOfQueue bool // a canister that does not say counts as having said true
}

// ServiceKind tells the service messages apart.
type ServiceKind int

// The service messages of the protocol.
const (
	OpenMessage ServiceKind = iota + 1
	AckMessage
	KeepAliveMessage
	CloseMessage
)

// String is the wire name of the kind.
func (k ServiceKind) String() string {
	if k >= OpenMessage && k <= CloseMessage {
		return serviceTags[k-1]
	}
	return "ServiceKind(" + strconv.Itoa(int(k)) + ")"
}

// CloseReason says why a canister closes a connection.
type CloseReason int

// The reasons of the protocol.
const (
	WrongSequenceNumber CloseReason = iota + 1
	InvalidServiceMessage
	KeepAliveTimeout
	ClosedByApplication
)

// String is the wire name of the reason.
func (r CloseReason) String() string {
	if r >= WrongSequenceNumber && r <= ClosedByApplication {
		return closeReasons[r-1]
	}
	return "CloseReason(" + strconv.Itoa(int(r)) + ")"
}

var (
	serviceTags  = [...]string{"OpenMessage", "AckMessage", "KeepAliveMessage", "CloseMessage"}
	closeReasons = [...]string{"WrongSequenceNumber", "InvalidServiceMessage", "KeepAliveTimeout", "ClosedByApplication"}
)

// ServiceMessage is a message between the canister's library and the client's library.
type ServiceMessage struct {
	Kind         ServiceKind
	ClientKey    ClientKey   // OpenMessage
	LastIncoming uint64      // AckMessage, KeepAliveMessage
	Reason       CloseReason // CloseMessage; 0 for a reason that is not known here
}
