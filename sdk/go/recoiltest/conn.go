package recoiltest

import (
	"io"
	"time"

	"recoil.dev/recoil"
)

// Conn is a connection whose input is given beforehand, chunk by chunk, and whose output is kept. After the last chunk
// comes the end of the stream.
type Conn struct {
	input  [][]byte
	output []byte
	writes int
	closed bool
}

var _ recoil.Conn = (*Conn)(nil)

// NewConn is a client that sends chunks, each of which one Read answers if it is asked for enough.
func NewConn(chunks ...string) *Conn {
	c := &Conn{}
	for _, chunk := range chunks {
		if chunk != "" {
			c.input = append(c.input, []byte(chunk))
		}
	}
	return c
}

// Output is everything written so far.
func (c *Conn) Output() string { return string(c.output) }

// Writes is how often Write was called.
func (c *Conn) Writes() int { return c.writes }

// Closed is true once the package has closed it.
func (c *Conn) Closed() bool { return c.closed }

// Read implements [recoil.Conn].
func (c *Conn) Read(data []byte) (int, error) {
	if c.closed {
		return 0, &recoil.Error{Kind: recoil.ErrClosed}
	}
	if len(c.input) == 0 {
		return 0, io.EOF
	}
	count := copy(data, c.input[0])
	if c.input[0] = c.input[0][count:]; len(c.input[0]) == 0 {
		c.input = c.input[1:]
	}
	return count, nil
}

// Write implements [recoil.Conn].
func (c *Conn) Write(data []byte) (int, error) {
	if c.closed {
		return 0, &recoil.Error{Kind: recoil.ErrClosed}
	}
	c.output = append(c.output, data...)
	c.writes++
	return len(data), nil
}

// Close implements [recoil.Conn].
func (c *Conn) Close() error {
	c.closed = true
	return nil
}

// PeerAddress implements [recoil.Conn].
func (c *Conn) PeerAddress() string { return peerAddress }

// WaitAny implements [recoil.Conn]: what is there comes at once, messages before input.
func (c *Conn) WaitAny(_ time.Duration, subscriptions ...recoil.Subscription) recoil.Event {
	for i, other := range subscriptions {
		s, ok := other.(*subscription)
		if !ok {
			panic("recoiltest: WaitAny with a subscription that is not a recoiltest.Cluster's")
		}
		s.cluster.mutex.Lock()
		waiting := len(s.messages) > 0
		s.cluster.mutex.Unlock()
		if waiting {
			return recoil.Event{Kind: recoil.Message, Subscription: i}
		}
	}
	return recoil.Event{Kind: recoil.Readable}
}
