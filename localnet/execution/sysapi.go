package execution

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm"
)

// systemFunction is one function of the System API (interface specification,
// "Overview of imports"). In params and results, I stands for the width of an
// address, i for i32 and l for i64.
type systemFunction struct {
	name            string
	params, results string
	modes           mode
	call            func(e *env, s []uint64) error
}

// systemAPI lists all functions that canisters can import, by subject in files of their own.
func systemAPI() []systemFunction {
	return slices.Concat(messageAPI, callAPI, cyclesAPI, stableAPI, canisterAPI, costAPI)
}

// hostFunctions is the System API for canisters whose addresses are of the given type.
func hostFunctions(address wasm.ValueType) []wasm.HostFunction {
	fs := systemAPI()
	out := make([]wasm.HostFunction, 0, len(fs))
	for _, f := range fs {
		out = append(out, f.host(address))
	}
	return out
}

func (f systemFunction) host(address wasm.ValueType) wasm.HostFunction {
	results := valueTypes(f.results, address)
	narrowResult := len(results) > 0 && results[0] == wasm.I32
	call, modes, name, price := f.call, f.modes, f.name, f.instructions()
	return wasm.HostFunction{
		Module: "ic0",
		Name:   f.name,
		Type:   wasm.FuncType{Params: valueTypes(f.params, address), Results: results},
		Call: func(c *wasm.Call, s []uint64) error {
			e := c.Env.(*env)
			if e.mode&modes == 0 {
				return &violation{
					text: fmt.Sprintf("%q cannot be executed in %s mode", "ic0_"+name, e.mode),
					help: "Check the ICP documentation to make sure APIs are being called in the correct message types. See documentation: " +
						docExecutionErrors + "calling-a-system-api-from-the-wrong-mode",
				}
			}
			c.Charge(price)
			e.call = c
			if err := call(e, s); err != nil {
				return err
			}
			if narrowResult {
				s[0] &= 0xffffffff
			}
			return nil
		},
	}
}

// instructions is what calling the function counts as, beside those for each byte
// that it copies. The numbers are the Internet Computer's (dfinity/ic,
// rs/embedders/src/wasmtime_embedder/system_api_complexity.rs).
func (f systemFunction) instructions() uint64 {
	switch f.name {
	case "call_perform":
		return 5000
	case "call_new":
		return 1500
	case "is_controller":
		return 1000
	case "performance_counter":
		return 200
	case "debug_print":
		return 100
	case "stable_size", "stable_read", "stable_write", "stable64_size", "stable64_read", "stable64_write":
		return 20
	}
	return 500
}

// transmission is the number of instructions for each byte that leaves the
// canister, in a call or a reply; other bytes count one (ibidem, linker.rs).
const transmission = 50

func valueTypes(letters string, address wasm.ValueType) []wasm.ValueType {
	out := make([]wasm.ValueType, 0, len(letters))
	for _, l := range letters {
		switch l {
		case 'l':
			out = append(out, wasm.I64)
		case 'I':
			out = append(out, address)
		default:
			out = append(out, wasm.I32)
		}
	}
	return out
}

// sizeAndCopy are the two functions by which a canister reads a blob
// (interface specification, "Blob-typed arguments and results").
func sizeAndCopy(name string, modes mode, get func(e *env) ([]byte, error)) []systemFunction {
	return []systemFunction{
		{name + "_size", "", "I", modes, func(e *env, s []uint64) error {
			b, err := get(e)
			s[0] = uint64(len(b))
			return err
		}},
		{name + "_copy", "III", "", modes, func(e *env, s []uint64) error {
			b, err := get(e)
			if err != nil {
				return err
			}
			return e.copyOut(name+"_copy", b, s[0], s[1], s[2])
		}},
	}
}

func blob(get func(e *env) []byte) func(e *env) ([]byte, error) {
	return func(e *env) ([]byte, error) { return get(e), nil }
}

