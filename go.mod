module github.com/icrelay/icrelay

go 1.26.8

require (
	github.com/BurntSushi/toml v1.6.0
	github.com/aviate-labs/agent-go v0.9.2
	github.com/bytecodealliance/wasmtime-go/v41 v41.0.0
	github.com/consensys/gnark-crypto v0.22.0
	github.com/decred/dcrd/dcrec/secp256k1/v4 v4.4.1
	github.com/google/go-cmp v0.7.0
	github.com/gorilla/websocket v1.5.3
	github.com/spf13/cobra v1.10.2
	github.com/tetratelabs/wazero v1.12.0
	go.uber.org/goleak v1.3.0
	golang.org/x/sync v0.24.0
	pgregory.net/rapid v1.3.0
)

require (
	github.com/0x51-dev/upeg v0.1.5 // indirect
	github.com/bits-and-blooms/bitset v1.25.0 // indirect
	github.com/fxamacker/cbor/v2 v2.10.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/x448/float16 v0.8.4 // indirect
	golang.org/x/sys v0.48.0 // indirect
	google.golang.org/protobuf v1.36.3 // indirect
)
