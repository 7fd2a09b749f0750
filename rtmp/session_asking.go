package rtmp

import (
	"context"
	"sync"
	"time"
)

// Bounds on a session whose Authorizer has not answered yet.
const (
	// maxHeld bounds the bytes that are read while the answer is awaited, and kept for
	// after it: what an encoder of 2 Mbit/s sends in a quarter of a second. The rest
	// stays in the system's buffers, which slow down the client.
	maxHeld = 64 << 10
	// maxHeldInAll bounds them for all sessions of a server together: a crowd that is
	// kept waiting must not fill the memory. Beyond it, further bytes are not read.
	maxHeldInAll = 64 << 20
	// hangupInterval is how often a session that has read that much asks the system
	// whether the client is still there, since it would no longer see the end itself.
	// What it cannot see is an end behind more bytes than the system takes for the
	// session; that one waits for the deadline.
	hangupInterval = time.Second
	// minHeldRead is the least room, in bytes, that a read into the held bytes has.
	minHeldRead = 512
)

// question is a publish or play that an Authorizer has been asked about, or the length
// that a Lengther has been asked for.
//
//	ask ──Authorize──▶ answered before Authorize returns ───────▶ then
//	         │
//	         └──▶ asking ──answer──▶ posted to the session ──▶ then, once
//	                │
//	                ├── deadline ──▶ then(errNotAnswered)
//	                └── the session ends ──▶ nothing more; a late answer is dropped
//
// then goes on with the publish or play, or refuses it, in the goroutine that runs
// the session.
type question struct {
	s        *session
	role     string // what is asked, for the log
	req      *Request
	since    time.Time // the phase before goes on, if set: nothing is asked that would end it
	deadline time.Time
	cancel   context.CancelCauseFunc
	then     func(err error) error

	mu       sync.Mutex
	asking   bool // Authorize has returned without an answer: post it
	answered bool
	err      error // the answer
}

// askContext is the context of a question. It says when the deadline is, for which it
// needs no timer: the session has one.
type askContext struct {
	context.Context
	deadline time.Time
}

// Deadline returns when the question ends unanswered.
func (c *askContext) Deadline() (time.Time, bool) { return c.deadline, true }

// What can be asked.
const (
	rolePublish = "publish"
	rolePlay    = "play"
	roleLength  = "length"
)

// askAuthorizer goes on with a publish or play by then: at once if there is nobody to
// ask, otherwise after the answer.
func (s *session) askAuthorizer(h *ServerStream, r *Request, publish bool, then func(err error) error) error {
	a, ok := s.srv.Handler.(Authorizer)
	if !ok {
		return then(nil)
	}
	q := &question{role: rolePlay, req: r, then: then}
	if publish {
		q.role = rolePublish
	}
	return s.ask(q, func(ctx context.Context) { a.Authorize(ctx, h, r, publish, q.answer) })
}

// ask asks the Handler, and goes on by q.then: at once if the answer is there at once,
// otherwise after it, until which the session is in phase asking.
func (s *session) ask(q *question, handler func(context.Context)) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	q.s, q.cancel = s, cancel
	q.deadline = time.Now().Add(s.srv.authorizeTimeout())
	handler(&askContext{ctx, q.deadline})
	q.mu.Lock()
	q.asking = !q.answered
	q.mu.Unlock()
	if !q.asking {
		cancel(nil)
		return q.then(q.err)
	}
	s.question = q
	s.enter(asking)
	return nil
}

// answer is the Authorizer's. Only the first call counts.
func (q *question) answer(err error) {
	q.mu.Lock()
	first := !q.answered
	if first {
		q.answered, q.err = true, err
	}
	post := first && q.asking
	q.mu.Unlock()
	if post {
		q.s.post(func() error { return q.s.answered(q, err) })
	}
}

// answered ends the phase asking. What may have changed meanwhile is looked at again by
// then and the Handler.
func (s *session) answered(q *question, err error) error {
	if s.question != q {
		return nil // too late
	}
	s.question = nil
	s.countHeld(0) // they are taken now
	if s.inUse() > 0 {
		s.enter(active)
	} else {
		s.enter(idle)
	}
	if !q.since.IsZero() {
		s.phaseSince = q.since
	}
	if err == nil && s.srv.closing() {
		err = errClosing
	}
	if err := s.flush(); err != nil { // before what the Handler sends
		q.cancel(err)
		return err
	}
	q.cancel(err)
	return q.then(err)
}

// abandonQuestion cancels what is asked when the session ends.
func (s *session) abandonQuestion(err error) {
	if q := s.question; q != nil {
		s.question = nil
		s.countHeld(0)
		s.note(q.role + " " + s.shown(q.req, q.role) + " (not answered)")
		q.cancel(err)
	}
}

// errNotAnswered refuses a publish or play whose Authorizer did not answer in time.
var errNotAnswered = &StatusError{Description: "permission was not given in time", Err: ErrAuthorizeTimeout}

// awaitAnswer waits until nothing is asked any more, or returns errParked: turn calls
// it again. Bytes that come are kept for later, up to maxHeld; nothing is sent but what
// other message streams of the connection are told by their Handler.
func (s *session) awaitAnswer() error {
	for {
		if err := s.doPosted(); err != nil {
			return err
		}
		q := s.question
		if q == nil {
			return nil
		}
		now := time.Now()
		if !now.Before(q.deadline) {
			if err := s.answered(q, errNotAnswered); err != nil {
				return err
			}
			continue
		}
		if err := s.flush(); err != nil {
			return err
		}
		s.rd.Trim()
		if err := s.hold(q.deadline, now); err != nil {
			return err
		}
	}
}

// countHeld counts how many bytes the session holds, among those of the server.
func (s *session) countHeld(n int) {
	s.srv.held.Add(int64(n - s.counted))
	s.counted = n
}

// hold reads once into the held bytes, waiting until the deadline. Where there are as
// many as there may be it reads nothing: it waits until the client has gone, or for the
// next time to look whether it has, and whether there is room.
func (s *session) hold(deadline, now time.Time) error {
	room := min(maxHeld-len(s.held), maxHeldInAll-int(s.srv.held.Load()))
	if room > 0 {
		err := s.holdMore(min(room, max(minHeldRead, len(s.held))), deadline, now)
		s.countHeld(len(s.held))
		if err != nil && (err == errParked || !isTimeout(err)) {
			return s.readError(err)
		}
		return nil
	}
	if forced := s.forced.Load(); forced != nil {
		return *forced
	}
	if err := hungUp(s.nc); err != nil {
		return s.readError(err)
	}
	if next := now.Add(hangupInterval); next.Before(deadline) {
		deadline = next
	}
	if s.polled != nil {
		s.wakeAt, s.deaf = deadline, true
		return errParked
	}
	woken := make(chan struct{})
	s.sleep(deadline, func() { close(woken) })
	<-woken
	return nil
}
