package rtmp

import (
	"net"
	"time"
)

// Ended returns a channel that is closed when the connection has ended: because the server
// closed it or refused the stream, after an error of a write, or after Close or Abort.
func (p *Publisher) Ended() <-chan struct{} { return p.done }

// Err returns why the connection has ended, nil while it has not, and after Close or Abort an
// error that wraps net.ErrClosed.
func (p *Publisher) Err() error { return p.over() }

// Abort closes the connection without a word to the server, for which the stream breaks off, and
// waits for its goroutines. A WriteTag or a Close that is under way is broken.
func (p *Publisher) Abort() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	// TLS would write that it closes, which has to wait where nothing is taken.
	innermost(p.cc.nc).Close()
	p.cc.nc.Close()
	<-p.done
	p.replying.Wait()
}

// innermost returns the connection of the system that a connection is over.
func innermost(nc net.Conn) net.Conn {
	for range maxWrapped {
		outer, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc = outer.NetConn()
	}
	return nc
}

// Close ends the stream with FCUnpublish and deleteStream, waits for the server to take
// everything, closes the connection and waits for its goroutines. A WriteTag that is
// under way and does not end within half a second is broken; then the server has 2 s to
// take the end and 2 s more to close, 4.5 s in all. Every call but the first returns
// net.ErrClosed.
func (p *Publisher) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return net.ErrClosed
	}
	p.closed = true
	failed := p.failed
	p.mu.Unlock()
	defer p.replying.Wait() // no more are begun when read has ended
	defer func() { <-p.done }()
	defer p.cc.nc.Close()
	if failed != nil {
		return failed
	}
	if err := p.unpublish(); err != nil {
		return err
	}
	// Closing at once, with an acknowledgement unread, would reset the connection
	// and lose what the server has not read yet.
	if hc, ok := p.cc.nc.(interface{ CloseWrite() error }); ok && hc.CloseWrite() == nil {
		timer := time.NewTimer(closeTimeout)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
		}
	}
	return nil
}

// errCutShort is the error of a stream that was closed during a write.
var errCutShort error = timeoutError("rtmp: unpublishing: a message was not taken in time")

// unpublish says that the stream ends.
func (p *Publisher) unpublish() error {
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case p.writing <- struct{}{}:
		defer func() { <-p.writing }()
	case <-timer.C:
		return p.end(errCutShort)
	}
	cc := p.cc
	b := appendCommand(nil, cc.size, 0, "FCUnpublish", float64(txnUnpublish), nil, cc.name)
	b = appendCommand(b, cc.size, 0, "deleteStream", 0.0, nil, float64(cc.streamID))
	return p.write(b, min(cc.writeTimeout, closeTimeout))
}
