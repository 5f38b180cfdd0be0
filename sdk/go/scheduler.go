package recoil

// View is all that a plan is made of.
type View struct {
	Nodes      []ViewNode
	Rules      []Rule
	Partitions []ViewPartition
}

// ViewNode is a node of the cluster.
type ViewNode struct {
	ID    Node
	State NodeState
	// Locality is where it is, from the widest to the narrowest.
	Locality []Label
	// CapacityBytes is what its disk holds, UsedBytes what of that is taken.
	CapacityBytes, UsedBytes uint64
	// CPULoad is what of its processors is busy.
	CPULoad float32
}

// NodeState is what a node is to the cluster.
type NodeState uint8

const (
	// Live: it serves.
	Live NodeState = iota
	// Draining: it serves and is about to leave, so that nothing new should go there.
	Draining
	// Down: it does not answer.
	Down
)

// String is the state's name in the contract.
func (s NodeState) String() string { return name(s, "live", "draining", "down") }

// Label is a key and its value: where a node is, as zone and a, or where a replica must be.
type Label struct{ Key, Value string }

// Load is what a partition costs.
type Load struct {
	ReadsPerSecond, WritesPerSecond, CPUSecondsPerSecond float32
	// Bytes is what it holds.
	Bytes uint64
}

// ViewPartition is a partition and where it is now.
type ViewPartition struct {
	Keyspace, ID uint32
	// Replicas begin with the preferred leader; there are none if it is nowhere yet.
	Replicas []Node
	Load     Load
}

// Rule is what holds for a keyspace.
type Rule struct {
	Keyspace uint32
	// Replication is how many replicas each partition has.
	Replication uint8
	// Required are labels that every replica's node must have.
	Required []Label
	// SpreadBy are keys of labels whose values replicas should differ in.
	SpreadBy []string
	// LeaderPreference are labels that the leader's node should have, if one can.
	LeaderPreference []Label
}

// Placement is where a partition should be.
type Placement struct {
	Keyspace, ID uint32
	// Replicas begin with the preferred leader.
	Replicas []Node
	// Reason is for operators.
	Reason string
}
