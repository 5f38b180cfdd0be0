package recoiltest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"recoil.dev/recoil"
	"recoil.dev/recoil/recoiltest"
)

// handle puts, publishes and sets a timer, unless the call is a read, and refuses "bad" after all that.
func handle(tx recoil.Tx, request []byte) ([]byte, error) {
	if !tx.IsReadOnly() {
		if err := tx.Put([]byte("row"), request); err != nil {
			return nil, err
		}
		tx.Publish([]byte("topic"), request)
		tx.SetTimer([]byte("timer"), tx.Now().Add(10*time.Microsecond), request)
	}
	if string(request) == "bad" {
		return nil, errors.New("refused")
	}
	return tx.Get([]byte("row"))
}

func fire(tx recoil.Tx, id, payload []byte) error {
	if err := tx.Put(id, payload); err != nil {
		return err
	}
	if string(payload) == "fails" {
		return errors.New("not yet")
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnErrorRollsBackRowsTimersAndMessages(t *testing.T) {
	partition := recoiltest.NewPartition()
	_, err := partition.Write(handle, []byte("good"))
	must(t, err)
	now := partition.Now
	if _, err := partition.Write(handle, []byte("bad")); err == nil || err.Error() != "refused" {
		t.Errorf("got %v", err)
	}
	timer := partition.Timers()["timer"]
	if string(partition.Get([]byte("row"))) != "good" || len(partition.Published) != 1 || string(timer.Payload) != "good" {
		t.Errorf("rows %q, messages %q, timer %q", partition.Rows(), partition.Published, timer.Payload)
	}
	if !partition.Now.After(now) || !timer.At.Equal(now.Add(10*time.Microsecond)) {
		t.Errorf("now %v, then %v, timer at %v", now, partition.Now, timer.At)
	}
}

func TestATimerFiresWhenDueAndAgainWhenItFailed(t *testing.T) {
	partition := recoiltest.NewPartition()
	_, err := partition.Write(handle, []byte("good"))
	must(t, err)
	if early, due := partition.Advance(9*time.Microsecond, fire), partition.Advance(time.Microsecond, fire); early != 0 || due != 1 {
		t.Errorf("fired %d and %d", early, due)
	}
	if string(partition.Get([]byte("timer"))) != "good" || len(partition.Timers()) != 0 {
		t.Error("the timer's transaction was not committed, or the timer stays")
	}
	_, err = partition.Write(handle, []byte("fails"))
	must(t, err)
	if fired := partition.Advance(100*time.Microsecond, fire); fired != 1 || len(partition.Timers()) != 1 {
		t.Errorf("fired %d, left %v", fired, partition.Timers())
	}
	if string(partition.Get([]byte("timer"))) != "good" {
		t.Error("a timer that failed has written")
	}
}

func TestAReadRefusesWritesAndLimitsHold(t *testing.T) {
	partition := recoiltest.NewPartition()
	put := func(key string, bytes int) recoiltest.HandleFunc {
		return func(tx recoil.Tx, _ []byte) ([]byte, error) { return nil, tx.Put([]byte(key), make([]byte, bytes)) }
	}
	if _, err := partition.Read(put("k", 1), nil); !errors.Is(err, recoil.ErrReadOnly) {
		t.Errorf("a read has written: %v", err)
	}
	if _, err := partition.Write(put("k", 8<<20+1), nil); !errors.Is(err, recoil.ErrTooLarge) {
		t.Errorf("a large value: %v", err)
	}
	err := partition.Update(func(tx recoil.Tx) error {
		return errors.Join(tx.Put([]byte("k"), make([]byte, 8<<20)), tx.Put([]byte("l"), make([]byte, 8<<20)))
	})
	if !errors.Is(err, recoil.ErrTooLarge) || len(partition.Rows()) != 0 {
		t.Errorf("a large transaction: %v, %d rows", err, len(partition.Rows()))
	}
}

func TestATransactionIsTheCalls(t *testing.T) {
	var kept recoil.Tx
	_, err := recoiltest.NewPartition().Write(func(tx recoil.Tx, _ []byte) ([]byte, error) { kept = tx; return nil, nil }, nil)
	must(t, err)
	defer func() {
		if recover() == nil {
			t.Error("it can be used afterwards")
		}
	}()
	kept.Now()
}

func TestATransactionOfCallsIsAllOrNothingAndWithinOneGroup(t *testing.T) {
	cluster := recoiltest.NewCluster(handle, 6, 3)
	subscription := cluster.Subscribe([]byte("topic"))
	to := func(id uint32, request string) recoil.RoutedCall {
		return recoil.RoutedCall{To: recoil.Partition(id), Request: []byte(request)}
	}
	answers, err := cluster.Transact([]recoil.RoutedCall{to(1, "a"), to(4, "b")})
	if must(t, err); fmt.Sprintf("%s", answers) != "[a b]" {
		t.Errorf("got %s", answers)
	}
	for _, calls := range [][]recoil.RoutedCall{{to(1, "c"), to(4, "bad")}, {to(1, "c"), to(2, "c")}} {
		if _, err := cluster.Transact(calls); !errors.Is(err, recoil.ErrRejected) {
			t.Errorf("got %v", err)
		}
	}
	if a, b := cluster.Partition(1).Get([]byte("row")), cluster.Partition(4).Get([]byte("row")); string(a)+string(b) != "ab" {
		t.Errorf("rows %q %q", a, b)
	}
	var messages []string
	for {
		message, ok := subscription.Next(0)
		if !ok {
			break
		}
		messages = append(messages, string(message))
	}
	if !slices.Equal(messages, []string{"a", "b"}) {
		t.Errorf("messages %q", messages)
	}
}

func TestCallsGoToTheirPartitionAndFailByThemselves(t *testing.T) {
	cluster := recoiltest.NewCluster(handle, 4, 2)
	key := []byte("some key")
	owner := cluster.Owner(key)
	_, err := cluster.Call(recoil.Key(key), []byte("v"), recoil.Write)
	must(t, err)
	if cluster.Locate(key).ID != owner || string(cluster.Partition(owner).Get([]byte("row"))) != "v" {
		t.Error("the call went elsewhere")
	}
	broken := (owner + 1) % 4
	cluster.Fail(broken, &recoil.Error{Kind: recoil.ErrUnavailable, Message: "gone"})
	for id, answer := range cluster.Scatter(nil, recoil.Read) {
		if failed := errors.Is(answer.Err, recoil.ErrUnavailable); failed != (uint32(id) == broken) {
			t.Errorf("partition %d: %v", id, answer.Err)
		}
	}
	cluster.Fail(broken, nil)
	pending := []recoil.Pending{cluster.Submit(recoil.Key(key), nil, recoil.Read), cluster.Submit(recoil.Partition(4), nil, recoil.Read)}
	answers := cluster.WaitAll(pending)
	if string(answers[0].Value) != "v" || !errors.Is(answers[1].Err, recoil.ErrRejected) {
		t.Errorf("got %v", answers)
	}
}

func TestAListenersStorageReachesAllPartitions(t *testing.T) {
	cluster := recoiltest.NewCluster(handle, 4, 2)
	storage := cluster.Storage()
	var keys [][]byte
	for n := range 250 {
		key := fmt.Appendf(nil, "%03d", n)
		keys = append(keys, key)
		must(t, storage.Put(key, key))
	}
	n := 0
	for entry, err := range storage.Scan(recoil.Range{}) {
		if err != nil || string(entry.Key) != string(keys[n]) {
			t.Fatalf("got %q %v, want %q", entry.Key, err, keys[n])
		}
		n++
	}
	must(t, storage.DeleteRange(recoil.Range{Start: []byte("001")}))
	values, err := storage.GetMany(keys[:2])
	if must(t, err); n != 250 || string(values[0]) != "000" || values[1] != nil {
		t.Errorf("%d entries; %q are left", n, values)
	}
}

func TestAConnectionSaysWhatItWasGiven(t *testing.T) {
	cluster := recoiltest.NewCluster(handle, 1, 1)
	subscription := cluster.Subscribe([]byte("topic"))
	conn := recoiltest.NewConn("abc", "", "d")
	if event := conn.WaitAny(0, subscription); event.Kind != recoil.Readable {
		t.Errorf("got %v", event)
	}
	_, err := cluster.Call(recoil.Partition(0), []byte("v"), recoil.Write)
	must(t, err)
	if event := conn.WaitAny(0, cluster.Subscribe(nil), subscription); event.Kind != recoil.Message || event.Subscription != 1 {
		t.Errorf("got %v", event)
	}
	data := make([]byte, 2)
	for _, want := range []string{"ab", "c", "d"} {
		if count, err := conn.Read(data); err != nil || string(data[:count]) != want {
			t.Errorf("got %q %v, want %q", data[:count], err, want)
		}
	}
	must(t, conn.Close())
	if _, err := conn.Write(data); !errors.Is(err, recoil.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
