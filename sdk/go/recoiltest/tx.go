package recoiltest

import (
	"fmt"
	"iter"
	"time"

	"recoil.dev/recoil"
)

// The contract's default limits.
const (
	keyBytesMax         = 65_514
	valueBytesMax       = 8 << 20
	transactionBytesMax = 16 << 20
)

// tx is a call in progress on a [Partition]: it works on copies, which a commit puts in place.
type tx struct {
	partition *Partition
	rows      rows
	timers    map[string]Timer
	published []Message
	bytes     int
	readOnly  bool
	ended     bool
}

// end commits, or forgets, what the transaction has done. It answers what was published.
func (t *tx) end(commit bool) (published []Message) {
	t.ended = true
	if commit && !t.readOnly {
		return t.partition.commit(t)
	}
	return nil
}

func (t *tx) check() {
	if t.ended {
		panic("recoiltest: the transaction was used after its handler had returned")
	}
}

// checkEffect is check for what ends the instance in a read-only call.
func (t *tx) checkEffect(what string) {
	if t.check(); t.readOnly {
		panic("recoiltest: " + what + " in a read-only call, which ends the instance")
	}
}

// checkWrite counts the bytes of a write, and says why it is refused.
func (t *tx) checkWrite(bytes int) error {
	if t.check(); t.readOnly {
		return &recoil.Error{Kind: recoil.ErrReadOnly}
	}
	if err := checkSize("the writes of the transaction come to", t.bytes+bytes, transactionBytesMax); err != nil {
		return err
	}
	t.bytes += bytes
	return nil
}

func checkSize(what string, bytes, limit int) error {
	if bytes <= limit {
		return nil
	}
	return &recoil.Error{Kind: recoil.ErrTooLarge, Message: fmt.Sprintf("%s %d bytes: the limit is %d", what, bytes, limit)}
}

func (t *tx) Get(key []byte) ([]byte, error) {
	t.check()
	return t.rows.get(key), nil
}

func (t *tx) GetMany(keys [][]byte) ([][]byte, error) {
	t.check()
	values := make([][]byte, len(keys))
	for i, key := range keys {
		values[i] = t.rows.get(key)
	}
	return values, nil
}

func (t *tx) Put(key, value []byte) error {
	if err := checkSize("the key has", len(key), keyBytesMax); err != nil {
		return err
	}
	if err := checkSize("the value has", len(value), valueBytesMax); err != nil {
		return err
	}
	if err := t.checkWrite(len(key) + len(value)); err != nil {
		return err
	}
	t.rows.put(key, value)
	return nil
}

func (t *tx) PutMany(entries []recoil.Entry) error {
	for _, entry := range entries {
		if err := t.Put(entry.Key, entry.Value); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) Delete(key []byte) error {
	if err := t.checkWrite(len(key)); err != nil {
		return err
	}
	t.rows.remove(key)
	return nil
}

func (t *tx) DeleteRange(within recoil.Range) error {
	if err := t.checkWrite(len(within.Start) + len(within.End)); err != nil {
		return err
	}
	t.rows.removeRange(within)
	return nil
}

func (t *tx) ScanPage(within recoil.Range, limit int, reverse bool) ([]recoil.Entry, error) {
	t.check()
	return t.rows.page(within, min(limit, t.partition.PageEntries), reverse), nil
}

func (t *tx) Scan(within recoil.Range) iter.Seq2[recoil.Entry, error] {
	return recoil.Pages(t, within, false)
}

func (t *tx) ScanReverse(within recoil.Range) iter.Seq2[recoil.Entry, error] {
	return recoil.Pages(t, within, true)
}

func (t *tx) Place() recoil.Place {
	t.check()
	return t.partition.place
}

func (t *tx) Now() time.Time {
	t.check()
	return t.partition.Now
}

func (t *tx) IsReadOnly() bool {
	t.check()
	return t.readOnly
}

func (t *tx) SetTimer(id []byte, at time.Time, payload []byte) {
	t.checkEffect("SetTimer")
	t.timers[string(id)] = Timer{At: at, Payload: clone(payload)}
}

func (t *tx) CancelTimer(id []byte) {
	t.checkEffect("CancelTimer")
	delete(t.timers, string(id))
}

func (t *tx) Publish(topic, message []byte) {
	t.check()
	t.published = append(t.published, Message{Topic: clone(topic), Message: clone(message)})
}

func (t *tx) Consensus() recoil.GroupStatus {
	t.check()
	member, committed := recoil.Node(1), t.partition.committed
	return recoil.GroupStatus{
		Group: 1, Role: recoil.Leader, Term: 1, Leader: &member,
		Committed: committed, Applied: committed, Voters: []recoil.Node{member},
	}
}

func (t *tx) Barrier() (uint64, error) {
	t.check()
	return t.partition.committed, nil
}
