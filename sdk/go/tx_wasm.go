package recoil

import (
	"slices"
	"structs"
	"time"

	"recoil.dev/recoil/internal/abi"
)

type partitionInfo struct {
	_                          structs.HostLayout
	keyspaceAt, keyspaceLength uint32
	id, count                  uint32
	epoch                      uint64
}

//go:wasmimport recoil:plugin/partition@0.1.0 current
//go:noescape
func partitionCurrent(result *partitionInfo)

//go:wasmimport recoil:plugin/partition@0.1.0 now
func partitionNow() uint64

//go:wasmimport recoil:plugin/partition@0.1.0 is-read-only
func partitionIsReadOnly() bool

//go:wasmimport recoil:plugin/partition@0.1.0 set-timer
//go:noescape
func partitionSetTimer(id string, at uint64, payload string)

//go:wasmimport recoil:plugin/partition@0.1.0 cancel-timer
//go:noescape
func partitionCancelTimer(id string)

//go:wasmimport recoil:plugin/partition@0.1.0 publish
//go:noescape
func partitionPublish(topic, message string)

type groupStatus struct {
	_                      structs.HostLayout
	group                  uint64
	role                   uint8
	_                      [7]uint8
	term                   uint64
	hasLeader              uint8
	_                      [3]uint8
	leader                 uint32
	committed, applied     uint64
	votersAt, votersLength uint32
}

//go:wasmimport recoil:plugin/consensus@0.1.0 status
//go:noescape
func consensusStatus(result *groupStatus)

type barrierResult struct {
	_      structs.HostLayout
	failed uint8
	_      [7]uint8
	value  uint64 // the index, or address and length of the error's text
}

//go:wasmimport recoil:plugin/consensus@0.1.0 barrier
//go:noescape
func consensusBarrier(result *barrierResult)

// hostTx is the transaction of the call that the host has made: each method is one call of the contract.
type hostTx struct{ hostStorage }

func (hostTx) Place() Place {
	var info partitionInfo
	abi.Enter()
	defer abi.Leave()
	partitionCurrent(&info)
	keyspace := abi.String(info.keyspaceAt, info.keyspaceLength)
	return Place{Keyspace: keyspace, ID: info.id, Count: info.count, Epoch: info.epoch}
}

func (hostTx) Now() time.Time { return time.UnixMicro(int64(partitionNow())) }

func (hostTx) IsReadOnly() bool { return partitionIsReadOnly() }

func (hostTx) SetTimer(id []byte, at time.Time, payload []byte) {
	partitionSetTimer(abi.View(id), uint64(max(at.UnixMicro(), 0)), abi.View(payload))
}

func (hostTx) CancelTimer(id []byte) { partitionCancelTimer(abi.View(id)) }

func (hostTx) Publish(topic, message []byte) { partitionPublish(abi.View(topic), abi.View(message)) }

func (hostTx) Consensus() GroupStatus {
	var status groupStatus
	abi.Enter()
	defer abi.Leave()
	consensusStatus(&status)
	return GroupStatus{
		Group:     status.group,
		Role:      Role(status.role),
		Term:      status.term,
		Leader:    optionalNode(uint32(status.hasLeader), status.leader),
		Committed: status.committed,
		Applied:   status.applied,
		Voters:    slices.Clone(abi.Items[Node](status.votersAt, status.votersLength)),
	}
}

func (hostTx) Barrier() (uint64, error) {
	var result barrierResult
	abi.Enter()
	defer abi.Leave()
	consensusBarrier(&result)
	if result.failed != 0 {
		text := abi.String(uint32(result.value), uint32(result.value>>32))
		return 0, &Error{Kind: ErrUnavailable, Message: text}
	}
	return result.value, nil
}

// optionalNode is an option of a node; nil if there is none.
func optionalNode(tag, node uint32) *Node {
	if abi.Tag(tag) == 0 {
		return nil
	}
	return &node
}
