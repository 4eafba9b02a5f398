package execution

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/icrelay/icrelay/localnet/wasm"
)

// sharedEngine is the one engine of the process. It holds no state of any
// machine, only compiled code, so that every machine finds a module compiled
// that another one uses already.
var sharedEngine = sync.OnceValues(func() (wasm.Engine, error) {
	return wasm.New(context.Background(), wasm.Config{Functions: hostFunctions(wasm.I32), Functions64: hostFunctions(wasm.I64)})
})

// Names of the exports that the system calls (interface specification, "Entry points").
const (
	exportInit        = "canister_init"
	exportPreUpgrade  = "canister_pre_upgrade"
	exportPostUpgrade = "canister_post_upgrade"
	exportInspect     = "canister_inspect_message"
	exportHeartbeat   = "canister_heartbeat"
	exportTimer       = "canister_global_timer"
	exportLowMemory   = "canister_on_low_wasm_memory"
	prefixUpdate      = "canister_update "
	prefixQuery       = "canister_query "
	prefixComposite   = "canister_composite_query "

	maxMethods        = 1_000
	maxMethodNames    = 20_000
	maxCustomSections = 16
	maxCustomBytes    = 1 << 20
)

// methodKind is how a public method is exported.
type methodKind int

const (
	noMethod methodKind = iota
	updateMethod
	queryMethod
	compositeMethod
)

// canisterModule is a compiled module that has passed the rules for canisters.
type canisterModule struct {
	wasm.Module
	hash     []byte // of the module as it was sent, compressed or not
	size     int    // likewise
	methods  map[string]methodKind
	system   map[string]bool // which of the exports above exist
	metadata map[string]Section
}

// loadModule decompresses, checks and compiles a module. The caller owes a Release.
func loadModule(ctx context.Context, sent []byte) (*canisterModule, error) {
	binary, err := decompress(sent)
	if err != nil {
		return nil, err
	}
	engine, err := sharedEngine()
	if err != nil {
		return nil, fmt.Errorf("start the Wasm engine: %w", err)
	}
	compiled, err := engine.Compile(ctx, binary)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(sent)
	m := &canisterModule{
		Module:   compiled,
		hash:     hash[:],
		size:     len(sent),
		methods:  map[string]methodKind{},
		system:   map[string]bool{},
		metadata: map[string]Section{},
	}
	if err := errors.Join(m.readExports(), m.readMetadata()); err != nil {
		compiled.Release()
		return nil, err
	}
	return m, nil
}

// decompress undoes gzip (interface specification, "Canister module format").
func decompress(sent []byte) ([]byte, error) {
	if !bytes.HasPrefix(sent, []byte{0x1f, 0x8b, 0x08}) {
		return sent, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(sent))
	if err != nil {
		return nil, &wasm.InvalidError{Reason: "Failed to decode wasm module: " + err.Error()}
	}
	binary, err := io.ReadAll(io.LimitReader(z, wasm.MaxModuleSize+1))
	if err != nil {
		return nil, &wasm.InvalidError{Reason: "Failed to decode wasm module: " + err.Error()}
	}
	return binary, nil // its size is checked by the parser
}

func invalidExports(format string, args ...any) error {
	return &wasm.InvalidError{Reason: "Wasm module has an invalid export section. " + fmt.Sprintf(format, args...)}
}

var systemExports = []string{exportInit, exportPreUpgrade, exportPostUpgrade, exportInspect, exportHeartbeat, exportTimer, exportLowMemory}

// readExports sorts the exports and enforces the rules of the interface
// specification, "WebAssembly module requirements".
func (m *canisterModule) readExports() error {
	names := 0
	for _, e := range m.Info().Exports {
		if !strings.HasPrefix(e.Name, "canister_") || e.Kind != wasm.KindFunc {
			continue
		}
		if len(e.Type.Params)+len(e.Type.Results) > 0 {
			return invalidExports("Expected function '%s' to have type () -> (), found %v.", e.Name, e.Type)
		}
		kind, name := methodOf(e.Name)
		if kind == noMethod {
			if !isSystemExport(e.Name) {
				return invalidExports("Exporting reserved function '%s' with \"canister_\" prefix", e.Name)
			}
			m.system[e.Name] = true
			continue
		}
		if m.methods[name] != noMethod {
			return invalidExports("Duplicate function '%s' exported multiple times with different call types: update, query, or composite_query.", name)
		}
		m.methods[name] = kind
		names += len(name)
	}
	if len(m.methods) > maxMethods {
		return invalidExports("The number of exported functions called `canister_update <name>`, `canister_query <name>`, or `canister_composite_query <name>` exceeds %d.", maxMethods)
	}
	if names > maxMethodNames {
		return invalidExports("The sum of `<name>` lengths in exported functions called `canister_update <name>`, `canister_query <name>`, or `canister_composite_query <name>` exceeds %d.", maxMethodNames)
	}
	return nil
}

func methodOf(export string) (methodKind, string) {
	if name, ok := strings.CutPrefix(export, prefixUpdate); ok {
		return updateMethod, name
	}
	if name, ok := strings.CutPrefix(export, prefixQuery); ok {
		return queryMethod, name
	}
	if name, ok := strings.CutPrefix(export, prefixComposite); ok {
		return compositeMethod, name
	}
	return noMethod, ""
}

func isSystemExport(name string) bool {
	for _, s := range systemExports {
		if s == name {
			return true
		}
	}
	return false
}

// readMetadata keeps the custom sections "icp:public <name>" and "icp:private <name>".
func (m *canisterModule) readMetadata() error {
	bad := func(format string, args ...any) error {
		return &wasm.InvalidError{Reason: "Wasm module has an invalid custom section. " + fmt.Sprintf(format, args...)}
	}
	total := 0
	for _, s := range m.Info().Custom {
		rest, ok := strings.CutPrefix(s.Name, "icp:")
		if !ok {
			continue
		}
		name, public := strings.CutPrefix(rest, "public ")
		if !public {
			if name, ok = strings.CutPrefix(rest, "private "); !ok {
				return bad("Invalid custom section: Custom section '%s' has an unknown visibility", s.Name)
			}
		}
		if _, twice := m.metadata[name]; twice {
			return bad("Invalid custom section: name %s already exists", name)
		}
		m.metadata[name] = Section{Public: public, Content: s.Content}
		total += len(name) + len(s.Content)
	}
	if len(m.metadata) > maxCustomSections {
		return bad("Invalid custom sections: the number of custom sections exceeds %d", maxCustomSections)
	}
	if total > maxCustomBytes {
		return bad("Invalid custom sections: total size of the custom sections exceeds the maximum allowed: size %d bytes, allowed %d bytes", total, maxCustomBytes)
	}
	return nil
}

func (m *canisterModule) entry(kind methodKind, name string) wasm.Entry {
	switch kind {
	case updateMethod:
		return wasm.Entry{Export: prefixUpdate + name}
	case queryMethod:
		return wasm.Entry{Export: prefixQuery + name}
	case compositeMethod:
		return wasm.Entry{Export: prefixComposite + name}
	}
	return wasm.Entry{}
}
