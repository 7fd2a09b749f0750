package hook

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"sluice/hub"
	"sluice/hub/access"
)

// Config sets up a Question.
type Config struct {
	URL     func() string // ClientConfig.URL
	Format  Format        // of question and answer
	Timeout time.Duration // for an answer: 3 s if 0
	// FailOpen grants what the server gives no answer to. Else it is refused.
	FailOpen bool
	// Cache is for how long a yes holds for those who ask the same. 0 asks each time; a no is
	// never kept.
	Cache time.Duration
	// Grace is for how long after its end a publisher that was granted may come back while the
	// server gives no answer, as hub.Config.PublisherGrace: 8 s if 0, not at all if negative.
	Grace time.Duration
	// Account reports whether the server keeps account of those whom it granted, and so has to be
	// told their ends: Left is called with each that it granted and that never begins, since its
	// client has left before the answer or only asked whether it may (hub.Client.Inquiry). key is
	// the stream's name after the grant. A question that was sent goes on then when all who wait
	// for its answer have left, until there is one or it is late. nil for never; both may be called
	// from any goroutine.
	Account func() bool
	Left    func(s *hub.Session, key hub.Key)

	Server string       // names this server in questions
	Logger *slog.Logger // nil discards

	TLS  *tls.Config // nil for the system's certificates
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const defaultGrace = 8 * time.Second

// Question is a method of permission (access.Method) that asks an operator's server. Its methods
// may be called from any goroutine.
//
// Who asks the same at a time shares one question: the same role, stream, address without a port
// and query, and all else that stands in it but the session. Its answer is given up when the last
// of them has left, but for Config.Account. No lock is held and no hub is called meanwhile.
//
// A no says what is wrong with what the client shows, where it shows anything: it counts for
// SLUICE_AUTH_FAILURES if the server answers 401, 403 or no in a body.
type Question struct {
	cfg    Config
	log    *slog.Logger
	client *Client
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	flying sync.WaitGroup // flights; entered with mu held

	mu      sync.Mutex
	closed  bool
	silent  bool // the server gave no answer to the last question
	flights map[digest]*flight
	known   known
}

// flight is one question under way.
type flight struct {
	session *hub.Session // the one that it is about, of all that wait
	waiters int          // guarded by Question.mu, as are left, sent and landed
	left    bool         // session has, before there was an answer
	sent    bool         // the server may know of it
	landed  bool
	cancel  func()        // gives it up
	done    chan struct{} // closed when the rest is set
	verdict verdict
	err     error
}

// New returns the method. It must be closed. The error quotes nothing of the URL.
func New(cfg Config) (*Question, error) {
	client, err := NewClient(ClientConfig{URL: cfg.URL, Timeout: cfg.Timeout, TLS: cfg.TLS, Dial: cfg.Dial})
	if err != nil {
		return nil, err
	}
	if cfg.Grace == 0 {
		cfg.Grace = defaultGrace
	}
	q := &Question{cfg: cfg, log: cfg.Logger, client: client, flights: make(map[digest]*flight), known: newKnown()}
	if q.log == nil {
		q.log = slog.New(slog.DiscardHandler)
	}
	q.ctx, q.stop = context.WithCancel(context.Background())
	return q, nil
}

// What is said where the server says nothing.
var (
	errUnasked = &hub.Refusal{Reason: hub.ReasonDenied, Detail: "permission could not be asked for"}
	errClosed  = &hub.Refusal{Reason: hub.ReasonShuttingDown}
)

// Decide asks about a session (access.Method).
func (q *Question) Decide(ctx context.Context, s *hub.Session) (hub.Grant, error) {
	came, client := time.Now(), s.Client()
	call := questionOf(s, q.cfg.Server)
	who := publisherOf(s.Key(), &client)
	v, err := q.verdict(ctx, s, &call)
	if errors.Is(err, ErrUnanswered) {
		v, err = q.unanswered(s, who, came)
	}
	if err != nil {
		return hub.Grant{}, err
	}
	if s.Role() == hub.RolePublish {
		q.note(ctx, s, who, v)
	}
	if !v.allow {
		return hub.Grant{}, q.refusal(v, s)
	}
	return v.grant(s), nil
}

// note notes what became of a publisher. Of one that has left in the meantime nothing is noted:
// its end may have been told before.
func (q *Question) note(ctx context.Context, s *hub.Session, who digest, v verdict) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case !v.allow:
		q.known.forget(who)
	case ctx.Err() == nil:
		q.known.granted(who, s.ID(), v)
	}
}

// unanswered decides where the server does not about a session that came at some time.
func (q *Question) unanswered(s *hub.Session, who digest, came time.Time) (verdict, error) {
	if s.Role() == hub.RolePublish {
		q.mu.Lock()
		v, ok := q.known.returning(who, came, time.Now())
		q.mu.Unlock()
		if ok {
			return v, nil
		}
	}
	if !q.cfg.FailOpen {
		return verdict{}, errUnasked
	}
	return verdict{allow: true}, nil
}

// verdict returns the server's word. The error wraps ErrUnanswered where there is none.
func (q *Question) verdict(ctx context.Context, s *hub.Session, call *Call) (verdict, error) {
	same := *call
	same.Session = 0
	_, body := q.cfg.Format.question(&same)
	to := digest(sha256.Sum256(body))

	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return verdict{}, errClosed
	}
	if v, ok := q.known.answer(to, time.Now()); ok {
		q.mu.Unlock()
		return v, nil
	}
	f := q.flights[to]
	first := f == nil
	if first {
		f = q.launchLocked(to, call, s)
	}
	f.waiters++
	q.mu.Unlock()

	select {
	case <-f.done:
		if first && f.granted() {
			q.begins(ctx, s, f.verdict)
		}
		return f.verdict, f.err
	case <-ctx.Done():
		if q.leave(to, f, first) {
			q.tellLeft(s, f.verdict)
		}
		return verdict{}, context.Cause(ctx)
	}
}

