package execution

import (
	"slices"

	"github.com/icrelay/icrelay/candid"
)

func field(label string, t candid.Type) candid.Field { return candid.Field{Label: label, Type: t} }

var (
	visibilityType = candid.VariantOf(
		field("controllers", candid.NullType), field("public", candid.NullType),
		field("allowed_viewers", candid.VecOf(candid.PrincipalType)))
	settingsType = candid.RecordOf(
		field("controllers", candid.VecOf(candid.PrincipalType)),
		field("compute_allocation", candid.NatType),
		field("memory_allocation", candid.NatType),
		field("freezing_threshold", candid.NatType),
		field("reserved_cycles_limit", candid.NatType),
		field("minimum_incoming_canister_call_cycles", candid.NatType),
		field("log_visibility", visibilityType),
		field("snapshot_visibility", visibilityType),
		field("status_visibility", visibilityType),
		field("wasm_memory_limit", candid.NatType),
		field("wasm_memory_threshold", candid.NatType),
		field("log_memory_limit", candid.NatType),
		field("environment_variables", candid.VecOf(candid.RecordOf(field("name", candid.TextType), field("value", candid.TextType)))))
	statusType = candid.RecordOf(
		field("status", candid.VariantOf(field("running", candid.NullType), field("stopping", candid.NullType), field("stopped", candid.NullType))),
		field("ready_for_migration", candid.BoolType),
		field("version", candid.Nat64Type),
		field("settings", settingsType),
		field("module_hash", candid.OptOf(candid.BlobType)),
		field("memory_size", candid.NatType),
		field("memory_metrics", candid.RecordOf(
			field("wasm_memory_size", candid.NatType),
			field("stable_memory_size", candid.NatType),
			field("global_memory_size", candid.NatType),
			field("wasm_binary_size", candid.NatType),
			field("custom_sections_size", candid.NatType),
			field("canister_history_size", candid.NatType),
			field("wasm_chunk_store_size", candid.NatType),
			field("snapshots_size", candid.NatType),
			field("log_memory_store_size", candid.NatType))),
		field("cycles", candid.NatType),
		field("reserved_cycles", candid.NatType),
		field("idle_cycles_burned_per_day", candid.NatType),
		field("query_stats", candid.RecordOf(
			field("num_calls_total", candid.NatType),
			field("num_instructions_total", candid.NatType),
			field("request_payload_bytes_total", candid.NatType),
			field("response_payload_bytes_total", candid.NatType))))
)

func (v visibility) candid() candid.Tag {
	switch {
	case v.public:
		return candid.Tag{Label: "public"}
	case v.listed:
		return candid.Tag{Label: "allowed_viewers", Value: v.viewers}
	}
	return candid.Tag{Label: "controllers"}
}

// mayView tells who may look at a canister's status or logs.
func mayView(c *canister, v visibility, p candid.Principal) bool {
	return p == c.id || slices.Contains(c.controllers, p) || v.allows(p)
}

func (call *managementCall) canisterStatus() ([]byte, *Reject) {
	c, rej := call.found()
	if rej != nil {
		return nil, rej
	}
	if !mayView(c, c.settings.statusVisibility, call.caller) {
		return nil, notController(c, call.caller)
	}
	var hash any
	var wasmMemory, stable, globals, binary, custom int
	if c.code != nil {
		hash = c.code.module.hash
		wasmMemory = int(c.code.wasmBytes.Load())
		stable = int(c.code.stablePages.Load() * wasmPage) // #nosec G115 -- at most 500 GiB
		globals = 8 * c.code.module.Info().Globals
		binary = c.code.module.size
		for name, s := range c.code.module.metadata {
			custom += len(name) + len(s.Content)
		}
	}
	history := len(c.history) * 100
	chunks := len(c.chunks) * maxChunk
	environment := make([]candid.Fields, 0, len(c.settings.environment))
	for _, v := range c.settings.environment {
		environment = append(environment, candid.Fields{"name": v.name, "value": v.value})
	}
	set := c.settings
	return mustEncode(statusType, candid.Fields{
		"status":              c.status.String(),
		"ready_for_migration": c.status == StatusStopped && c.queue.len() == 0,
		"version":             c.version,
		"settings": candid.Fields{
			"controllers":                           c.controllers,
			"compute_allocation":                    set.computeAllocation,
			"memory_allocation":                     set.memoryAllocation,
			"freezing_threshold":                    set.freezingThreshold,
			"reserved_cycles_limit":                 set.reservedLimit,
			"minimum_incoming_canister_call_cycles": set.minimumCallCycles,
			"log_visibility":                        set.logVisibility.candid(),
			"snapshot_visibility":                   set.snapshotVisibility.candid(),
			"status_visibility":                     set.statusVisibility.candid(),
			"wasm_memory_limit":                     set.wasmMemoryLimit,
			"wasm_memory_threshold":                 set.wasmMemoryThreshold,
			"log_memory_limit":                      call.m.logLimit(c),
			"environment_variables":                 environment,
		},
		"module_hash": hash,
		"memory_size": wasmMemory + stable + globals + binary + custom + history + chunks + c.logs.bytes,
		"memory_metrics": candid.Fields{
			"wasm_memory_size":      wasmMemory,
			"stable_memory_size":    stable,
			"global_memory_size":    globals,
			"wasm_binary_size":      binary,
			"custom_sections_size":  custom,
			"canister_history_size": history,
			"wasm_chunk_store_size": chunks,
			"snapshots_size":        0,
			"log_memory_store_size": c.logs.bytes,
		},
		"cycles":                     c.balance.big(),
		"reserved_cycles":            0,
		"idle_cycles_burned_per_day": 0,
		"query_stats": candid.Fields{
			"num_calls_total": 0, "num_instructions_total": 0, "request_payload_bytes_total": 0, "response_payload_bytes_total": 0,
		},
	}), nil
}

