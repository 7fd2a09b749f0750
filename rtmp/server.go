package rtmp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Server takes RTMP connections and asks its Handler what to do with them. The
// zero value with a Handler works; fields must not change once Serve was called.
type Server struct {
	// Handler must be set.
	Handler Handler
	// Logger gets a line when a connection ends on which nothing was published or
	// played, nor asked for: what becomes of the others is the Handler's to log. At debug
	// level it gets the others too. nil discards them.
	Logger *slog.Logger

	// Poll, if not nil, waits for bytes so that sessions need no goroutine each. The
	// Polled that it returns calls run, in a goroutine of its own, once for each
	// Wait; run may block at times, which must not hold up other sessions. An error
	// means that c can't be waited for (errors.ErrUnsupported): that session keeps
	// its goroutine. What does the waiting must live until the Server is closed.
	Poll func(c net.Conn, run func()) (Polled, error)

	// ChunkSize is the size of the chunks sent, announced before the reply to
	// connect: 60000 if 0, 128 to 0xFFFFFF.
	ChunkSize int

	// HandshakeTimeout bounds the whole handshake: 10 s if 0.
	HandshakeTimeout time.Duration
	// ConnectTimeout bounds the time from handshake to connect: 10 s if 0.
	ConnectTimeout time.Duration
	// CommandTimeout bounds the time that a connected client spends without
	// publishing or playing: 30 s if 0.
	CommandTimeout time.Duration
	// AuthorizeTimeout bounds the time that an Authorizer takes to answer: 10 s if 0.
	AuthorizeTimeout time.Duration
	// PublishIdleTimeout is how long a publisher may send no byte at all: 30 s if 0.
	PublishIdleTimeout time.Duration
	// PingInterval is the time between the pings to a client that plays: 60 s if 0.
	// Players may be silent for as long as they like (a paused ffmpeg reads
	// nothing and so answers no ping): they are never ended for it.
	PingInterval time.Duration
	// Disguise returns what the log shows in place of the stream that a client publishes or asked
	// to publish: its name may be a secret, or a mistyped one. nil shows APP/NAME.
	Disguise func(app, name string) string
	// DeadPeerTimeout is how long a client's system may answer nothing at all, neither
	// what was sent to it nor probes, before the system breaks the connection: 60 s
	// if 0. It ends sessions whose peer died without closing the connection, also
	// those of players that pause or wait and are sent next to nothing (a ping may
	// restart the time: then it takes up to PingInterval longer). A client that is
	// alive but takes nothing of what was sent has the same time. Linux only;
	// elsewhere it is left to the system.
	DeadPeerTimeout time.Duration
	// WriteTimeout bounds each write to a connection: 10 s if 0.
	WriteTimeout time.Duration
	// LingerTimeout bounds how long a client has to close a connection that the
	// server has shut: 2 s if 0.
	LingerTimeout time.Duration

	// MaxStreams bounds the message streams of one connection: 16 if 0.
	MaxStreams int
	// MaxCommands bounds the commands and answered control messages of a client per
	// second, on average; bursts of twice as many pass: 50 if 0.
	MaxCommands int

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	lastID    uint64
	isClosing bool           // Shutdown or Close was called
	work      sync.WaitGroup // a session each

	reconnecting []*Reconnecting // not all have left

	held atomic.Int64 // bytes of sessions that are asking
}

// Defaults of Server.
const (
	defaultHandshakeTimeout   = 10 * time.Second
	defaultConnectTimeout     = 10 * time.Second
	defaultCommandTimeout     = 30 * time.Second
	defaultAuthorizeTimeout   = 10 * time.Second
	defaultPublishIdleTimeout = 30 * time.Second
	defaultPingInterval       = 60 * time.Second
	defaultDeadPeerTimeout    = 60 * time.Second
	defaultWriteTimeout       = 10 * time.Second
	defaultLingerTimeout      = 2 * time.Second
	defaultMaxStreams         = 16
	defaultMaxCommands        = 50
)

