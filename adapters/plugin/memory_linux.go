package plugin

import (
	"bytes"
	"os"
	"strconv"
)

// residentMemory is how many bytes of memory a process has (proc_pid_statm(5)).
func residentMemory(pid int) (bytesResident int64, known bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, false
	}
	return pages * int64(os.Getpagesize()), true
}
