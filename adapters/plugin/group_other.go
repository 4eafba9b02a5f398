//go:build !unix

package plugin

import (
	"os"
	"os/exec"
)

func isolate(*exec.Cmd) {}

func wait(command *exec.Cmd, bury func()) error {
	err := command.Wait()
	bury()
	return err
}

// killGroup kills the process; what it has started is its own business here.
func killGroup(process *os.Process) { _ = process.Kill() }
