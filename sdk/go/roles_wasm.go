package recoil

import (
	"errors"
	"reflect"
	"runtime/debug"
	"sync"
	"syscall"
	"unsafe"

	"recoil.dev/recoil/internal/abi"
)

// memoryBytes is where Go's collector begins to work harder: below the 64 MiB that an instance has by default, with room
// for a request and an answer of 16 MiB each. Authors who ask for other limits call debug.SetMemoryLimit in main.
const memoryBytes = 40 << 20

func init() { debug.SetMemoryLimit(memoryBytes) }

// The linker makes a library of the program, whose main nobody calls, so the first call does: main registers the roles.
//
//go:linkname programMain main.main
func programMain()

var start = sync.OnceFunc(programMain)

// outcome is what an export has answered with: the host reads it before anything else runs here.
var outcome struct {
	words [6]uint32
	held  any
}

// enter begins an export: it forgets what the one before has answered with, and opens the window of the arguments.
func enter() {
	outcome.held = nil
	abi.Enter()
}

// answered answers an export that has no error with the words of its value, in memory that held keeps alive.
func answered(held any, words ...uint32) uint32 {
	outcome.held = held
	copy(outcome.words[:], words)
	return abi.Address(&outcome.words)
}

// succeeded answers an export with the words of its value, in memory that held keeps alive.
func succeeded(held any, words ...uint32) uint32 {
	outcome.held = held
	outcome.words[0] = 0
	copy(outcome.words[1:], words)
	return abi.Address(&outcome.words)
}

// failed answers an export with an error.
func failed(err error) uint32 {
	text := abi.Text(unsupported(err) + err.Error())
	at, length := abi.LowerString(text)
	outcome.held = text
	outcome.words = [6]uint32{1, at, length}
	return abi.Address(&outcome.words)
}

// unsupported says what the standard library leaves unsaid in its errors: that packages do not have what was asked for. The
// types are known by their names, for os/exec and net to be linked only if the program has them.
func unsupported(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		switch reflect.TypeOf(err).String() {
		case "*exec.Error":
			return "processes are not supported: "
		case "*net.OpError":
			return "sockets are not supported: "
		case "*fs.PathError":
			if errors.Is(err, syscall.EBADF) {
				return "files are not supported: "
			}
		}
	}
	return ""
}

var errNoRole = errors.New("main did not register this role")

//go:wasmexport recoil:plugin/handler@0.1.0#handle
func exportHandle(at, length uint32) uint32 {
	enter()
	request := abi.Bytes(at, length)
	abi.Leave()
	if start(); roles.handler == nil {
		return failed(errNoRole)
	}
	answer, err := roles.handler(hostTx{}, request)
	if err != nil {
		return failed(err)
	}
	at, length = abi.Lower(answer)
	return succeeded(answer, at, length)
}

//go:wasmexport recoil:plugin/timer@0.1.0#fire
func exportFire(idAt, idLength, payloadAt, payloadLength uint32) uint32 {
	enter()
	id, payload := abi.Bytes(idAt, idLength), abi.Bytes(payloadAt, payloadLength)
	abi.Leave()
	if start(); roles.timer == nil {
		return failed(errNoRole)
	}
	if err := roles.timer(hostTx{}, id, payload); err != nil {
		return failed(err)
	}
	return succeeded(nil)
}

//go:wasmexport recoil:plugin/tcp-listener@0.1.0#serve
func exportServe(handle uint32) uint32 {
	conn := &hostConn{handle: handle}
	defer conn.Close()
	if start(); roles.listener == nil {
		return failed(errNoRole)
	}
	if err := roles.listener(conn, hostRouter{}); err != nil {
		return failed(err)
	}
	return succeeded(nil)
}

// httpHeader is the contract's tuple of a name and a value.
type httpHeader struct{ nameAt, nameLength, valueAt, valueLength uint32 }

//go:wasmexport recoil:plugin/http-handler@0.1.0#handle
func exportRespond(methodAt, methodLength, pathAt, pathLength, queryAt, queryLength, headersAt, headersLength,
	bodyAt, bodyLength, peerAt, peerLength uint32) uint32 {
	enter()
	request := &HTTPRequest{
		Method:      abi.String(methodAt, methodLength),
		Path:        abi.String(pathAt, pathLength),
		Query:       abi.String(queryAt, queryLength),
		Headers:     make([]HTTPHeader, headersLength),
		Body:        abi.Bytes(bodyAt, bodyLength),
		PeerAddress: abi.String(peerAt, peerLength),
	}
	for i, header := range abi.Items[httpHeader](headersAt, headersLength) {
		request.Headers[i] = HTTPHeader{
			Name:  abi.String(header.nameAt, header.nameLength),
			Value: abi.String(header.valueAt, header.valueLength),
		}
	}
	abi.Leave()
	if start(); roles.http == nil {
		return failed(errNoRole)
	}
	response, err := roles.http(request, hostRouter{})
	if err == nil && response == nil {
		err = errors.New("the HTTP handler answered neither a response nor an error")
	}
	if err != nil {
		return failed(err)
	}
	headers := make([]httpHeader, len(response.Headers))
	for i, header := range response.Headers {
		headers[i].nameAt, headers[i].nameLength = abi.LowerString(header.Name)
		headers[i].valueAt, headers[i].valueLength = abi.LowerString(header.Value)
	}
	status := response.Status
	if status == 0 {
		status = 200
	}
	bodyAt, bodyLength = abi.Lower(response.Body)
	held := struct {
		response *HTTPResponse
		headers  []httpHeader
	}{response, headers}
	return succeeded(held, uint32(uint16(status)), abi.Address(unsafe.SliceData(headers)), uint32(len(headers)), bodyAt, bodyLength)
}
