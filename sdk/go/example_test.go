package recoil_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

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

// commands are what an operator finds by recoilctl APP --help.
var commands = []recoil.Command{{Words: "count", Usage: "KEY…", Help: "Count each key once more."}}

// run counts the keys that an operator typed.
func run(arguments []string, router recoil.Router) (string, error) {
	if len(arguments) < 2 || arguments[0] != "count" {
		return "", errors.New("write count KEY…")
	}
	var output strings.Builder
	for _, key := range arguments[1:] {
		answer, err := router.Call(recoil.Key([]byte(key)), []byte(key), recoil.Write)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&output, "%s: %s\n", key, answer)
	}
	return output.String(), nil
}

// A command reaches partitions by its router: a test gives it a cluster in memory.
func ExampleAdmin() {
	main := func() { recoil.Admin(commands, run) }
	main()

	cluster := recoiltest.NewCluster(count, 4, 2)
	output, err := run([]string{"count", "apple", "größe", "apple"}, cluster)
	fmt.Print(output)
	fmt.Println(err)
	_, err = run(nil, cluster)
	fmt.Println(err)
	// Output:
	// apple: 1
	// größe: 1
	// apple: 2
	// <nil>
	// write count KEY…
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
