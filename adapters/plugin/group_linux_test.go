package plugin

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
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

// Connections that a process opens and forgets are its own loss.
func TestConnectionsWithoutEnd(t *testing.T) {
	t.Parallel()
	b := startProcess(t, func(c *Config, _ *timing) { c.Env["ADAPTER_TEST"] = "connects without end" })
	b.add(newFakeBase(), `{}`)
	// The process may wait for its place, too: what counts is what the relay holds open.
	most, end := 0, time.Now().Add(time.Second)
	for time.Now().Before(end) {
		most = max(most, connections(t, filepath.Join(b.current.folder, "host")))
		time.Sleep(10 * time.Millisecond)
	}
	if most > maxConnections+1 {
		t.Errorf("%d connections", most)
	}
	b.Stop()
}

// connections are those that were accepted at a socket, and are open.
func connections(t *testing.T, socket string) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) == 8 && fields[7] == socket && fields[6] != "0" {
			n++
		}
	}
	return n
}
