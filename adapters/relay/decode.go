package relay

import (
	"errors"
	"math"
	"time"

	"github.com/icrelay/icrelay/candid"
)

var errNoConfig = errors.New("the answer is not a relay canister's configuration")

// decodeConfig reads the answer of relay_config. Fields that later versions
// add are ignored.
func decodeConfig(reply []byte) (Settings, error) {
	values, err := candid.Decode(reply, candid.Limits{})
	if err != nil {
		return Settings{}, err
	}
	if len(values) == 0 {
		return Settings{}, errNoConfig
	}
	config := values[0]
	if _, ok := config.Field("calls").Vec(); !ok {
		return Settings{}, errNoConfig
	}
	var r reader
	s := Settings{
		Calls:            readList(&r, config.Field("calls"), r.call),
		Feeds:            readList(&r, config.Field("feeds"), r.feed),
		Hooks:            readList(&r, config.Field("hooks"), r.hook),
		Admins:           readList(&r, config.Field("admins"), r.principal),
		Pushers:          readList(&r, config.Field("pushers"), r.principal),
		Gateways:         readList(&r, config.Field("gateways"), r.principal),
		AckInterval:      r.millis(config.Field("ack_interval_ms")),
		KeepAliveTimeout: r.millis(config.Field("keep_alive_timeout_ms")),
		MaxMessages:      r.nat(config.Field("max_messages")),
		MaxCallsInFlight: r.nat(config.Field("max_calls_in_flight")),
		Resume:           r.millis(config.Field("resume_ms")),
		ResumeTag:        r.text(config.Field("resume_tag")),
	}
	if r.failed {
		return Settings{}, errNoConfig
	}
	return s, nil
}

// A reader takes values apart and notes when one was not of the type that it
// should be. What is null or absent is read as zero.
type reader struct{ failed bool }

func readList[T any](r *reader, v candid.Value, element func(candid.Value) T) []T {
	return readOpt(r, v, func(v candid.Value) ([]T, bool) {
		values, ok := v.Vec()
		list := make([]T, len(values))
		for i, value := range values {
			list[i] = element(value)
		}
		return list, ok
	})
}

func readOpt[T any](r *reader, v candid.Value, read func(candid.Value) (T, bool)) T {
	var value T
	if inner, some := v.Opt(); some {
		var ok bool
		value, ok = read(inner)
		r.failed = r.failed || !ok
	}
	return value
}

func (r *reader) text(v candid.Value) string { return readOpt(r, v, candid.Value.Text) }
func (r *reader) nat(v candid.Value) uint64  { return readOpt(r, v, candid.Value.Uint64) }

func (r *reader) millis(v candid.Value) time.Duration {
	n := min(r.nat(v), math.MaxInt64/uint64(time.Millisecond))
	return time.Duration(n) * time.Millisecond //nolint:gosec // bounded above
}

func (r *reader) principal(v candid.Value) candid.Principal {
	p, ok := v.Principal()
	r.failed = r.failed || !ok
	return p
}

func (r *reader) target(v candid.Value) Target {
	target, ok := targetOf(v)
	r.failed = r.failed || !ok
	return target
}

func (r *reader) call(v candid.Value) Call {
	return Call{
		Target:     r.target(v),
		Tag:        r.text(v.Field("tag")),
		PassClient: readOpt(r, v.Field("pass_client"), candid.Value.Bool),
		Reply:      readOpt(r, v.Field("reply"), replyOf),
		ReplyTag:   r.text(v.Field("reply_tag")),
		ErrorTag:   r.text(v.Field("error_tag")),
	}
}

func replyOf(v candid.Value) (Reply, bool) {
	for i, tag := range replyTags {
		if _, ok := v.Tag(tag); ok {
			return Reply(i), true //nolint:gosec // one of three
		}
	}
	return ReplyNobody, false
}

func (r *reader) feed(v candid.Value) Feed {
	return Feed{
		Target:    r.target(v),
		Tag:       r.text(v.Field("tag")),
		Recipient: r.text(v.Field("recipient")),
		Last:      r.nat(v.Field("last")),
		Interval:  r.millis(v.Field("interval_ms")),
	}
}

func (r *reader) hook(v candid.Value) Hook {
	return Hook{Canister: r.principal(v.Field("target")), Open: r.text(v.Field("open")), Close: r.text(v.Field("close"))}
}

// targetOf reads a record's fields target and method.
func targetOf(v candid.Value) (Target, bool) {
	canister, ok := v.Field("target").Principal()
	method, isText := v.Field("method").Text()
	return Target{Canister: canister, Method: method}, ok && isText
}
