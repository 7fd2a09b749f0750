package rtmp

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// A Player receives one stream from a server. ReadTag must not be called by two
// goroutines at a time; the other methods may be called at any time.
type Player struct {
	cc     *clientConn
	closed atomic.Bool
	seeks  atomic.Int32  // that the server has not answered
	latest atomic.Uint32 // timestamp of the tag that ReadTag returned last

	// Of the goroutine that calls ReadTag.
	first  *chunk.Message // read by Play already
	parts  []chunk.Message
	ending *StatusError
	failed error
}

// anyStart is the start argument of play: live if it is, else recorded. RTMP 1.0
// §7.2.2.1 says seconds, clients send milliseconds.
const anyStart = -2000

// defaultPlayBuffer is the buffer length that a player announces, as ffmpeg does.
const defaultPlayBuffer = 3 * time.Second

// PlayOptions are what a Player asks for. The zero value plays all of a stream, live or
// recorded. Times are sent in milliseconds, up to 2^32 of them.
type PlayOptions struct {
	// Start is where a recorded stream begins: at the key frame at or before it. A live
	// stream has no such place.
	Start time.Duration
	// Duration is for how long to play, to the end if 0.
	Duration time.Duration
	// Buffer is how far ahead of the time that passes the server may send what is
	// recorded: 3 s if 0.
	Buffer time.Duration
}

// Play connects to the server and plays the stream of rawURL. It returns when the
// server has begun to play; a refusal is a *StatusError. ctx bounds the opening
// only, for which a server may wait for a publisher. The Player must be closed.
func (c *Client) Play(ctx context.Context, rawURL string) (*Player, error) {
	return c.PlayFrom(ctx, rawURL, PlayOptions{})
}

// PlayFrom is Play with options.
func (c *Client) PlayFrom(ctx context.Context, rawURL string, o PlayOptions) (*Player, error) {
	w := wording{prepare: func(dst []byte, _ *clientConn) []byte {
		return appendControl(dst, typeWindowAckSize, announcedWindow)
	}}
	if c.AtOnce {
		w.atOnce = o.appendPlay
	}
	cc, stop, err := c.open(ctx, rawURL, playFlashVer, w)
	if err != nil {
		return nil, err
	}
	cc.limit = time.Time{}
	read := max(0, cmp.Or(c.ReadTimeout, defaultReadTimeout))
	cc.silence = silence{start: max(0, cmp.Or(c.StartTimeout, read)), read: read, tag: c.TagTimeout}
	cc.stopBuffering()
	p := &Player{cc: cc}
	if !c.AtOnce {
		if err := cc.sendAll(o.appendPlay(cc.pending, cc)); err != nil {
			return nil, cc.abandon(ctx, stop, fmt.Errorf("rtmp: playing: %w", err))
		}
	}
	if err := p.begin(); err != nil {
		return nil, cc.abandon(ctx, stop, err)
	}
	if !stop() {
		cc.nc.Close()
		return nil, context.Cause(ctx)
	}
	return p, nil
}

// begin waits for the server to agree, or to send media.
func (p *Player) begin() error {
	cc := p.cc
	for {
		m, err := cc.next()
		if err != nil {
			return err
		}
		switch m.Type {
		case typeAudio, typeVideo, typeAggregate:
			p.first = &m
			return nil
		case typeCommand, typeCommandAMF3:
			c, err := parseCommand(m)
			if err != nil {
				continue
			}
			status := c.status()
			switch {
			case c.name == "onStatus" && status.Code == CodePlayStart:
				return nil
			case c.name == "onStatus" && status.Level == LevelError, c.name == "_error" && c.txn == txnPublish:
				return cc.refusal(status)
			}
		}
	}
}

// appendPlay appends the play command and the length of the buffer.
func (o *PlayOptions) appendPlay(dst []byte, cc *clientConn) []byte {
	start := float64(anyStart)
	if o.Start > 0 {
		start = float64(wireTime(o.Start))
	}
	values := []any{"play", float64(txnPublish), nil, cc.name, start}
	if o.Duration > 0 {
		values = append(values, float64(wireTime(o.Duration)))
	}
	dst = appendCommand(dst, cc.size, cc.streamID, values...)
	return appendUserControl(dst, eventSetBufferLength, cc.streamID, wireTime(cmp.Or(o.Buffer, defaultPlayBuffer)))
}

// wireTime returns a time in milliseconds, as far as 32 bits hold it.
func wireTime(d time.Duration) uint32 {
	return uint32(min(max(d.Milliseconds(), 0), math.MaxUint32))
}

// ReadTag returns the next audio, video or data message. Data is valid until the
// next call. |RtmpSampleAccess and the onStatus and onPlayStatus messages that
// speak to the player are left out, and after Seek everything that comes before the
// server's answer to it. The error at the stream's proper end
// (NetStream.Play.UnpublishNotify, Stop or Complete) is io.EOF; a connection that
// just ends is io.ErrUnexpectedEOF, a refusal a *StatusError. Errors last.
func (p *Player) ReadTag() (flv.Tag, error) {
	for p.failed == nil {
		t, ok, err := p.read()
		if err != nil {
			if p.closed.Load() {
				err = fmt.Errorf("rtmp: player: %w", net.ErrClosed)
			}
			p.failed = err
			break
		}
		if ok && p.seeks.Load() == 0 {
			p.cc.tags++
			p.latest.Store(t.Timestamp)
			return t, nil
		}
	}
	return flv.Tag{}, p.failed
}

