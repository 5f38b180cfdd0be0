package main

import (
	"errors"
	"strings"

	"recoil.dev/recoil"
)

// commands are what operators can run.
var commands = []recoil.Command{
	{Words: "key put", Usage: "KEY VALUE", Help: "Put a value at a key."},
	{Words: "key get", Usage: "KEY", Help: "Print the value of a key."},
	{Words: "echo", Usage: "WORDS…", Help: "Print the words, each in brackets: [größe]."},
	{Words: "fail", Usage: "TEXT", Help: "Refuse, for this reason."},
	{Words: "throw", Usage: "TEXT", Help: "Throw an exception."},
}

// run runs a command: it reaches the data by calls of the handler, and prints what it was given.
func run(typed []string, router recoil.Router) (string, error) {
	switch {
	case len(typed) == 4 && typed[0] == "key" && typed[1] == "put":
		_, err := keyed(router, recoil.Write, typed[1:]...)
		return "", err
	case len(typed) == 3 && typed[0] == "key" && typed[1] == "get":
		items, err := keyed(router, recoil.Read, typed[1:]...)
		if err != nil {
			return "", err
		}
		if len(items) == 0 {
			return "", errors.New("no such key")
		}
		return string(items[0]), nil
	case len(typed) > 0 && typed[0] == "echo":
		var output strings.Builder
		for _, word := range typed[1:] {
			output.WriteString("[" + word + "]")
		}
		return output.String(), nil
	case len(typed) == 2 && typed[0] == "fail":
		return "", errors.New(typed[1])
	case len(typed) == 2 && typed[0] == "throw":
		panic(typed[1])
	}
	return "", errors.New("no such command")
}

// keyed calls the handler with a command whose first argument is the key.
func keyed(router recoil.Router, mode recoil.Mode, command ...string) (list, error) {
	var request list
	for _, text := range command {
		request = append(request, []byte(text))
	}
	answer, err := router.Call(recoil.Key(request[1]), request.encode(), mode)
	if err != nil {
		return nil, err
	}
	return parseList(answer)
}
