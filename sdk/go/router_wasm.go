package recoil

import (
	"runtime"
	"slices"
	"structs"
	"time"
	"unsafe"

	"recoil.dev/recoil/internal/abi"
)

// An address is flattened to whether it is an id, and address and length of the key or the id and zero.

//go:wasmimport recoil:plugin/router@0.1.0 call
//go:noescape
func routerCall(byID bool, keyAtOrID, keyLength uint32, request string, mode uint32, result *[4]uint32)

//go:wasmimport recoil:plugin/router@0.1.0 call-many
//go:noescape
func routerCallMany(calls *routedCall, count uint32, result *[2]uint32)

//go:wasmimport recoil:plugin/router@0.1.0 submit
//go:noescape
func routerSubmit(byID bool, keyAtOrID, keyLength uint32, request string, mode uint32) uint32

//go:wasmimport recoil:plugin/router@0.1.0 wait
//go:noescape
func routerWait(pending uint32, result *[4]uint32)

//go:wasmimport recoil:plugin/router@0.1.0 wait-all
//go:noescape
func routerWaitAll(pendings *uint32, count uint32, result *[2]uint32)

//go:wasmimport recoil:plugin/router@0.1.0 [method]pending.is-ready
func pendingIsReady(pending uint32) bool

//go:wasmimport recoil:plugin/router@0.1.0 [resource-drop]pending
func pendingDrop(pending uint32)

//go:wasmimport recoil:plugin/router@0.1.0 transact
//go:noescape
func routerTransact(calls *routedCall, count uint32, result *[4]uint32)

//go:wasmimport recoil:plugin/router@0.1.0 scatter
//go:noescape
func routerScatter(request string, mode uint32, result *[2]uint32)

//go:wasmimport recoil:plugin/router@0.1.0 locate
//go:noescape
func routerLocate(key string, result *locatedPartition)

//go:wasmimport recoil:plugin/router@0.1.0 partitions
//go:noescape
func routerPartitions(result *[2]uint32)

//go:wasmimport recoil:plugin/router@0.1.0 subscribe
//go:noescape
func routerSubscribe(topic string) uint32

//go:wasmimport recoil:plugin/router@0.1.0 [method]subscription.next
//go:noescape
func subscriptionNext(subscription, timeoutMilliseconds uint32, result *[3]uint32)

//go:wasmimport recoil:plugin/router@0.1.0 [resource-drop]subscription
func subscriptionDrop(subscription uint32)

type routedCall struct {
	_                        structs.HostLayout
	byID                     uint32
	keyAtOrID, keyLength     uint32
	requestAt, requestLength uint32
	mode                     uint32
}

type locatedPartition struct {
	_                          structs.HostLayout
	id                         uint32
	hasLeader                  uint32
	leader                     uint32
	replicasAt, replicasLength uint32
	_                          uint32
	epoch                      uint64
}

// hostRouter is the host's router: each method is one call of the contract.
type hostRouter struct{}

var callKinds = [...]Kind{ErrRejected, ErrFailed, ErrUnknownOutcome, ErrUnavailable, ErrConflict}

func lowerAddress(to Address) (keyAtOrID, keyLength uint32) {
	if to.ByID {
		return to.ID, 0
	}
	return abi.Lower(to.Key)
}

func lowerCalls(calls []RoutedCall) []routedCall {
	list := make([]routedCall, len(calls))
	for i, call := range calls {
		list[i].keyAtOrID, list[i].keyLength = lowerAddress(call.To)
		list[i].requestAt, list[i].requestLength = abi.Lower(call.Request)
		list[i].mode = uint32(call.Mode)
		if call.To.ByID {
			list[i].byID = 1
		}
	}
	return list
}

// callError is the error in a result; nil if there is none.
func callError(result *[4]uint32) error {
	if abi.Tag(result[0]) == 0 {
		return nil
	}
	return variantError(callKinds[:], ErrConflict, result[1], result[2], result[3])
}

func answer(result *[4]uint32) ([]byte, error) {
	if err := callError(result); err != nil {
		return nil, err
	}
	return abi.Bytes(result[1], result[2]), nil
}

func answers(list [2]uint32) []Answer {
	lifted := make([]Answer, list[1])
	for i, result := range abi.Items[[4]uint32](list[0], list[1]) {
		lifted[i].Value, lifted[i].Err = answer(&result)
	}
	return lifted
}

func (hostRouter) Call(to Address, request []byte, mode Mode) ([]byte, error) {
	var result [4]uint32
	keyAtOrID, keyLength := lowerAddress(to)
	abi.Enter()
	defer abi.Leave()
	routerCall(to.ByID, keyAtOrID, keyLength, abi.View(request), uint32(mode), &result)
	runtime.KeepAlive(to.Key)
	return answer(&result)
}

func (hostRouter) CallMany(calls []RoutedCall) []Answer {
	list := lowerCalls(calls)
	var result [2]uint32
	abi.Enter()
	defer abi.Leave()
	routerCallMany(unsafe.SliceData(list), uint32(len(list)), &result)
	runtime.KeepAlive(calls)
	return answers(result)
}

func (hostRouter) Submit(to Address, request []byte, mode Mode) Pending {
	dropForgotten()
	keyAtOrID, keyLength := lowerAddress(to)
	handle := routerSubmit(to.ByID, keyAtOrID, keyLength, abi.View(request), uint32(mode))
	runtime.KeepAlive(to.Key)
	return newPending(handle)
}

