package rtmp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
)

// A Publisher sends one stream to a server. Its methods may be called from
// several goroutines.
type Publisher struct {
	cc   *clientConn
	done chan struct{} // closed when the reading goroutine has ended

	mu      sync.Mutex
	scratch []byte
	closed  bool
	failed  error // why the server ended it
}

// Publish connects to the server and publishes the stream of rawURL. It returns
// when the server has agreed; a refusal is a *StatusError. ctx bounds the opening
// only. The Publisher must be closed.
func (c *Client) Publish(ctx context.Context, rawURL string) (*Publisher, error) {
	cc, stop, err := c.open(ctx, rawURL, publishFlashVer, func(dst []byte, cc *clientConn) []byte {
		dst = appendCommand(dst, cc.size, 0, "releaseStream", float64(txnReleaseStream), nil, cc.name)
		return appendCommand(dst, cc.size, 0, "FCPublish", float64(txnFCPublish), nil, cc.name)
	})
	if err != nil {
		return nil, err
	}
	if err := cc.publish(); err != nil {
		return nil, cc.abandon(ctx, stop, err)
	}
	if !stop() {
		cc.nc.Close()
		return nil, context.Cause(ctx)
	}
	cc.limit = time.Time{} // servers may be silent for as long as they like
	p := &Publisher{cc: cc, done: make(chan struct{})}
	go p.read()
	return p, nil
}

// publish sends publish and waits for the server to agree.
func (cc *clientConn) publish() error {
	if err := cc.sendAll(appendCommand(cc.pending, cc.size, cc.streamID,
		"publish", float64(txnPublish), nil, cc.name, "live")); err != nil {
		return fmt.Errorf("rtmp: publishing: %w", err)
	}
	for {
		m, err := cc.next()
		if err != nil {
			return err
		}
		if m.Type != typeCommand && m.Type != typeCommandAMF3 {
			continue
		}
		c, err := parseCommand(m)
		if err != nil {
			continue
		}
		switch status := c.status(); {
		case c.name == "onStatus" && status.Code == CodePublishStart:
			return nil
		case c.name == "onStatus" && status.Level == LevelError, c.name == "_error" && c.txn == txnPublish:
			return status
		}
	}
}

// read answers the server and takes its refusals until the connection ends.
func (p *Publisher) read() {
	defer close(p.done)
	for {
		m, err := p.cc.next()
		if err == nil && (m.Type == typeCommand || m.Type == typeCommandAMF3) {
			if c, perr := parseCommand(m); perr == nil && c.name == "onStatus" {
				if status := c.status(); status.Level == LevelError {
					err = status
				}
			}
		}
		if err != nil {
			p.mu.Lock()
			p.failed = cmp.Or(p.failed, err)
			closing := p.closed
			p.mu.Unlock()
			if !closing {
				p.cc.nc.Close()
			}
			return
		}
	}
}

// maxScratch is how much memory a Publisher keeps between messages.
const maxScratch = 1 << 20

// metaDataPrefix is the AMF0 string onMetaData.
var metaDataPrefix = amf.AppendAMF0(nil, onMetaData)

// WriteTag sends t as a message. Script tags named onMetaData go with
// @setDataFrame before them, as servers expect. It keeps no reference to t.Data.
// The error of a connection that the server ended is a *StatusError if it said
// why.
func (p *Publisher) WriteTag(t flv.Tag) error {
	return p.WriteTags([]flv.Tag{t})
}

// WriteTags is WriteTag for several tags, in order, with one write for all of
// them. If one of them cannot be sent, none is.
func (p *Publisher) WriteTags(tags []flv.Tag) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("rtmp: publisher: %w", net.ErrClosed)
	}
	if p.failed != nil {
		return p.failed
	}
	p.scratch = p.scratch[:0]
	for _, t := range tags {
		t, err := outgoing(t)
		if err != nil {
			return err
		}
		p.scratch = appendTag(p.scratch, p.cc.size, p.cc.streamID, t)
	}
	if len(p.scratch) == 0 {
		return nil
	}
	if err := p.cc.send(p.scratch); err != nil {
		return fmt.Errorf("rtmp: publishing: %w", err)
	}
	if cap(p.scratch) > maxScratch {
		p.scratch = nil
	}
	return nil
}

// outgoing returns a tag in the form in which a publisher sends it.
func outgoing(t flv.Tag) (flv.Tag, error) {
	if len(t.Data) > maxBody-len(setDataFramePrefix) {
		return t, fmt.Errorf("rtmp: tag of %d bytes: %w", len(t.Data), flv.ErrTooLarge)
	}
	switch t.Type {
	case flv.TypeAudio, flv.TypeVideo, flv.TypeScriptAMF3:
	case flv.TypeScript:
		if bytes.HasPrefix(t.Data, metaDataPrefix) {
			t.Data = bytes.Join([][]byte{setDataFramePrefix, t.Data}, nil)
		}
	default:
		return t, fmt.Errorf("rtmp: tag of type %d cannot be sent: %w", t.Type, errors.ErrUnsupported)
	}
	return t, nil
}

// Close ends the stream with FCUnpublish and deleteStream, waits a little for the
// server to take everything, closes the connection and waits for its goroutine.
// Every call but the first returns net.ErrClosed.
func (p *Publisher) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return net.ErrClosed
	}
	p.closed = true
	failed := p.failed
	p.mu.Unlock()
	defer func() { <-p.done }()
	defer p.cc.nc.Close()
	if failed != nil {
		return failed
	}
	cc := p.cc
	b := appendCommand(nil, cc.size, 0, "FCUnpublish", float64(txnUnpublish), nil, cc.name)
	b = appendCommand(b, cc.size, 0, "deleteStream", 0.0, nil, float64(cc.streamID))
	if err := cc.send(b); err != nil {
		return fmt.Errorf("rtmp: unpublishing: %w", err)
	}
	// Closing at once, with an acknowledgement unread, would reset the connection
	// and lose what the server has not read yet.
	if hc, ok := cc.nc.(interface{ CloseWrite() error }); ok && hc.CloseWrite() == nil {
		timer := time.NewTimer(closeTimeout)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
		}
	}
	return nil
}
