package rtmp

import (
	"context"
	"sync/atomic"
	"time"
)

// playArgs are what play and play2 ask for.
type playArgs struct {
	name     string // as sent
	start    float64
	duration time.Duration
	reset    bool          // not Request.NoReset
	queued   bool          // it waits for the end of the file that plays, if one does
	position time.Duration // Request.Position
}

// maxUpcoming bounds the plays of one message stream that wait for the end of the one
// before them.
const maxUpcoming = 16

// enqueue has a play wait for the end of the file that plays on its message stream.
func (s *session) enqueue(st *stream, present FilePlayback, a playArgs) error {
	if len(st.upcoming) >= maxUpcoming {
		// No LevelError: what plays goes on.
		return s.status(st.id, LevelWarning, CodePlayFailed, "too many plays wait on the message stream")
	}
	st.upcoming = append(st.upcoming, a)
	present.Follow()
	return nil
}

// next begins the play that waits behind one which has ended.
func (s *session) next(h *ServerStream) error {
	st := s.stream(h.id)
	if st == nil || st.handle != h || st.play == nil || len(st.upcoming) == 0 {
		return nil
	}
	a, rest := st.upcoming[0], st.upcoming[1:]
	s.release(st, nil)
	st.upcoming = rest
	return s.begin(st, a)
}

// followed tells a play that has begun of those that wait for its end.
func (st *stream) followed() {
	if len(st.upcoming) == 0 {
		return
	}
	if file, ok := st.play.(FilePlayback); ok {
		file.Follow()
		return
	}
	st.upcoming = nil // a live stream has no end that anybody could wait for
}

// filePlayback returns what plays on the message stream if that is a file, otherwise nil.
func (st *stream) filePlayback() FilePlayback {
	file, _ := st.play.(FilePlayback)
	return file
}

// onSeek seeks in a file (RTMP 1.0 §7.2.2.7). A live stream has one position: to that it
// agrees, and stays where it is.
func (s *session) onSeek(c *command) error {
	st := s.stream(c.stream)
	if st == nil || st.play == nil {
		return s.notPlaying(c)
	}
	file := st.filePlayback()
	if file == nil {
		return s.status(c.stream, LevelStatus, CodeSeekNotify, "Live streams have one position.")
	}
	if err := s.flush(); err != nil { // before what the playback sends
		return err
	}
	file.Seek(milliseconds(c.num(1)))
	return nil
}

// onBufferLength takes note of SetBufferLength, which may come before and during a play.
// What is for a message stream that does not exist means nothing: rtmpdump sends it
// for stream 0 too.
func (s *session) onBufferLength(id, ms uint32) error {
	if err := s.charge(); err != nil {
		return err
	}
	st := s.stream(id)
	if st == nil {
		return nil
	}
	st.buffer = max(time.Duration(ms)*time.Millisecond, time.Millisecond)
	if file := st.filePlayback(); file != nil {
		file.SetBuffer(st.buffer)
	}
	return nil
}

// known is a length that was asked for, with what the Handler has kept for the play
// that is to follow.
type known struct {
	name string // as sent
	req  *Request
}

// onGetStreamLength answers how long a file is, in seconds, and 0 for what is none.
func (s *session) onGetStreamLength(c *command) error {
	l, ok := s.srv.Handler.(Lengther)
	if !ok || s.srv.closing() {
		return s.result(c, 0.0)
	}
	name := c.str(1)
	r, err := s.request(name, "", 0)
	if err != nil {
		return s.result(c, 0.0)
	}
	s.forget(nil)
	if err := s.flush(); err != nil {
		return err
	}
	h := &ServerStream{s: s, id: c.stream}
	txn := command{txn: c.txn}
	const unknown = -1
	var length atomic.Int64
	length.Store(unknown)
	q := &question{role: roleLength, req: r, since: s.phaseSince}
	q.then = func(err error) error {
		if err != nil { // r may be written to yet
			return s.result(&txn, 0.0)
		}
		if r.Value != nil {
			s.known = &known{name, r}
		}
		return s.result(&txn, time.Duration(length.Load()).Seconds())
	}
	return s.ask(q, func(ctx context.Context) {
		l.StreamLength(ctx, h, r, func(d time.Duration) {
			if length.CompareAndSwap(unknown, int64(max(d, 0))) {
				q.answer(nil)
			}
		})
	})
}

// reuse gives a play the Value of the question for its length, if that came right before.
func (s *session) reuse(name string, r *Request) {
	if s.known != nil && s.known.name == name {
		r.Value, s.known = s.known.req.Value, nil
	}
	s.forget(nil)
}

// forget tells the Handler that what it keeps for a play is not used.
func (s *session) forget(err error) {
	if k := s.known; k != nil {
		s.known = nil
		s.srv.Handler.(Lengther).Forget(k.req, err)
	}
}