// read reads one message and returns the tag that it is, if it is one.
func (p *Player) read() (flv.Tag, bool, error) {
	m, err := p.next()
	if err != nil {
		return flv.Tag{}, false, err
	}
	switch m.Type {
	case typeAudio, typeVideo:
		return flv.Tag{Type: flv.Type(m.Type), Timestamp: m.Timestamp, Data: m.Payload}, true, nil
	case typeAggregate:
		p.parts = p.parts[:0]
		return flv.Tag{}, false, eachAggregated(m, func(part chunk.Message) error {
			p.parts = append(p.parts, part)
			return nil
		})
	case typeData, typeDataAMF3:
		t, err := dataTag(m)
		if err != nil {
			return flv.Tag{}, false, nil // servers send what they like; the media goes on
		}
		switch name, _, _ := amf0String(t.Data); name {
		case rtmpSampleAccess, "onStatus":
			return flv.Tag{}, false, nil
		case onPlayStatus:
			return flv.Tag{}, false, p.ended(dataStatus(t.Data))
		}
		return t, true, nil
	case typeCommand, typeCommandAMF3:
		c, err := parseCommand(m)
		if err != nil || c.name != "onStatus" {
			return flv.Tag{}, false, nil
		}
		status := c.status()
		if status.Code == CodeSeekNotify || status.Code == CodeSeekInvalidTime {
			p.answered()
		}
		return flv.Tag{}, false, p.ended(status)
	}
	return flv.Tag{}, false, nil
}

// answered counts the answer to a seek. receiveAudio and receiveVideo are answered like
// one that was not asked for.
func (p *Player) answered() {
	for {
		n := p.seeks.Load()
		if n == 0 || p.seeks.CompareAndSwap(n, n-1) {
			return
		}
	}
}

// next returns the next message, or the next part of the last aggregate.
func (p *Player) next() (chunk.Message, error) {
	switch {
	case len(p.parts) > 0:
		m := p.parts[0]
		p.parts = p.parts[1:]
		return m, nil
	case p.first != nil:
		m := *p.first
		p.first = nil
		return m, nil
	}
	return p.cc.next()
}

// dataStatus reads the information object of an onPlayStatus data message.
func dataStatus(body []byte) *StatusError {
	values, _ := decodeValues(body)
	for _, v := range values {
		if p, ok := amf.Properties(v); ok {
			return props(p).status()
		}
	}
	return &StatusError{}
}

// ended returns the error that a status stands for, nil if playing goes on.
func (p *Player) ended(status *StatusError) error {
	switch {
	case status.Code == CodePlayUnpublishNotify, status.Code == CodePlayStop, status.Code == CodePlayComplete:
		p.ending = p.cc.refusal(status)
		return io.EOF
	case status.Level == LevelError:
		return p.cc.refusal(status)
	}
	return nil
}

// Ending returns what the server said when the stream came to its proper end, nil before that. It is
// for the goroutine that calls ReadTag.
func (p *Player) Ending() *StatusError { return p.ending }

// Pause asks the server to pause or to resume, at the tag that was read last.
func (p *Player) Pause(on bool) error {
	return p.ask("pause", on, float64(p.latest.Load()))
}

// Seek asks the server to go on at the key frame at or before a position of a file. What
// ReadTag returns next is what follows there, unless the file does not have the position.
func (p *Player) Seek(to time.Duration) error {
	p.seeks.Add(1)
	return p.ask("seek", float64(wireTime(to)))
}

// SetBuffer says how far ahead of the time that passes the server may send what is
// recorded.
func (p *Player) SetBuffer(ahead time.Duration) error {
	err := p.cc.send(appendUserControl(nil, eventSetBufferLength, p.cc.streamID, wireTime(ahead)))
	if err != nil {
		return fmt.Errorf("rtmp: SetBufferLength: %w", err)
	}
	return nil
}

// ReceiveVideo asks the server to send video or to leave it out.
func (p *Player) ReceiveVideo(on bool) error { return p.ask("receiveVideo", on) }

// ReceiveAudio asks the server to send audio or to leave it out.
func (p *Player) ReceiveAudio(on bool) error { return p.ask("receiveAudio", on) }

// ask sends a command on the player's message stream.
func (p *Player) ask(name string, args ...any) error {
	values := append([]any{name, 0.0, nil}, args...)
	err := p.cc.send(appendCommand(nil, p.cc.size, p.cc.streamID, values...))
	if err != nil {
		return fmt.Errorf("rtmp: %s: %w", name, err)
	}
	return nil
}

// Close leaves the stream and closes the connection; a ReadTag under way returns
// an error that wraps net.ErrClosed. Every call but the first returns
// net.ErrClosed.
func (p *Player) Close() error {
	if p.closed.Swap(true) {
		return net.ErrClosed
	}
	p.cc.send(appendCommand(nil, p.cc.size, 0, "deleteStream", 0.0, nil, float64(p.cc.streamID)))
	return p.cc.nc.Close()
}

// Buffered reports whether more has been received than ReadTag has returned: another tag, a part
// of one, or something else that the server sent. Over TLS it may say so although there is
// nothing. It is for the goroutine that calls ReadTag.
func (p *Player) Buffered() bool {
	cc := p.cc
	return len(p.parts) > 0 || p.first != nil || cc.rd.Buffered() > 0 || received(cc.nc) > 0 ||
		cc.secure && cc.rd.Filled() // what TLS has decrypted, nobody can ask for
}
