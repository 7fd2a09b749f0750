package hub

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// Grant is a policy's leave to publish or to watch.
type Grant struct {
	// Identity says who this is, whatever else the client shows: a publisher with the
	// identity of the present one takes its stream over at once. Empty proves nothing.
	// It is compared in constant time and never shown. Viewers with one are counted by it
	// (Config.MaxPerIdentity).
	Identity string
	// Subject says who this is to people who run the server: lists and events show it, so that
	// it holds no secret. Empty if it is not known.
	Subject string
	// Method is how it was decided, one of a few words, for figures.
	Method string
	// Until is when the grant ends; the zero Time for never. It counts when the session
	// enters its stream; one that has begun goes on, unless Config.ExpireSessions is set.
	Until time.Time
	// Key is the stream to publish or watch instead of the one that was asked for; the
	// zero Key for that one.
	Key Key
	// Rewind lets a viewer of a stream begin in the stream's recording too (?back=). Without it
	// the viewer may go back as far as the log reaches. It means nothing to a session that
	// asked for a recording.
	Rewind bool

	claim    Claim // of a publisher (Config.Claim)
	noPolicy bool  // nobody has said anything but that
}

// Bounds on questions to the policy.
const (
	// maxQuestions is how many are asked at a time.
	maxQuestions = 1024
	// maxQueuedQuestions is how many more wait for their turn, of publishers and of viewers
	// each. Beyond it, addresses with the most questions in the queue give way first: the last of
	// theirs is refused.
	maxQueuedQuestions = 8192
)

// Ask asks the policy (Config.Authorize) whether the session may be, and calls done with
// its answer exactly once: nil, or a *Refusal. Where there is no policy it does so before
// it returns, after Config.Recheck, otherwise from another goroutine; done must not block.
//
// The question is given up when ctx ends, as it does when a client leaves, and when
// Config.AuthorizeTimeout is over. No goroutine waits with it but the one that runs the
// policy. A refusal has been told when done is called.
func (s *Session) Ask(ctx context.Context, done func(error)) {
	if s.hub.cfg.Authorize == nil && !s.hub.claims(s) {
		if why := s.recheck(); why != nil {
			done(s.refused(why))
			return
		}
		done(nil)
		return
	}
	q := &question{session: s, done: done, from: ClientAddress(s.address.Addr()), since: s.begun}
	q.ctx, q.cancel = context.WithTimeout(ctx, s.hub.cfg.AuthorizeTimeout)
	s.hub.asker.add(q)
}

// AskAndWait is Ask for a caller that has a goroutine to wait with.
func (s *Session) AskAndWait(ctx context.Context) error {
	answer := make(chan error, 1)
	s.Ask(ctx, func(err error) { answer <- err })
	return <-answer
}

// check looks again, when a granted session is about to enter its stream, at what may have
// changed since the policy was asked.
func (s *Session) check() error {
	if g := s.grant.Load(); g != nil && !g.Until.IsZero() && !time.Now().Before(g.Until) {
		return refuse(ReasonDenied, "the permission has ended")
	}
	if why := s.recheck(); why != nil {
		return why
	}
	return nil
}

// recheck takes the policy's second look (Config.Recheck). A session that Hub.Dismiss found
// asking, and that was granted all the same, ends here, as does one that comes too late
// (Hub.RefuseNew).
func (s *Session) recheck() *Refusal {
	switch why := s.dismissed.Load(); {
	case why != nil:
		return why
	case s.hub.refusesClient(s):
		return errShuttingDown
	case s.hub.loops(s.appear.Value().path):
		return errLoop
	case s.hub.cfg.Recheck == nil, s.copies: // whose publisher was looked at where it is; its address is another server's
		return nil
	}
	err := s.hub.cfg.Recheck(s)
	if err == nil {
		return nil
	}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal
	}
	return refuse(ReasonKicked, "%v", err)
}

// Why questions end without the policy's answer.
var (
	errNoAnswer   = refuse(ReasonDenied, "permission was not answered in time")
	errManyAskers = refuse(ReasonTooMany, "too many wait for permission")
	errUndecided  = refuse(ReasonDenied, "permission could not be decided")
)

// question is one session about which the policy is, or will be, asked.
type question struct {
	session *Session
	ctx     context.Context
	cancel  context.CancelFunc
	done    func(error)
	from    netip.Addr    // those of one address have it in common
	since   time.Duration // when the session was made: what it says of that changes when it begins

	// Guarded by asker.mu.
	state   questionState
	unwatch func() bool   // keeps expire from being called
	place   *list.Element // in the queue
	alike   *list.Element // among those of its address
}

type questionState uint8

const (
	questionNew questionState = iota
	questionQueued
	questionAsked // a goroutine runs the policy
	questionOver
)

// asker asks the policy, a bounded number of questions at a time.
//
//	add ──▶ asked ──────────────────────────▶ over: answered, ctx ended, hub shut down
//	 │        ▲ the oldest of a publisher and of a viewer by turns, when one is over
//	 ├──▶ queued ───────────────────────────▶ over: ctx ended, gave way, hub shut down
//	 └──▶ over: the queue is full, and no address has more in it than this one would
//
// A policy that does not return when its context ends keeps its place, so that there are
// never more goroutines than places; questions that it keeps waiting are refused in time
// all the same.
type asker struct {
	authorize func(context.Context, *Session) (Grant, error) // nil lets everybody in
	panicked  func(value any)                                // writes a line

	mu      sync.Mutex
	closed  bool
	asked   map[*question]struct{}
	running int           // goroutines
	idle    chan struct{} // closed when there is none; nil if nobody waits for that
	queues  [roles]askQueue
	turn    Role // whose question was taken from its queue last
}

