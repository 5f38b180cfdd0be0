package recoil_test

import (
	"fmt"
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
