// Package nethttp answers HTTP requests with an [http.Handler], such as an [http.ServeMux]:
//
//	recoil.HTTPHandler(nethttp.Handler(mux))
//
// A request is read to its end and an answer is sent whole: there is no hijacking, no flushing and no upgrading. Importing
// this package makes a component 2.6 MB larger; without it, [recoil.HTTPHandler] has small types of its own.
package nethttp

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"

	"recoil.dev/recoil"
)

type routerKey struct{}

// Router is what a handler calls partitions with: of the request that it answers. It panics on a request that did not come
// through [Handler].
func Router(r *http.Request) recoil.Router { return r.Context().Value(routerKey{}).(recoil.Router) }

// Handler makes what [recoil.HTTPHandler] takes of an http.Handler.
func Handler(handler http.Handler) func(*recoil.HTTPRequest, recoil.Router) (*recoil.HTTPResponse, error) {
	return func(request *recoil.HTTPRequest, router recoil.Router) (*recoil.HTTPResponse, error) {
		converted, err := convert(request, router)
		if err != nil {
			return recoil.Text(http.StatusBadRequest, "a method or a target that is none\n"), nil
		}
		w := &writer{header: http.Header{}}
		handler.ServeHTTP(w, converted)
		return w.response(), nil
	}
}

func convert(request *recoil.HTTPRequest, router recoil.Router) (*http.Request, error) {
	target := request.Path
	if request.Query != "" {
		target += "?" + request.Query
	}
	parsed, err := url.ParseRequestURI(target) // which does not take the a of //a/b for a host
	if err != nil {
		return nil, err
	}
	ctx := context.WithValue(context.Background(), routerKey{}, router)
	converted, err := http.NewRequestWithContext(ctx, request.Method, "/", bytes.NewReader(request.Body))
	if err != nil {
		return nil, err
	}
	converted.URL = parsed
	for _, header := range request.Headers {
		if header.Name == "host" {
			converted.Host = header.Value
			continue
		}
		converted.Header.Add(header.Name, header.Value)
	}
	converted.RequestURI, converted.RemoteAddr = target, request.PeerAddress
	return converted, nil
}

// writer keeps an answer.
type writer struct {
	header http.Header
	sent   http.Header // as they were when the status was written
	status int
	body   bytes.Buffer
}

var _ io.StringWriter = (*writer)(nil)

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if w.status == 0 && status >= 200 { // those below come before the answer
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *writer) Write(data []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(data)
}

func (w *writer) WriteString(text string) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.WriteString(text)
}

func (w *writer) response() *recoil.HTTPResponse {
	w.WriteHeader(http.StatusOK)
	if _, given := w.sent["Content-Type"]; !given && w.body.Len() > 0 {
		w.sent.Set("Content-Type", http.DetectContentType(w.body.Bytes()))
	}
	response := &recoil.HTTPResponse{Status: w.status, Body: w.body.Bytes()}
	for name, values := range w.sent {
		for _, value := range values {
			response.Headers = append(response.Headers, recoil.HTTPHeader{Name: name, Value: value})
		}
	}
	return response
}
