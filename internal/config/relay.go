package config

import (
	"time"
	"unicode/utf8"

	"github.com/icrelay/icrelay/candid"
)

// Relay is [route.relay]: what the relay canister of this route does. Zero
// numbers and durations mean the canister's defaults.
type Relay struct {
	Calls    []Call   `toml:"call"`
	Feeds    []Feed   `toml:"feed"`
	Hooks    []Hook   `toml:"hook"`
	Pushers  []string `toml:"pushers"`  // principals, or names of embedded canisters
	Admins   []string `toml:"admins"`   // principals
	Gateways []string `toml:"gateways"` // principals; none for any gateway

	// UntrustedGateway keeps the gateway's own principal out of the admins.
	UntrustedGateway bool `toml:"untrusted_gateway"`

	AckInterval      Duration `toml:"ack_interval"`
	KeepAliveTimeout Duration `toml:"keep_alive_timeout"`
	WatchInterval    Duration `toml:"watch_interval"` // the gateway's own, Load fills in its default
	MaxMessages      int      `toml:"max_messages"`
	MaxCallsInFlight int      `toml:"max_calls_in_flight"`

	Resume    Duration `toml:"resume"`     // how long a lost connection waits for its client; 0 for not at all
	ResumeTag string   `toml:"resume_tag"` // in which clients are told whether they go on with one
}

// Call is one [[route.relay.call]]: where clients' messages go.
type Call struct {
	Target     string `toml:"target"` // a principal, or the name of an embedded canister
	Method     string `toml:"method"`
	Tag        string `toml:"tag"` // "" for the call that gets what no tag takes
	PassClient bool   `toml:"pass_client"`
	Reply      string `toml:"reply"` // one of the replies, "" for nobody
	ReplyTag   string `toml:"reply_tag"`
	ErrorTag   string `toml:"error_tag"`
}

// Feed is one [[route.relay.feed]]: a query whose items become messages.
type Feed struct {
	Target    string   `toml:"target"`
	Method    string   `toml:"method"`
	Tag       string   `toml:"tag"`
	Recipient string   `toml:"recipient"` // a field of the items
	Last      int      `toml:"last"`      // items for a client that joins
	Interval  Duration `toml:"interval"`  // of the relay canister's own looks; 0 where the gateway watches
}

// Hook is one [[route.relay.hook]]: methods that hear of connections.
type Hook struct {
	Target string `toml:"target"`
	Open   string `toml:"open"`
	Close  string `toml:"close"`
}

// Who gets a method's reply.
const (
	ReplyNobody    = "nobody"
	ReplySender    = "sender"
	ReplyEverybody = "everybody"
)

const nothingToDo = "a relay route needs a [[route.relay.call]], a [[route.relay.feed]], a [[route.relay.hook]] or pushers, or it would do nothing"

// What the relay canister accepts, or it would refuse to be installed: see
// canister/src/Settings.mo.
const (
	maxCalls            = 256
	maxFeeds            = 64
	maxHooks            = 64
	maxFeedsWithLast    = 16
	maxPrincipals       = 64     // of each list
	maxMethod           = 20_000 // characters of a name
	maxName             = 1000   // bytes of a tag or field
	maxLast             = 1000
	maxMaxMessages      = 1000
	maxMaxCallsInFlight = 200
	shortestAck         = 50 * time.Millisecond
	shortestResume      = time.Second
	longestResume       = time.Hour

	defaultAckInterval      = Duration(5 * time.Minute)
	defaultKeepAliveTimeout = Duration(time.Minute)
)

// validate checks the table. A relay canister behind an adapter of one's own
// may be idle: the adapter can push through it.
func (r *Relay) validate(p *problems, key string, known names, mayBeIdle bool) {
	if !mayBeIdle && len(r.Calls)+len(r.Feeds)+len(r.Hooks)+len(r.Pushers) == 0 && p.read(key+".call", key+".feed", key+".hook", key+".pushers") {
		p.add(key, nothingToDo)
	}
	checkCount(p, key+".call", "calls", len(r.Calls), maxCalls)
	checkCount(p, key+".feed", "feeds", len(r.Feeds), maxFeeds)
	checkCount(p, key+".hook", "hooks", len(r.Hooks), maxHooks)
	validateCalls(p, key+".call", r.Calls, known)
	validateFeeds(p, key+".feed", r.Feeds, known)
	validateHooks(p, key+".hook", r.Hooks, known)

	r.validatePushers(p, key+".pushers", known)
	checkPrincipals(p, key+".admins", r.Admins, "admins", "the anonymous principal cannot be an admin: everybody could configure the relay canister")
	checkPrincipals(p, key+".gateways", r.Gateways, "gateways", "the anonymous principal cannot be a gateway: everybody could be one")

	r.validateAcks(p, key+".ack_interval", key+".keep_alive_timeout")
	checkDuration(p, key+".watch_interval", &r.WatchInterval, 500*time.Millisecond, shortestWatch)
	checkAtMost(p, key+".max_messages", r.MaxMessages, maxMaxMessages)
	checkAtMost(p, key+".max_calls_in_flight", r.MaxCallsInFlight, maxMaxCallsInFlight)
	r.validateResume(p, key+".resume", key+".resume_tag")
}

