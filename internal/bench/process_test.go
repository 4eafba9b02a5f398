package bench

import (
	"math"
	"os"
	"runtime"
	"testing"
	"time"
)

func TestReadUsage(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	from, err := readUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		sum++
	}
	to, err := readUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if busy := cores(&from, &to); busy <= 0 || busy > float64(runtime.NumCPU()) || sum == 0 {
		t.Errorf("%g cores were busy", busy)
	}
	if to.rss < 1<<20 {
		t.Errorf("%d bytes resident", to.rss)
	}
	if n := cores(&to, &to); !math.IsNaN(n) {
		t.Errorf("%g cores in no time", n)
	}
	if _, err := readUsage(1 << 30); err == nil {
		t.Error("a process that does not exist has a usage")
	}
}
