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
//
// Who holds what, taken from left to right:
//
//	                            writing ──▶ mu
//	WriteTags, Close, reply        ×         ×
//	read, and replies.Write                  ×
//
// writing is held during a write, which may last as long as Client.WriteTimeout. mu is
// never held during a write, nor while waiting for writing or for another goroutine.
// So nothing holds up the goroutine that reads: it notes that and why the server ended
// the stream, and closes the connection, which breaks the write that is under way. What
// it has to answer by itself (pongs, acknowledgements) is written by a goroutine of its
// own, reply, which is there while something is left to write.
type Publisher struct {
	cc   *clientConn
	done chan struct{} // closed when the reading goroutine has ended

	// writing has a value in it while a goroutine writes. It is not a mutex because
	// Close waits for it a limited time only.
	writing chan struct{}
	scratch []byte // owned by the holder of writing

	replying sync.WaitGroup // reply

	mu         sync.Mutex
	closed     bool
	failed     error  // why the connection ended, or was ended
	replies    []byte // for reply to write
	isReplying bool
}

// Publish connects to the server and publishes the stream of rawURL. It returns
// when the server has agreed; a refusal is a *StatusError. ctx bounds the opening
// only. The Publisher must be closed.
func (c *Client) Publish(ctx context.Context, rawURL string) (*Publisher, error) {
	cc, stop, err := c.open(ctx, rawURL, publishFlashVer, wording{prepare: func(dst []byte, cc *clientConn) []byte {
		dst = appendCommand(dst, cc.size, 0, "releaseStream", float64(txnReleaseStream), nil, cc.name)
		return appendCommand(dst, cc.size, 0, "FCPublish", float64(txnFCPublish), nil, cc.name)
	}})
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
	p := &Publisher{cc: cc, done: make(chan struct{}), writing: make(chan struct{}, 1)}
	cc.setOutput(replies{p})
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
			return cc.refusal(status)
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
					err = p.cc.refusal(status)
				}
			}
		}
		if err != nil {
			p.end(err)
			return
		}
	}
}

// end notes why the connection ends, unless that is known, and closes it, which breaks
// a write that is under way. It returns what is noted.
func (p *Publisher) end(err error) error {
	p.mu.Lock()
	p.failed = cmp.Or(p.failed, err)
	err = p.failed
	p.mu.Unlock()
	p.cc.nc.Close()
	return err
}

// over returns why nothing is to be sent any more, nil if it is.
func (p *Publisher) over() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errPublisherClosed
	}
	return p.failed
}

// errPublisherClosed is the error of a Publisher that was closed.
var errPublisherClosed = fmt.Errorf("rtmp: publisher: %w", net.ErrClosed)

// write writes whole messages, within a time, or fails up to closeTimeout later. Its
// error is what the server said, if it said why it takes no more. The caller holds
// writing.
func (p *Publisher) write(messages []byte, within time.Duration) error {
	nc := p.cc.nc
	nc.SetWriteDeadline(time.Now().Add(within))
	n, err := nc.Write(messages)
	p.cc.bytesOut.Add(int64(n))
	if err == nil {
		return nil
	}
	if !isTimeout(err) {
		// The server has gone. Its last words may still be on their way through read,
		// which ends as well.
		timer := time.NewTimer(closeTimeout)
		defer timer.Stop()
		select {
		case <-p.done:
		case <-timer.C:
		}
	}
	return p.end(fmt.Errorf("rtmp: publishing: %w", err))
}

// replies is the output of a Publisher's connection, see ServerStream.SetOutput for
// what an output is: it takes what the goroutine that reads has to answer.
type replies struct{ p *Publisher }

// maxReplies bounds the bytes of answers that wait until they can be written: there are
// a few if all is well.
const maxReplies = 64 << 10

// errManyReplies is the error of a server that asks, and does not take the answers.
var errManyReplies = errors.New("rtmp: server takes no answers")

// Write leaves b to reply.
func (r replies) Write(b []byte) (int, error) {
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.replies)+len(b) > maxReplies {
		return 0, errManyReplies
	}
	p.replies = append(p.replies, b...)
	if !p.isReplying {
		p.isReplying = true
		p.replying.Go(p.reply)
	}
	return len(b), nil
}

// reply writes replies until there are none.
func (p *Publisher) reply() {
	for p.writeReplies() {
	}
}

// writeReplies writes the replies there are, and returns false if there are none or it
// is too late for them.
func (p *Publisher) writeReplies() bool {
	p.writing <- struct{}{}
	defer func() { <-p.writing }()
	p.mu.Lock()
	b := p.replies
	p.replies = nil
	p.isReplying = len(b) > 0 && !p.closed && p.failed == nil
	goOn := p.isReplying
	p.mu.Unlock()
	if goOn {
		p.write(b, p.cc.writeTimeout) // its error is noted, and ends what follows
	}
	return goOn
}

// maxScratch is how much memory a Publisher keeps between messages.
const maxScratch = 1 << 20

// metaDataPrefix is the AMF0 string onMetaData.
var metaDataPrefix = amf.AppendAMF0(nil, onMetaData)

// WriteTag sends t as a message. Script tags named onMetaData go with
// @setDataFrame before them, as servers expect. It keeps no reference to t.Data.
// The error of a connection that the server ended is a *StatusError if it said
// why, also where the server took nothing any more: then WriteTag need not wait for the
// end of Client.WriteTimeout.
func (p *Publisher) WriteTag(t flv.Tag) error {
	return p.WriteTags([]flv.Tag{t})
}

// WriteTags is WriteTag for several tags, in order, with one write for all of
// them. If one of them cannot be sent, none is.
//
// After a write that failed because the server has gone, it waits up to 2 s for what
// the server said before that, and other calls wait with it.
func (p *Publisher) WriteTags(tags []flv.Tag) error {
	p.writing <- struct{}{}
	defer func() { <-p.writing }()
	if err := p.over(); err != nil {
		return err
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
	if err := p.write(p.scratch, p.cc.writeTimeout); err != nil {
		if _, refused := errors.AsType[*StatusError](err); refused {
			return err
		}
		return p.over()
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