func (r *Relay) validateResume(p *problems, key, tagKey string) {
	if checkMillis(p, key, r.Resume, shortestResume) && time.Duration(r.Resume) > longestResume {
		p.add(key, "%s is too long: a relay canister keeps messages for a lost connection for at most %s", r.Resume, Duration(longestResume))
	}
	checkName(p, tagKey, r.ResumeTag)
	if r.ResumeTag != "" && r.Resume == 0 && p.read(key) {
		p.add(tagKey, `no connection is gone on with that it could tell of: set resume = "2m", or remove it`)
	}
}

func checkCount(p *problems, key, what string, n, limit int) {
	if n > limit {
		p.add(index(key, limit), "a relay canister has at most %d %s, these are %d", limit, what, n)
	}
}

func validateCalls(p *problems, key string, calls []Call, known names) {
	untagged := ""
	byHash := make(map[uint32]string) // the tags so far: messages carry their hashes only
	for i, c := range calls {
		at := index(key, i)
		checkTarget(p, at+".target", c.Target, known)
		checkMethod(p, at+".method", c.Method)
		checkName(p, at+".tag", c.Tag)
		switch other, taken := byHash[candid.Hash(c.Tag)]; {
		case !p.read(at + ".tag"):
		case c.Tag == "" && p.given[at+".tag"]: // said by checkName
		case c.Tag == "" && untagged != "":
			p.add(at+".tag", "missing: %s has none either, and only one call can take the messages that match no tag", untagged)
		case c.Tag == "":
			untagged = at
		case taken && other == c.Tag:
			p.add(at+".tag", "%q has a call already: each tag goes to one method", c.Tag)
		case taken:
			p.add(at+".tag", "%q and %q are the same tag in Candid, which encodes both as %d: rename one", c.Tag, other, candid.Hash(c.Tag))
		default:
			byHash[candid.Hash(c.Tag)] = c.Tag
		}
		if c.Reply != "" || p.given[at+".reply"] {
			checkOneOf(p, at+".reply", c.Reply, ReplyNobody, ReplySender, ReplyEverybody)
		}
		checkName(p, at+".reply_tag", c.ReplyTag)
		if c.ReplyTag != "" && (c.Reply == "" || c.Reply == ReplyNobody) && p.read(at+".reply") {
			p.add(at+".reply_tag", `no reply is sent that it could wrap: set reply = "sender" or reply = "everybody", or remove it`)
		}
		checkName(p, at+".error_tag", c.ErrorTag)
	}
}

func validateFeeds(p *problems, key string, feeds []Feed, known names) {
	type query struct{ target, method string }
	seen := make(map[query]bool)
	withLast := 0
	for i := range feeds {
		f, at := &feeds[i], index(key, i)
		checkTarget(p, at+".target", f.Target, known)
		checkMethod(p, at+".method", f.Method)
		q := query{f.Target, f.Method}
		if seen[q] && f.Target != "" && f.Method != "" && p.read(at+".target", at+".method") {
			p.add(at, "%s.%s is listed already", f.Target, f.Method)
		}
		seen[q] = true
		checkName(p, at+".tag", f.Tag)
		checkName(p, at+".recipient", f.Recipient)
		if f.Last < 0 || f.Last > maxLast {
			p.add(at+".last", "%d is not a number of items from 0 to %d", f.Last, maxLast)
		}
		if f.Last > 0 {
			if withLast++; withLast == maxFeedsWithLast+1 {
				p.add(at+".last", "a relay canister keeps the last items of at most %d feeds: remove it here or elsewhere", maxFeedsWithLast)
			}
		}
		checkMillis(p, at+".interval", f.Interval, shortest)
	}
}

