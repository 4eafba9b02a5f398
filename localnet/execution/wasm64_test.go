//go:build wasm64

package execution

import "testing"

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
