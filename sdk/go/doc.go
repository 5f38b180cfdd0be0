// Package recoil writes packages for Recoil in Go.
//
// A package is a WebAssembly component that stock Go builds. Its main registers what it is, its roles: a [Handler] owns
// data, one instance for each partition, each request a transaction ([Tx]); a [Timer] is told when time has come; a
// [Listener] speaks a network protocol over a [Conn] and sends requests to partitions through a [Router]; an [HTTPHandler]
// answers HTTP requests; an [Admin] has commands for operators; a [Scheduler] decides where partitions live. The component
// exports the roles that main registers and no other.
//
//	func main() {
//		recoil.Handler(count)
//		recoil.HTTPHandler(respond)
//	}
//
//	func count(tx recoil.Tx, name []byte) ([]byte, error) {
//		…
//		return answer, tx.Put(name, value)
//	}
//
// An instance runs one call at a time. Goroutines are fine within it, and go on only while a call runs; a call of the host
// stops all of them until it returns. main returns: it is run by the instance's first call.
//
// Functions reach the host through the interfaces that they are given and through nothing else (besides [Setting] and
// [Log]), so that the package recoiltest can take the host's place in a test with `go test`. Deliberately absent: contexts
// (the host bounds every call), serialization (bring your own; the package key makes keys that sort) and anything that
// would need the host's code.
package recoil