// messageAPI: the message, its caller and the response.
var messageAPI = slices.Concat(
	sizeAndCopy("msg_arg_data", modeInit|modeUpdate|modeReplicatedQuery|modeQuery|modeComposite|modeReply|modeCompositeReply|modeInspect,
		blob(func(e *env) []byte { return e.arg })),
	sizeAndCopy("msg_caller", modeNoStart, blob(func(e *env) []byte { return e.caller.Bytes() })),
	// Callers authenticated by canister signatures are not told apart here: both are always empty.
	sizeAndCopy("msg_caller_info_data", modeCallerInfo, blob(func(*env) []byte { return nil })),
	sizeAndCopy("msg_caller_info_signer", modeCallerInfo, blob(func(*env) []byte { return nil })),
	sizeAndCopy("msg_method_name", modeInspect, blob(func(e *env) []byte { return []byte(e.method) })),
	sizeAndCopy("msg_reject_msg", modeReject|modeCompositeReject, func(e *env) ([]byte, error) {
		if e.rejectCode == 0 {
			return nil, violated("ic0_msg_reject_msg: there is no reject message")
		}
		return []byte(e.rejectText), nil
	}),
	[]systemFunction{
		{"msg_reject_code", "", "i", modeCallbacks | modeCompositeReply | modeCompositeReject | modeCleanup, func(e *env, s []uint64) error {
			s[0] = uint64(e.rejectCode) // #nosec G115 -- 0 to 6
			return nil
		}},
		{"msg_deadline", "", "l", modeUpdate | modeReplicatedQuery | modeQuery | modeComposites | modeCallbacks, func(e *env, s []uint64) error {
			s[0] = e.deadline
			return nil
		}},
		{"msg_reply_data_append", "II", "", modeRespond, func(e *env, s []uint64) error {
			if err := e.checkRespond("msg_reply_data_append"); err != nil {
				return err
			}
			b, err := e.sentAt("msg_reply_data_append", s[0], s[1])
			if err != nil {
				return err
			}
			if n := len(e.reply) + len(b); n > e.maxReply {
				return violated("ic0.msg_reply_data_append: application payload size (%d) cannot be larger than %d", n, e.maxReply)
			}
			e.reply = append(e.reply, b...)
			return nil
		}},
		{"msg_reply", "", "", modeRespond, func(e *env, _ []uint64) error {
			if err := e.checkRespond("msg_reply"); err != nil {
				return err
			}
			e.respond(&response{reply: e.reply})
			return nil
		}},
		{"msg_reject", "II", "", modeRespond, func(e *env, s []uint64) error {
			if err := e.checkRespond("msg_reject"); err != nil {
				return err
			}
			b, err := e.sentAt("msg_reject", s[0], s[1])
			if err != nil {
				return err
			}
			if len(b) > e.maxReply {
				return violated("ic0.msg_reject: application payload size (%d) cannot be larger than %d", len(b), e.maxReply)
			}
			if !utf8.Valid(b) {
				return violated("ic0.msg_reject: invalid UTF-8 string provided")
			}
			e.respond(&response{reject: reject(icRejectedMessage, "%s", b)})
			return nil
		}},
		{"accept_message", "", "", modeInspect, func(e *env, _ []uint64) error {
			if e.admitted {
				return violated("ic0.accept_message: the function was already called.")
			}
			e.admitted = true
			return nil
		}},
	},
)

const modeCallerInfo = modeUpdate | modeReplicatedQuery | modeQuery | modeComposites | modeCallbacks | modeCleanup | modeCompositeClean | modeInspect

func (e *env) checkRespond(name string) error {
	if !e.mayRespond || e.response != nil {
		return violated("ic0.%s: the call is already replied", name)
	}
	return nil
}

// respond keeps the response; cycles not accepted by now go back with it.
func (e *env) respond(r *response) {
	if r.reply == nil && r.reject == nil {
		r.reply = []byte{}
	}
	e.response, e.reply = r, nil
}

// principalAt reads a principal from the canister's memory.
func (e *env) principalAt(name string, src, size uint64) (candid.Principal, error) {
	b, err := e.bytesAt(name, src, size)
	if err != nil {
		return "", err
	}
	p, err := candid.PrincipalFromBytes(b)
	if err != nil {
		return "", violated("provided invalid principal id")
	}
	return p, nil
}

