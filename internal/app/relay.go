package app

import (
	"fmt"
	"slices"
	"time"

	"github.com/icrelay/icrelay/adapters/relay"
	"github.com/icrelay/icrelay/candid"
	"github.com/icrelay/icrelay/internal/config"
)

// relaySettings resolves the names in a relay route. The gateway's own
// principal is an admin, unless it is not trusted with that, and a gateway
// where those are listed.
func relaySettings(r *config.Relay, named map[string]candid.Principal, gateway candid.Principal) (relay.Settings, error) {
	s := relay.Settings{
		AckInterval:      time.Duration(r.AckInterval),
		KeepAliveTimeout: time.Duration(r.KeepAliveTimeout),
		WatchInterval:    time.Duration(r.WatchInterval),
		MaxMessages:      uint64(r.MaxMessages),      //nolint:gosec // checked not to be negative
		MaxCallsInFlight: uint64(r.MaxCallsInFlight), //nolint:gosec // checked not to be negative
		Resume:           time.Duration(r.Resume),
		ResumeTag:        r.ResumeTag,
	}
	var err error
	if s.Calls, err = resolve("call", r.Calls, named, newCall); err != nil {
		return s, err
	}
	if s.Feeds, err = resolve("feed", r.Feeds, named, newFeed); err != nil {
		return s, err
	}
	if err := checkFeeds(s.Feeds); err != nil {
		return s, err
	}
	if s.Hooks, err = resolve("hook", r.Hooks, named, newHook); err != nil {
		return s, err
	}
	if s.Pushers, err = principals("pushers", r.Pushers, named); err != nil {
		return s, err
	}
	admins := slices.Clone(r.Admins)
	if !r.UntrustedGateway {
		admins = append(admins, gateway.String())
	}
	if s.Admins, err = principals("admins", admins, nil); err != nil {
		return s, err
	}
	if len(r.Gateways) > 0 {
		s.Gateways, err = principals("gateways", append(slices.Clone(r.Gateways), gateway.String()), nil)
	}
	return s, err
}

// resolve makes settings of the elements of a list, with the principal of each one's target.
func resolve[From, To any](key string, list []From, named map[string]candid.Principal, convert func(From) (target string, to func(candid.Principal) To)) ([]To, error) {
	out := make([]To, len(list))
	for i, element := range list {
		target, to := convert(element)
		canister, err := config.Principal(target, named)
		if err != nil {
			return nil, fmt.Errorf("%s[%d].target: %w", key, i, err)
		}
		out[i] = to(canister)
	}
	return out, nil
}

var replies = map[string]relay.Reply{
	"":                    relay.ReplyNobody,
	config.ReplyNobody:    relay.ReplyNobody,
	config.ReplySender:    relay.ReplySender,
	config.ReplyEverybody: relay.ReplyEverybody,
}

func newCall(c config.Call) (string, func(candid.Principal) relay.Call) {
	return c.Target, func(target candid.Principal) relay.Call {
		return relay.Call{
			Target:     relay.Target{Canister: target, Method: c.Method},
			Tag:        c.Tag,
			PassClient: c.PassClient,
			Reply:      replies[c.Reply],
			ReplyTag:   c.ReplyTag,
			ErrorTag:   c.ErrorTag,
		}
	}
}

func newFeed(f config.Feed) (string, func(candid.Principal) relay.Feed) {
	return f.Target, func(target candid.Principal) relay.Feed {
		return relay.Feed{
			Target:    relay.Target{Canister: target, Method: f.Method},
			Tag:       f.Tag,
			Recipient: f.Recipient,
			Last:      uint64(f.Last), //nolint:gosec // checked not to be negative
			Interval:  time.Duration(f.Interval),
		}
	}
}

func newHook(h config.Hook) (string, func(candid.Principal) relay.Hook) {
	return h.Target, func(target candid.Principal) relay.Hook {
		return relay.Hook{Canister: target, Open: h.Open, Close: h.Close}
	}
}

// checkFeeds finds a feed that is named by name and again by principal.
func checkFeeds(feeds []relay.Feed) error {
	seen := make(map[relay.Target]bool)
	for i, f := range feeds {
		if seen[f.Target] {
			return fmt.Errorf("feed[%d]: %s is listed already", i, f.Target)
		}
		seen[f.Target] = true
	}
	return nil
}

// principals resolves a list and leaves out what is in it twice.
func principals(key string, list []string, named map[string]candid.Principal) ([]candid.Principal, error) {
	var out []candid.Principal
	for i, text := range list {
		p, err := config.Principal(text, named)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", key, i, err)
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}
