package standin

import (
	"math/big"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/execution"
)

// amount is a number of cycles.
type amount = *big.Int

func field(label string, t candid.Type) candid.Field { return candid.Field{Label: label, Type: t} }

// encode encodes a reply, whose type and value come from this package.
func encode(t candid.Type, value any) []byte {
	b, err := candid.NewBuilder().Add(t, value).Bytes()
	if err != nil {
		panic("standin: encode a reply: " + err.Error())
	}
	return b
}

// constant is a query that always answers the same.
func constant(t candid.Type, value any) execution.NativeMethod {
	reply := encode(t, value)
	return execution.NativeMethod{Query: true, Run: func(*execution.NativeCall) ([]byte, *execution.Reject) { return reply, nil }}
}

// done is the reply variant { Ok : t }, a subtype of every result with such a tag.
func done(t candid.Type, value any) []byte {
	return encode(candid.VariantOf(field("Ok", t)), candid.Tag{Label: "Ok", Value: value})
}

// failed is the reply variant { Err : variant { tag : t } }.
func failed(tag string, t candid.Type, value any) []byte {
	reason := candid.VariantOf(field(tag, t))
	return encode(candid.VariantOf(field("Err", reason)), candid.Tag{Label: "Err", Value: candid.Tag{Label: tag, Value: value}})
}