func newAsker(cfg *Config) *asker {
	return &asker{
		authorize: cfg.Authorize,
		panicked:  func(value any) { logPanic(cfg.Logger, "the policy panicked", value) },
		asked:     make(map[*question]struct{}),
	}
}

// logPanic writes a line about a panic of a function that is not the hub's own. It is called
// by the deferred function that recovers.
func logPanic(log *slog.Logger, message string, value any) {
	log.Error(message, "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
}

// add asks a question, or queues it.
func (a *asker) add(q *question) {
	refused, why := a.admit(q)
	if refused != nil {
		refused.answer(Grant{}, why)
	}
}

// admit finds a place for a question, and returns the one that is refused for that.
func (a *asker) admit(q *question) (refused *question, why *Refusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q.unwatch = context.AfterFunc(q.ctx, func() { a.expire(q) })
	switch {
	case a.closed:
		q.state = questionOver
		return q, errShuttingDown
	case a.running < maxQuestions:
		a.running++
		a.askLocked(q)
		go a.run(q)
		return nil, nil
	}
	queue := &a.queues[q.session.role]
	if queue.questions.Len() >= maxQueuedQuestions {
		refused = queue.giveWay(q)
		refused.state = questionOver
	}
	if refused != q {
		queue.add(q)
	}
	return refused, errManyAskers
}

func (a *asker) askLocked(q *question) {
	q.state = questionAsked
	a.asked[q] = struct{}{}
}

// run asks one question after the other until none is queued.
func (a *asker) run(q *question) {
	defer func() {
		if q != nil { // the policy has ended the goroutine (runtime.Goexit)
			a.finish(q, Grant{}, errUndecided)
			go a.run(a.next())
		}
	}()
	for q != nil {
		if grant, err := a.ask(q); q.ctx.Err() == nil {
			a.finish(q, grant, err)
		} else { // what a policy says that was told to give up means nothing
			a.expire(q)
		}
		q = a.next()
	}
}

// next returns the question that is asked next, and ends the goroutine's part if there is
// none. It is that of a publisher and of a viewer by turns: a crowd of viewers keeps no
// publisher waiting, who has only its grace time to come back.
func (a *asker) next() *question {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range a.queues {
		a.turn = (a.turn + 1) % roles
		queue := &a.queues[a.turn]
		if q := queue.oldest(); q != nil {
			queue.remove(q)
			a.askLocked(q)
			return q
		}
	}
	a.running--
	if a.running == 0 && a.idle != nil {
		close(a.idle)
		a.idle = nil
	}
	return nil
}

// ask runs the policy, and then whoever else has to be asked. One that panics has said no.
func (a *asker) ask(q *question) (grant Grant, err error) {
	defer func() {
		if v := recover(); v != nil {
			a.panicked(v)
			err = errUndecided
		}
	}()
	if a.authorize == nil {
		grant.noPolicy = true
	} else if grant, err = a.authorize(q.ctx, q.session); err != nil {
		return Grant{}, denial(err)
	}
	return q.claim(grant)
}

// denial returns the refusal that a policy's error is. A policy may hand on how its own
// calls ended, such as by a cancelled context. Taken as it is, that would say that the
// client left, and the client would get no answer.
func denial(err error) *Refusal {
	refusal, ok := errors.AsType[*Refusal](err)
	switch {
	case !ok:
		return refuse(ReasonDenied, "%v", err)
	case refusal.Reason < ReasonBadRequest || refusal.Reason > ReasonShuttingDown:
		return refuse(ReasonDenied, "%s", refusal.Detail)
	}
	return refusal
}

// expire ends a question whose context has ended: at a deadline, which may be the
// caller's own, or since the client left.
func (a *asker) expire(q *question) {
	why := refuse(ReasonClientLeft, "left while permission was asked for")
	cause := context.Cause(q.ctx)
	if errors.Is(cause, context.DeadlineExceeded) || errors.Is(cause, os.ErrDeadlineExceeded) {
		why = errNoAnswer
	}
	a.finish(q, Grant{}, why)
}

// finish ends a question with the policy's answer, or without, and reports whether it did:
// only the first call counts.
func (a *asker) finish(q *question, grant Grant, err error) bool {
	a.mu.Lock()
	was := q.state
	q.state = questionOver
	switch was {
	case questionQueued:
		a.queues[q.session.role].remove(q)
	case questionAsked:
		delete(a.asked, q)
	}
	a.mu.Unlock()
	if was == questionOver {
		return false
	}
	q.answer(grant, err)
	return true
}

// answer tells the session, and then who asked.
func (q *question) answer(grant Grant, err error) {
	q.unwatch()
	q.cancel()
	if err != nil {
		q.done(q.session.refused(refusalOf(err)))
		return
	}
	q.session.grant.Store(&grant)
	if err := q.session.check(); err != nil {
		q.done(q.session.refused(err))
		return
	}
	q.done(nil)
}

// all returns the questions that the policy is, or will be, asked.
func (a *asker) all() []*question {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.allLocked()
}

func (a *asker) allLocked() []*question {
	all := slices.Collect(maps.Keys(a.asked))
	for role := range a.queues {
		for e := a.queues[role].questions.Front(); e != nil; e = e.Next() {
			all = append(all, e.Value.(*question))
		}
	}
	return all
}

// close refuses all questions, and those to come.
func (a *asker) close() {
	a.mu.Lock()
	a.closed = true
	all := a.allLocked()
	a.mu.Unlock()
	for _, q := range all {
		a.finish(q, Grant{}, errShuttingDown)
	}
}

// wait waits until the policy has returned from each question, or ctx ends. It follows
// close.
func (a *asker) wait(ctx context.Context) {
	a.mu.Lock()
	if a.running > 0 && a.idle == nil {
		a.idle = make(chan struct{})
	}
	idle := a.idle
	a.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}
