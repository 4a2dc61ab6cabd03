package errs

import (
	"errors"
	"time"
)

// retry is an error with the time after which the same request may succeed.
type retry struct {
	error
	after time.Duration
}

func (r *retry) Unwrap() error { return r.error }

// RetryAfter adds to an error after which time trying again makes sense: HTTP's Retry-After, gRPC's RetryInfo. A nil err
// gives nil.
func RetryAfter(err error, after time.Duration) error {
	if err == nil {
		return nil
	}
	return &retry{err, max(after, 0)}
}

// Retry is the time that RetryAfter gave the error; false when it has none.
func Retry(err error) (after time.Duration, ok bool) {
	var r *retry
	if !errors.As(err, &r) {
		return 0, false
	}
	return r.after, true
}

// RetrySeconds is that time in whole seconds for HTTP's Retry-After, at least one.
func RetrySeconds(err error) (seconds int, ok bool) {
	after, ok := Retry(err)
	if !ok {
		return 0, false
	}
	return int(max(1, (after+time.Second-1)/time.Second)), true
}
