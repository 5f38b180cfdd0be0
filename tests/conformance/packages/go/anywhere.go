package main

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"time"

	"recoil.dev/recoil"
)

// anywhere runs the commands that run in handlers and listeners; false if it is none of them.
func anywhere(command string, a *arguments, storage recoil.Storage) (answer list, err error, known bool) {
	switch command {
	case "echo":
		answer = a.rest
	case "get":
		if key := a.bytes(); a.err == nil {
			answer, err = one(storage.Get(key))
		}
	case "get-many":
		var values [][]byte
		values, err = storage.GetMany(a.rest)
		for _, value := range values {
			answer = append(answer, option(value))
		}
	case "put":
		if key, value := a.bytes(), a.bytes(); a.err == nil {
			err = storage.Put(key, value)
		}
	case "put-many":
		var entries []recoil.Entry
		for len(a.rest) > 0 {
			entries = append(entries, recoil.Entry{Key: a.bytes(), Value: a.bytes()})
		}
		if a.err == nil {
			err = storage.PutMany(entries)
		}
	case "bump":
		if key, value := a.bytes(), a.bytes(); a.err == nil {
			var before []byte
			if before, err = storage.Get(key); err == nil {
				answer, err = list{option(before)}, storage.Put(key, value)
			}
		}
	case "remove":
		if key := a.bytes(); a.err == nil {
			err = storage.Delete(key)
		}
	case "remove-range":
		if within := (recoil.Range{Start: a.bytes(), End: a.option()}); a.err == nil {
			err = storage.DeleteRange(within)
		}
	case "scan":
		within, limit, reverse := recoil.Range{Start: a.bytes(), End: a.option()}, a.number(31), a.truth()
		if a.err == nil {
			answer, err = scan(storage, within, int(limit), reverse)
		}
	case "log":
		level, text := a.level(), a.text()
		if a.err == nil {
			recoil.Log(level, text)
		}
	case "print":
		if text := a.text(); a.err == nil {
			fmt.Println(text)
		}
	case "setting":
		if value, ok := recoil.Setting(a.text()); ok && a.err == nil {
			answer = list{[]byte(value)}
		}
	case "churn":
		if count := a.number(31); a.err == nil {
			answer = list{number(churn(int(count)))}
		}
	case "clock":
		answer = list{number(time.Now().UnixMicro())}
	case "random":
		data := make([]byte, 16)
		rand.Read(data)
		answer = list{data}
	default:
		return nil, nil, false
	}
	return answer, err, true
}

// one is an answer of the value, or of no items.
func one(value []byte, err error) (list, error) {
	if value == nil {
		return nil, err
	}
	return list{value}, err
}

func scan(storage recoil.Storage, within recoil.Range, limit int, reverse bool) (list, error) {
	entries, err := storage.ScanPage(within, limit, reverse)
	var answer list
	for _, entry := range entries {
		answer = append(answer, entry.Key, entry.Value)
	}
	return answer, err
}

func (a *arguments) level() recoil.Level {
	text := a.text()
	levels := []recoil.Level{recoil.LevelTrace, recoil.LevelDebug, recoil.LevelInfo, recoil.LevelWarn, recoil.LevelError}
	at := slices.IndexFunc(levels, func(level recoil.Level) bool { return level.String() == text })
	if at < 0 {
		a.fail("not a level: " + text)
		return 0
	}
	return levels[at]
}

func churn(count int) int {
	kept := map[int]string{}
	for n := range count {
		kept[n] = strconv.Itoa(n)
	}
	sum := 0
	for _, text := range kept {
		sum += len(text)
	}
	return sum
}
