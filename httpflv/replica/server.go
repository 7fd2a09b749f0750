package replica

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Bounds of a Server.
const (
	readHeaderTimeout = 5 * time.Second // for TLS, too
	maxHead           = 8 << 10         // bytes of a request's head, and of an answer's
	// maxUnproven bounds the connections of those who have not proved to be nodes, and maxUnprovenPerAddress
	// those of one address (IPv6: of one /64): as many as may begin at once when a node takes its streams
	// from another one.
	maxUnproven           = 1024
	maxUnprovenPerAddress = 512
	// provingTime is for how long none gives way to another of its address.
	provingTime = time.Second
)

// Server is a Handler with a server of its own, whose connections are bounded: there are no more than
// Config.MaxCopies, and those of who has not proved to be a node.
type Server struct {
	*Handler
	http    *http.Server
	tls     *tls.Config
	limiter limiter
	done    sync.WaitGroup
}

// NewServer makes a Server; Close it. With a tls.Config, which has to have a certificate, connections are
// encrypted; whether clients show one is up to it.
func NewServer(cfg Config, encrypted *tls.Config) *Server {
	s := &Server{Handler: NewHandler(cfg)}
	if encrypted != nil {
		s.tls = encrypted.Clone()
		s.tls.NextProtos = []string{"http/1.1"}
	}
	s.http = &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		MaxHeaderBytes:    maxHead - 4096, // net/http adds so many
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},

		DisableGeneralOptionsHandler: true,
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			if encrypted, ok := nc.(*tls.Conn); ok {
				nc = encrypted.NetConn()
			}
			return context.WithValue(ctx, connKey{}, nc)
		},
	}
	s.http.SetKeepAlivesEnabled(false)
	return s
}

// Serve serves connections of a listener, which it closes, until Close, whose error is net.ErrClosed. It may be called for several.
func (s *Server) Serve(l net.Listener) error {
	s.done.Add(1)
	defer s.done.Done()
	l = &limited{l, &s.limiter}
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return net.ErrClosed
}

// Close closes the listeners and all connections, and waits for what has served them.
func (s *Server) Close() error {
	err := s.http.Close()
	s.Handler.Close()
	s.done.Wait()
	return err
}

// connKey is that of a request's connection in its context.
type connKey struct{}

// markProven says that the connection of a request is that of a node.
func markProven(ctx context.Context) {
	if c, ok := ctx.Value(connKey{}).(*limitedConn); ok {
		c.limiter.release(c)
	}
}

// limiter bounds the connections of those who have not proved to be nodes. The zero value has none.
type limiter struct {
	mu        sync.Mutex
	unproven  list.List // of *limitedConn, oldest first
	byAddress map[netip.Prefix]int
}

type limited struct {
	net.Listener
	limiter *limiter
}

// limitedConn is a connection that a limiter knows.
type limitedConn struct {
	net.Conn
	limiter *limiter
	from    netip.Prefix
	since   time.Time
	place   *list.Element // nil once it is proven, or closed; guarded by limiter.mu
}

// Accept returns the next connection that there is room for.
func (l *limited) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &limitedConn{Conn: nc, limiter: l.limiter, from: addressOf(nc), since: time.Now()}
		gone, ok := l.limiter.enter(c)
		if gone != nil {
			gone.Close()
		}
		if ok {
			return c, nil
		}
		nc.Close()
	}
}

// Close closes the connection.
func (c *limitedConn) Close() error {
	c.limiter.release(c)
	return c.Conn.Close()
}

// addressOf returns the address of a connection, of IPv6 the network that one customer has.
func addressOf(nc net.Conn) netip.Prefix {
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// enter notes a connection, if there is room. gone is one that gives way to it, and has to be closed.
func (l *limiter) enter(c *limitedConn) (gone *limitedConn, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byAddress == nil {
		l.byAddress = map[netip.Prefix]int{}
	}
	from := c.from
	if full := l.byAddress[from] >= maxUnprovenPerAddress; full || l.unproven.Len() >= maxUnproven {
		for address, n := range l.byAddress {
			if !full && n > l.byAddress[from] {
				from = address // the one with the most
			}
		}
		for e := l.unproven.Front(); e != nil && gone == nil; e = e.Next() {
			if old := e.Value.(*limitedConn); old.from == from {
				gone = old
			}
		}
		if from == c.from && c.since.Sub(gone.since) < provingTime {
			return nil, false
		}
		l.releaseLocked(gone)
	}
	c.place = l.unproven.PushBack(c)
	l.byAddress[c.from]++
	return gone, true
}

func (l *limiter) release(c *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.releaseLocked(c)
}

func (l *limiter) releaseLocked(c *limitedConn) {
	if c.place == nil {
		return
	}
	l.unproven.Remove(c.place)
	c.place = nil
	if l.byAddress[c.from]--; l.byAddress[c.from] == 0 {
		delete(l.byAddress, c.from)
	}
}
