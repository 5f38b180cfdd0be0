package recoil

import "fmt"

// Kind says what sort of an [Error] it is. A Kind is an error itself, so that
//
//	errors.Is(err, recoil.ErrConflict)
//
// holds for every error of that kind.
type Kind string

// The kinds of storage errors. None of these leaves a partial write behind.
const (
	// ErrTooLarge: a key, a value or all writes of a transaction are above the package's limit. Retrying does not help.
	ErrTooLarge Kind = "too-large"
	// ErrReadOnly: a write in a call that may only read. The caller must route it with the mode [Write].
	ErrReadOnly Kind = "read-only"
	// ErrQuotaExceeded: the package is over its storage quota. Retrying helps once data has been removed.
	ErrQuotaExceeded Kind = "quota-exceeded"
	// ErrUnavailable: no leader or quorum before the deadline; of a routed call, nothing was written. Retrying may help.
	ErrUnavailable Kind = "unavailable"
)

// The kinds of errors of calls to partitions, besides [ErrUnavailable].
const (
	// ErrRejected: the handler returned an error; nothing was written.
	ErrRejected Kind = "rejected"
	// ErrFailed: the handler panicked or ran out of its time or memory; nothing was written.
	ErrFailed Kind = "failed"
	// ErrUnknownOutcome: the leader was lost after the request was sent. A retry may apply the request twice.
	ErrUnknownOutcome Kind = "unknown-outcome"
	// ErrConflict: the transaction lost to a conflicting one; nothing was written. Retry.
	ErrConflict Kind = "conflict"
)

// The kinds of errors of a connection, besides [ErrFailed]. After any of them it is closed.
const (
	// ErrClosed: the client has closed the connection, or Close was called.
	ErrClosed Kind = "closed"
	// ErrTimedOut: the client sent or took nothing for the package's idle limit.
	ErrTimedOut Kind = "timed-out"
)

// Error says what the kind means.
func (k Kind) Error() string {
	if text, ok := kindTexts[k]; ok {
		return text
	}
	return string(k)
}

var kindTexts = map[Kind]string{
	ErrTooLarge:       "too large",
	ErrReadOnly:       "a write in a read-only call: route it with the mode Write",
	ErrQuotaExceeded:  "the storage quota is exceeded",
	ErrUnavailable:    "the partition is unavailable",
	ErrRejected:       "the handler refused",
	ErrFailed:         "it failed",
	ErrUnknownOutcome: "the outcome is unknown",
	ErrConflict:       "the transaction lost to a conflicting one: retry it",
	ErrClosed:         "the connection is closed",
	ErrTimedOut:       "the client was idle for too long",
}

// Error is why the host refused or failed. errors.As finds it in what is returned, and errors.Is compares its kind.
type Error struct {
	Kind Kind
	// Message is what the host or the handler says; empty if the kind says it all.
	Message string
}

// Error is the message of a refusal as the handler wrote it, and otherwise the kind's text with the message.
func (e *Error) Error() string {
	switch {
	case e.Message == "":
		return e.Kind.Error()
	case e.Kind == ErrRejected || e.Kind == ErrTooLarge || e.Kind == ErrQuotaExceeded:
		return e.Message
	}
	return fmt.Sprintf("%s: %s", e.Kind.Error(), e.Message)
}

// Unwrap is the kind.
func (e *Error) Unwrap() error { return e.Kind }
