package relay

import (
	"errors"
	"math"

	"github.com/icrelay/icrelay/bridge"
	"github.com/icrelay/icrelay/candid"
)

// status is what the adapter reads of the relay canister's relay_status.
type status struct {
	feeds      map[Target]feedStatus
	rejections []rejection
}

type feedStatus struct {
	cursor  uint64
	seeking bool   // its end is not found yet
	problem string // what went wrong with it last, "" for nothing
}

// noCursor stands for a cursor that no sensible feed reaches.
const noCursor = math.MaxUint64

// A rejection is a call that a target has rejected.
type rejection struct {
	id     uint64 // counts up
	target Target
	text   string
}

var errNoStatus = errors.New("the answer is not a relay canister's status")

// decodeStatus reads the answer of relay_status; fields that later versions
// add are ignored.
func decodeStatus(reply []byte) (status, error) {
	values, err := candid.Decode(reply, candid.Limits{})
	if err != nil {
		return status{}, err
	}
	if len(values) == 0 {
		return status{}, errNoStatus
	}
	feeds, ok := values[0].Field("feeds").Vec()
	if !ok {
		return status{}, errNoStatus
	}
	s := status{feeds: make(map[Target]feedStatus, len(feeds))}
	for _, feed := range feeds {
		target, ok := targetOf(feed)
		if !ok {
			return status{}, errNoStatus
		}
		f := feedStatus{cursor: noCursor} // an odd feed is no reason to give up the others
		if cursor, isNat := feed.Field("cursor").Uint64(); isNat {
			f.cursor = cursor
		}
		f.seeking, _ = feed.Field("is_seeking").Bool()
		if problem, some := feed.Field("last_error").Opt(); some {
			f.problem, _ = problem.Text()
		}
		s.feeds[target] = f
	}
	list, _ := values[0].Field("rejections").Vec()
	for _, r := range list {
		target, ok := targetOf(r)
		id, isNat := r.Field("id").Uint64()
		text, isText := r.Field("text").Text()
		if !ok || !isNat || !isText {
			return status{}, errNoStatus
		}
		s.rejections = append(s.rejections, rejection{id: id, target: target, text: text})
	}
	return s, nil
}

// decodePulled reads the answer of relay_pull: the feed's new cursor, or why
// there is none.
func decodePulled(reply []byte) (cursor uint64, err error) {
	values, err := candid.Decode(reply, candid.Limits{})
	if err != nil {
		return 0, err
	}
	if len(values) > 0 {
		if v, ok := values[0].Tag("Err"); ok {
			if text, ok := v.Text(); ok {
				return 0, bridge.Refused("%s", text)
			}
		}
		if v, ok := values[0].Tag("Ok"); ok {
			if cursor, ok := v.Uint64(); ok {
				return cursor, nil
			}
			if v.Kind() == candid.KindNat {
				return noCursor, nil
			}
		}
	}
	return 0, errors.New("the answer is not variant { Ok : nat; Err : text }")
}
