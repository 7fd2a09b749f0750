package rtmp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"
	"unique"

	"sluice/flv"
	"sluice/rtmp/internal/chunk"
	"sluice/rtmp/internal/handshake"
)

// session is one connection of a Server. One goroutine at a time runs it: it reads,
// calls the Handler and what the Handler returned, and replies. All other goroutines
// post. With Server.Poll a session owns a goroutine for the handshake and until
// nothing is left to read; then it is parked, and has a turn whenever something
// comes.
//
//	handshaking ──▶ connecting ──▶ idle ◀─────────────▶ active
//	                                │ ▲                  ▲ │
//	                  publish, play │ │ refused  granted │ │ publish, play on
//	                                ▼ │                  │ ▼ another message stream
//	                                └─┴───── asking ─────┴─┘
//
// Every phase may go over to the end: when the client leaves, when the Handler or the
// Server ends it, and at these limits. Each is an absolute time except the last.
//
//	handshaking  HandshakeTimeout
//	connecting   ConnectTimeout
//	idle         CommandTimeout
//	asking       AuthorizeTimeout, which refuses what is asked
//	active       PublishIdleTimeout: the silence of a publisher
//
// A session is active while at least one of its message streams publishes or plays. It
// is asking while an Authorizer has not answered a publish or play; where there is
// nothing to ask, or the answer comes at once, that phase is skipped.
type session struct {
	*conn
	srv   *Server
	id    uint64
	began time.Time

	// Of the goroutine that runs the session.
	phase      phase
	phaseSince time.Time
	pingDue    time.Time
	allowance  float64 // commands that may come now
	allowedAt  time.Time
	announced  bool                       // Set Chunk Size was sent
	client     unique.Handle[connectInfo] // after connect
	streams    []*stream                  // few
	lastID     uint32
	publishing int
	playing    int
	question   *question // in phase asking
	known      *known    // a length that was asked for last, if the Handler keeps something for its play
	counted    int       // of Server.held
	skipped    int       // messages that meant nothing
	history    []string  // what the streams did, for the log

	requested *Reconnect // what the client was asked for last

	inbox     inbox
	reconnect atomic.Pointer[Reconnect] // to ask the client for; posted if not nil
	// forced is why another goroutine closed the connection under the session.
	forced atomic.Pointer[error]
}

// phase is how far a session has come.
type phase uint8

const (
	handshaking phase = iota
	connecting        // until the connect command
	idle              // connected, nothing published or played
	asking            // a publish or play waits for the answer of the Authorizer
	active
)

// stream is one message stream: created, and perhaps in use.
type stream struct {
	id     uint32
	handle *ServerStream // of the last publish or play; what older ones post is void
	key    string        // what is published or played
	pub    Publication
	play   Playback
	// upcoming are plays that wait for the end of the present one.
	upcoming []playArgs
	// buffer is what SetBufferLength said last, 0 if it did not.
	buffer time.Duration
}

func (st *stream) inUse() bool { return st.pub != nil || st.play != nil }

// stream returns a message stream, nil if there is none of that id.
func (s *session) stream(id uint32) *stream {
	for _, st := range s.streams {
		if st.id == id {
			return st
		}
	}
	return nil
}

// addStream makes a message stream.
func (s *session) addStream(id uint32) *stream {
	st := &stream{id: id}
	s.streams = append(s.streams, st)
	return st
}

// inUse returns how many message streams publish or play.
func (s *session) inUse() int { return s.publishing + s.playing }

func newSession(srv *Server, nc net.Conn, id uint64) *session {
	now := time.Now()
	s := &session{
		conn:       newConn(nc, srv.writeTimeout()),
		srv:        srv,
		id:         id,
		began:      now,
		phaseSince: now,
		allowance:  float64(2 * srv.maxCommands()),
		allowedAt:  now,
	}
	s.conn.pace = s.pace
	s.conn.charge = s.charge
	s.conn.bufferLength = s.onBufferLength
	s.rd.SetLimits(chunk.Cautious)
	return s
}

// run is the session from handshake to close, or until it is parked for the first
// time: then it returns false, and turn goes on with it.
func (s *session) run() (over bool) {
	_, err := handshake.Server(s.conn)
	if err != nil {
		err = s.readError(err)
	} else {
		s.enter(connecting)
		s.startPolling()
		err = s.serve()
	}
	if err == errParked {
		s.park()
		return false
	}
	s.end(err)
	return true
}

// serve handles messages until something ends the session, or errParked.
func (s *session) serve() error {
	for n := 0; ; n++ {
		if s.question != nil {
			if err := s.awaitAnswer(); err != nil {
				return err
			}
		}
		if n >= turnMessages && s.polled != nil {
			s.yields = true
			return errParked
		}
		m, err := s.readMessage()
		if err != nil {
			return err
		}
		if err := s.handle(m); err != nil {
			return err
		}
	}
}

// enter begins a phase.
func (s *session) enter(p phase) {
	s.phase, s.phaseSince = p, time.Now()
}

