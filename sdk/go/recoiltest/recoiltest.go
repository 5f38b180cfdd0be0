// Package recoiltest is the host, in memory: what a package's functions run on in tests with `go test`.
//
// A [Partition] is one partition: storage, time, timers, published messages, rollback, read-only calls and the contract's
// limits. A [Cluster] is a router to several of them, divided into groups, so that what a transaction over several groups
// meets can be tested. A [Conn] is a client that has already said everything it will say.
//
// Where the contract leaves a choice to the host, these take the one that is harder for the package (short pages, refused
// transactions); where it promises something, they keep it. Deliberately absent: components, memory limits and deadlines.
package recoiltest

import (
	"strings"
	"testing"

	"recoil.dev/recoil"
	"recoil.dev/recoil/internal/native"
)

// HandleFunc is what [recoil.Handler] takes.
type HandleFunc = func(tx recoil.Tx, request []byte) ([]byte, error)

// FireFunc is what [recoil.Timer] takes.
type FireFunc = func(tx recoil.Tx, id, payload []byte) error

// SetSetting gives the setting name a value until the test ends. Settings are the process's: a test that gives some must
// not run in parallel with others.
func SetSetting(t testing.TB, name, value string) {
	t.Helper()
	t.Cleanup(native.SetSetting(name, value))
}

// NewRequest is a request for an HTTP handler. What follows a question mark in target is the query.
func NewRequest(method, target string, body []byte) *recoil.HTTPRequest {
	path, query, _ := strings.Cut(target, "?")
	return &recoil.HTTPRequest{Method: method, Path: path, Query: query, Body: body, PeerAddress: peerAddress}
}

const peerAddress = "127.0.0.1:50312"

// Message is one that a handler has published.
type Message struct{ Topic, Message []byte }
