package recoil

import (
	"io"
	"runtime"
	"time"
	"unsafe"

	"recoil.dev/recoil/internal/abi"
)

//go:wasmimport recoil:plugin/tcp@0.1.0 [method]connection.peer-address
//go:noescape
func connectionPeerAddress(connection uint32, result *[2]uint32)

//go:wasmimport recoil:plugin/tcp@0.1.0 [method]connection.read
//go:noescape
func connectionRead(connection, limit uint32, result *[4]uint32)

//go:wasmimport recoil:plugin/tcp@0.1.0 [method]connection.write
//go:noescape
func connectionWrite(connection uint32, data string, result *[4]uint32)

//go:wasmimport recoil:plugin/tcp@0.1.0 [method]connection.wait-any
//go:noescape
func connectionWaitAny(connection uint32, subscriptions *uint32, count, timeoutMilliseconds uint32, result *[3]uint32)

//go:wasmimport recoil:plugin/tcp@0.1.0 [resource-drop]connection
func connectionDrop(connection uint32)

// hostConn is a client's connection.
type hostConn struct {
	handle uint32
	closed bool
}

// readBytesMax is the most that the host answers at once.
const readBytesMax = 1 << 20

// connectionError is the error in a result; nil if there is none.
func connectionError(result *[4]uint32) error {
	if abi.Tag(result[0]) == 0 {
		return nil
	}
	switch abi.Tag(result[1]) {
	case 0:
		return &Error{Kind: ErrClosed}
	case 1:
		return &Error{Kind: ErrTimedOut}
	}
	return &Error{Kind: ErrFailed, Message: abi.String(result[2], result[3])}
}

func (c *hostConn) Read(data []byte) (int, error) {
	if c.closed {
		return 0, &Error{Kind: ErrClosed}
	}
	if len(data) == 0 {
		return 0, nil
	}
	var result [4]uint32
	abi.Enter()
	defer abi.Leave()
	connectionRead(c.handle, uint32(min(len(data), readBytesMax)), &result)
	if err := connectionError(&result); err != nil {
		return 0, err
	}
	if result[2] == 0 {
		return 0, io.EOF
	}
	return copy(data, abi.Items[byte](result[1], result[2])), nil
}

func (c *hostConn) Write(data []byte) (int, error) {
	if c.closed {
		return 0, &Error{Kind: ErrClosed}
	}
	var result [4]uint32
	abi.Enter()
	defer abi.Leave()
	connectionWrite(c.handle, abi.View(data), &result)
	if err := connectionError(&result); err != nil {
		return 0, err
	}
	return len(data), nil
}

func (c *hostConn) Close() error {
	if !c.closed {
		c.closed = true
		connectionDrop(c.handle)
	}
	return nil
}

func (c *hostConn) PeerAddress() string {
	if c.closed {
		return ""
	}
	var result [2]uint32
	abi.Enter()
	defer abi.Leave()
	connectionPeerAddress(c.handle, &result)
	return abi.String(result[0], result[1])
}

func (c *hostConn) WaitAny(timeout time.Duration, subscriptions ...Subscription) Event {
	if c.closed {
		return Event{Kind: Readable} // a read says why
	}
	handles := make([]uint32, len(subscriptions))
	for i, subscription := range subscriptions {
		open := subscription.(*hostSubscription)
		if open.closed {
			panic("recoil: WaitAny with a subscription that was closed")
		}
		handles[i] = open.handle
	}
	var result [3]uint32
	connectionWaitAny(c.handle, unsafe.SliceData(handles), uint32(len(handles)), milliseconds(timeout), &result)
	runtime.KeepAlive(subscriptions)
	switch {
	case abi.Tag(result[0]) == 0:
		return Event{Kind: TimedOut}
	case abi.Tag(result[1]) == 0:
		return Event{Kind: Readable}
	}
	return Event{Kind: Message, Subscription: int(result[2])}
}
