package soak

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// size is how much is done, and by whom.
type size struct {
	seed     uint64
	clients  int // connections at a time
	messages int // of clients that arrive
	stay     int // messages on one connection, about
}

// Nothing that was accepted is lost, nothing comes twice, and each client's
// order holds, whatever goes wrong.
func TestSoak(t *testing.T) {
	messages := messages
	if testing.Short() {
		messages = 1000
	}
	first := size{
		seed:     uint64(setting(t, "SOAK_SEED", int(rand.Uint32()))),
		clients:  setting(t, "SOAK_CLIENTS", 50),
		messages: setting(t, "SOAK_MESSAGES", messages),
		stay:     300,
	}
	end := time.Now().Add(time.Duration(setting(t, "SOAK_MINUTES", 0)) * time.Minute)
	for round := 0; round == 0 || time.Now().Before(end); round++ {
		s := first
		s.seed += uint64(round)
		if !t.Run("seed "+strconv.FormatUint(s.seed, 10), func(t *testing.T) { soak(t, s) }) {
			t.Fatalf("SOAK_SEED=%d SOAK_CLIENTS=%d SOAK_MESSAGES=%d", s.seed, s.clients, s.messages)
		}
	}
}

func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}

func soak(t *testing.T, size size) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := newWorld(t, size)
	w.began = time.Now()
	w.play(ctx)
	w.finish(ctx)
}
