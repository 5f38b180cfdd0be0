package recoiltest

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"recoil.dev/recoil"
)

// Cluster is a router to partitions in memory, in groups: partition p belongs to group p % groups, and a transaction over
// several groups is rejected.
type Cluster struct {
	mutex         sync.Mutex
	handle        HandleFunc
	partitions    []*Partition
	groups        uint32
	faults        map[uint32]error
	subscriptions []*subscription
	calls         int
}

var _ recoil.Router = (*Cluster)(nil)

// NewCluster makes a cluster whose partitions are all handled by handle. It has at least one partition and one group.
func NewCluster(handle HandleFunc, partitions, groups int) *Cluster {
	if partitions < 1 || groups < 1 {
		panic("recoiltest: a cluster has at least one partition and one group")
	}
	c := &Cluster{handle: handle, groups: uint32(groups), faults: map[uint32]error{}}
	for id := range partitions {
		c.partitions = append(c.partitions, newPartition(uint32(id), uint32(partitions)))
	}
	return c
}

// Owner is the id of the partition that owns key.
func (c *Cluster) Owner(key []byte) uint32 {
	hash := fnv.New32a()
	hash.Write(key)
	return hash.Sum32() % uint32(len(c.partitions))
}

// Partition is one of the partitions, to look at or to change.
func (c *Cluster) Partition(id uint32) *Partition { return c.partitions[id] }

// Fail makes calls to a partition fail with err, from now on, without being evaluated; nil heals.
func (c *Cluster) Fail(id uint32, err *recoil.Error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err == nil {
		delete(c.faults, id)
	} else {
		c.faults[id] = err
	}
}

// Advance lets time pass on every partition, and fires what comes due. It answers how many timers fired.
func (c *Cluster) Advance(passed time.Duration, fire FireFunc) (fired int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, partition := range c.partitions {
		published := len(partition.Published)
		fired += partition.Advance(passed, fire)
		c.deliver(partition.Published[published:])
	}
	return fired
}

// Calls is how many calls were evaluated so far.
func (c *Cluster) Calls() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.calls
}

// place finds the partition of an address, unless it fails.
func (c *Cluster) place(to recoil.Address) (*Partition, error) {
	id := to.ID
	if !to.ByID {
		id = c.Owner(to.Key)
	}
	if count := len(c.partitions); int64(id) >= int64(count) {
		return nil, &recoil.Error{Kind: recoil.ErrRejected, Message: fmt.Sprintf("there is no partition %d: there are %d", id, count)}
	}
	return c.partitions[id], c.faults[id]
}

// rejected is a handler's error as it reaches the caller.
func rejected(err error) error {
	if err == nil {
		return nil
	}
	return &recoil.Error{Kind: recoil.ErrRejected, Message: err.Error()}
}

func (c *Cluster) call(to recoil.Address, request []byte, mode recoil.Mode) ([]byte, error) {
	partition, err := c.place(to)
	if err != nil {
		return nil, err
	}
	c.calls++
	tx := partition.begin
	if mode != recoil.Write {
		tx = partition.view
	}
	return c.evaluate(tx(), request)
}

// evaluate runs the handler, and ends its transaction.
func (c *Cluster) evaluate(t *tx, request []byte) ([]byte, error) {
	answer, err := c.handle(t, clone(request))
	c.deliver(t.end(err == nil))
	if err != nil {
		return nil, rejected(err)
	}
	return clone(answer), nil
}

// Call implements [recoil.Router].
func (c *Cluster) Call(to recoil.Address, request []byte, mode recoil.Mode) ([]byte, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.call(to, request, mode)
}

// CallMany implements [recoil.Router].
func (c *Cluster) CallMany(calls []recoil.RoutedCall) []recoil.Answer {
	answers := make([]recoil.Answer, len(calls))
	for i, call := range calls {
		answers[i].Value, answers[i].Err = c.Call(call.To, call.Request, call.Mode)
	}
	return answers
}

// pending is a call that was already answered.
type pending struct{ recoil.Answer }

func (p pending) Ready() bool           { return true }
func (p pending) Wait() ([]byte, error) { return p.Value, p.Err }