// pace does what others posted and says how long the session may wait for bytes.
// It is called by the goroutine that runs the session, before each read.
func (s *session) pace(now, since time.Time) (time.Time, error) {
	if err := s.doPosted(); err != nil {
		return time.Time{}, err
	}
	var limit time.Time
	var late error
	switch s.phase {
	case handshaking:
		limit, late = s.phaseSince.Add(s.srv.handshakeTimeout()), ErrHandshakeTimeout
	case connecting:
		limit, late = s.phaseSince.Add(s.srv.connectTimeout()), ErrConnectTimeout
	case idle:
		limit, late = s.phaseSince.Add(s.srv.commandTimeout()), ErrCommandTimeout
	case active:
		if s.publishing > 0 {
			// A read that brings anything ends the silence, and silence that we
			// made ourselves by not reading does not count.
			limit, late = since.Add(s.srv.publishIdleTimeout()), ErrPublishIdle
		}
	}
	if late != nil && !now.Before(limit) {
		return time.Time{}, late
	}
	if s.playing > 0 {
		if !now.Before(s.pingDue) {
			s.pingDue = now.Add(s.srv.pingInterval())
			ms := uint32(now.Sub(s.began).Milliseconds())
			s.pending = appendUserControl(s.pending, eventPingRequest, ms)
		}
		if limit.IsZero() || s.pingDue.Before(limit) {
			limit = s.pingDue
		}
	}
	return limit, nil
}

// doPosted does what others posted.
func (s *session) doPosted() error {
	for _, f := range s.inbox.take() {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// charge takes one from the commands that the client may send.
func (s *session) charge() error {
	now := time.Now()
	rate := float64(s.srv.maxCommands())
	s.allowance = min(2*rate, s.allowance+rate*now.Sub(s.allowedAt).Seconds())
	s.allowedAt = now
	if s.allowance < 1 {
		return ErrFlood
	}
	s.allowance--
	return nil
}

// post has f done by the goroutine that runs the session, soon; an error of f ends
// the session.
func (s *session) post(f func() error) {
	s.inbox.put(f)
	s.interrupt()
}

// kill closes the connection under the session.
func (s *session) kill(err error) {
	s.forced.CompareAndSwap(nil, &err)
	s.nc.Close()
	s.interrupt() // for one that does not read
}

// handle does what a message asks for. Its error ends the session.
func (s *session) handle(m chunk.Message) error {
	switch m.Type {
	case typeAudio, typeVideo, typeData, typeDataAMF3:
		return s.media(m)
	case typeAggregate:
		return eachAggregated(m, s.media)
	case typeCommand, typeCommandAMF3:
		if err := s.charge(); err != nil {
			return err
		}
		c, err := parseCommand(m)
		if err != nil {
			s.skip(m.Type, err)
			return nil
		}
		return s.command(&c)
	}
	s.skip(m.Type, errUnknownType)
	return nil
}

// Why messages are passed over.
var (
	errUnknownType  = errors.New("rtmp: unknown message type")
	errNotPublished = errors.New("rtmp: media on a message stream that does not publish")
)

// skip counts a message that is passed over.
func (s *session) skip(typ uint8, why error) {
	s.skipped++
	s.debug("rtmp message skipped", "type", typ, "reason", why)
}

// logger returns a logger that says which connection it is.
func (s *session) logger() *slog.Logger {
	return s.srv.logger().With("connection", s.id, "remote", s.nc.RemoteAddr().String())
}

// debug logs what is of interest to few.
func (s *session) debug(message string, args ...any) {
	if s.srv.logger().Enabled(context.Background(), slog.LevelDebug) {
		s.logger().Debug(message, args...)
	}
}

// media hands a message to the publication of its message stream.
func (s *session) media(m chunk.Message) error {
	st := s.stream(m.StreamID)
	if st == nil || st.pub == nil {
		s.skip(m.Type, errNotPublished)
		return nil
	}
	t := flv.Tag{Type: flv.Type(m.Type), Timestamp: m.Timestamp, Data: m.Payload}
	switch m.Type {
	case typeAudio, typeVideo:
	case typeData, typeDataAMF3:
		var err error
		if t, err = dataTag(m); err != nil {
			s.skip(m.Type, err)
			return nil
		}
	default: // in an aggregate
		s.skip(m.Type, errUnknownType)
		return nil
	}
	if err := st.pub.WriteTag(t); err != nil {
		return s.fail(st.handle, err)
	}
	return nil
}

// use counts a message stream that has begun to publish or to play.
func (s *session) use(st *stream, r *Request) {
	role := "play"
	if st.pub != nil {
		s.publishing++
		role = "publish"
		s.rd.SetLimits(chunk.Limits{}) // from now on; what is under way may be long
	} else {
		s.playing++
		s.pingDue = time.Now().Add(s.srv.pingInterval())
	}
	s.enter(active)
	shown := s.shown(r, role)
	s.note(role + " " + shown)
	s.debug("rtmp stream begins", "role", role, "stream", shown,
		"stream_id", st.id, "client", s.client.Value().flashVer)
}

// shown returns the stream of a request as the log shows it.
func (s *session) shown(r *Request, role string) string {
	if role == "publish" && s.srv.Disguise != nil {
		return s.srv.Disguise(r.App, r.Name)
	}
	return r.Key()
}

// note keeps what a message stream did for the last line of the log.
func (s *session) note(did string) {
	const maxHistory = 8
	if len(s.history) < maxHistory {
		s.history = append(s.history, did)
	}
}
