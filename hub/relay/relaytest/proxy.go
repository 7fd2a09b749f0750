// Package relaytest has what tests and the bench need to see how relays take it when what is
// between two servers is slow, breaks or passes nothing. It knows no protocol but TCP.
//
//	client ── Proxy ── target
package relaytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how a Proxy is.
type Config struct {
	// Target is the HOST:PORT to which connections go on. It may be set later, by Retarget.
	Target string
	// Delay is how much later each byte arrives at the other end, in each direction: half of a
	// round trip. What a client sends arrives another round trip later at first, which connecting
	// would have taken; its dial itself is as fast as loopback is.
	Delay time.Duration
	// Listen is the address to listen on, 127.0.0.1:0 if empty.
	Listen string
}

// Proxy listens on loopback and passes what comes on to a target and back, in order. The delay
// does not limit how much passes; a reader that takes nothing holds up its sender, once some
// megabytes are on their way. All methods may be called at any time, by several goroutines at once.
type Proxy struct {
	listener net.Listener
	delay    time.Duration
	running  sync.WaitGroup
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc

	refusing atomic.Bool
	rate     atomic.Int64 // bytes a second and direction; 0: no bound
	accepted atomic.Int64

	mu     sync.Mutex
	target string
	held   chan struct{} // closed when bytes pass; nil while they do
	pairs  map[*pair]struct{}
}

// New starts a proxy; close it.
func New(cfg Config) (*Proxy, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("relaytest: %w", err)
	}
	p := &Proxy{listener: l, delay: cfg.Delay, target: cfg.Target, pairs: map[*pair]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns the HOST:PORT that it listens on.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Retarget has connections to come go on to another HOST:PORT.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Accepted returns how many connections there have been, those that were refused among them.
func (p *Proxy) Accepted() int { return int(p.accepted.Load()) }

// Open returns how many connections there are.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs)
}

// Break resets all connections, at both ends. What was on its way is lost. It returns how many
// there were.
func (p *Proxy) Break() int { return p.endAll((*pair).reset) }

// Finish ends all connections as a program does that closes them, at both ends: what has not
// arrived yet is lost, and they may end midway in a message. It returns how many there were.
func (p *Proxy) Finish() int { return p.endAll((*pair).finish) }

func (p *Proxy) endAll(end func(*pair)) int {
	p.mu.Lock()
	all := make([]*pair, 0, len(p.pairs))
	for x := range p.pairs {
		all = append(all, x)
	}
	p.mu.Unlock()
	for _, x := range all {
		end(x)
	}
	return len(all)
}

// Refuse has connections to come be reset at once, or no longer.
func (p *Proxy) Refuse(on bool) { p.refusing.Store(on) }

// Blackhole has nothing pass in either direction, of those connections that there are and of those
// to come, which are still accepted; or all pass again, and what was held up before the rest.
func (p *Proxy) Blackhole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.held == nil:
		p.held = make(chan struct{})
	case !on && p.held != nil:
		close(p.held)
		p.held = nil
	}
}

// Rate bounds the bytes that pass in a second, of each connection and direction; 0 or less takes
// the bound off. Connections that begin under a bound have small buffers, so that who sends more
// learns it soon.
func (p *Proxy) Rate(bytesPerSecond int64) { p.rate.Store(max(0, bytesPerSecond)) }

// Close ends it and all connections, and waits. Its error is that of closing the listener.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.Break()
	p.running.Wait()
	return err
}

// passing returns nil while bytes pass, and a channel that is closed when they do again.
func (p *Proxy) passing() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select { // of descriptors, say: some may be given back
			case <-p.ctx.Done():
				return
			case <-time.After(acceptPause):
				continue
			}
		}
		p.accepted.Add(1)
		if p.refusing.Load() {
			abort(c)
			continue
		}
		p.running.Go(func() { p.serve(c) })
	}
}

// acceptPause is how long it waits after a failure to accept.
const acceptPause = 10 * time.Millisecond

// serve passes a connection on until both directions have ended.
func (p *Proxy) serve(client net.Conn) {
	began := time.Now()
	x := &pair{proxy: p, ended: make(chan struct{}), finished: make(chan struct{})}
	x.ends[0] = client
	p.mu.Lock()
	p.pairs[x] = struct{}{}
	target := p.target
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.pairs, x)
		p.mu.Unlock()
	}()
	server, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(p.ctx, "tcp", target)
	if err != nil {
		x.reset()
		return
	}
	x.connect(server)
	if p.ctx.Err() != nil { // Close has ended those that it saw
		x.reset()
	}
	if p.rate.Load() > 0 { // what the system holds would pass for seconds
		client.(*net.TCPConn).SetReadBuffer(smallBuffer)
		server.(*net.TCPConn).SetReadBuffer(smallBuffer)
	}
	var both sync.WaitGroup
	both.Go(func() { x.pass(client, server, began.Add(2*p.delay)) })
	both.Go(func() { x.pass(server, client, began) })
	both.Wait()
	x.close()
}

// Of connections.
const (
	dialTimeout = 10 * time.Second // of the target
	smallBuffer = 32 << 10         // of those with a bound
)

// abort closes a connection with a reset.
func abort(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}
