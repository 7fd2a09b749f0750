// Package answer is the one form of every answer over HTTP that is no stream: what a
// refusal looks like, which pages of a browser may read it, and how long a client has to
// take it.
package answer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	// Timeout is how long a client has to take an answer.
	Timeout = 10 * time.Second
	// BodyTimeout is how long a client has to send the body of its request. Nobody
	// needs one, but some clients read no answer before they have sent all of it.
	BodyTimeout = 10 * time.Second
)

// Refusal is an answer that says why there is nothing else, as JSON:
//
//	{"error": "not found", "reason": "nobody publishes live/demo now"}
type Refusal struct {
	Status int
	Error  string // what it is, in words of a bounded set such as those of hub.Reason
	Reason string // a sentence for people

	// RetryAfter says when it makes sense to ask again, in whole seconds; 0 says nothing.
	RetryAfter time.Duration
	// Timeout is how long the client has to take the answer, and to send its body; 0
	// means the package's Timeout and BodyTimeout.
	Timeout time.Duration
}

// Refuse answers a request with a refusal. Pages of the listed origins may read it, and
// so may any page if the list is empty. Header fields of other meanings (Allow, Upgrade)
// are for the caller to set beforehand. Nothing else may have been written.
func (o Origins) Refuse(w http.ResponseWriter, r *http.Request, f Refusal) {
	o.Answer(w.Header(), r)
	f.Write(w, r)
}

// Write answers a request with a refusal that no page of another origin may read, as
// Origins.Refuse does otherwise.
func (f Refusal) Write(w http.ResponseWriter, r *http.Request) {
	bound(w, r, f.Timeout)
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	body, _ := json.Marshal(struct { // two strings always encode
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}{f.Error, f.Reason})
	JSON(w, f.Status, append(body, '\n'))
}

// JSON writes an answer whose body is JSON already. No cache keeps it, and no browser
// takes it for anything else.
func JSON(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body) // net/http leaves it out for HEAD
}

// Bound sets the deadlines of an answer, and of the body of its request as BoundBody
// does. Without the former, net/http would wait for ever for a client that does not take
// the answer.
func Bound(w http.ResponseWriter, r *http.Request) { bound(w, r, 0) }

func bound(w http.ResponseWriter, r *http.Request, timeout time.Duration) {
	body := timeout
	if timeout == 0 {
		timeout, body = Timeout, BodyTimeout
	}
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout))
	boundBody(w, r, body)
}

// Overdue returns the error of a write to an answer, as os.ErrDeadlineExceeded where its deadline has
// passed: over HTTP/2, net/http resets the stream then and tells the writer only that it is closed. A
// zero deadline is none.
func Overdue(err error, deadline time.Time) error {
	if err == nil || deadline.IsZero() || time.Now().Before(deadline) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
}

// BoundBody sets the deadline of a request's body, if it has one, and lets the connection
// end with the answer, unless it is one of HTTP/2. What no handler reads of a body, net/http reads: without a
// deadline it would wait for that as long as it takes, and where the connection goes on,
// it would do so before it answers.
func BoundBody(w http.ResponseWriter, r *http.Request) { boundBody(w, r, BodyTimeout) }

func boundBody(w http.ResponseWriter, r *http.Request, timeout time.Duration) {
	if r.ContentLength == 0 { // it is -1 where the length is not said
		return
	}
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
	if r.ProtoMajor < 2 { // where the body is a stream's, the connection has others
		w.Header().Set("Connection", "close")
	}
}
