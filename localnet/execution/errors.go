package execution

import (
	"context"
	"errors"
	"fmt"

	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/localnet/wasm"
)

// Reject codes that are used by themselves (interface specification, "Reject codes").
const (
	codeSysTransient   = 2
	codeCanisterReject = 4
)

// Error codes as the Internet Computer's replicas number them: the hundreds are the reject code.
const (
	icMaxCanisters        = 102
	icQueueFull           = 201
	icIngressTimeout      = 202
	icCanisterExists      = 205
	icOutOfCycles         = 207
	icCanisterNotFound    = 301
	icCreateCycles        = 403
	icRejectedMessage     = 406
	icUnknownManagement   = 407
	icInvalidManagement   = 408
	icTrapped             = 502
	icCalledTrap          = 503
	icContractViolation   = 504
	icInvalidWasm         = 505
	icDidNotReply         = 506
	icOutOfMemory         = 507
	icStopped             = 508
	icStopping            = 509
	icNotStopped          = 510
	icStoppingCancelled   = 511
	icInvalidController   = 512
	icNonEmpty            = 514
	icCallCycles          = 520
	icInstructionLimit    = 522
	icQueryTooDeep        = 525
	icCompositeReplicated = 527
	icQueryTime           = 528
	icMethodNotFound      = 536
	icWasmModuleNotFound  = 537
	icWasmMemoryLimit     = 539
	icDeadlineExpired     = 601
)

// What replicas advise, with the page that they name.
const (
	docExecutionErrors     = "https://internetcomputer.org/docs/current/references/execution-errors#"
	toolchainHelp          = "This is likely an error with the compiler/CDK toolchain being used to build the canister. Please report the error to IC devs on the forum: https://forum.dfinity.org and include which language/CDK was used to create the canister."
	trapHelp               = "Consider gracefully handling failures from this canister or altering the canister to handle exceptions."
	instructionLimitAdvice = "Try optimizing this method to consume fewer instructions or split the work across multiple messages."
)

// reject makes a reject from an error code.
func reject(code int, format string, args ...any) *Reject {
	return &Reject{Code: code / 100, Text: fmt.Sprintf(format, args...), ErrorCode: fmt.Sprintf("IC%04d", code)}
}

// interCanister is the text that a calling canister gets: the error code stands
// in front, unless the callee rejected the call itself.
func (r *Reject) interCanister() string {
	if r.ErrorCode == "" || r.ErrorCode == "IC0406" {
		return r.Text
	}
	return r.ErrorCode + ": " + r.Text
}

// violation is a use of the System API that the interface specification answers with a trap.
type violation struct {
	text string
	help string // with the documentation's anchor behind it; "" for a fault of the toolchain
}

func (v *violation) Error() string { return "Canister violated contract: " + v.text }

func violated(format string, args ...any) error {
	return &violation{text: fmt.Sprintf(format, args...)}
}

// calledTrap is ic0.trap.
type calledTrap struct{ message string }

func (c *calledTrap) Error() string {
	return "Canister called `ic0.trap` with message: '" + c.message + "'"
}

// trapped is a trap of a host function that is not a violation.
type trapped struct{ reason string }

func (t *trapped) Error() string { return "Canister trapped: " + t.reason }

// coded is an error of an execution that has an error code of its own.
type coded struct {
	code int
	text string
	help string
}

func (c *coded) Error() string { return c.text }

func methodNotFound(kind, method string) error {
	return &coded{icMethodNotFound, fmt.Sprintf("Canister has no %s method '%s'.", kind, method),
		"Check that the method being called is exported by the target canister. See documentation: " + docExecutionErrors + "method-not-found"}
}

var errNoModule = &coded{icWasmModuleNotFound, "Attempted to execute a message, but the canister contains no Wasm module.",
	"Please install code to this canister before calling it. See documentation: " + docExecutionErrors + "wasm-module-not-found"}

// failure turns the error of an execution into the reject that a replica gives for it.
func failure(id candid.Principal, err error, instructions uint64) *Reject {
	code, text, help := explain(err, instructions)
	text = fmt.Sprintf("Error from Canister %s: %s", id, text)
	if help != "" {
		text += ".\n" + help
	}
	return reject(code, "%s", text)
}

func explain(err error, instructions uint64) (code int, text, help string) {
	var (
		v       *violation
		ct      *calledTrap
		ht      *trapped
		wt      *wasm.Trap
		c       *coded
		inv     *wasm.InvalidError
		m64     *wasm.Module64Error
		cleanup *cleanupFailed
	)
	switch {
	case errors.As(err, &cleanup):
		code, _, _ = explain(cleanup.callback, instructions)
		return code, cleanup.Error(), ""
	case errors.As(err, &ct):
		return icCalledTrap, ct.Error(), trapHelp + " See documentation: " + docExecutionErrors + "trapped-explicitly"
	case errors.As(err, &v):
		if v.help != "" {
			return icContractViolation, v.Error(), v.help
		}
		return icContractViolation, v.Error(), toolchainHelp
	case errors.As(err, &wt):
		return icTrapped, "Canister trapped: " + wt.Error(), trapHelp + " See documentation: " + docExecutionErrors + "trapped"
	case errors.As(err, &ht):
		return icTrapped, ht.Error(), trapHelp + " See documentation: " + docExecutionErrors + "trapped"
	case errors.As(err, &c):
		return c.code, c.text, c.help
	case errors.As(err, &inv), errors.As(err, &m64):
		return icInvalidWasm, "Canister's Wasm module is not valid: " + err.Error(), ""
	case errors.Is(err, wasm.ErrInstructionLimit):
		return icInstructionLimit, fmt.Sprintf("Canister exceeded the limit of %d instructions for single message execution.", instructions),
			instructionLimitAdvice + " See documentation: " + docExecutionErrors + "instruction-limit-exceeded"
	case errors.Is(err, wasm.ErrDeadline):
		return icInstructionLimit, "Canister exceeded the time limit for single message execution.",
			instructionLimitAdvice + " See documentation: " + docExecutionErrors + "instruction-limit-exceeded"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return icQueryTime, "Execution was ended by the caller: " + err.Error(), ""
	}
	return icTrapped, "Canister trapped: " + err.Error(), ""
}

// cleanupFailed is a callback that trapped and whose cleanup callback trapped as well.
type cleanupFailed struct{ callback, cleanup error }

func (c *cleanupFailed) Error() string {
	_, a, _ := explain(c.callback, 0)
	_, b, _ := explain(c.cleanup, 0)
	return a + "\n\ncall_on_cleanup also failed:\n\n" + b
}

func (c *cleanupFailed) Unwrap() error { return c.callback }

func canisterNotFound(id candid.Principal) *Reject {
	return reject(icCanisterNotFound, "Canister %s not found", id)
}

// ErrBusy is the answer of Submit when a queue is full: try again later. The
// error wraps a *Reject too, with what a replica says in such a case.
var ErrBusy = errors.New("too many messages are waiting")

func busy(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrBusy, reject(icQueueFull, format, args...))
}

// errStale ends a query whose certificate belongs to a newer state than it reads.
var errStale = errors.New("the state changed while the query ran")