// granted reports whether the answer was yes.
func (f *flight) granted() bool { return f.err == nil && f.verdict.allow }

// begins notes that the server takes a session that it was asked about for one that has begun.
func (q *Question) begins(ctx context.Context, s *hub.Session, v verdict) {
	c := s.Client()
	q.mu.Lock()
	over := c.Inquiry || c.Recording == hub.AnyRecording || ctx.Err() != nil
	if !over {
		q.known.asked.put(s.ID(), v.keyOf(s))
	}
	q.mu.Unlock()
	if over {
		q.tellLeft(s, v)
	}
}

// accounts is Config.Account.
func (q *Question) accounts() bool {
	return q.cfg.Account != nil && q.cfg.Left != nil && q.cfg.Account()
}

// tellLeft tells that a session which the server has granted never begins.
func (q *Question) tellLeft(s *hub.Session, v verdict) {
	if !q.accounts() {
		return
	}
	q.cfg.Left(s, v.keyOf(s))
}

// keyOf returns the stream of a session that was asked about, as the server has it from a yes on.
func (v *verdict) keyOf(s *hub.Session) hub.Key {
	if v.key != (hub.Key{}) {
		return v.key
	}
	return s.Key()
}

// launchLocked begins a question.
func (q *Question) launchLocked(to digest, call *Call, s *hub.Session) *flight {
	ctx, cancel := context.WithCancel(q.ctx)
	key, f := s.Key(), &flight{session: s, cancel: cancel, done: make(chan struct{})}
	q.flights[to] = f
	contentType, text := q.cfg.Format.question(call)
	body := func() []byte {
		q.mu.Lock()
		defer q.mu.Unlock()
		f.sent = true
		return text
	}
	q.flying.Go(func() {
		defer cancel()
		var v verdict
		err := q.client.Ask(ctx, s.Role(), contentType, body, func(a Answer) (err error) {
			v, err = q.cfg.Format.read(a, key, time.Now())
			return err
		})
		q.landed(to, f, v, err)
	})
	return f
}

// leave takes a waiter from a question, and as a rule gives it up with the last one. It reports
// whether the waiter is the session that it is about, and was granted.
func (q *Question) leave(to digest, f *flight, first bool) (granted bool) {
	keep := q.accounts()
	q.mu.Lock()
	defer q.mu.Unlock()
	f.left = f.left || first
	if f.waiters--; f.waiters == 0 && !(keep && f.sent) {
		if q.flights[to] == f {
			delete(q.flights, to)
		}
		f.cancel()
	}
	return first && f.landed && f.granted()
}

// landed ends a question.
func (q *Question) landed(to digest, f *flight, v verdict, err error) {
	q.mu.Lock()
	if q.flights[to] == f {
		delete(q.flights, to)
	}
	if q.closed && err != nil {
		err = errClosed
	}
	f.verdict, f.err, f.landed = v, err, true
	left := f.left && f.granted()
	unanswered := errors.Is(err, ErrUnanswered)
	changed := (err == nil || unanswered) && q.silent != unanswered
	if changed {
		q.silent = unanswered
	}
	if err == nil && v.allow && q.cfg.Cache > 0 {
		q.known.keep(to, v, time.Now(), q.cfg.Cache)
	}
	q.mu.Unlock()
	close(f.done)
	if left {
		q.tellLeft(f.session, v)
	}
	switch {
	case changed && unanswered:
		q.log.Warn("the server that is asked for permission does not answer", "error", err, "granted", q.cfg.FailOpen)
	case changed:
		q.log.Info("the server that is asked for permission answers again")
	}
}

// Ended notes that a session is over, or never began: its grace time begins.
func (q *Question) Ended(s *hub.Session) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.known.ended(s.ID(), time.Now().Add(q.cfg.Grace))
}

// Observe is to be told what happens in the hub (hub.Config.Observe), after whoever asks Skip and
// Knows.
func (q *Question) Observe(e hub.Event) {
	switch e.Kind {
	case hub.EventUnpublished, hub.EventLeft, hub.EventRefused:
		if e.Session != nil {
			q.Ended(e.Session)
		}
	}
}

// Skip reports whether the server knows of the beginning of a session, since it was asked about
// this very one and said yes (event.Webhook.Skip). It does so once.
func (q *Question) Skip(e hub.Event) bool {
	if e.Kind != hub.EventPublished && e.Kind != hub.EventJoined {
		return false
	}
	_, known := q.knows(e.Session)
	return known
}

// Knows reports whether the server takes a session that was refused for one that began, since it
// was asked about this very one and said yes, and under which name (event.Webhook.Knows): the
// session need not have that, since it may have been refused before. It does so once.
func (q *Question) Knows(e hub.Event) (key hub.Key, known bool) {
	if e.Kind != hub.EventRefused {
		return hub.Key{}, false
	}
	return q.knows(e.Session)
}

// knows reports, once, whether the server has granted a session, and under which name.
func (q *Question) knows(s *hub.Session) (key hub.Key, known bool) {
	if s == nil {
		return hub.Key{}, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if of := q.known.asked.get(s.ID()); of != nil {
		key = *of
	}
	return key, q.known.asked.drop(s.ID())
}

// Close gives up all questions, and returns when none is under way any more.
func (q *Question) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.stop()
	q.flying.Wait()
	q.client.Close()
}

var _ access.Method = (*Question)(nil)
