// Package errs is the one way Lineshaft says that something went wrong.
//
// An error has a kind, which decides the HTTP status and the exit code once and for all, an operation for whoever
// operates the server ("job.Submit"), and a message for whoever asked. The message is lower case and says what was
// wrong, where, and what to do next; the operation never reaches the user.
//
//	return errs.Errorf("model.Get", errs.NotFound, "no model %q; `lineshaft models` lists them", name)
package errs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"
)

// Kind classifies an error by what the caller can do about it.
type Kind uint8

// The kinds. Other is the zero value: an error nobody classified, treated as internal.
const (
	Other           Kind = iota // unclassified: a fault of ours
	Invalid                     // the request is malformed or asks for nonsense
	Unauthenticated             // no or bad credentials
	Denied                      // credentials without the grant
	NotFound                    // no such thing, or none the caller may know of
	Exists                      // already there
	Conflict                    // the state does not allow it now
	TooLarge                    // over a stated limit
	Exhausted                   // a quota or a resource (memory, queue, attempts) is used up
	Full                        // the disk has no room
	Unavailable                 // not ready or going away; try again
	Timeout                     // took longer than allowed
	Unsupported                 // known but not offered here
	Corrupt                     // stored or received bytes fail their check
	Canceled                    // the caller went away
)

var kinds = [...]struct {
	name   string
	status int
	exit   int
}{
	Other:           {"internal", http.StatusInternalServerError, 1},
	Invalid:         {"invalid", http.StatusBadRequest, 2},
	Unauthenticated: {"unauthenticated", http.StatusUnauthorized, 3},
	Denied:          {"denied", http.StatusForbidden, 3},
	NotFound:        {"not_found", http.StatusNotFound, 4},
	Exists:          {"exists", http.StatusConflict, 5},
	Conflict:        {"conflict", http.StatusConflict, 5},
	TooLarge:        {"too_large", http.StatusRequestEntityTooLarge, 2},
	Exhausted:       {"exhausted", http.StatusTooManyRequests, 6},
	Full:            {"full", http.StatusInsufficientStorage, 6},
	Unavailable:     {"unavailable", http.StatusServiceUnavailable, 7},
	Timeout:         {"timeout", http.StatusGatewayTimeout, 7},
	Unsupported:     {"unsupported", http.StatusNotImplemented, 2},
	Corrupt:         {"corrupt", http.StatusInternalServerError, 8},
	Canceled:        {"canceled", 499, 130},
}

// String is the kind's name as the API writes it.
func (k Kind) String() string { return kinds[k.known()].name }

// HTTPStatus is the status an API answers with.
func (k Kind) HTTPStatus() int { return kinds[k.known()].status }

// ExitCode is the code the command line ends with.
func (k Kind) ExitCode() int { return kinds[k.known()].exit }

func (k Kind) known() Kind {
	if int(k) >= len(kinds) {
		return Other
	}
	return k
}

// ParseKind is the inverse of String; unknown names are Other.
func ParseKind(name string) Kind {
	for k := range kinds {
		if kinds[k].name == name {
			return Kind(k)
		}
	}
	return Other
}

// FromStatus is the first kind with the status; others are Other.
func FromStatus(status int) Kind {
	for k := range kinds {
		if kinds[k].status == status {
			return Kind(k)
		}
	}
	return Other
}

// Error is an error with a kind and the operation in which it arose.
type Error struct {
	Op   string
	Kind Kind
	Err  error
}

// E wraps err. A nil err gives nil; Kind Other keeps the kind of what is wrapped.
func E(op string, kind Kind, err error) error {
	if err == nil {
		return nil
	}
	if kind == Other {
		kind = KindOf(err)
	}
	return &Error{Op: op, Kind: kind, Err: err}
}

// Errorf makes an error whose message the user reads.
func Errorf(op string, kind Kind, format string, args ...any) error {
	return &Error{Op: op, Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Error is the message for the user, without operations.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf finds the kind of the outermost classified error in the chain.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return Other
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	}
	return Other
}

// Is reports whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Trace is the chain of operations with the message, for the operator's log.
func Trace(err error) string {
	s := ""
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		if e, ok := cause.(*Error); ok && e.Op != "" { //nolint:errorlint // walks the chain itself
			s += e.Op + ": "
		}
	}
	if err == nil {
		return s
	}
	return s + err.Error()
}

// Clip shortens what came from outside, for a message.
func Clip(s string) string {
	if len(s) <= 80 {
		return s
	}
	cut := 80
	for cut > 76 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
