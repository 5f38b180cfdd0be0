package main

import (
	"errors"
	"fmt"
	"testing"

	"recoil.dev/recoil"
	"recoil.dev/recoil/recoiltest"
)

func items(texts ...string) list {
	var items list
	for _, text := range texts {
		items = append(items, []byte(text))
	}
	return items
}

// The commands give the same answers on partitions in memory as on a cluster.
func TestCommandsRunInMemory(t *testing.T) {
	recoiltest.SetSetting(t, "greeting", "hello")
	cluster := recoiltest.NewCluster(handle, 4, 2)
	s := session{conn: recoiltest.NewConn(), router: cluster}
	in := func(request ...string) string { return string(items(request...).encode()) }
	for _, step := range []struct {
		request, answer list
	}{
		{items("echo", "a", ""), items("a", "")},
		{items("put", "k", "v"), nil},
		{items("get-many", "k", "absent"), items("+v", "")},
		{items("call", "write", "k", in("put", "row", "1")), nil},
		{items("call", "read", "k", in("get", "row")), items("1")},
		{items("transact", "k", in("put", "row", "2"), "k", in("get", "row")), items("", in("2"))},
		{items("subscribe", "topic"), nil},
		{items("call", "write", "k", in("publish", "topic", "news")), nil},
		{items("wait", "100"), items("message", "0")},
		{items("next", "0", "100"), items("news")},
		{items("setting", "greeting"), items("hello")},
		{items("churn", "1000"), items("2890")},
		{items("partitions"), items("4")},
	} {
		got, want := s.answer(step.request.encode()), encodeAnswer(step.answer, nil)
		if string(got) != string(want) {
			t.Errorf("%q: got %q, want %q", step.request, got, want)
		}
	}
}

func TestMistakesAreInvalid(t *testing.T) {
	s := session{conn: recoiltest.NewConn(), router: recoiltest.NewCluster(handle, 4, 2)}
	for _, request := range []list{
		nil, items("nonsense"), items("get"), items("scan", "a", "b", "1", "true"), items("call", "sometimes", "k", ""),
		items("next", "0", "1"), items("call-partition", "read", "-1", ""),
	} {
		answer := s.answer(request.encode())
		parts, err := parseList(answer[1:])
		if err != nil || answer[0] != 1 || string(parts[0]) != "invalid" {
			t.Errorf("%q: got %q", request, answer)
		}
	}
}

func TestAHandlersErrorIsItsText(t *testing.T) {
	s := session{conn: recoiltest.NewConn(), router: recoiltest.NewCluster(handle, 1, 1)}
	for text, request := range map[string]list{
		"on purpose":                            items("put-and-fail", "k", "v", "on purpose"),
		"invalid: there is no command nonsense": items("nonsense"),
	} {
		got := s.answer(items("call", "write", "k", string(request.encode())).encode())
		want := encodeAnswer(nil, &recoil.Error{Kind: recoil.ErrRejected, Message: text})
		if string(got) != string(want) {
			t.Error(fmt.Sprintf("%q: got %q, want %q", request, got, want))
		}
	}
}

func TestACommandGetsWhatAnotherHasPut(t *testing.T) {
	cluster := recoiltest.NewCluster(handle, 4, 2)
	for _, step := range []struct {
		typed       []string
		output, err string
	}{
		{[]string{"key", "put", "größe", "7"}, "", ""},
		{[]string{"key", "get", "größe"}, "7", ""},
		{[]string{"key", "get", "absent"}, "", "no such key"},
		{[]string{"echo", "größe", "", "a b"}, "[größe][][a b]", ""},
		{[]string{"fail", "no"}, "", "no"},
		{nil, "", "no such command"},
		{[]string{"key", "put", "k"}, "", "no such command"},
	} {
		output, err := run(step.typed, cluster)
		if err == nil {
			err = errors.New("")
		}
		if output != step.output || err.Error() != step.err {
			t.Errorf("%q: got %q, %v", step.typed, output, err)
		}
	}
}

// viewOfTwo has a node that is live and one that is not, and three partitions.
func viewOfTwo() recoil.View {
	labels := []recoil.Label{{Key: "region", Value: "eu"}, {Key: "zone", Value: "a"}}
	return recoil.View{
		Nodes: []recoil.ViewNode{
			{ID: 7, State: recoil.Draining, Locality: labels, CapacityBytes: 1<<64 - 1, UsedBytes: 5, CPULoad: 0.25},
			{ID: 9, CapacityBytes: 10},
		},
		Rules: []recoil.Rule{{Keyspace: 1, Replication: 2, Required: labels[:1], SpreadBy: []string{"zone"}}},
		Partitions: []recoil.ViewPartition{
			{Keyspace: 1, ID: 0, Replicas: []recoil.Node{7, 9}, Load: recoil.Load{ReadsPerSecond: 1.5, CPUSecondsPerSecond: 0.125, Bytes: 3}},
			{Keyspace: 1, ID: 1, Replicas: []recoil.Node{9, 8}},
			{Keyspace: 2, ID: 2},
		},
	}
}

func TestAPlanTellsWhatTheViewSays(t *testing.T) {
	plan, err := plan(viewOfTwo())
	want := "[{1 0 [9 7] node 7 draining region=eu,zone=a 5/18446744073709551615 250; rule 2 region=eu zone -; load 1500 0 125 3} " +
		"{2 2 [9] node 9 live - 0/10 0; rule none; load 0 0 0 0}]"
	if got := fmt.Sprint(plan); got != want || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestAPlanWithoutNodesIsAnError(t *testing.T) {
	if _, err := plan(recoil.View{}); err == nil || err.Error() != "no nodes" {
		t.Errorf("got %v", err)
	}
}
