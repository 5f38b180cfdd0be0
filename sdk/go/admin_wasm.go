package recoil

import (
	"strings"
	"unsafe"

	"recoil.dev/recoil/internal/abi"
)

type wireCommand struct{ words, usage, help wireList }

//go:wasmexport recoil:plugin/admin@0.1.0#commands
func exportCommands() uint32 {
	enter()
	abi.Leave()
	start() // without the role there are none
	commands := make([]wireCommand, len(roles.commands))
	var held []any
	lower := func(text string) wireList {
		text = abi.Text(text)
		held = append(held, text)
		at, length := abi.LowerString(text)
		return wireList{at, length}
	}
	for i, command := range roles.commands {
		words := strings.Fields(command.Words)
		lowered := make([]wireList, len(words))
		for k, word := range words {
			lowered[k] = lower(word)
		}
		held = append(held, lowered)
		commands[i] = wireCommand{
			words: wireList{abi.Address(unsafe.SliceData(lowered)), uint32(len(lowered))},
			usage: lower(command.Usage),
			help:  lower(command.Help),
		}
	}
	return answered(append(held, commands), abi.Address(unsafe.SliceData(commands)), uint32(len(commands)))
}

//go:wasmexport recoil:plugin/admin@0.1.0#run
func exportRun(at, length uint32) uint32 {
	enter()
	arguments := lifted(wireList{at, length}, liftText)
	abi.Leave()
	if start(); roles.run == nil {
		return failed(errNoRole)
	}
	output, err := roles.run(arguments, hostRouter{})
	if err != nil {
		return failed(err)
	}
	output = abi.Text(output)
	at, length = abi.LowerString(output)
	return succeeded(output, at, length)
}
