package recoil

import "time"

// Tx is one request's transaction on one partition. Every effect of it happens when the request succeeds, or not at all.
// It is the call's: it must not be used after the handler has returned.
type Tx interface {
	Storage

	// Place tells which partition this is.
	Place() Place
	// Now is the same throughout the call, and later than that of every earlier writing transaction of this partition, to
	// the microsecond.
	Now() time.Time
	// IsReadOnly is true when the caller asked for a read; writes then fail with [ErrReadOnly].
	IsReadOnly() bool
	// SetTimer has the package's [Timer] called with payload, not before at. The same id replaces. Only in writing
	// transactions of a package that has a timer: otherwise it ends the instance.
	SetTimer(id []byte, at time.Time, payload []byte)
	// CancelTimer removes a timer. Cancelling an absent one is not an error. Only in writing transactions.
	CancelTimer(id []byte)
	// Publish sends message to every subscriber of topic once this transaction has committed, at most once.
	Publish(topic, message []byte)

	// Consensus tells what this replica knows of the Raft group behind the partition.
	Consensus() GroupStatus
	// Barrier confirms with a quorum that this replica leads and has applied everything committed before the call; it
	// answers the applied index. The error is an [ErrUnavailable].
	Barrier() (uint64, error)
}

// Place names a partition.
type Place struct {
	Keyspace string
	ID       uint32
	// Count is the number of partitions in the keyspace.
	Count uint32
	// Epoch grows when the partition moves.
	Epoch uint64
}

// Role is what a replica is in its Raft group.
type Role uint8

// The roles of a replica.
const (
	Leader Role = iota
	Follower
	Learner
)

// String is the role in a word.
func (r Role) String() string { return name(r, "leader", "follower", "learner") }

// GroupStatus is what a replica knows of its Raft group.
type GroupStatus struct {
	Group uint64
	Role  Role
	Term  uint64
	// Leader is nil during an election.
	Leader             *Node
	Committed, Applied uint64
	Voters             []Node
}

// Node is a node's member number, a small counter.
type Node = uint32
