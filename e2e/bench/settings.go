package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// settings are the sizes of a run.
type settings struct {
	relay   string        // the binary
	self    string        // this binary, for the other parts
	seconds time.Duration // of each measurement
	turns   int           // how often two are made in turn when their comparison decides about a target
	senders int           // clients that send as fast as they can
	fan     int           // clients that receive what one sends
	rate    int           // messages a second, for latencies
	crowds  []int         // idle clients; the last is the largest
	opens   int           // a second
	settle  time.Duration // before idle clients are measured
	fixed   time.Duration // between polls, of a gateway that knows nothing better
}

func settingsFromEnvironment() (settings, error) {
	s := settings{relay: filepath.Join("bin", "relay"), turns: 3, settle: 5 * time.Second, fixed: 100 * time.Millisecond}
	var problems []error
	number := func(name string, normal int) int {
		text := os.Getenv(name)
		if text == "" {
			return normal
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			problems = append(problems, fmt.Errorf("%s: %q is not a number above 0", name, text))
		}
		return n
	}
	if path := os.Getenv("RELAY_BIN"); path != "" {
		s.relay = path
	}
	s.seconds = time.Duration(number("BENCH_SECONDS", 10)) * time.Second
	s.senders = number("BENCH_SENDERS", 64)
	s.fan = number("BENCH_FANOUT", 1000)
	s.rate = number("BENCH_RATE", 1000)
	s.opens = number("BENCH_OPENS", 500)
	crowds := os.Getenv("BENCH_CROWDS")
	if crowds == "" {
		crowds = "100 1000 10000"
	}
	for _, text := range strings.Fields(crowds) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			problems = append(problems, fmt.Errorf("BENCH_CROWDS: %q is not a number above 0", text))
		}
		s.crowds = append(s.crowds, n)
	}
	var err error
	if s.self, err = os.Executable(); err != nil {
		problems = append(problems, err)
	}
	return s, errors.Join(problems...)
}
