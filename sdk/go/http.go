package recoil

import (
	"net/url"
	"strings"
)

// HTTPRequest is a request that an [HTTPHandler] answers, read to its end.
type HTTPRequest struct {
	// Method is GET, say.
	Method string
	// Path goes from the first slash up to the question mark, as sent: percent-encoding is not undone.
	Path string
	// Query is what is behind the question mark, as sent.
	Query string
	// Headers are in the order sent, with lower-case names.
	Headers []HTTPHeader
	Body    []byte
	// PeerAddress is address and port of the client.
	PeerAddress string
}

// HTTPHeader is a header of a request or an answer.
type HTTPHeader struct{ Name, Value string }

// Header is the first header of that name, in any case; empty if there is none.
func (r *HTTPRequest) Header(name string) string {
	for _, header := range r.Headers {
		if strings.EqualFold(header.Name, name) {
			return header.Value
		}
	}
	return ""
}

// Segments are the parts of the path between slashes, percent-encoding undone. An encoded slash stays inside its part;
// what is not encoded properly stays as it is.
func (r *HTTPRequest) Segments() []string {
	var segments []string
	for part := range strings.SplitSeq(r.Path, "/") {
		if part == "" {
			continue
		}
		if decoded, err := url.PathUnescape(part); err == nil {
			part = decoded
		}
		segments = append(segments, part)
	}
	return segments
}

// Values are the query's, by their names. What is not encoded properly is left out.
func (r *HTTPRequest) Values() url.Values {
	values, _ := url.ParseQuery(r.Query) // it answers what is right besides the first error
	return values
}

// HTTPResponse is an answer. The length, and whatever belongs to the connection, are the host's.
type HTTPResponse struct {
	// Status is 200 to 599; 0 means 200.
	Status  int
	Headers []HTTPHeader
	Body    []byte
}

// SetHeader sets a header, in place of those of the same name.
func (r *HTTPResponse) SetHeader(name, value string) {
	kept := r.Headers[:0]
	for _, header := range r.Headers {
		if !strings.EqualFold(header.Name, name) {
			kept = append(kept, header)
		}
	}
	r.Headers = append(kept, HTTPHeader{name, value})
}

// Text is an answer in plain text.
func Text(status int, text string) *HTTPResponse {
	return body(status, "text/plain; charset=utf-8", []byte(text))
}

// JSON is an answer in JSON, which text is already.
func JSON(status int, text []byte) *HTTPResponse { return body(status, "application/json", text) }

func body(status int, contentType string, data []byte) *HTTPResponse {
	return &HTTPResponse{Status: status, Headers: []HTTPHeader{{"content-type", contentType}}, Body: data}
}
