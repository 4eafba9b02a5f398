package execution

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm"
)

const (
	maxChunk  = 1 << 20
	maxChunks = 100 // in one canister's store
)

// readMode reads the field "mode".
func (call *managementCall) readMode(in *installation) *Reject {
	v := call.arg.Field("mode")
	if _, ok := v.Tag("install"); ok {
		in.mode = ModeInstall
		return nil
	}
	if _, ok := v.Tag("reinstall"); ok {
		in.mode = ModeReinstall
		return nil
	}
	options, ok := v.Tag("upgrade")
	if !ok {
		return missing("mode")
	}
	in.mode = ModeUpgrade
	o, ok := options.Opt()
	if !ok {
		return nil
	}
	if f, ok := o.Field("skip_pre_upgrade").Opt(); ok {
		in.skipPreUpgrade, _ = f.Bool()
	}
	if f, ok := o.Field("wasm_memory_persistence").Opt(); ok {
		_, keep := f.Tag("keep")
		in.keepMemory = &keep
	}
	return nil
}

// installCode compiles beside the other messages, then installs between them.
func (call *managementCall) installCode() ([]byte, *Reject) {
	c, rej := call.controlled()
	if rej != nil {
		return nil, rej
	}
	module, ok := call.arg.Field("wasm_module").Blob()
	if !ok {
		return nil, missing("wasm_module")
	}
	return nil, call.installModule(c, module)
}

func (call *managementCall) installModule(c *canister, sent []byte) *Reject {
	m := call.m
	in := installation{id: c.id, sender: call.caller}
	if rej := call.readMode(&in); rej != nil {
		return rej
	}
	arg, ok := call.arg.Field("arg").Blob()
	if !ok {
		return missing("arg")
	}
	in.arg = arg
	m.helper.Add(1)
	go func() {
		defer m.helper.Done()
		module, err := loadModule(m.ctx, sent)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.closed {
			if err == nil {
				module.Release()
			}
			return
		}
		m.commands = append(m.commands, func() {
			if err != nil {
				call.respond(nil, failure(in.id, err, 0))
				return
			}
			in.module = module
			call.finishInstall(in)
		})
		m.signal()
	}()
	return nil
}

// finishInstall runs with the module compiled. The canister may have changed meanwhile.
func (call *managementCall) finishInstall(in installation) {
	c, rej := call.controlled()
	if rej != nil {
		in.module.Release()
		call.respond(nil, rej)
		return
	}
	if rej := call.m.install(in); rej != nil {
		call.respond(nil, rej)
		return
	}
	c.record(call.change("code_deployment", candid.Fields{"mode": in.mode.String(), "module_hash": in.module.hash}))
	call.respond(candidEmpty, nil)
}

func (call *managementCall) installChunked() ([]byte, *Reject) {
	c, rej := call.controlled()
	if rej != nil {
		return nil, rej
	}
	store := c
	if v, ok := call.arg.Field("store_canister").Opt(); ok {
		id, ok := v.Principal()
		if !ok {
			return nil, missing("store_canister")
		}
		if store = call.m.canisters[id]; store == nil {
			return nil, canisterNotFound(id)
		}
		if call.caller != store.id && !slices.Contains(store.controllers, call.caller) {
			return nil, notController(store, call.caller)
		}
	}
	hashes, ok := call.arg.Field("chunk_hashes_list").Vec()
	want, ok2 := call.arg.Field("wasm_module_hash").Blob()
	if !ok || !ok2 {
		return nil, missing("chunk_hashes_list")
	}
	var module []byte
	for _, h := range hashes {
		raw, ok := h.Field("hash").Blob()
		if !ok { // an older form of the argument: a vec of blobs
			if raw, ok = h.Blob(); !ok {
				return nil, missing("chunk_hashes_list")
			}
		}
		var chunk []byte
		if len(raw) == sha256.Size {
			chunk = store.chunks[[32]byte(raw)]
		}
		if chunk == nil {
			return nil, reject(icContractViolation, "Error from Wasm chunk store: Chunk hash %x was not found.", raw)
		}
		if module = append(module, chunk...); len(module) > wasm.MaxModuleSize {
			return nil, reject(icContractViolation, "Error from Wasm chunk store: the chunks make up a module of more than %d bytes.", wasm.MaxModuleSize)
		}
	}
	if got := sha256.Sum256(module); !bytes.Equal(got[:], want) {
		return nil, reject(icContractViolation, "Error from Wasm chunk store: Module hash %x does not match given hash %x.", got, want)
	}
	return nil, call.installModule(c, module)
}

var chunkHashType = candid.RecordOf(candid.Field{Label: "hash", Type: candid.BlobType})

func (call *managementCall) uploadChunk() ([]byte, *Reject) {
	c, rej := call.controlled()
	if rej != nil {
		return nil, rej
	}
	chunk, ok := call.arg.Field("chunk").Blob()
	if !ok {
		return nil, missing("chunk")
	}
	if len(chunk) > maxChunk {
		return nil, reject(icContractViolation, "Error from Wasm chunk store: Wasm chunk size %d exceeds the maximum chunk size of %d.", len(chunk), maxChunk)
	}
	hash := sha256.Sum256(chunk)
	if c.chunks[hash] == nil && len(c.chunks) >= maxChunks {
		return nil, reject(icContractViolation, "Error from Wasm chunk store: Wasm chunk store has already reached maximum capacity of %d bytes or the maximum number of entries, %d", maxChunks*maxChunk, maxChunks)
	}
	if c.chunks == nil {
		c.chunks = make(map[[32]byte][]byte)
	}
	c.chunks[hash] = append([]byte{}, chunk...)
	return mustEncode(chunkHashType, candid.Fields{"hash": hash[:]}), nil
}

func (call *managementCall) clearChunks() ([]byte, *Reject) {
	c, rej := call.controlled()
	if rej != nil {
		return nil, rej
	}
	c.chunks = nil
	return candidEmpty, nil
}

func (call *managementCall) storedChunks() ([]byte, *Reject) {
	c, rej := call.controlled()
	if rej != nil {
		return nil, rej
	}
	hashes := make([][]byte, 0, len(c.chunks))
	for h := range c.chunks {
		hashes = append(hashes, h[:])
	}
	slices.SortFunc(hashes, bytes.Compare)
	out := make([]candid.Fields, 0, len(hashes))
	for _, h := range hashes {
		out = append(out, candid.Fields{"hash": h})
	}
	return mustEncode(candid.VecOf(chunkHashType), out), nil
}
