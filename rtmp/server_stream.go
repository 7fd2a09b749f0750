package rtmp

import (
	"io"
	"log/slog"
	"net"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// A ServerStream is one message stream of a connection to a Server, on which a
// client publishes or plays: a Handler's handle on the connection. Its methods
// may be called from any goroutine, during and after the session.
type ServerStream struct {
	s  *session
	id uint32
}

// A Flusher is what an output given to ServerStream.SetOutput may be as well.
type Flusher interface {
	// Flush returns when everything that was written to the output is on the wire,
	// or cannot be before the deadline. It is called before the server shuts the
	// connection, so that its last words get out.
	Flush(deadline time.Time) error
}

// ID returns the message stream id.
func (s *ServerStream) ID() uint32 { return s.id }

// SessionID returns the number of the connection, unique in its Server.
func (s *ServerStream) SessionID() uint64 { return s.s.id }

// NetConn returns the connection, for an output of the Handler's own: to write to,
// also by way of its syscall.RawConn if it has one (syscall.Conn), and to close,
// which ends the session. Call SetOutput before writing to it.
func (s *ServerStream) NetConn() net.Conn { return s.s.connForOthers() }

// RemoteAddr returns the client's address.
func (s *ServerStream) RemoteAddr() net.Addr { return s.s.nc.RemoteAddr() }

// Logger returns a logger that says which session it is.
func (s *ServerStream) Logger() *slog.Logger { return s.s.logger() }

// SetOutput makes w the way out of the connection: from its return on, the
// server writes nothing to the connection itself, and every reply, notification,
// acknowledgement and ping goes to w, as whole messages, a batch in one Write,
// from any goroutine, possibly several at a time. w.Write must not block and
// must not keep p; an error ends the connection. Media may go between two such
// batches, never inside one.
//
// The output is the connection's: several message streams share it (Output tells
// whether there is one). If it has a method Close(), that is called when the
// session has ended and the connection is closed. nil gives the connection back to the
// server; w must have nothing left unwritten then.
//
// SetOutput waits for a write of the server that is under way, at most
// Server.WriteTimeout.
func (s *ServerStream) SetOutput(w io.Writer) { s.s.setOutput(w) }

// Output returns what SetOutput was last given on this connection, by any of its
// message streams.
func (s *ServerStream) Output() io.Writer { return s.s.output() }

// AddBytesOut adds to the bytes that the session's last log line reports as
// sent: for outputs that write to NetConn by themselves.
func (s *ServerStream) AddBytesOut(n int64) { s.s.bytesOut.Add(n) }

// Send writes whole messages, made by the Append methods, in one Write: to the
// connection, waiting for at most Server.WriteTimeout, or to the output.
func (s *ServerStream) Send(messages []byte) error { return s.s.send(messages) }

// Fail ends the message stream from the Handler's side with an onStatus: a
// *StatusError in err's chain chooses its words, otherwise they are
// NetStream.Publish.Rejected or NetStream.Play.Failed. The Publication or
// Playback is closed, and so is the connection once the message is out, unless
// another message stream of it still publishes or plays. Fail does not wait.
func (s *ServerStream) Fail(err error) {
	if err == nil {
		err = errClosedHere
	}
	s.s.post(func() error { return s.s.fail(s, err) })
}

// End ends the message stream from the Handler's side as Fail does, but without a
// word to the client: the Handler has said it all, with AppendPlayEnd or
// AppendPlayStop.
func (s *ServerStream) End(err error) {
	if err == nil {
		err = errClosedHere
	}
	s.s.post(func() error { return s.s.finish(s, err) })
}

// CloseConn ends the whole connection with err as its reason, without a further
// message: what was written to it gets out first, including the output if it
// is a Flusher. CloseConn does not wait. A nil err stands for one that wraps
// net.ErrClosed, here and with Fail.
func (s *ServerStream) CloseConn(err error) {
	if err == nil {
		err = errClosedHere
	}
	s.s.post(func() error { return politeEnd{err} })
}

// AppendPlayStart appends the messages that begin a play: StreamBegin,
// NetStream.Play.Reset, NetStream.Play.Start and |RtmpSampleAccess. librtmp
// drops media that comes before them.
func (s *ServerStream) AppendPlayStart(dst []byte) []byte {
	size := s.s.srv.chunkSize()
	dst = appendUserControl(dst, eventStreamBegin, s.id)
	dst = appendStatus(dst, size, s.id, LevelStatus, CodePlayReset, "Playing and resetting.")
	dst = appendStatus(dst, size, s.id, LevelStatus, CodePlayStart, "Started playing.")
	return appendData(dst, size, s.id, rtmpSampleAccess, true, true)
}

// AppendPlayEnd appends the messages that end a play properly:
// NetStream.Play.UnpublishNotify, with further properties, and StreamEOF.
func (s *ServerStream) AppendPlayEnd(dst []byte, more ...amf.Property) []byte {
	dst = appendStatus(dst, s.s.srv.chunkSize(), s.id, LevelStatus, CodePlayUnpublishNotify, "Stream ended.", more...)
	return appendUserControl(dst, eventStreamEOF, s.id)
}

// AppendPlayStop appends the messages that end a play whose asked duration is over
// (Request.Duration), although the stream goes on: StreamEOF and NetStream.Play.Stop.
// NetStream.Play.Complete would say that a file was played to its end.
func (s *ServerStream) AppendPlayStop(dst []byte) []byte {
	dst = appendUserControl(dst, eventStreamEOF, s.id)
	return appendStatus(dst, s.s.srv.chunkSize(), s.id, LevelStatus, CodePlayStop, "Played for as long as asked.")
}

// AppendStatus appends an onStatus message for this message stream; more are further properties.
func (s *ServerStream) AppendStatus(dst []byte, level, code, description string, more ...amf.Property) []byte {
	return appendStatus(dst, s.s.srv.chunkSize(), s.id, level, code, description, more...)
}

// AppendTags appends tags as messages of this message stream. It keeps no state:
// every message stands for itself, so that batches for one connection may be made
// at any time and sent in any order.
func (s *ServerStream) AppendTags(dst []byte, tags []flv.Tag) []byte {
	size := s.s.srv.chunkSize()
	for _, t := range tags {
		dst = appendTag(dst, size, s.id, t)
	}
	return dst
}

// Form and Stamp make what AppendTags appends good for another ServerStream of the
// same form, whose timestamps differ: Stamp puts them into the messages, one for
// each tag. It returns false, and may leave messages half changed, where they have no
// room for that, as in the fifth hour of a stream.

// Form returns what tells equal ServerStreams, never 0.
func (s *ServerStream) Form() uint64 { return 1<<63 | uint64(s.s.srv.chunkSize())<<32 | uint64(s.id) }

// Stamp is described at Form.
func (s *ServerStream) Stamp(messages []byte, timestamps []uint32) bool {
	size := s.s.srv.chunkSize()
	for _, ts := range timestamps {
		var ok bool
		if messages, ok = chunk.Stamp(messages, size, ts); !ok {
			return false
		}
	}
	return true
}
