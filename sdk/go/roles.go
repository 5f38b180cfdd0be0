package recoil

import "fmt"

// The roles that main has registered.
var roles struct {
	handler   func(Tx, []byte) ([]byte, error)
	timer     func(tx Tx, id, payload []byte) error
	listener  func(Conn, Router) error
	http      func(*HTTPRequest, Router) (*HTTPResponse, error)
	commands  []Command
	run       func([]string, Router) (string, error)
	scheduler func(View) ([]Placement, error)
}

// The build drops the exports of the roles whose functions are not in the program (see cmd/finish), so they must not be
// inlined.

// Handler registers the function that owns data: it answers requests, one instance for each partition, on the partition's
// leader, one at a time.
//
// An error rolls back everything the call did and reaches the caller as [ErrRejected]. A panic rolls back too, replaces
// the instance and reaches the caller as [ErrFailed]. A call may be evaluated again if its writes could not be committed,
// so it must have no effects but those on the transaction; what it keeps in memory between calls is a cache only, and must
// survive the rollback of the call that filled it.
//
//go:noinline
func Handler(handle func(tx Tx, request []byte) ([]byte, error)) {
	if roles.handler != nil {
		twice("Handler")
	}
	roles.handler = handle
}

// Timer registers the function that is told when a timer that a transaction set has come due. It is called at least once,
// in a transaction that also removes the timer, so that its writes happen exactly once. An error or a panic rolls back and
// is tried again after a pause that doubles from 1 s to 1 min.
//
//go:noinline
func Timer(fire func(tx Tx, id, payload []byte) error) {
	if roles.timer != nil {
		twice("Timer")
	}
	roles.timer = fire
}

// Listener registers the function that speaks a network protocol, with an instance of its own for each open connection: it
// reads, calls partitions and writes, as a goroutine per connection would. When it returns the connection is closed; an
// error is written to the app's log.
//
//go:noinline
func Listener(serve func(conn Conn, router Router) error) {
	if roles.listener != nil {
		twice("Listener")
	}
	roles.listener = serve
}

// HTTPHandler registers the function that answers HTTP requests. The host owns the server; an instance answers one request
// at a time and is kept for later ones, so that what it holds in memory is a cache only. An error is answered with status
// 500 and written to the app's log; what the client should know goes into an answer. The package nethttp makes such a
// function of an http.Handler.
//
//go:noinline
func HTTPHandler(respond func(request *HTTPRequest, router Router) (*HTTPResponse, error)) {
	if roles.http != nil {
		twice("HTTPHandler")
	}
	roles.http = respond
}

// Admin registers commands for operators, and the function that runs what an operator typed behind the app's name, for
// `recoilctl APP ARGUMENTS…`. Each call has an instance of its own, which has a router as that of a listener has.
//
// What the function returns is printed as it is; an error is printed as one, and recoilctl fails. The operator may break a
// command off at any time, so it should be safe to run it again.
//
//go:noinline
func Admin(commands []Command, run func(arguments []string, router Router) (string, error)) {
	if roles.run != nil {
		twice("Admin")
	}
	roles.commands, roles.run = commands, run
}

// Scheduler registers the function that decides where partitions live: the host asks it in the place of its own scheduler. A
// plan holds only the partitions that should change, the most urgent first.
//
// A plan is a function of the view and of nothing else: there is no storage, router or partition here, and a test makes a
// [View] and looks at what comes back. The host checks every answer (nodes, quorum, placement rules). It goes on with its own
// scheduler, and its log says why, when a plan is refused or comes too late, and upon an error or a panic.
//
//go:noinline
func Scheduler(plan func(view View) ([]Placement, error)) {
	if roles.scheduler != nil {
		twice("Scheduler")
	}
	roles.scheduler = plan
}

func twice(role string) {
	panic(fmt.Sprintf("recoil.%s was called twice: a package has one function for each role", role))
}