// Submit implements [recoil.Router].
func (c *Cluster) Submit(to recoil.Address, request []byte, mode recoil.Mode) recoil.Pending {
	value, err := c.Call(to, request, mode)
	return pending{recoil.Answer{Value: value, Err: err}}
}

// WaitAll implements [recoil.Router].
func (c *Cluster) WaitAll(calls []recoil.Pending) []recoil.Answer {
	answers := make([]recoil.Answer, len(calls))
	for i, call := range calls {
		answers[i].Value, answers[i].Err = call.Wait()
	}
	return answers
}

// Transact implements [recoil.Router].
func (c *Cluster) Transact(calls []recoil.RoutedCall) ([][]byte, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	transactions, groups := map[*Partition]*tx{}, map[uint32]bool{}
	var order []*Partition
	for _, call := range calls {
		partition, err := c.place(call.To)
		if err != nil {
			return nil, err
		}
		order = append(order, partition)
		transactions[partition] = nil
		groups[partition.place.ID%c.groups] = true
	}
	if len(groups) > 1 {
		spans := fmt.Sprintf("the transaction spans groups %v", slices.Sorted(maps.Keys(groups)))
		return nil, &recoil.Error{Kind: recoil.ErrRejected, Message: spans}
	}
	for partition := range transactions {
		transactions[partition] = partition.begin()
	}
	answers, failure := make([][]byte, len(calls)), error(nil)
	for i, call := range calls {
		c.calls++
		answer, err := c.handle(transactions[order[i]], clone(call.Request))
		if answers[i] = clone(answer); err != nil {
			failure = rejected(err)
			break
		}
	}
	for _, partition := range slices.SortedFunc(maps.Keys(transactions), byID) {
		c.deliver(transactions[partition].end(failure == nil))
	}
	if failure != nil {
		return nil, failure
	}
	return answers, nil
}

func byID(a, b *Partition) int { return int(a.place.ID) - int(b.place.ID) }

// Scatter implements [recoil.Router].
func (c *Cluster) Scatter(request []byte, mode recoil.Mode) []recoil.Answer {
	calls := make([]recoil.RoutedCall, len(c.partitions))
	for id := range calls {
		calls[id] = recoil.RoutedCall{To: recoil.Partition(uint32(id)), Request: request, Mode: mode}
	}
	return c.CallMany(calls)
}

func (c *Cluster) info(id uint32) recoil.PartitionInfo {
	member := id%c.groups + 1
	return recoil.PartitionInfo{ID: id, Leader: &member, Replicas: []recoil.Node{member}, Epoch: 1}
}

// Locate implements [recoil.Router].
func (c *Cluster) Locate(key []byte) recoil.PartitionInfo { return c.info(c.Owner(key)) }

// Partitions implements [recoil.Router].
func (c *Cluster) Partitions() []recoil.PartitionInfo {
	infos := make([]recoil.PartitionInfo, len(c.partitions))
	for id := range infos {
		infos[id] = c.info(uint32(id))
	}
	return infos
}

// subscription is messages that wait for a subscriber.
type subscription struct {
	cluster  *Cluster
	topic    []byte
	messages [][]byte
}

func (c *Cluster) deliver(messages []Message) {
	for _, message := range messages {
		for _, s := range c.subscriptions {
			if bytes.Equal(message.Topic, s.topic) {
				s.messages = append(s.messages, message.Message)
			}
		}
	}
}

// Subscribe implements [recoil.Router].
func (c *Cluster) Subscribe(topic []byte) recoil.Subscription {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	s := &subscription{cluster: c, topic: clone(topic)}
	c.subscriptions = append(c.subscriptions, s)
	return s
}

// Next answers what is there: nothing comes while it would wait.
func (s *subscription) Next(time.Duration) ([]byte, bool) {
	s.cluster.mutex.Lock()
	defer s.cluster.mutex.Unlock()
	if len(s.messages) == 0 {
		return nil, false
	}
	message := s.messages[0]
	s.messages = s.messages[1:]
	return message, true
}

func (s *subscription) Close() error {
	s.cluster.mutex.Lock()
	defer s.cluster.mutex.Unlock()
	s.messages = nil
	s.cluster.subscriptions = slices.DeleteFunc(s.cluster.subscriptions, func(other *subscription) bool { return other == s })
	return nil
}
