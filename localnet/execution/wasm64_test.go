//go:build wasm64 && cgo

package execution

import (
	"context"
	"strconv"
	"testing"

	"github.com/icrelay/icrelay/localnet/wasm/wasmtest"
)

// TestMotoko64 runs what the tests of Motoko canisters show on what the compiler
// emits by default: 64-bit memories and enhanced orthogonal persistence.
func TestMotoko64(t *testing.T) {
	use64(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Counter", TestCounter},
		{"QueryIsRolledBack", TestQueryIsRolledBack},
		{"TrapsRollBack", TestTrapsRollBack},
		{"InstructionLimit", TestInstructionLimit},
		{"AwaitsCommit", TestAwaitsCommit},
		{"Calls", TestCalls},
		{"CallbackTraps", TestCallbackTraps},
		{"QueueBounds", TestQueueBounds},
		{"CompositeQueries", TestCompositeQueries},
		{"InspectMessage", TestInspectMessage},
		{"BestEffortCall", TestBestEffortCall},
		{"Timers", TestTimers},
		{"CertifiedData", TestCertifiedData},
		{"CertificateMatchesState", TestCertificateMatchesState},
		{"CertificateInCompositeQuery", TestCertificateInCompositeQuery},
		{"Upgrade", TestUpgrade},
		{"MemoryGrowthIsKept", TestMemoryGrowthIsKept},
		{"CyclesBetweenCanisters", TestCyclesBetweenCanisters},
		{"AgainstModel", TestAgainstModel},
		{"SystemAPIModes", TestSystemAPIModes},
		{"GlobalsRollBack", TestGlobalsRollBack},
		{"MemoryGrowthRollsBack", TestMemoryGrowthRollsBack},
		{"Responses", TestResponses},
		{"CallAssembly", TestCallAssembly},
		{"HeartbeatAndLowMemory", TestHeartbeatAndLowMemory},
		{"QueriesBesideUpdates", TestQueriesBesideUpdates},
		{"StopWaitsForCalls", TestStopWaitsForCalls},
		{"UninstallWithCallsUnderWay", TestUninstallWithCallsUnderWay},
		{"UpgradeWithCallsUnderWay", TestUpgradeWithCallsUnderWay},
		{"IdleInstancesAreFreed", TestIdleInstancesAreFreed},
		{"Close", TestClose},
		{"OnExecution", TestOnExecution},
		{"ManagementChunks", TestManagementChunks},
		{"ManagementSettings", TestManagementSettings},
		{"ManagementFromCanister", TestManagementFromCanister},
		{"Logs", TestLogs},
	} {
		t.Run(c.name, c.run)
	}
}

// use64 makes moduleFile take the modules with a 64-bit memory.
func use64(t testing.TB) {
	t.Helper()
	moduleSuffix = "64"
	t.Cleanup(func() { moduleSuffix = "" })
}

func BenchmarkUpdate64(b *testing.B)    { use64(b); BenchmarkUpdate(b) }
func BenchmarkUpdate64MB8(b *testing.B) { use64(b); BenchmarkUpdate8MB(b) }
func BenchmarkQuery64(b *testing.B)     { use64(b); BenchmarkQuery(b) }
func BenchmarkCall64(b *testing.B)      { use64(b); BenchmarkCall(b) }
func BenchmarkInstall64(b *testing.B)   { use64(b); BenchmarkInstall(b) }

// BenchmarkCompile64 is a module's way through rewriting and compilation.
func BenchmarkCompile64(b *testing.B) {
	use64(b)
	module := moduleFile(b, "counter")
	for n := 0; b.Loop(); n++ {
		m, err := loadModule(context.Background(), wasmtest.Custom(module, "again", strconv.Itoa(n)))
		if err != nil {
			b.Fatal(err)
		}
		m.Release()
	}
}

// BenchmarkUpgrade64 keeps a memory of 12 MB.
func BenchmarkUpgrade64(b *testing.B) {
	use64(b)
	m := newMachine(b, Options{})
	module := moduleFile(b, "persistent-a")
	id := install(b, m, module, nil)
	value(b, submit(b, m, id, "allocate", args(b, 1_000_000)))
	for b.Loop() {
		if err := m.Install(context.Background(), id, ModeUpgrade, module, nil, user); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpdate64MB256 is an update of a canister of 256 MB.
func BenchmarkUpdate64MB256(b *testing.B) {
	use64(b)
	m := newMachine(b, Options{})
	id := install(b, m, moduleFile(b, "persistent-a"), nil)
	value(b, submit(b, m, id, "allocate", args(b, 10_000_000)))
	arg := args(b, 1)
	for b.Loop() {
		value(b, submit(b, m, id, "add", arg))
	}
	b.ReportMetric(float64(m.canisters[id].code.wasmBytes.Load())/(1<<20), "MB")
}