func (s *Server) chunkSize() int { return chunkSizeOf(s.ChunkSize) }
func (s *Server) handshakeTimeout() time.Duration {
	return orDefault(s.HandshakeTimeout, defaultHandshakeTimeout)
}
func (s *Server) connectTimeout() time.Duration {
	return orDefault(s.ConnectTimeout, defaultConnectTimeout)
}
func (s *Server) commandTimeout() time.Duration {
	return orDefault(s.CommandTimeout, defaultCommandTimeout)
}
func (s *Server) authorizeTimeout() time.Duration {
	return orDefault(s.AuthorizeTimeout, defaultAuthorizeTimeout)
}
func (s *Server) publishIdleTimeout() time.Duration {
	return orDefault(s.PublishIdleTimeout, defaultPublishIdleTimeout)
}
func (s *Server) pingInterval() time.Duration { return orDefault(s.PingInterval, defaultPingInterval) }
func (s *Server) deadPeerTimeout() time.Duration {
	return orDefault(s.DeadPeerTimeout, defaultDeadPeerTimeout)
}
func (s *Server) writeTimeout() time.Duration { return orDefault(s.WriteTimeout, defaultWriteTimeout) }
func (s *Server) lingerTimeout() time.Duration {
	return orDefault(s.LingerTimeout, defaultLingerTimeout)
}
func (s *Server) maxStreams() int  { return orDefault(s.MaxStreams, defaultMaxStreams) }
func (s *Server) maxCommands() int { return orDefault(s.MaxCommands, defaultMaxCommands) }

// orDefault returns v, or def for what is not positive.
func orDefault[T int | time.Duration](v, def T) T {
	if v > 0 {
		return v
	}
	return def
}

func (s *Server) logger() *slog.Logger {
	if s.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Logger
}

// closing reports whether Shutdown or Close was called.
func (s *Server) closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isClosing
}

// Serve accepts connections from l until it fails or the server is closed. It
// always returns an error, and closes l: ErrServerClosed after Shutdown or Close.
// Failures that may pass, such as a lack of file descriptors, are waited out.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.addListener(l) {
		return ErrServerClosed
	}
	defer s.removeListener(l)
	var delay time.Duration
	for {
		nc, err := l.Accept()
		if s.closing() {
			if err == nil {
				nc.Close()
			}
			return ErrServerClosed
		}
		if err != nil {
			if !temporary(err) {
				return fmt.Errorf("rtmp: accepting: %w", err)
			}
			const longest = time.Second
			delay = min(max(2*delay, 5*time.Millisecond), longest)
			s.logger().Warn("rtmp accept failed, trying again", "error", err, "delay", delay)
			time.Sleep(delay)
			continue
		}
		delay = 0
		s.start(nc)
	}
}

// temporary reports whether accepting may work again by itself.
func temporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, syscall.ECONNABORTED)
}

// addListener stores a listener, false if the server is closing.
func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosing {
		return false
	}
	if s.listeners == nil {
		s.listeners = make(map[net.Listener]struct{})
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// start begins a session on nc, in a goroutine of its own.
func (s *Server) start(nc net.Conn) {
	s.mu.Lock()
	if s.isClosing {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.lastID++
	ss := newSession(s, nc, s.lastID)
	if s.sessions == nil {
		s.sessions = make(map[*session]struct{})
	}
	s.sessions[ss] = struct{}{}
	s.work.Add(1)
	s.mu.Unlock()
	if err := boundDeadPeer(nc, s.deadPeerTimeout()); err != nil {
		ss.debug("rtmp dead peer may be noticed late", "error", err)
	}
	go func() {
		if ss.run() {
			s.over(ss)
		}
	}()
}

// over follows the end of a session.
func (s *Server) over(ss *session) {
	s.mu.Lock()
	delete(s.sessions, ss)
	s.leaveLocked(ss)
	s.mu.Unlock()
	s.work.Done()
}

// close stops accepting and returns the sessions there are.
func (s *Server) close() []*session {
	s.mu.Lock()
	s.isClosing = true
	listeners := slices.Collect(maps.Keys(s.listeners))
	sessions := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()
	for _, l := range listeners {
		l.Close()
	}
	return sessions
}

// Shutdown stops accepting and waits for the sessions to end. Those that neither
// publish nor play are closed at once, new ones are refused; the others have to
// be ended by the Handler (ServerStream.Fail, ServerStream.CloseConn) or their
// clients, and what is left at ctx's end is closed. It returns when every
// session has ended: nil, or ctx's error if it had to close some.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, ss := range s.close() {
		ss.post(ss.drain)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.work.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, ss := range s.close() {
		ss.kill(ErrServerClosed)
	}
	<-done
	return ctx.Err()
}

// Close closes listeners and connections at once and waits for the sessions to
// end.
func (s *Server) Close() error {
	for _, ss := range s.close() {
		ss.kill(ErrServerClosed)
	}
	s.work.Wait()
	return nil
}

// inbox holds what is to be done by the goroutine that runs a session.
type inbox struct {
	mu    sync.Mutex
	tasks []func() error
}

func (b *inbox) put(f func() error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tasks = append(b.tasks, f)
}

// take returns the tasks in their order and forgets them.
func (b *inbox) take() []func() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	tasks := b.tasks
	b.tasks = nil
	return tasks
}
