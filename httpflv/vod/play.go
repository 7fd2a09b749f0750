package vod

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"sluice/flv"
	"sluice/httpflv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
)

const (
	// playAhead is how much of a recording a player gets at once, and how far ahead of
	// real time it is from then on.
	playAhead = 5 * time.Second
	// playLull is how much is sent at a time once a player is so far ahead, so that there
	// are few writes.
	playLull = 500 * time.Millisecond
	// playPiece is after how many bytes what was collected is sent.
	playPiece = 64 << 10
	// maxPlayBuffer bounds the buffers that are kept for others, in bytes: a large key
	// frame makes a larger one.
	maxPlayBuffer = 256 << 10
)

// playBuffers are for what a player is sent next.
var playBuffers = sync.Pool{New: func() any { return new(make([]byte, 0, playPiece)) }}

// output is where a player's bytes go; a *httpflv.Socket is one.
type output interface {
	// Write blocks until everything is taken, or returns why nothing more can be.
	Write(ctx context.Context, p []byte) error
}

// player plays one recording over a WebSocket, in one goroutine.
type player struct {
	file   File
	cursor *flvfile.Cursor
	out    output
	watch  hub.WatchOptions
	ctx    context.Context // ends when the client leaves, or the server shuts down

	buf     *[]byte // what is collected; nil while nothing is
	scratch []byte  // for bodies in another shape

	begun bool
	first int64     // time of the first packet, in ms of the file
	zero  time.Time // when that was sent
}

// play plays a recording, and returns why that ended, or why it did not begin.
func (h *Handler) play(s *hub.Session, socket *httpflv.Socket, q request) *hub.Refusal {
	id := q.id
	if q.latest && s.Key() != q.key { // that of the stream for which permission was given
		id = archive.Latest
	}
	f, _, err := h.open(s, id)
	if err != nil {
		return err.(*hub.Refusal)
	}
	defer f.Close()
	ctx, cancel := context.WithCancelCause(socket.Context())
	defer cancel(nil)
	p := &player{file: f, cursor: f.Cursor(), out: socket, watch: q.watch, ctx: ctx}
	defer p.letGo()
	if q.start > 0 {
		switch _, err := p.cursor.SeekTo(q.start.Milliseconds()); {
		case errors.Is(err, flvfile.ErrBeyond):
			return refusal(hub.ReasonBadRequest, "start is behind the end of the recording")
		case err != nil:
			return h.unreadable(s.Key(), q.id, err)
		}
	}
	session, err := s.Begin()
	if err == nil {
		defer context.AfterFunc(session, func() { cancel(context.Cause(session)) })()
		err = p.run()
	}
	why, known := errors.AsType[*hub.Refusal](err)
	switch {
	case err == nil:
		return refusal(hub.ReasonComplete, "")
	case known:
		return why
	case session.Err() != nil:
		return dismissal(session)
	case ctx.Err() != nil:
		return refusal(hub.ReasonClientLeft, "")
	}
	return &hub.Refusal{Reason: hub.ReasonConnection, Detail: h.unreadable(s.Key(), q.id, err).Detail}
}

// run sends the packets from the cursor to the end of the file.
func (p *player) run() error {
	for {
		packet, err := p.cursor.Next()
		switch {
		case errors.Is(err, flvfile.ErrNotYet):
			if err := p.flush(); err != nil {
				return err
			}
			if err := p.cursor.Wait(p.ctx); err != nil {
				return err
			}
			continue
		case err == io.EOF && !p.begun: // a file with nothing but headers
			return errors.Join(p.begin(0), p.flush())
		case err == io.EOF:
			return p.flush()
		case err != nil:
			return err
		}
		if !p.begun {
			if err := p.begin(packet.Time); err != nil {
				return err
			}
		}
		if err := p.pace(packet.Time); err != nil {
			return err
		}
		p.append(packet)
		if p.buf != nil && len(*p.buf) >= playPiece {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
}

// begin collects what comes before the first packet.
func (p *player) begin(first int64) error {
	headers, err := p.cursor.Headers()
	if err != nil {
		return err
	}
	p.begun, p.first, p.zero = true, first, time.Now()
	buf := p.buffer()
	*buf = p.appendHead(*buf, headers)
	return nil
}

// pace waits until a packet is due, after everything before it was sent.
func (p *player) pace(at int64) error {
	due := p.zero.Add(time.Duration(at-p.first)*time.Millisecond - playAhead)
	early := time.Until(due)
	if early <= 0 {
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	timer := time.NewTimer(early + playLull)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// append collects a packet, if it has a place in what the player gets.
func (p *player) append(packet flvfile.Packet) {
	if body, ok := p.shape(packet); ok {
		buf := p.buffer()
		*buf = flv.AppendTag(*buf, flv.Tag{Type: packet.Type, Timestamp: p.timestamp(packet), Data: body})
	}
}

// timestamp returns the time of a packet in what the player gets: the sound may be a little
// before the key frame that is the first.
func (p *player) timestamp(packet flvfile.Packet) uint32 {
	return uint32(max(0, packet.Time-p.first))
}

// shape returns a packet's body as the player gets it, valid until the next call.
func (p *player) shape(packet flvfile.Packet) ([]byte, bool) {
	switch packet.Type {
	case flv.TypeAudio:
		if p.watch.NoAudio {
			return nil, false
		}
	case flv.TypeVideo:
		if p.watch.NoVideo {
			return nil, false
		}
	default:
		return packet.Data, p.watch.ScriptData && !packet.Header
	}
	p.scratch = p.scratch[:0]
	return p.watch.Shape.Apply(packet.Tag, &p.scratch)
}

// buffer returns what is collected.
func (p *player) buffer() *[]byte {
	if p.buf == nil {
		p.buf = playBuffers.Get().(*[]byte)
	}
	return p.buf
}

// flush sends what is collected, and keeps no buffer while there is nothing.
func (p *player) flush() error {
	if p.buf == nil {
		return p.ctx.Err()
	}
	defer p.letGo()
	return p.out.Write(p.ctx, *p.buf)
}

func (p *player) letGo() {
	if p.buf == nil {
		return
	}
	if *p.buf = (*p.buf)[:0]; cap(*p.buf) <= maxPlayBuffer {
		playBuffers.Put(p.buf)
	}
	p.buf = nil
	if cap(p.scratch) > 0 {
		p.scratch = nil
	}
}
