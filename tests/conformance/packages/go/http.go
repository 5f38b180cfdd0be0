package main

import (
	"errors"
	"strconv"
	"strings"

	"recoil.dev/recoil"
)

func respond(request *recoil.HTTPRequest, router recoil.Router) (*recoil.HTTPResponse, error) {
	switch path := request.Path; {
	case path == "/call" && request.Method == "POST":
		peer := func(command string, a *arguments) (list, error) {
			if command == "peer" {
				return list{[]byte(request.PeerAddress)}, nil
			}
			return nil, invalid("there is no command " + command)
		}
		return &recoil.HTTPResponse{Body: answerTo(request.Body, router, peer)}, nil
	case path == "/mirror":
		return mirror(request), nil
	case strings.HasPrefix(path, "/status/"):
		if status, err := strconv.Atoi(strings.TrimPrefix(path, "/status/")); err == nil {
			return &recoil.HTTPResponse{Status: status}, nil
		}
	case path == "/fail":
		return nil, errors.New("the handler was asked to fail")
	case path == "/throw":
		panic("the handler was asked to panic")
	}
	return recoil.Text(404, "not found"), nil
}

func mirror(request *recoil.HTTPRequest) *recoil.HTTPResponse {
	response := &recoil.HTTPResponse{Body: request.Body}
	for _, header := range request.Headers {
		if strings.HasPrefix(header.Name, "x-") {
			response.Headers = append(response.Headers, header)
		}
	}
	response.SetHeader("x-method", request.Method)
	response.SetHeader("x-path", request.Path)
	response.SetHeader("x-query", request.Query)
	response.SetHeader("content-type", "application/octet-stream")
	return response
}