func (hostRouter) WaitAll(calls []Pending) []Answer {
	var handles []uint32
	var waiting []*hostPending
	for _, call := range calls {
		if pending := call.(*hostPending); pending.take() { // not yet waited for, and not in the list before
			waiting = append(waiting, pending)
			handles = append(handles, pending.handle)
		}
	}
	var result [2]uint32
	abi.Enter()
	defer abi.Leave()
	routerWaitAll(unsafe.SliceData(handles), uint32(len(handles)), &result)
	for i, answer := range answers(result) {
		waiting[i].answer = answer
	}
	all := make([]Answer, len(calls))
	for i, call := range calls {
		all[i] = call.(*hostPending).answer
	}
	return all
}

func (hostRouter) Transact(calls []RoutedCall) ([][]byte, error) {
	list := lowerCalls(calls)
	var result [4]uint32
	abi.Enter()
	defer abi.Leave()
	routerTransact(unsafe.SliceData(list), uint32(len(list)), &result)
	runtime.KeepAlive(calls)
	if err := callError(&result); err != nil {
		return nil, err
	}
	values := make([][]byte, result[2])
	for i, value := range abi.Items[[2]uint32](result[1], result[2]) {
		values[i] = abi.Bytes(value[0], value[1])
	}
	return values, nil
}

func (hostRouter) Scatter(request []byte, mode Mode) []Answer {
	var result [2]uint32
	abi.Enter()
	defer abi.Leave()
	routerScatter(abi.View(request), uint32(mode), &result)
	return answers(result)
}

func (p *locatedPartition) info() PartitionInfo {
	return PartitionInfo{
		ID:       p.id,
		Leader:   optionalNode(p.hasLeader, p.leader),
		Replicas: slices.Clone(abi.Items[Node](p.replicasAt, p.replicasLength)),
		Epoch:    p.epoch,
	}
}

func (hostRouter) Locate(key []byte) PartitionInfo {
	var result locatedPartition
	abi.Enter()
	defer abi.Leave()
	routerLocate(abi.View(key), &result)
	return result.info()
}

func (hostRouter) Partitions() []PartitionInfo {
	var result [2]uint32
	abi.Enter()
	defer abi.Leave()
	routerPartitions(&result)
	partitions := make([]PartitionInfo, result[1])
	for i, partition := range abi.Items[locatedPartition](result[0], result[1]) {
		partitions[i] = partition.info()
	}
	return partitions
}

func (hostRouter) Storage() Storage { return hostStorage{} }

func (hostRouter) Subscribe(topic []byte) Subscription {
	subscription := &hostSubscription{handle: routerSubscribe(abi.View(topic))}
	subscription.cleanup = runtime.AddCleanup(subscription, subscriptionDrop, subscription.handle)
	return subscription
}

// hostPending is a call under way. The collector drops it if nobody waits.
type hostPending struct {
	handle  uint32
	taken   bool
	answer  Answer
	cleanup runtime.Cleanup
}

// pendings counts calls under way that were neither waited for nor dropped, of which the host allows a thousand or so: those
// that the program has forgotten are collected before there are too many.
var pendings, collectAt = 0, collectEvery

const collectEvery = 256

func dropForgotten() {
	if pendings < collectAt {
		return
	}
	runtime.GC()
	runtime.Gosched() // lets the cleanups run
	collectAt = pendings + collectEvery
}

func newPending(handle uint32) *hostPending {
	pending := &hostPending{handle: handle}
	pending.cleanup = runtime.AddCleanup(pending, func(handle uint32) {
		pendingDrop(handle)
		pendings--
	}, handle)
	pendings++
	return pending
}

// take gives the handle to whoever is about to wait; false if somebody did before.
func (p *hostPending) take() bool {
	if p.taken {
		return false
	}
	p.taken = true
	p.cleanup.Stop()
	pendings--
	return true
}

func (p *hostPending) Ready() bool { return p.taken || pendingIsReady(p.handle) }

func (p *hostPending) Wait() ([]byte, error) {
	if p.take() {
		var result [4]uint32
		abi.Enter()
		defer abi.Leave()
		routerWait(p.handle, &result)
		p.answer.Value, p.answer.Err = answer(&result)
	}
	return p.answer.Value, p.answer.Err
}

type hostSubscription struct {
	handle  uint32
	closed  bool
	cleanup runtime.Cleanup
}

func (s *hostSubscription) Next(timeout time.Duration) ([]byte, bool) {
	if s.closed {
		return nil, false
	}
	var result [3]uint32
	abi.Enter()
	defer abi.Leave()
	subscriptionNext(s.handle, milliseconds(timeout), &result)
	runtime.KeepAlive(s)
	message := optionalBytes(result[0], result[1], result[2])
	return message, message != nil
}

func (s *hostSubscription) Close() error {
	if !s.closed {
		s.closed = true
		s.cleanup.Stop()
		subscriptionDrop(s.handle)
	}
	return nil
}

// milliseconds is a timeout as the contract has it, rounded up so that a short one is not none at all.
func milliseconds(timeout time.Duration) uint32 {
	return bounded(int((max(timeout, 0) + time.Millisecond - 1) / time.Millisecond))
}
