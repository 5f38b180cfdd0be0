package main

import (
	"strconv"
	"strings"

	"recoil.dev/recoil"
)

// routed runs the commands of the listener that the HTTP handler has too; false if it is none of them.
func routed(command string, a *arguments, router recoil.Router) (answer list, err error, known bool) {
	switch command {
	case "call":
		if mode, key, request := a.mode(), a.bytes(), a.bytes(); a.err == nil {
			answer, err = handled(router.Call(recoil.Key(key), request, mode))
		}
	case "call-partition":
		if mode, id, request := a.mode(), a.number(31), a.bytes(); a.err == nil {
			answer, err = handled(router.Call(recoil.Partition(uint32(id)), request, mode))
		}
	case "call-many":
		if calls := a.calls(a.mode()); a.err == nil {
			answer = each(router.CallMany(calls))
		}
	case "submit":
		if calls := a.calls(a.mode()); a.err == nil {
			var pending []recoil.Pending
			for _, call := range calls {
				pending = append(pending, router.Submit(call.To, call.Request, call.Mode))
			}
			answer = each(router.WaitAll(pending))
		}
	case "leave":
		if count, key, request := a.number(31), a.bytes(), a.bytes(); a.err == nil {
			for range count {
				router.Submit(recoil.Key(key), request, recoil.Write)
			}
		}
	case "transact":
		if calls := a.calls(recoil.Write); a.err == nil {
			answer, err = router.Transact(calls)
		}
	case "scatter":
		if mode, request := a.mode(), a.bytes(); a.err == nil {
			answer = each(router.Scatter(request, mode))
		}
	case "locate":
		if key := a.bytes(); a.err == nil {
			answer = located(router.Locate(key))
		}
	case "partitions":
		answer = list{number(len(router.Partitions()))}
	default:
		return nil, nil, false
	}
	return answer, err, true
}

// calls are the rest of the arguments, as pairs of key and request.
func (a *arguments) calls(mode recoil.Mode) []recoil.RoutedCall {
	var calls []recoil.RoutedCall
	for len(a.rest) > 0 {
		calls = append(calls, recoil.RoutedCall{To: recoil.Key(a.bytes()), Request: a.bytes(), Mode: mode})
	}
	return calls
}

// handled is a handler's answer.
func handled(answer []byte, err error) (list, error) {
	if err != nil {
		return nil, err
	}
	return parseList(answer)
}

// each makes an item of each answer.
func each(answers []recoil.Answer) list {
	var items list
	for _, answer := range answers {
		items = append(items, encodeAnswer(handled(answer.Value, answer.Err)))
	}
	return items
}

func located(info recoil.PartitionInfo) list {
	var leader []byte
	if info.Leader != nil {
		leader = option(number(*info.Leader))
	}
	var replicas []string
	for _, node := range info.Replicas {
		replicas = append(replicas, strconv.FormatUint(uint64(node), 10))
	}
	return list{number(info.ID), leader, []byte(strings.Join(replicas, ",")), number(info.Epoch)}
}
