package main

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/icrelay/icrelay/internal/bench"
	"github.com/icrelay/icrelay/internal/histogram"
)

// bareResult is what a part without the relay has found.
type bareResult struct {
	Sent     float64 `json:"sent_per_second"`
	Received float64 `json:"received_per_second"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Polls    float64 `json:"polls_per_second"`
	Errors   int     `json:"errors"`
}

// take reads the latencies as the report of `relay bench` does.
func (r *bareResult) take(h *histogram.Histogram) {
	l := bench.LatencyOf(h)
	r.P50, r.P99 = l.P50, l.P99
}

// bareClientSettings are like those of `relay bench`.
type bareClientSettings struct {
	server   string
	pattern  string
	clients  int
	inFlight int
	out, in  int // bytes of a frame
	duration time.Duration
}

func bareClientOptions(f *flag.FlagSet) *bareClientSettings {
	var o bareClientSettings
	f.StringVar(&o.server, "server", "", "")
	f.StringVar(&o.pattern, "pattern", "echo", "")
	f.IntVar(&o.clients, "clients", 1, "")
	f.IntVar(&o.inFlight, "in-flight", 1, "")
	f.IntVar(&o.out, "out", headLength, "")
	f.IntVar(&o.in, "in", headLength, "")
	f.DurationVar(&o.duration, "duration", time.Second, "")
	return &o
}

// bareRun is a run of bare clients.
type bareRun struct {
	settings       bareClientSettings
	sent, received atomic.Uint64
	lost           atomic.Int64
	latency        histogram.Histogram

	mu      sync.Mutex
	flights map[[headLength]byte]*bareFlight
}

type bareFlight struct {
	start time.Time
	left  int
	place chan struct{}
}

func runBareClients(ctx context.Context, o bareClientSettings) (*bareResult, error) {
	r := &bareRun{settings: o, flights: make(map[[headLength]byte]*bareFlight)}
	dialer := websocket.Dialer{ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{}}
	conns := make([]*websocket.Conn, o.clients)
	for i := range conns {
		conn, _, err := dialer.DialContext(ctx, fmt.Sprintf("%s/%s?size=%d", o.server, o.pattern, o.in), nil)
		if err != nil {
			return nil, fmt.Errorf("bare client %d: %w", i, err)
		}
		conns[i] = conn
	}
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	var readers, writers sync.WaitGroup
	for _, conn := range conns {
		readers.Go(func() { r.read(ctx, conn) })
	}
	start := time.Now()
	for i, conn := range conns {
		arrivals := 1
		if o.pattern == "fanout" {
			if arrivals = o.clients; i > 0 {
				break
			}
		}
		writers.Go(func() { r.write(ctx, uint32(i), conn, arrivals) }) //nolint:gosec // few
	}
	writers.Wait()
	seconds := time.Since(start).Seconds()
	result := &bareResult{
		Sent:     float64(r.sent.Load()) / seconds,
		Received: float64(r.received.Load()) / seconds,
	}
	result.take(&r.latency)
	for _, conn := range conns {
		_ = conn.Close()
	}
	readers.Wait()
	result.Errors = int(r.lost.Load())
	return result, nil
}

func (r *bareRun) write(ctx context.Context, sender uint32, conn *websocket.Conn, arrivals int) {
	places := make(chan struct{}, r.settings.inFlight)
	frame := make([]byte, r.settings.out)
	for number := uint64(0); ; number++ {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		head := [headLength]byte(bareHead(sender, number))
		copy(frame, head[:])
		r.mu.Lock()
		r.flights[head] = &bareFlight{time.Now(), arrivals, places}
		r.mu.Unlock()
		if err := conn.WriteMessage(websocket.BinaryMessage, frame); err != nil {
			r.lost.Add(1)
			return
		}
		r.sent.Add(1)
	}
}

func (r *bareRun) read(ctx context.Context, conn *websocket.Conn) {
	for {
		_, frame, err := conn.ReadMessage()
		if err != nil || len(frame) < headLength {
			if ctx.Err() == nil {
				r.lost.Add(1)
			}
			return
		}
		r.received.Add(1)
		r.arrive([headLength]byte(frame[:headLength]))
	}
}

func (r *bareRun) arrive(head [headLength]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.flights[head]
	if f == nil {
		r.lost.Add(1)
		return
	}
	r.latency.Add(time.Since(f.start))
	if f.left--; f.left == 0 {
		delete(r.flights, head)
		<-f.place
	}
}
