package recoiltest

import (
	"bytes"
	"iter"
	"slices"

	"recoil.dev/recoil"
)

// storage is a listener's: each call is one operation on the partition that owns the key.
type storage struct{ cluster *Cluster }

// Storage implements [recoil.Router].
func (c *Cluster) Storage() recoil.Storage { return storage{c} }

// on runs a write as a transaction of a partition.
func (s storage) on(to recoil.Address, body func(tx recoil.Tx) error) error {
	s.cluster.mutex.Lock()
	defer s.cluster.mutex.Unlock()
	partition, err := s.cluster.place(to)
	if err != nil {
		return err
	}
	return partition.Update(body)
}

func (s storage) Get(key []byte) ([]byte, error) {
	s.cluster.mutex.Lock()
	defer s.cluster.mutex.Unlock()
	partition, err := s.cluster.place(recoil.Key(key))
	if err != nil {
		return nil, err
	}
	return partition.Get(key), nil
}

func (s storage) GetMany(keys [][]byte) ([][]byte, error) {
	values := make([][]byte, len(keys))
	for i, key := range keys {
		value, err := s.Get(key)
		if err != nil {
			return nil, err
		}
		values[i] = value
	}
	return values, nil
}

func (s storage) Put(key, value []byte) error {
	return s.on(recoil.Key(key), func(tx recoil.Tx) error { return tx.Put(key, value) })
}

func (s storage) PutMany(entries []recoil.Entry) error {
	for _, entry := range entries {
		if err := s.Put(entry.Key, entry.Value); err != nil {
			return err
		}
	}
	return nil
}

func (s storage) Delete(key []byte) error {
	return s.on(recoil.Key(key), func(tx recoil.Tx) error { return tx.Delete(key) })
}

func (s storage) DeleteRange(within recoil.Range) error {
	for id := range s.cluster.partitions {
		err := s.on(recoil.Partition(uint32(id)), func(tx recoil.Tx) error { return tx.DeleteRange(within) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (s storage) ScanPage(within recoil.Range, limit int, reverse bool) ([]recoil.Entry, error) {
	s.cluster.mutex.Lock()
	defer s.cluster.mutex.Unlock()
	var found rows
	for id := range s.cluster.partitions {
		partition, err := s.cluster.place(recoil.Partition(uint32(id)))
		if err != nil {
			return nil, err
		}
		limit = min(limit, partition.PageEntries)
		found = append(found, partition.rows...)
	}
	slices.SortFunc(found, func(a, b recoil.Entry) int { return bytes.Compare(a.Key, b.Key) })
	return found.page(within, limit, reverse), nil
}

func (s storage) Scan(within recoil.Range) iter.Seq2[recoil.Entry, error] {
	return recoil.Pages(s, within, false)
}

func (s storage) ScanReverse(within recoil.Range) iter.Seq2[recoil.Entry, error] {
	return recoil.Pages(s, within, true)
}
