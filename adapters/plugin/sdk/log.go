package sdk

import (
	"io"
	"log/slog"
	"os"
)

// newLogger writes lines of JSON, as the relay reads them, and nothing that the
// relay would leave out.
func newLogger(w io.Writer) *slog.Logger {
	level := slog.LevelDebug
	if err := level.UnmarshalText([]byte(os.Getenv(envLogLevel))); err != nil {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
