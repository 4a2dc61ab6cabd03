// Package event is what a domain write carries with it: who did what to which thing. The store commits the write, the
// audit entry and the entry of the outbox (what the console's stream sends on) in one transaction.
package event

import (
	"encoding/json"
	"time"
)

// Event says that something happened. A domain fills Topic, Kind, Subject and Data; the store adds Seq and Time.
type Event struct {
	Seq     int64           `json:"seq"`
	Time    time.Time       `json:"time"`
	Topic   string          `json:"topic"`          // what a listener subscribes to: jobs, models, services, data, audit, fleet
	Kind    string          `json:"kind"`           // verb: job.submitted, model.registered
	Subject string          `json:"subject"`        // job/12, model/mnist:3
	Actor   string          `json:"actor"`          // user/admin, service/job, anonymous
	Data    json.RawMessage `json:"data,omitempty"` // the resource after the change, as the API shows it
	// Quiet events (progress, samples) go to the stream and not to the audit log.
	Quiet bool `json:"-"`
}

// New makes an event; data that cannot be encoded is a programming error and shows as an error field.
func New(topic, kind, subject, actor string, data any) Event {
	raw, err := json.Marshal(data)
	if err != nil {
		raw, _ = json.Marshal(map[string]string{"error": err.Error()})
	}
	return Event{Topic: topic, Kind: kind, Subject: subject, Actor: actor, Data: raw}
}

// Progress makes a quiet event.
func Progress(topic, kind, subject, actor string, data any) Event {
	e := New(topic, kind, subject, actor, data)
	e.Quiet = true
	return e
}
