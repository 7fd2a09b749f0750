package certificate

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// requests makes the requests of one order. It bounds their answers in size and time, ends them when
// the order's context does, waits as long as the authority asks for between them so that this ends
// then, too, and notes what the authority says is wrong: of that autocert tells little.
type requests struct {
	ctx     context.Context
	to      http.RoundTripper
	next    atomic.Int64             // when the next one may be made, UnixNano
	reasons atomic.Pointer[[]string] // what is wrong, each once; never changed
}

// maxPause bounds how long an authority may ask to wait between two requests of an order.
const maxPause = time.Minute

// RoundTrip implements http.RoundTripper.
func (q *requests) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(q.ctx, cancel)()
	if pause := time.Until(time.Unix(0, q.next.Swap(0))); pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	ctx, stop := context.WithTimeout(ctx, requestTimeout)
	defer stop()
	answer, err := q.to.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	answer.Body.Close()
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	q.pause(answer)
	q.note(body)
	return answer, nil
}

// pause takes over the wait that an authority asks for.
func (q *requests) pause(answer *http.Response) {
	seconds, err := strconv.Atoi(answer.Header.Get("Retry-After"))
	if err != nil || answer.StatusCode >= 400 {
		return
	}
	wait := min(max(time.Duration(seconds)*time.Second, 0), maxPause)
	// The client waits for a second of it.
	q.next.Store(time.Now().Add(wait).UnixNano())
	answer.Header.Set("Retry-After", "1")
}

// problem is a problem document (RFC 7807) as authorities send it (RFC 8555 §6.7).
type problem struct {
	Type        string    `json:"type"`
	Detail      string    `json:"detail"`
	Subproblems []problem `json:"subproblems"`
}

// told is what may be wrong in an answer: it is a problem itself, an order that has one, or an
// authorization (RFC 8555 §7.1.4) whose challenges have.
type told struct {
	problem
	Error      *problem `json:"error"`
	Challenges []struct {
		Type  string   `json:"type"`
		Error *problem `json:"error"`
	} `json:"challenges"`
}

// Bounds on what is told of an authority's reasons.
const (
	maxReasons = 4
	maxReason  = 300 // bytes of each
)

// note notes what is wrong by an answer, if it is JSON and anything is.
func (q *requests) note(body []byte) {
	var t told
	if json.Unmarshal(body, &t) != nil {
		return // a certificate, or the answer's form is for acme to refuse
	}
	q.add("", &t.problem)
	for _, c := range t.Challenges {
		q.add(c.Type+": ", c.Error)
	}
	if t.Challenges == nil {
		q.add("", t.Error)
	}
}

// add notes a problem, if it is one that an order ends with.
func (q *requests) add(what string, p *problem) {
	if p == nil || p.Detail == "" || strings.HasSuffix(p.Type, ":badNonce") {
		return // another nonce is tried
	}
	why := what + p.Detail
	for _, sub := range p.Subproblems {
		why += "; " + sub.Detail
	}
	why = strings.ToValidUTF8(why[:min(len(why), maxReason)], "")
	var kept []string
	if said := q.reasons.Load(); said != nil {
		for _, before := range *said {
			if strings.HasSuffix(before, why) {
				return // that of an order is that of its challenge
			}
			if !strings.HasSuffix(why, before) {
				kept = append(kept, before)
			}
		}
	}
	if len(kept) < maxReasons {
		kept = append(kept, why)
		q.reasons.Store(&kept)
	}
}

// explain returns the error of an order that failed: with the authority's own words, if it said why.
func (q *requests) explain(err error) error {
	if said := q.reasons.Load(); said != nil {
		return errors.New(strings.Join(*said, "; "))
	}
	if errors.Is(q.ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("it took longer than %v: %w", orderTimeout, err)
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%w; where the authority is your own, SSL_CERT_FILE says which certificates are trusted", err)
	}
	return err
}