// canisterAPI: the canister itself, time, certified data, and help for developers.
var canisterAPI = slices.Concat(
	sizeAndCopy("canister_self", modeNoStart, blob(func(e *env) []byte { return e.self.Bytes() })),
	sizeAndCopy("subnet_self", modeNoStart, blob(func(e *env) []byte { return e.subnet.Bytes() })),
	sizeAndCopy("root_key", modeInit|modePreUpgrade|modeUpdate|modeReplicatedQuery|modeCallbacks|modeCleanup|modeTask,
		blob(func(e *env) []byte { return e.rootKey })),
	sizeAndCopy("data_certificate", modeQuery|modeComposite, func(e *env) ([]byte, error) {
		if e.certificate == nil {
			return nil, violated("ic0_data_certificate: there is no certificate")
		}
		return e.dataCertificate()
	}),
	[]systemFunction{
		{"data_certificate_present", "", "i", modeNoStart, func(e *env, s []uint64) error {
			s[0] = 0
			if e.certificate != nil {
				s[0] = 1
			}
			return nil
		}},
		{"certified_data_set", "II", "", modeInit | modePreUpgrade | modeUpdate | modeCallbacks | modeTask, func(e *env, s []uint64) error {
			b, err := e.bytesAt("certified_data_set", s[0], s[1])
			if err != nil {
				return err
			}
			if len(b) > maxCertifiedBytes {
				return violated("ic0_certified_data_set failed because the passed data must be no larger than %d bytes. Found %d bytes", maxCertifiedBytes, len(b))
			}
			e.certified = append([]byte{}, b...)
			return nil
		}},
		{"canister_status", "", "i", modeNoStart, func(e *env, s []uint64) error {
			s[0] = uint64(e.status) // #nosec G115 -- 1 to 3
			return nil
		}},
		{"canister_version", "", "l", modeNoStart, func(e *env, s []uint64) error {
			s[0] = e.version
			return nil
		}},
		{"time", "", "l", modeNoStart, func(e *env, s []uint64) error {
			s[0] = e.time
			return nil
		}},
		{"global_timer_set", "l", "l", modeInit | modePreUpgrade | modeUpdate | modeCallbacks | modeCleanup | modeTask, func(e *env, s []uint64) error {
			old := e.timer
			e.timer, e.timerSet = s[0], true
			s[0] = old
			return nil
		}},
		{"performance_counter", "i", "l", modeAll, func(e *env, s []uint64) error {
			switch s[0] {
			case 0:
				s[0] = e.call.Instructions()
			case 1:
				s[0] = e.earlier + e.call.Instructions()
			default:
				return violated("Error getting performance counter type %d", s[0])
			}
			return nil
		}},
		{"is_controller", "II", "i", modeAll, func(e *env, s []uint64) error {
			p, err := e.principalAt("is_controller", s[0], s[1])
			if err != nil {
				return err
			}
			s[0] = 0
			if slices.Contains(e.controllers, p) {
				s[0] = 1
			}
			return nil
		}},
		{"in_replicated_execution", "", "i", modeAll, func(e *env, s []uint64) error {
			s[0] = 1
			if e.mode&modeNonReplica != 0 {
				s[0] = 0
			}
			return nil
		}},
		{"debug_print", "II", "", modeAll, func(e *env, s []uint64) error {
			b, err := e.bytesAt("debug_print", s[0], s[1])
			if err != nil {
				b = []byte("(debug_print message out of memory bounds)") // it never traps
			}
			e.print(b)
			return nil
		}},
		{"trap", "II", "", modeAll, func(e *env, s []uint64) error {
			b, err := e.bytesAt("trap", s[0], s[1])
			if err != nil {
				b = []byte("(trap message out of memory bounds)")
			}
			return &calledTrap{message: text(b, maxTrapText)}
		}},
		{"env_var_count", "", "I", modeNoStart, func(e *env, s []uint64) error {
			s[0] = uint64(len(e.environment))
			return nil
		}},
		{"env_var_name_size", "I", "I", modeNoStart, func(e *env, s []uint64) error {
			v, err := e.envVarAt(s[0])
			s[0] = uint64(len(v.name))
			return err
		}},
		{"env_var_name_copy", "IIII", "", modeNoStart, func(e *env, s []uint64) error {
			v, err := e.envVarAt(s[0])
			if err != nil {
				return err
			}
			return e.copyOut("env_var_name_copy", []byte(v.name), s[1], s[2], s[3])
		}},
		{"env_var_name_exists", "II", "i", modeNoStart, func(e *env, s []uint64) error {
			_, found, err := e.envVarNamed("env_var_name_exists", s[0], s[1])
			s[0] = 0
			if found {
				s[0] = 1
			}
			return err
		}},
		{"env_var_value_size", "II", "I", modeNoStart, func(e *env, s []uint64) error {
			v, found, err := e.envVarNamed("env_var_value_size", s[0], s[1])
			if err == nil && !found {
				err = violated("Environment variable %s not found.", v.name)
			}
			s[0] = uint64(len(v.value))
			return err
		}},
		{"env_var_value_copy", "IIIII", "", modeNoStart, func(e *env, s []uint64) error {
			v, found, err := e.envVarNamed("env_var_value_copy", s[0], s[1])
			if err != nil {
				return err
			}
			if !found {
				return violated("Environment variable %s not found.", v.name)
			}
			return e.copyOut("env_var_value_copy", []byte(v.value), s[2], s[3], s[4])
		}},
	},
)

const (
	maxTrapText  = 8 << 10
	maxPrintText = 8 << 10
	maxPrinted   = 64 << 10 // in one message
	maxEnvName   = 128
)

func (e *env) print(b []byte) {
	if e.printed += len(b); e.printed > maxPrinted || e.log == nil {
		return
	}
	if e.onPrint != nil {
		e.onPrint(e.time, b)
	}
	e.log.Info("canister prints", "canister", e.self.String(), "text", text(b, maxPrintText))
}

// dataCertificate fetches the certificate once.
func (e *env) dataCertificate() ([]byte, error) {
	if e.certChecked == nil {
		e.certChecked = e.certificate()
		if e.certChecked == nil {
			e.retry = true
			return nil, errStale
		}
	}
	return e.certChecked, nil
}

func (e *env) envVarAt(i uint64) (envVar, error) {
	if i >= uint64(len(e.environment)) {
		return envVar{}, violated("Environment variable index %d is out of bounds. The number of environment variables is %d.", i, len(e.environment))
	}
	return e.environment[i], nil
}

func (e *env) envVarNamed(function string, src, size uint64) (envVar, bool, error) {
	if size > maxEnvName {
		return envVar{}, false, violated("ic0.%s: the variable name of %d bytes is longer than %d", function, size, maxEnvName)
	}
	b, err := e.bytesAt(function, src, size)
	if err != nil {
		return envVar{}, false, err
	}
	if !utf8.Valid(b) {
		return envVar{}, false, violated("ic0.%s: the variable name is not valid UTF-8", function)
	}
	for _, v := range e.environment {
		if v.name == string(b) {
			return v, true, nil
		}
	}
	return envVar{name: string(b)}, false, nil
}