func validateHooks(p *problems, key string, hooks []Hook, known names) {
	seen := make(map[Hook]bool)
	for i, h := range hooks {
		at := index(key, i)
		checkTarget(p, at+".target", h.Target, known)
		for _, method := range []struct{ key, name string }{{at + ".open", h.Open}, {at + ".close", h.Close}} {
			if method.name != "" || p.given[method.key] {
				checkMethod(p, method.key, method.name)
			}
		}
		switch {
		case !p.given[at+".open"] && !p.given[at+".close"] && p.read(at):
			p.add(at, "needs open, close or both: the methods of the target to call then")
		case seen[h] && h.Target != "" && p.read(at+".target", at+".open", at+".close"):
			p.add(at, "is listed already")
		}
		seen[h] = true
	}
}

// checkTarget wants a canister. Targets may push, so anybody's principal is none.
func checkTarget(p *problems, key, value string, known names) {
	canister, err := candid.ParsePrincipal(value)
	switch {
	case value == "":
		p.add(key, "must be a principal or the name of an embedded canister")
	case err == nil && canister.IsAnonymous():
		p.add(key, "the anonymous principal is no canister, and what is named here may push: everybody could")
	default:
		checkReference(p, key, value, known)
	}
}

func checkMethod(p *problems, key, method string) {
	switch {
	case method == "":
		p.add(key, "must name a method of the target")
	case utf8.RuneCountInString(method) > maxMethod:
		p.add(key, "has more than %d characters", maxMethod)
	}
}

// checkName checks a tag or field that may be left out.
func checkName(p *problems, key, name string) {
	switch {
	case name == "" && p.given[key]:
		p.add(key, "must not be empty: name one, or remove it")
	case len(name) > maxName:
		p.add(key, "has %d bytes; a tag or field has at most %d", len(name), maxName)
	}
}

func (r *Relay) validatePushers(p *problems, key string, known names) {
	if len(r.Pushers) > maxPrincipals {
		p.add(key, "%d are too many: a relay canister has at most %d", len(r.Pushers), maxPrincipals)
	}
	for i, pusher := range r.Pushers {
		checkTarget(p, index(key, i), pusher, known)
	}
}

// checkPrincipals checks a list to which the gateway adds its own principal.
func checkPrincipals(p *problems, key string, list []string, what, anonymous string) {
	const limit = maxPrincipals - 1
	if len(list) > limit {
		p.add(key, "%d are too many: a relay canister has at most %d %s, besides the gateway", len(list), limit, what)
	}
	for i, text := range list {
		at := index(key, i)
		principal, err := candid.ParsePrincipal(text)
		if err != nil {
			p.add(at, "%q is not a principal: %v", text, err)
		} else if principal.IsAnonymous() {
			p.add(at, "%s", anonymous)
		}
	}
}

// validateAcks leaves what is not set at 0: the relay canister has the
// defaults, and that of keep_alive_timeout depends on ack_interval.
func (r *Relay) validateAcks(p *problems, ackKey, aliveKey string) {
	sound := checkMillis(p, ackKey, r.AckInterval, shortestAck)
	sound = checkMillis(p, aliveKey, r.KeepAliveTimeout, shortestAck) && sound
	ack, alive := r.AckInterval, r.KeepAliveTimeout
	if ack == 0 {
		ack = defaultAckInterval
	}
	if alive == 0 {
		alive = min(defaultKeepAliveTimeout, ack/2)
	}
	if sound && ack <= alive {
		p.addToOne([]string{aliveKey, ackKey}, "keep_alive_timeout (%s) must be shorter than ack_interval (%s)", alive, ack)
	}
}

// checkMillis checks a duration of the relay canister's.
func checkMillis(p *problems, key string, d Duration, atLeast time.Duration) bool {
	if !checkDuration(p, key, &d, 0, atLeast) {
		return false
	}
	if time.Duration(d)%time.Millisecond != 0 {
		p.add(key, "%s: the relay canister counts whole milliseconds", d)
		return false
	}
	return true
}

// checkAtMost checks a limit of the relay canister's.
func checkAtMost(p *problems, key string, value, limit int) {
	checkNotNegative(p, key, value)
	if value > limit {
		p.add(key, "%d is too many: at most %d", value, limit)
	}
}
