package localnet

import (
	"strings"

	"github.com/icrelay/icrelay/candid/cbor"
	"github.com/icrelay/icrelay/localnet/execution"
)

// rejectText is a reject's text as it may stand in CBOR and in the state tree.
func rejectText(rej *execution.Reject) string {
	return strings.ToValidUTF8(rej.Text, "\uFFFD")
}

func rejectCode(rej *execution.Reject) uint64 {
	return uint64(max(rej.Code, 0)) //nolint:gosec // not negative
}

// errorCode is a reject's implementation-specific code. Replicas always give
// one; IC0406 is theirs for a call that the canister itself rejected.
func errorCode(rej *execution.Reject) string {
	if rej.ErrorCode == "" {
		return "IC0406"
	}
	return rej.ErrorCode
}

// rejectFields is the number of fields that appendReject writes.
const rejectFields = 3

// appendReject writes the fields of a reject into a map (interface
// specification, "Reject codes", "Error codes").
func appendReject(b []byte, rej *execution.Reject) []byte {
	b = cbor.AppendText(b, "reject_code")
	b = cbor.AppendUint(b, rejectCode(rej))
	b = cbor.AppendText(b, "reject_message")
	b = cbor.AppendText(b, rejectText(rej))
	b = cbor.AppendText(b, "error_code")
	return cbor.AppendText(b, errorCode(rej))
}
