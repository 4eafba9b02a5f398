package bridge

import (
	"strings"
	"time"
)

// Polls that fail because the network is not reached say nothing about the
// canister: its sessions wait. Polls that the network or the canister rejects
// do: the canister was deleted, or traps, or is stopped. Sessions that hear
// nothing for that reason are told so, and end; new ones decide anew.

// rejection is what polls in a row have been rejected with.
type rejection struct {
	since   time.Time // the first, of whatever kind
	refused time.Time // the first of those that are refusals
	times   int       // refusals in a row
}

// A refusal of a poll is what one replica says. It is believed when it was said
// several times, for a while: replicas may be behind.
const (
	refusalPatience = 5 * time.Second
	refusalTimes    = 3
)

// judge takes the outcome of a poll. It ends the canister's sessions when there
// is no hope that they will soon hear of it.
func (h *hub) judge(err error) {
	wasRejected := !h.rejected.since.IsZero()
	if reason := h.rejected.note(time.Now(), err, h.gateway.limits.CallTimeout); reason != nil {
		h.endOpen(*reason)
	}
	if err == nil && wasRejected {
		// It was stopped, or without code: perhaps it is not what it was before.
		h.doubt()
	}
}

// note returns why the sessions have to end, if they have to. A canister that
// is not available is given as much time as a call.
func (r *rejection) note(now time.Time, err error, patience time.Duration) *CloseReason {
	text, refused := RefusalText(err)
	unavailable := false
	if !refused {
		r.times = 0
		text, unavailable = unavailableText(err)
	}
	switch {
	case err == nil:
		*r = rejection{}
		return nil
	case !refused && !unavailable:
		return nil
	}
	if r.since.IsZero() {
		r.since = now
	}
	if refused {
		if r.times++; r.times == 1 {
			r.refused = now
		}
	}
	switch {
	case refused && r.times >= refusalTimes && now.Sub(r.refused) >= refusalPatience:
		return &CloseReason{CloseCanisterFails, firstLine(text)}
	case now.Sub(r.since) >= max(patience, refusalPatience):
		return &CloseReason{CloseTryAgainLater, firstLine(text)}
	}
	return nil
}

// firstLine drops the advice to developers that replicas put into further lines.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}
