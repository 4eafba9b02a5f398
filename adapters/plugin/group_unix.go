//go:build unix && !linux

package plugin

import (
	"os"
	"os/exec"
	"syscall"
)

// isolate gives the process a group of its own. That it ends if the relay is
// killed is up to itself: its Attach stream ends.
func isolate(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

func wait(command *exec.Cmd, bury func()) error {
	err := command.Wait()
	bury()
	return err
}

func killGroup(process *os.Process) { _ = syscall.Kill(-process.Pid, syscall.SIGKILL) }
