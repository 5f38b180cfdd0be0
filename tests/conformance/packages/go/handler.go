package main

import (
	"errors"
	"os"
	"time"

	"recoil.dev/recoil"
)

// handle answers a request; an error is `kind: text`.
func handle(tx recoil.Tx, request []byte) ([]byte, error) {
	items, err := parseList(request)
	if err == nil {
		items, err = command(tx, &arguments{rest: items})
	}
	if e, ok := errors.AsType[*recoil.Error](err); ok {
		err = errors.New(string(e.Kind) + ": " + e.Message)
	}
	return items.encode(), err
}

func command(tx recoil.Tx, a *arguments) (list, error) {
	name := a.text()
	if a.err != nil {
		return nil, a.err
	}
	answer, err, known := anywhere(name, a, tx)
	if !known {
		answer, err = owned(name, a, tx)
	}
	if a.err != nil {
		return nil, a.err
	}
	return answer, err
}

// owned runs the commands of the handler.
func owned(name string, a *arguments, tx recoil.Tx) (list, error) {
	switch name {
	case "current":
		place := tx.Place()
		return list{[]byte(place.Keyspace), number(place.ID), number(place.Count), number(place.Epoch)}, nil
	case "now":
		return list{number(tx.Now().UnixMicro())}, nil
	case "is-read-only":
		return list{truth(tx.IsReadOnly())}, nil
	case "set-timer":
		if id, delay, payload := a.bytes(), a.number(53), a.bytes(); a.err == nil {
			tx.SetTimer(id, tx.Now().Add(time.Duration(delay)*time.Microsecond), payload)
		}
	case "cancel-timer":
		if id := a.bytes(); a.err == nil {
			tx.CancelTimer(id)
		}
	case "publish":
		if topic, message := a.bytes(), a.bytes(); a.err == nil {
			tx.Publish(topic, message)
		}
	case "status":
		s := tx.Consensus()
		return list{[]byte(s.Role.String()), number(s.Term), number(s.Committed), number(s.Applied), number(len(s.Voters))}, nil
	case "barrier":
		index, err := tx.Barrier()
		return list{number(index)}, err
	default:
		return nil, misbehave(name, a, tx)
	}
	return nil, nil
}

// misbehave runs the commands that end badly.
func misbehave(name string, a *arguments, tx recoil.Tx) error {
	switch name {
	case "put-and-fail", "put-and-throw":
		key, value, text := a.bytes(), a.bytes(), a.text()
		if a.err != nil {
			return nil
		}
		if err := tx.Put(key, value); err != nil {
			return err
		}
		if name == "put-and-throw" {
			panic(text)
		}
		return errors.New(text)
	case "trap":
		os.Exit(1)
	case "loop":
		for {
		}
	case "bomb":
		var kept [][]byte
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	case "recurse":
		recurse(0)
	default:
		return invalid("there is no command " + name)
	}
	return nil
}

func recurse(depth int) int { return recurse(depth+1) + 1 }

func fire(tx recoil.Tx, id, payload []byte) error {
	return tx.Put(append([]byte("fired:"), id...), payload)
}
