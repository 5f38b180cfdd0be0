package recoiltest

import (
	"maps"
	"slices"
	"time"

	"recoil.dev/recoil"
)

// Partition is a partition in memory, with everything a transaction can do to it in plain sight.
type Partition struct {
	// Published is everything published so far, in commit order.
	Published []Message
	// Now is the time of the last transaction; each writing one is at least a microsecond later.
	Now time.Time
	// PageEntries is the most that a page of a scan holds, whatever was asked for.
	PageEntries int

	place     recoil.Place
	rows      rows
	timers    map[string]Timer
	committed uint64
}

// Timer is one that is set.
type Timer struct {
	At      time.Time
	Payload []byte
}

// NewPartition is an empty partition, the only one of its keyspace, at a time in 2025.
func NewPartition() *Partition { return newPartition(0, 1) }

func newPartition(id, count uint32) *Partition {
	return &Partition{
		Now:         time.UnixMicro(1_750_000_000_000_000),
		PageEntries: 100,
		place:       recoil.Place{Keyspace: "default", ID: id, Count: count, Epoch: 1},
		timers:      map[string]Timer{},
	}
}

// Write answers a request that may write, in a transaction of its own. An error has changed nothing.
func (p *Partition) Write(handle HandleFunc, request []byte) (answer []byte, err error) {
	err = p.Update(func(tx recoil.Tx) error {
		answer, err = handle(tx, request)
		return err
	})
	return answer, err
}

// Read answers a request that may only read.
func (p *Partition) Read(handle HandleFunc, request []byte) ([]byte, error) {
	view := p.view()
	defer view.end(false)
	return handle(view, request)
}

// Update runs body as a writing transaction: an error rolls it back.
func (p *Partition) Update(body func(tx recoil.Tx) error) error {
	tx := p.begin()
	err := body(tx)
	tx.end(err == nil)
	return err
}

// Advance lets time pass, and fires what comes due, in the order of time. It answers how many timers fired. A timer that
// fails stays, due a second later, and is tried again only if that second is within the time.
func (p *Partition) Advance(passed time.Duration, fire FireFunc) (fired int) {
	until := p.Now.Add(passed)
	for {
		id, timer, ok := p.nextTimer()
		if !ok || timer.At.After(until) {
			break
		}
		p.Now = later(p.Now, timer.At)
		err := p.Update(func(tx recoil.Tx) error {
			tx.CancelTimer([]byte(id))
			return fire(tx, []byte(id), clone(timer.Payload))
		})
		if err != nil {
			p.timers[id] = Timer{At: p.Now.Add(time.Second), Payload: timer.Payload}
		}
		fired++
	}
	p.Now = later(p.Now, until)
	return fired
}

func (p *Partition) nextTimer() (id string, timer Timer, ok bool) {
	for _, candidate := range slices.Sorted(maps.Keys(p.timers)) {
		if !ok || p.timers[candidate].At.Before(timer.At) {
			id, timer, ok = candidate, p.timers[candidate], true
		}
	}
	return id, timer, ok
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Timers are those that are set, by their ids.
func (p *Partition) Timers() map[string]Timer { return maps.Clone(p.timers) }

// Rows are all rows, in the order of their keys.
func (p *Partition) Rows() []recoil.Entry { return p.rows.page(recoil.Range{}, len(p.rows), false) }

// Get is the value of a row, outside of any transaction; nil if there is none.
func (p *Partition) Get(key []byte) []byte { return p.rows.get(key) }

// Put puts a row there, outside of any transaction.
func (p *Partition) Put(key, value []byte) { p.rows.put(key, value) }

// begin is a transaction that the caller ends.
func (p *Partition) begin() *tx {
	p.Now = p.Now.Add(time.Microsecond)
	return &tx{partition: p, rows: slices.Clone(p.rows), timers: maps.Clone(p.timers)}
}

// view is a read-only transaction.
func (p *Partition) view() *tx {
	return &tx{partition: p, rows: p.rows, timers: p.timers, readOnly: true}
}

// commit takes over what a transaction has done, and answers what it has published.
func (p *Partition) commit(t *tx) []Message {
	p.rows, p.timers = t.rows, t.timers
	p.Published = append(p.Published, t.published...)
	p.committed++
	return t.published
}
