//go:build unix

package plugin

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary is the adapter, too: started by a Process, it serves the raw
// contract (program_test.go).
func TestMain(m *testing.M) {
	if os.Getenv(cookieKey) != "" {
		os.Exit(runProgram())
	}
	if os.Getenv(hostTest) != "" {
		runHost()
	}
	goleak.VerifyTestMain(m)
}

const hostTest = "ADAPTER_HOST_TEST"

// runHost is a relay that is going to be killed: it says which process it has started.
func runHost() {
	file, err := os.Executable()
	if err != nil {
		panic(err)
	}
	p, err := Start(context.Background(), Config{Name: "trial", Command: []string{file}, Dir: os.TempDir(), StartTimeout: patience}, Host{})
	if err != nil {
		panic(err)
	}
	_, _ = fmt.Println(p.current.program.ID())
	time.Sleep(time.Hour)
}
