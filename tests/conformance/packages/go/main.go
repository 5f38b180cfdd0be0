// The conformance package in Go: see tests/conformance/PROTOCOL.md.
package main

import "recoil.dev/recoil"

func main() {
	recoil.Handler(handle)
	recoil.Timer(fire)
	recoil.Listener(serve)
	recoil.HTTPHandler(respond)
	recoil.Admin(commands, run)
	recoil.Scheduler(plan)
}
