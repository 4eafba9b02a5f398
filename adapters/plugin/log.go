package plugin

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// lineLog puts the lines that a program prints into the relay's log. They keep
// their level and attributes if they are JSON as slog or hclog write it.
type lineLog struct {
	log     *slog.Logger
	bucket  *rate.Limiter
	dropped atomic.Uint64

	mu      sync.Mutex
	untold  uint64   // dropped, and not yet said
	endings []string // the last lines
}

const (
	linesPerSecond = 200
	lastLines      = 5
	lastLineBytes  = 400
	maxAttributes  = 40
)

func newLineLog(log *slog.Logger) *lineLog {
	return &lineLog{log: log, bucket: rate.NewLimiter(linesPerSecond, linesPerSecond)}
}

// line logs one line of the program.
func (l *lineLog) line(text []byte, cut bool) {
	l.remember(text)
	if !l.bucket.Allow() {
		l.dropped.Add(1)
		l.mu.Lock()
		l.untold++
		l.mu.Unlock()
		return
	}
	l.tellDropped()
	record, ok := readJSONLine(text)
	if !ok {
		record = slog.NewRecord(time.Now(), slog.LevelInfo, strings.ToValidUTF8(string(text), "?"), 0)
	}
	if cut {
		record.AddAttrs(slog.Bool("cut", true))
	}
	ctx := context.Background()
	if l.log.Enabled(ctx, record.Level) {
		_ = l.log.Handler().Handle(ctx, record)
	}
}

// tellDropped says how many lines were too many.
func (l *lineLog) tellDropped() {
	l.mu.Lock()
	n := l.untold
	l.untold = 0
	l.mu.Unlock()
	if n > 0 {
		l.log.Warn("the adapter logs too much: lines were dropped", "lines", n)
	}
}

// remember keeps the last lines, for who asks why the program has ended.
func (l *lineLog) remember(text []byte) {
	if len(text) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.endings) == lastLines {
		l.endings = slices.Delete(l.endings, 0, 1)
	}
	l.endings = append(l.endings, shorten(string(text[:min(len(text), lastLineBytes+1)]), lastLineBytes))
}

// forget is for a new run of the program.
func (l *lineLog) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endings = nil
}

// lastWords are the last lines on one line; "" if there were none.
func (l *lineLog) lastWords() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.endings, " / ")
}

// readJSONLine reads a line of slog's JSONHandler, or of hclog.
func readJSONLine(text []byte) (slog.Record, bool) {
	if len(text) == 0 || text[0] != '{' {
		return slog.Record{}, false
	}
	var fields map[string]any
	if json.Unmarshal(text, &fields) != nil {
		return slog.Record{}, false
	}
	message, isText := fields[slog.MessageKey].(string)
	level, _ := fields[slog.LevelKey].(string)
	if !isText {
		if message, isText = fields["@message"].(string); !isText {
			return slog.Record{}, false
		}
		level, _ = fields["@level"].(string)
	}
	record := slog.NewRecord(time.Now(), readLevel(level), message, 0)
	n := 0
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		switch key {
		case slog.TimeKey, slog.LevelKey, slog.MessageKey, "@message", "@level", "@timestamp", "adapter", "":
			continue
		}
		if n++; n > maxAttributes {
			break
		}
		record.AddAttrs(slog.Any(key, fields[key]))
	}
	return record, true
}

func readLevel(text string) slog.Level {
	if strings.EqualFold(text, "trace") {
		return slog.LevelDebug
	}
	var level slog.Level
	if level.UnmarshalText([]byte(text)) != nil {
		return slog.LevelInfo
	}
	return level
}

// levelName is the lowest level that a log takes, for a program that need not
// write what nobody reads.
func levelName(log *slog.Logger) string {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), level) {
			return strings.ToLower(level.String())
		}
	}
	return "error"
}
