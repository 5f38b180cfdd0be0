package recoil

import (
	"slices"
	"structs"
	"unsafe"

	"recoil.dev/recoil/internal/abi"
)

// wireList is the contract's list, in a record.
type wireList struct{ at, length uint32 }

// wireLabel is the contract's tuple of two strings.
type wireLabel struct{ key, value wireList }

type wireNode struct {
	_                        structs.HostLayout
	id                       uint32
	state                    NodeState
	locality                 wireList
	capacityBytes, usedBytes uint64
	cpuLoad                  float32
}

type wireRule struct {
	_                                    structs.HostLayout
	keyspace                             uint32
	replication                          uint8
	required, spreadBy, leaderPreference wireList
}

// wirePartition has the fields of its load among its own, which is where they lie.
type wirePartition struct {
	_                                                    structs.HostLayout
	keyspace, id                                         uint32
	replicas                                             wireList
	readsPerSecond, writesPerSecond, cpuSecondsPerSecond float32
	bytes                                                uint64
}

type wirePlacement struct {
	_                structs.HostLayout
	keyspace, id     uint32
	replicas, reason wireList
}

// lifted copies a list out of the arena.
func lifted[From, To any](list wireList, lift func(From) To) []To {
	items := make([]To, list.length)
	for i, item := range abi.Items[From](list.at, list.length) {
		items[i] = lift(item)
	}
	return items
}

func liftText(text wireList) string { return abi.String(text.at, text.length) }

func liftLabel(label wireLabel) Label {
	return Label{Key: liftText(label.key), Value: liftText(label.value)}
}

func liftNode(node wireNode) ViewNode {
	return ViewNode{
		ID:            node.id,
		State:         node.state,
		Locality:      lifted(node.locality, liftLabel),
		CapacityBytes: node.capacityBytes,
		UsedBytes:     node.usedBytes,
		CPULoad:       node.cpuLoad,
	}
}

func liftRule(rule wireRule) Rule {
	return Rule{
		Keyspace:         rule.keyspace,
		Replication:      rule.replication,
		Required:         lifted(rule.required, liftLabel),
		SpreadBy:         lifted(rule.spreadBy, liftText),
		LeaderPreference: lifted(rule.leaderPreference, liftLabel),
	}
}

func liftPartition(partition wirePartition) ViewPartition {
	return ViewPartition{
		Keyspace: partition.keyspace,
		ID:       partition.id,
		Replicas: slices.Clone(abi.Items[Node](partition.replicas.at, partition.replicas.length)),
		Load: Load{
			ReadsPerSecond:      partition.readsPerSecond,
			WritesPerSecond:     partition.writesPerSecond,
			CPUSecondsPerSecond: partition.cpuSecondsPerSecond,
			Bytes:               partition.bytes,
		},
	}
}

//go:wasmexport recoil:plugin/scheduler@0.1.0#plan
func exportPlan(nodesAt, nodesLength, rulesAt, rulesLength, partitionsAt, partitionsLength uint32) uint32 {
	enter()
	view := View{
		Nodes:      lifted(wireList{nodesAt, nodesLength}, liftNode),
		Rules:      lifted(wireList{rulesAt, rulesLength}, liftRule),
		Partitions: lifted(wireList{partitionsAt, partitionsLength}, liftPartition),
	}
	abi.Leave()
	if start(); roles.scheduler == nil {
		return failed(errNoRole)
	}
	plan, err := roles.scheduler(view)
	if err != nil {
		return failed(err)
	}
	placements, reasons := make([]wirePlacement, len(plan)), make([]string, len(plan))
	for i, placement := range plan {
		reasons[i] = abi.Text(placement.Reason)
		lowered := &placements[i]
		lowered.keyspace, lowered.id = placement.Keyspace, placement.ID
		lowered.replicas = wireList{abi.Address(unsafe.SliceData(placement.Replicas)), uint32(len(placement.Replicas))}
		lowered.reason.at, lowered.reason.length = abi.LowerString(reasons[i])
	}
	held := struct {
		plan       []Placement
		reasons    []string
		placements []wirePlacement
	}{plan, reasons, placements}
	return succeeded(held, abi.Address(unsafe.SliceData(placements)), uint32(len(placements)))
}
