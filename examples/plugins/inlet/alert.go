package main

import (
	"errors"
	"time"

	"github.com/aviate-labs/agent-go/candid"
)

// An Alert is what the application's clients get, in JSON and in Candid:
//
//	record { title : text; text : text; link : opt text; time : nat64 }
//
// For another application, this is the type to change.
type Alert struct {
	Title string  `json:"title" ic:"title"`
	Text  string  `json:"text" ic:"text"`
	Link  *string `json:"link" ic:"link"`
	Time  uint64  `json:"time" ic:"time"` // in nanoseconds since 1970; now, if nobody says
}

// check says what is wrong with an alert that could be read.
func (a *Alert) check() error {
	if a.Title == "" {
		return errors.New("title is missing")
	}
	if a.Time == 0 {
		a.Time = uint64(time.Now().UnixNano()) //nolint:gosec // not before 1970
	}
	return nil
}

// encode gives a message of the protocol: Candid of one value.
func (a *Alert) encode() ([]byte, error) { return candid.Marshal([]any{*a}) }
