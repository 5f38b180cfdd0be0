package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"recoil.dev/recoil"
)

const frameBytesMax = 16 << 20

// session is one connection's.
type session struct {
	conn          recoil.Conn
	router        recoil.Router
	subscriptions []recoil.Subscription
}

func serve(conn recoil.Conn, router recoil.Router) error {
	s := session{conn: conn, router: router}
	input := bufio.NewReader(conn)
	for {
		frame, err := readFrame(input)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		answer := s.answer(frame)
		framed := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(answer)), uint32(len(answer)))
		if _, err := conn.Write(append(framed, answer...)); err != nil {
			return err
		}
	}
}

func readFrame(input *bufio.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(input, length[:]); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(length[:]) > frameBytesMax {
		return nil, errors.New("a frame beyond 16 MiB")
	}
	frame := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err := io.ReadFull(input, frame)
	return frame, err
}

func (s *session) answer(frame []byte) []byte { return answerTo(frame, s.router, s.own) }

// answerTo answers a request of a listener; own runs the commands that only it has.
func answerTo(request []byte, router recoil.Router, own func(command string, a *arguments) (list, error)) []byte {
	items, err := parseList(request)
	if err != nil {
		return encodeAnswer(nil, err)
	}
	a := &arguments{rest: items}
	command := a.text()
	if a.err != nil {
		return encodeAnswer(nil, a.err)
	}
	answer, err, known := anywhere(command, a, router.Storage())
	if !known {
		answer, err, known = routed(command, a, router)
	}
	if !known {
		answer, err = own(command, a)
	}
	if a.err != nil {
		err = a.err
	}
	return encodeAnswer(answer, err)
}

// own runs the commands of a connection.
func (s *session) own(command string, a *arguments) (list, error) {
	switch command {
	case "subscribe":
		if topic := a.bytes(); a.err == nil {
			s.subscriptions = append(s.subscriptions, s.router.Subscribe(topic))
		}
	case "next":
		subscription, timeout := a.number(31), a.timeout()
		if subscription >= uint64(len(s.subscriptions)) {
			a.fail("there is no such subscription")
		}
		if a.err == nil {
			message, _ := s.subscriptions[subscription].Next(timeout)
			return one(message, nil)
		}
	case "wait":
		if timeout := a.timeout(); a.err == nil {
			return event(s.conn.WaitAny(timeout, s.subscriptions...)), nil
		}
	case "peer":
		return list{[]byte(s.conn.PeerAddress())}, nil
	default:
		return nil, invalid("there is no command " + command)
	}
	return nil, nil
}

func (a *arguments) timeout() time.Duration { return time.Duration(a.number(31)) * time.Millisecond }

func event(happened recoil.Event) list {
	switch happened.Kind {
	case recoil.Readable:
		return list{[]byte("readable")}
	case recoil.Message:
		return list{[]byte("message"), number(happened.Subscription)}
	}
	return nil
}
