package recoil

import "time"

// Router reaches partitions, wherever their leaders are. Calls to one partition are answered in the order in which they
// were made. Errors are of the type [*Error].
//
// While a call waits nothing else of the instance goes on, whatever goroutine made it: overlap comes from CallMany and
// Submit.
type Router interface {
	// Call runs the handler of one partition and waits for its answer.
	Call(to Address, request []byte, mode Mode) ([]byte, error)
	// CallMany makes many calls in one crossing, the cheapest batch; answers are in their order. Each succeeds or fails by
	// itself.
	CallMany(calls []RoutedCall) []Answer
	// Submit starts a call without waiting, to overlap it with other work.
	Submit(to Address, request []byte, mode Mode) Pending
	// WaitAll waits for calls under way, answers in their order.
	WaitAll(calls []Pending) []Answer
	// Transact is all or nothing across partitions, serializable; calls are evaluated in their order. All partitions must
	// belong to one Raft group (keys with one owner always do), otherwise [ErrRejected].
	Transact(calls []RoutedCall) ([][]byte, error)
	// Scatter makes one call to every partition, answers in partition order. Not a transaction.
	Scatter(request []byte, mode Mode) []Answer

	// Locate tells the partition that owns key, and where it is.
	Locate(key []byte) PartitionInfo
	// Partitions tells of every partition, in the order of their ids.
	Partitions() []PartitionInfo

	// Subscribe receives what handlers of this package publish on topic from now on, at most once.
	Subscribe(topic []byte) Subscription

	// Storage is the package's data without its handler, one routed operation for each call.
	Storage() Storage
}

// Mode is what a call may do.
type Mode uint8

const (
	// Write may write. It is answered once its writes are committed on a quorum.
	Write Mode = iota
	// Read is linearizable: it sees every write answered before the call was made. It never touches the log.
	Read
	// StaleRead may be answered by any replica from what it has applied: old, but a state that once was.
	StaleRead
)

// String is the mode's name in the contract.
func (m Mode) String() string { return name(m, "write", "read", "stale-read") }

// Address names a partition: [Key] or [Partition].
type Address struct {
	// Key is what the partition owns, unless ByID.
	Key []byte
	// ByID means the partition ID, and not the owner of Key.
	ByID bool
	ID   uint32
}

// Key is the address of the partition that owns key: a stable hash decides.
func Key(key []byte) Address { return Address{Key: key} }

// Partition is the address of a partition by its id, from 0 to their number less one.
func Partition(id uint32) Address { return Address{ByID: true, ID: id} }

// RoutedCall is a call to a partition, one of many.
type RoutedCall struct {
	To      Address
	Request []byte
	Mode    Mode
}

// Answer is what one of many calls came to.
type Answer struct {
	Value []byte
	Err   error
}

// Pending is a call under way. Leaving it forgets the answer, not the call.
type Pending interface {
	// Ready is true when Wait would not block.
	Ready() bool
	// Wait waits for the answer. Once it was waited for, the answer stays.
	Wait() ([]byte, error)
}

// Subscription receives the messages of one topic. A subscriber that is more than 1,024 messages behind loses some.
type Subscription interface {
	// Next is the next message; false when the timeout has passed without one.
	Next(timeout time.Duration) ([]byte, bool)
	// Close ends it.
	Close() error
}

// PartitionInfo tells where a partition is.
type PartitionInfo struct {
	ID uint32
	// Leader is nil during an election.
	Leader   *Node
	Replicas []Node
	Epoch    uint64
}

// name is the word for one of an enumeration's values.
func name[T ~uint8](value T, names ...string) string {
	if int(value) < len(names) {
		return names[value]
	}
	return "unknown"
}
