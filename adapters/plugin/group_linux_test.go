package plugin

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// When the relay is killed, the process is, even one that cannot notice.
func TestRelayIsKilled(t *testing.T) {
	t.Parallel()
	file, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	relay := exec.CommandContext(t.Context(), file) //nolint:gosec // itself
	relay.Env = append(os.Environ(), hostTest+"=1", "TMPDIR="+t.TempDir())
	output, err := relay.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := relay.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := relay.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := relay.Wait(); err == nil || fmt.Sprint(err) != "signal: killed" {
		t.Errorf("the relay has ended with %v", err)
	}
	eventually(t, "the process is gone, too", func() bool { return !exists(pid) })
}
