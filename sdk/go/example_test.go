package recoil_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"recoil.dev/recoil"
	"recoil.dev/recoil/recoiltest"
)

// count counts requests for each key.
func count(tx recoil.Tx, key []byte) ([]byte, error) {
	value, err := tx.Get(key)
	if err != nil {
		return nil, err
	}
	seen := 0
	if value != nil {
		if seen, err = strconv.Atoi(string(value)); err != nil {
			return nil, err
		}
	}
	answer := strconv.AppendInt(nil, int64(seen+1), 10)
	return answer, tx.Put(key, answer)
}

// What main registers runs in a test on partitions in memory.
func Example() {
	main := func() { recoil.Handler(count) }
	main()

	partition := recoiltest.NewPartition()
	for range 2 {
		answer, err := partition.Write(count, []byte("apple"))
		fmt.Printf("%s %v\n", answer, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
}

// A range over Scan reads page by page.
func ExampleStorage() {
	partition := recoiltest.NewPartition()
	err := partition.Update(func(tx recoil.Tx) error {
		for _, name := range []string{"fruit/apple", "fruit/pear", "tree/oak"} {
			if err := tx.Put([]byte(name), []byte("1")); err != nil {
				return err
			}
		}
		for entry, err := range tx.Scan(recoil.Prefix([]byte("fruit/"))) {
			if err != nil {
				return err
			}
			fmt.Printf("%s\n", entry.Key)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// fruit/apple
	// fruit/pear
	// <nil>
}

// firstLive keeps each partition on the nodes that serve, the first ones of the view.
func firstLive(view recoil.View) ([]recoil.Placement, error) {
	var live []recoil.Node
	for _, node := range view.Nodes {
		if node.State == recoil.Live && len(live) < 3 {
			live = append(live, node.ID)
		}
	}
	if len(live) == 0 {
		return nil, errors.New("no node is live")
	}
	var plan []recoil.Placement
	for _, p := range view.Partitions {
		if !slices.Equal(p.Replicas, live) {
			plan = append(plan, recoil.Placement{Keyspace: p.Keyspace, ID: p.ID, Replicas: live, Reason: "the first that are live"})
		}
	}
	return plan, nil
}

// A plan is a function of its view: a test needs no cluster.
func ExampleScheduler() {
	main := func() { recoil.Scheduler(firstLive) }
	main()

	plan, err := firstLive(recoil.View{
		Nodes:      []recoil.ViewNode{{ID: 1, State: recoil.Down}, {ID: 2}, {ID: 3}},
		Partitions: []recoil.ViewPartition{{ID: 0, Replicas: []recoil.Node{2, 3}}, {ID: 1}},
	})
	fmt.Println(plan, err)
	_, err = firstLive(recoil.View{})
	fmt.Println(err)
	// Output:
	// [{0 1 [2 3] the first that are live}] <nil>
	// no node is live
}
