package candid

// Hash is the hash of a field or tag name that stands for it in Candid bytes
// (Candid specification, "Shorthand: Symbolic Field Ids").
func Hash(label string) uint32 {
	var h uint32
	for i := range len(label) {
		h = h*223 + uint32(label[i])
	}
	return h
}

// Hashes of the protocol's wire names, written out so that they can be switch
// cases. A test recomputes them.
const (
	hashClientKey        = 1025972843
	hashClientPrincipal  = 1384677498
	hashClientNonce      = 3921324219
	hashGatewayPrincipal = 647083891
	hashMsg              = 5446209
	hashSequenceNum      = 352253448
	hashTimestamp        = 2781795542
	hashIsServiceMessage = 2815490792
	hashContent          = 427265337
	hashNonce            = 2680573167
	hashOk               = 17724
	hashErr              = 3456837
	hashMessages         = 889051340
	hashCert             = 1102915300
	hashTree             = 1292081502
	hashIsEndOfQueue     = 3733147138
	hashKey              = 5343647
	hashLastIncoming     = 2804597848
	hashReason           = 4238151620

	hashOpenMessage      = 428171005
	hashAckMessage       = 3049003934
	hashKeepAliveMessage = 2525358527
	hashCloseMessage     = 2918480143

	hashWrongSequenceNumber   = 2743637463
	hashInvalidServiceMessage = 1409524553
	hashKeepAliveTimeout      = 3580612249
	hashClosedByApplication   = 1198956877
)
