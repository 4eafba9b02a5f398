package execution

import (
	"encoding/binary"
	"math/big"
	"math/bits"
)

// cycles is an amount of cycles, an unsigned number of 128 bits.
type cycles struct{ hi, lo uint64 }

func cyclesOf(n uint64) cycles { return cycles{lo: n} }

func (a cycles) isZero() bool { return a.hi == 0 && a.lo == 0 }

func (a cycles) less(b cycles) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func minCycles(a, b cycles) cycles {
	if b.less(a) {
		return b
	}
	return a
}

// add saturates: nobody owns 2^128 cycles honestly.
func (a cycles) add(b cycles) cycles {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, carry := bits.Add64(a.hi, b.hi, carry)
	if carry != 0 {
		return cycles{^uint64(0), ^uint64(0)}
	}
	return cycles{hi, lo}
}

// sub stops at zero.
func (a cycles) sub(b cycles) cycles {
	if a.less(b) {
		return cycles{}
	}
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, _ := bits.Sub64(a.hi, b.hi, borrow)
	return cycles{hi, lo}
}

// bytes is the form in which ic0.*128 functions store amounts: 16 bytes, little-endian.
func (a cycles) bytes() []byte {
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, 16), a.lo)
	return binary.LittleEndian.AppendUint64(b, a.hi)
}

func (a cycles) big() *big.Int {
	n := new(big.Int).SetUint64(a.hi)
	return n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(a.lo))
}

func (a cycles) String() string { return a.big().String() }

// cyclesFromBig reports false for what does not fit.
func cyclesFromBig(n *big.Int) (cycles, bool) {
	if n.Sign() < 0 || n.BitLen() > 128 {
		return cycles{}, false
	}
	lo := new(big.Int).And(n, new(big.Int).SetUint64(^uint64(0)))
	return cycles{hi: new(big.Int).Rsh(n, 64).Uint64(), lo: lo.Uint64()}, true
}

// The prices. They have the shape of the Internet Computer's and the size of a
// 13-node subnet's; nothing else hangs on them. Storage costs nothing.
const (
	priceMessage      = 5_000_000       // executing any message
	pricePerTen       = 10              // ten instructions
	priceIngress      = 1_200_000       // and a byte of it
	priceIngressByte  = 2_000           //
	priceCall         = 260_000         // and a byte of it
	priceCallByte     = 1_000           //
	priceResponse     = 2_500_000_000   // set aside by a call for its response, and given back but for the bytes
	priceCreate       = 500_000_000_000 // creating a canister
	priceHTTPRequest  = 49_140_000      // never spent: there are no outcalls
	priceSignature    = 26_153_846_153  //
	defaultCanister   = 100_000_000_000_000
	maxResponseBytes  = 2 << 20
	maxQueryResponse  = 3 << 20
	maxCallBytes      = 10 << 20
	maxMethodName     = 20_000
	maxCertifiedBytes = 32
)

// priceOf is the cost of a call as ic0.cost_call states it.
func priceOf(bytes uint64) cycles {
	hi, lo := bits.Mul64(bytes, priceCallByte)
	return cycles{hi, lo}.add(cyclesOf(priceCall + priceResponse))
}

func priceOfExecution(instructions uint64) cycles {
	hi, lo := bits.Mul64(instructions/10, pricePerTen)
	return cycles{hi, lo}.add(cyclesOf(priceMessage))
}
