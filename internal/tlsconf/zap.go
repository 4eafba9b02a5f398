package tlsconf

import (
	"context"
	"errors"
	"log/slog"

	"go.uber.org/zap/zapcore"
)

// zapCore writes the log of certmagic, which knows package zap only, into ours.
// What certmagic says about each of its steps is of interest when something
// does not work: its information is our debugging.
type zapCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

var _ zapcore.Core = zapCore{}

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}

func (c zapCore) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), level(l))
}

func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{c.log, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c zapCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c zapCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	importance := level(entry.Level)
	values := zapcore.NewMapObjectEncoder()
	attributes := make([]slog.Attr, 0, len(c.fields)+len(fields))
	for _, field := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		if err, ok := field.Interface.(error); ok && errors.Is(err, context.Canceled) {
			importance = slog.LevelDebug // the relay stops, or begins anew
		}
		field.AddTo(values)
		if value, ok := values.Fields[field.Key]; ok {
			attributes = append(attributes, slog.Any(field.Key, value))
		}
	}
	c.log.LogAttrs(context.Background(), importance, "certificates: "+entry.Message, attributes...)
	return nil
}

func (zapCore) Sync() error { return nil }
