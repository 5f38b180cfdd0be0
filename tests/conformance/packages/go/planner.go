package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"recoil.dev/recoil"
)

const (
	// A rule with this replication is an order to go wrong: its keyspace says how.
	replicationOrder   = 255
	replicationDefault = 3
)

// planner is a view in which nodes and rules are found.
type planner struct {
	nodes map[recoil.Node]recoil.ViewNode
	rules map[uint32]recoil.Rule
	live  []recoil.Node
}

// plan puts live replicas first, and tells all that the view says in its reasons.
func plan(view recoil.View) ([]recoil.Placement, error) {
	if len(view.Nodes) == 0 {
		return nil, errors.New("no nodes")
	}
	p := planner{nodes: map[recoil.Node]recoil.ViewNode{}, rules: map[uint32]recoil.Rule{}}
	for _, node := range view.Nodes {
		if _, ok := p.nodes[node.ID]; !ok {
			p.nodes[node.ID] = node
		}
		if node.State == recoil.Live {
			p.live = append(p.live, node.ID)
		}
	}
	for _, rule := range view.Rules {
		if rule.Replication == replicationOrder {
			return nil, goWrong(rule.Keyspace)
		}
		if _, ok := p.rules[rule.Keyspace]; !ok {
			p.rules[rule.Keyspace] = rule
		}
	}
	var plan []recoil.Placement
	for _, partition := range view.Partitions {
		wanted := p.wanted(partition)
		if len(partition.Replicas) == 0 || !slices.Equal(wanted, partition.Replicas) {
			reason := p.reason(partition, wanted)
			plan = append(plan, recoil.Placement{Keyspace: partition.Keyspace, ID: partition.ID, Replicas: wanted, Reason: reason})
		}
	}
	return plan, nil
}

func goWrong(how uint32) error {
	switch how {
	case 1:
		panic("thrown while planning")
	case 2:
		for {
		}
	}
	return fmt.Errorf("there is no order %d", how)
}

func (p *planner) wanted(partition recoil.ViewPartition) []recoil.Node {
	var wanted, behind []recoil.Node
	for _, id := range partition.Replicas {
		if node, ok := p.nodes[id]; ok && node.State == recoil.Live {
			wanted = append(wanted, id)
		} else {
			behind = append(behind, id)
		}
	}
	if len(partition.Replicas) == 0 {
		replication := replicationDefault
		if rule, ok := p.rules[partition.Keyspace]; ok {
			replication = int(rule.Replication)
		}
		for i := range min(replication, len(p.live)) {
			wanted = append(wanted, p.live[(int(partition.ID)+i)%len(p.live)])
		}
	}
	return append(wanted, behind...)
}

func (p *planner) reason(partition recoil.ViewPartition, wanted []recoil.Node) string {
	replicas := partition.Replicas
	if len(replicas) == 0 {
		replicas = wanted
	}
	load := partition.Load
	return fmt.Sprintf("%s; %s; load %d %d %d %d", p.node(replicas), p.rule(partition.Keyspace), thousandths(load.ReadsPerSecond),
		thousandths(load.WritesPerSecond), thousandths(load.CPUSecondsPerSecond), load.Bytes)
}

func (p *planner) node(replicas []recoil.Node) string {
	if len(replicas) == 0 {
		return "node none"
	}
	node, ok := p.nodes[replicas[0]]
	if !ok {
		return fmt.Sprintf("node %d unknown", replicas[0])
	}
	return fmt.Sprintf("node %d %v %s %d/%d %d", node.ID, node.State, labels(node.Locality), node.UsedBytes, node.CapacityBytes,
		thousandths(node.CPULoad))
}

func (p *planner) rule(keyspace uint32) string {
	rule, ok := p.rules[keyspace]
	if !ok {
		return "rule none"
	}
	return fmt.Sprintf("rule %d %s %s %s", rule.Replication, labels(rule.Required), joined(rule.SpreadBy), labels(rule.LeaderPreference))
}

func labels(labels []recoil.Label) string {
	var texts []string
	for _, label := range labels {
		texts = append(texts, label.Key+"="+label.Value)
	}
	return joined(texts)
}

func joined(texts []string) string {
	if len(texts) == 0 {
		return "-"
	}
	return strings.Join(texts, ",")
}

func thousandths(value float32) int64 { return int64(float64(value) * 1000) }
