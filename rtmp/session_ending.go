package rtmp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"
)

// politeEnd wraps the reason of an end before which the peer is left time to read the
// last messages and to close.
type politeEnd struct{ err error }

func (e politeEnd) Error() string { return e.err.Error() }
func (e politeEnd) Unwrap() error { return e.err }

// errDrained ends a session that has nothing left to do when its server shuts
// down.
var errDrained = fmt.Errorf("rtmp: nothing published or played: %w", ErrServerClosed)

// end closes the session, and everything it was used for, because of err.
func (s *session) end(err error) {
	if s.polled != nil {
		s.polled.Close()
	}
	if forced := s.forced.Load(); forced != nil {
		err = *forced
	}
	s.abandonQuestion(err)
	s.forget(err)
	var end politeEnd
	polite := errors.As(err, &end)
	if !polite && errors.Is(err, net.ErrClosed) {
		err = s.closedBecause(err)
	}
	if polite {
		err = end.err
		s.flushOutput()
	}
	for _, st := range s.streams {
		s.release(st, err)
	}
	if polite {
		s.linger(s.srv.lingerTimeout())
	}
	s.nc.Close()
	if c, ok := s.output().(interface{ Close() }); ok {
		c.Close()
	}
	s.logEnd(err)
}

// flushOutput gets everything out before the connection is shut.
func (s *session) flushOutput() {
	if s.flush() != nil {
		return
	}
	if f, ok := s.output().(Flusher); ok {
		f.Flush(time.Now().Add(s.srv.writeTimeout()))
	}
}

// closedBecause returns why the connection was closed under the session: the
// output, which closes it when writing fails, knows.
func (s *session) closedBecause(err error) error {
	if f, ok := s.output().(Flusher); ok && s.forced.Load() == nil {
		return cmp.Or(f.Flush(time.Now()), err)
	}
	return err
}

// release ends what a message stream does. err is why, nil if the client asked for
// it.
func (s *session) release(st *stream, err error) {
	if st == nil {
		return
	}
	pub, play := st.pub, st.play
	st.pub, st.play, st.handle, st.upcoming = nil, nil, nil, nil
	switch {
	case pub != nil:
		s.publishing--
		pub.Close(err)
	case play != nil:
		s.playing--
		play.Close(err)
	default:
		return
	}
	if s.inUse() == 0 && s.phase == active {
		s.enter(idle)
	}
}

// drain ends a session with nothing to do when the server shuts down. What is asked is
// refused, so that the client is told.
func (s *session) drain() error {
	switch {
	case !s.srv.closing():
	case s.question != nil:
		return s.answered(s.question, errClosing)
	case s.inUse() == 0:
		return errDrained
	}
	return nil
}

// answer queues the onStatus of a refusal or failure: the words of a *StatusError
// in err's chain, otherwise the given code.
func (s *session) answer(id uint32, err error, code string) error {
	said := StatusError{Level: LevelError, Code: code, Description: "refused"}
	if chosen := (*StatusError)(nil); errors.As(err, &chosen) {
		said.Level = cmp.Or(chosen.Level, said.Level)
		said.Code = cmp.Or(chosen.Code, said.Code)
		said.Description = cmp.Or(chosen.Description, said.Description)
		said.Properties = chosen.Properties
	}
	s.debug("rtmp stream refused", "stream_id", id, "code", said.Code, "reason", err)
	return s.queue(appendStatus(s.pending, s.srv.chunkSize(), id, said.Level, said.Code, said.Description, said.Properties...))
}

// refuse answers a publish or play that is not to be, and ends the session unless
// it has something else to do.
func (s *session) refuse(id uint32, err error, code string) error {
	if werr := s.answer(id, err, code); werr != nil {
		return werr
	}
	if s.inUse() > 0 {
		return nil
	}
	return politeEnd{err}
}

// fail ends a stream that its Handler gave up. The last one of a session is
// released by run, when the message is out.
func (s *session) fail(h *ServerStream, err error) error {
	st := s.stream(h.id)
	if st == nil || st.handle != h || !st.inUse() {
		return nil
	}
	code := CodePublishRejected
	if st.play != nil {
		code = CodePlayFailed
	}
	if werr := s.answer(h.id, err, code); werr != nil {
		return werr
	}
	return s.finish(h, err)
}

// finish ends what a message stream does from our side, and the connection with
// it if nothing else happens there.
func (s *session) finish(h *ServerStream, err error) error {
	st := s.stream(h.id)
	if st == nil || st.handle != h || !st.inUse() {
		return nil
	}
	if s.inUse() == 1 && s.question == nil {
		return politeEnd{err}
	}
	s.release(st, err)
	return nil
}

// logEnd writes the last line of a connection: for everybody to see if nothing was published
// or played, nor asked for, so that nobody else has said what became of it.
func (s *session) logEnd(err error) {
	args := []any{
		"duration", time.Since(s.began).Round(time.Millisecond),
		"bytes_in", s.bytesIn.Load(), "bytes_out", s.bytesOut.Load(), "reason", reason(err),
	}
	if s.skipped > 0 {
		args = append(args, "skipped", s.skipped)
	}
	if m, ok := errors.AsType[misnamed](err); ok {
		args = append(args, "name", m.asked)
	}
	if len(s.history) > 0 {
		args = append(args, "streams", strings.Join(s.history, ", "))
	}
	level := slog.LevelInfo
	switch op := (*net.OpError)(nil); {
	case len(s.history) > 0: // the Handler has logged what became of these
		level = slog.LevelDebug
	case s.bytesIn.Load() == 0: // a check whether the port is open
		level = slog.LevelDebug
	case errors.As(err, &op) && errors.Is(op, net.ErrClosed):
		level = slog.LevelDebug // what closed the connection under us logs it
	}
	s.logger().Log(context.Background(), level, "rtmp connection ends", args...)
}

// reason puts the common ends in words.
func reason(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "closed by client"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "closed by client inside a message"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset by client"
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "client vanished"
	case err == nil:
		return "closed"
	}
	return err.Error()
}
