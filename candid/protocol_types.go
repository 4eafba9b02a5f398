package candid

// Types of the four methods (PROTOCOL: ic-websocket-cdk ws_types.did) and the
// headers of their messages. The value encoders write fields in the order of
// their hashes, which is the order Candid prescribes.
var (
	clientKeyType = RecordOf(
		Field{"client_principal", PrincipalType},
		Field{"client_nonce", Nat64Type})
	websocketMessageType = RecordOf(
		Field{"client_key", clientKeyType},
		Field{"sequence_num", Nat64Type},
		Field{"timestamp", Nat64Type},
		Field{"is_service_message", BoolType},
		Field{"content", BlobType})
	outputMessageType = RecordOf(
		Field{"client_key", clientKeyType},
		Field{"key", TextType},
		Field{"content", BlobType})
	outputMessagesType = RecordOf(
		Field{"messages", VecOf(outputMessageType)},
		Field{"cert", BlobType},
		Field{"tree", BlobType},
		Field{"is_end_of_queue", BoolType})
	lastIncomingType = RecordOf(Field{"last_incoming_sequence_num", Nat64Type})
	closeReasonType  = VariantOf(
		Field{"WrongSequenceNumber", NullType},
		Field{"InvalidServiceMessage", NullType},
		Field{"KeepAliveTimeout", NullType},
		Field{"ClosedByApplication", NullType})
	serviceMessageType = VariantOf(
		Field{"OpenMessage", RecordOf(Field{"client_key", clientKeyType})},
		Field{"AckMessage", lastIncomingType},
		Field{"KeepAliveMessage", lastIncomingType},
		Field{"CloseMessage", RecordOf(Field{"reason", closeReasonType})})
)

var (
	openArgsHeader = messageHeader(RecordOf(
		Field{"client_nonce", Nat64Type},
		Field{"gateway_principal", PrincipalType}))
	closeArgsHeader = messageHeader(RecordOf(Field{"client_key", clientKeyType}))
	// The second argument only publishes the application's type; the stock client sends opt null.
	messageArgsHeader     = messageHeader(RecordOf(Field{"msg", websocketMessageType}), OptOf(NullType))
	getMessagesArgsHeader = messageHeader(RecordOf(Field{"nonce", Nat64Type}))
	resultHeader          = messageHeader(VariantOf(Field{"Ok", NullType}, Field{"Err", TextType}))
	outputMessagesHeader  = messageHeader(VariantOf(Field{"Ok", outputMessagesType}, Field{"Err", TextType}))
	serviceMessageHeader  = messageHeader(serviceMessageType)
	natHeader             = messageHeader(NatType)
	textHeader            = messageHeader(TextType)
)

// Ok stands before Err in the order of hashes.
const (
	okTag  = 0
	errTag = 1
)

// knownLabels gives names to hashes in texts for people.
var knownLabels = func() map[uint32]string {
	labels := make(map[uint32]string)
	for _, l := range []string{
		"client_key", "client_principal", "client_nonce", "gateway_principal", "msg", "sequence_num", "timestamp",
		"is_service_message", "content", "nonce", "Ok", "Err", "messages", "cert", "tree", "is_end_of_queue", "key",
		"items", "next",
		"OpenMessage", "AckMessage", "KeepAliveMessage", "CloseMessage", "last_incoming_sequence_num", "reason",
		"WrongSequenceNumber", "InvalidServiceMessage", "KeepAliveTimeout", "ClosedByApplication",
	} {
		labels[Hash(l)] = l
	}
	return labels
}()