// maxHistory is how many changes of a canister are remembered (interface
// specification, "Canister history").
const maxHistory = 20

// change is an entry of a canister's history, as canister_info shows it.
type change struct {
	time    uint64
	version uint64
	origin  candid.Tag
	details candid.Tag
}

func (call *managementCall) change(what string, details any) change {
	by := candid.Tag{Label: "from_user", Value: candid.Fields{"user_id": call.caller}}
	if !call.ingress {
		by = candid.Tag{Label: "from_canister", Value: candid.Fields{"canister_id": call.caller, "canister_version": call.version}}
	}
	return change{time: call.m.now.nanos(), origin: by, details: candid.Tag{Label: what, Value: details}}
}

func (c *canister) record(ch change) {
	ch.version = c.version
	c.changes++
	c.history = append(c.history, ch)
	if len(c.history) > maxHistory {
		c.history = slices.Clone(c.history[len(c.history)-maxHistory:])
	}
}

var infoType = candid.RecordOf(
	field("total_num_changes", candid.Nat64Type),
	field("recent_changes", candid.VecOf(candid.RecordOf(
		field("timestamp_nanos", candid.Nat64Type),
		field("canister_version", candid.Nat64Type),
		field("origin", candid.VariantOf(
			field("from_user", candid.RecordOf(field("user_id", candid.PrincipalType))),
			field("from_canister", candid.RecordOf(field("canister_id", candid.PrincipalType), field("canister_version", candid.OptOf(candid.Nat64Type)))))),
		field("details", candid.VariantOf(
			field("creation", candid.RecordOf(field("controllers", candid.VecOf(candid.PrincipalType)))),
			field("code_uninstall", candid.NullType),
			field("code_deployment", candid.RecordOf(
				field("mode", candid.VariantOf(field("install", candid.NullType), field("reinstall", candid.NullType), field("upgrade", candid.NullType))),
				field("module_hash", candid.BlobType))),
			field("controllers_change", candid.RecordOf(field("controllers", candid.VecOf(candid.PrincipalType)))))),
	))),
	field("module_hash", candid.OptOf(candid.BlobType)),
	field("controllers", candid.VecOf(candid.PrincipalType)))

func (call *managementCall) canisterInfo() ([]byte, *Reject) {
	c, rej := call.found()
	if rej != nil {
		return nil, rej
	}
	changes := []candid.Fields{}
	if v, ok := call.arg.Field("num_requested_changes").Opt(); ok {
		n, ok := v.Uint64()
		if !ok {
			return nil, missing("num_requested_changes")
		}
		from := len(c.history) - int(min(n, maxHistory)) // #nosec G115 -- at most maxHistory
		for _, ch := range c.history[max(from, 0):] {
			changes = append(changes, candid.Fields{
				"timestamp_nanos": ch.time, "canister_version": ch.version, "origin": ch.origin, "details": ch.details,
			})
		}
	}
	var hash any
	if c.code != nil {
		hash = c.code.module.hash
	}
	return mustEncode(infoType, candid.Fields{
		"total_num_changes": c.changes, "recent_changes": changes, "module_hash": hash, "controllers": c.controllers,
	}), nil
}

func (call *managementCall) canisterMetadata() ([]byte, *Reject) {
	c, rej := call.found()
	if rej != nil {
		return nil, rej
	}
	name, ok := call.arg.Field("name").Text()
	if !ok {
		return nil, missing("name")
	}
	if c.code == nil {
		return nil, reject(icWasmModuleNotFound, "The canister %s has no Wasm module and hence no metadata is available.", c.id)
	}
	s, ok := c.code.module.metadata[name]
	if !ok || !s.Public && !slices.Contains(c.controllers, call.caller) {
		return nil, reject(icRejectedMessage, "The canister %s has no metadata section with the name %s.", c.id, name)
	}
	return mustEncode(candid.RecordOf(field("value", candid.BlobType)), candid.Fields{"value": s.Content}), nil
}

func (call *managementCall) fetchLogs() ([]byte, *Reject) {
	c, rej := call.found()
	if rej != nil {
		return nil, rej
	}
	if !mayView(c, c.settings.logVisibility, call.caller) {
		return nil, reject(icRejectedMessage, "Caller %s is not allowed to access canister logs", call.caller)
	}
	wanted, rej := readLogFilter(call.arg.Field("filter"))
	if rej != nil {
		return nil, rej
	}
	records := make([]candid.Fields, 0, len(c.logs.records))
	for _, r := range c.logs.records {
		if !wanted(r) {
			continue
		}
		records = append(records, candid.Fields{"idx": r.index, "timestamp_nanos": r.time, "content": r.content})
	}
	t := candid.RecordOf(field("canister_log_records", candid.VecOf(candid.RecordOf(
		field("idx", candid.Nat64Type), field("timestamp_nanos", candid.Nat64Type), field("content", candid.BlobType)))))
	return mustEncode(t, candid.Fields{"canister_log_records": records}), nil
}

// listCanisters answers with a range for each run of ids.
func (call *managementCall) listCanisters() ([]byte, *Reject) {
	ids := call.m.ids()
	ranges := make([]candid.Fields, 0, len(ids))
	for _, id := range ids {
		ranges = append(ranges, candid.Fields{"start": id, "end": id})
	}
	t := candid.RecordOf(field("canisters", candid.VecOf(candid.RecordOf(field("start", candid.PrincipalType), field("end", candid.PrincipalType)))))
	return mustEncode(t, candid.Fields{"canisters": ranges}), nil
}
