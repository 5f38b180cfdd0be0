package recoil

import (
	"io"
	"time"
)

// Conn is a client's connection to a [Listener]: a stream of bytes on which bufio and every codec written for sockets
// works. Its errors are of the type [*Error].
type Conn interface {
	// Read waits for at least one byte, and answers io.EOF at the end of the stream. Write waits until the host has
	// buffered the bytes, not until they are sent: they are before the next Read or WaitAny waits, and when the listener
	// returns. Close is called for you when the listener returns.
	io.ReadWriteCloser
	// PeerAddress is address and port of the client, as 127.0.0.1:50312 or [::1]:50312.
	PeerAddress() string
	// WaitAny waits for input or for a message, whichever is first. A message is only announced: Next of its subscription
	// takes it. Input that a buffered reader on the connection holds already is not waited for: look there first.
	WaitAny(timeout time.Duration, subscriptions ...Subscription) Event
}

// Event is what [Conn.WaitAny] has waited for.
type Event struct {
	Kind EventKind
	// Subscription is the place among the subscriptions of the one that has a message.
	Subscription int
}

// EventKind is what has happened on a connection.
type EventKind uint8

const (
	// TimedOut: nothing, until the timeout.
	TimedOut EventKind = iota
	// Readable: there is input, or the end of the stream.
	Readable
	// Message: a subscription has a message.
	Message
)
