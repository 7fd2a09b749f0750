package gateway

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/hub/archive/union"
	"sluice/hub/fanout"
	"sluice/rtmp"
)

// filePlayer plays a recording to one player on one message stream. A goroutine has a cursor
// in the file and sends what is due, a piece at a time, when the connection has taken the
// piece before (fanout.Outlet.Send). What the player asks for is noted, and done by that
// goroutine between two pieces: so every answer stands in order with the media.
//
//	             seek, with one picture
//	                  ┌───┐
//	open ─▶ playing ─▶ paused      any ─▶ ended: Close, the connection closed,
//	          ▲  │  ◀── unpause │            the file cannot be read, shutdown
//	     seek │  │ end of the file, or of the duration
//	          │  ▼
//	          over ─▶ ended: another play follows, nobody seeks in time
type filePlayer struct {
	stream  *rtmp.ServerStream
	outlet  *fanout.Outlet
	archive Archive
	others  func(context.Context, hub.Key, string) (union.Recording, error) // nil for none
	asked   *asked
	req     *rtmp.Request
	shape   flv.Shape
	session context.Context // ends when the hub wants the player to end; nil before it has begun

	ctx    context.Context // ends by Close
	cancel context.CancelFunc
	done   chan struct{}
	woken  chan struct{} // there are commands, or there is a new buffer length
	buffer atomic.Int64  // of the player, in ns
	at     atomic.Int64  // time of the packet sent last, in ms of the file

	mu       sync.Mutex
	commands []command
	waiting  context.CancelFunc // ends a wait for the file to grow; nil if there is none
	left     *hub.Refusal       // why Close was called

	// Of the goroutine.
	file     *archive.File
	cursor   *flvfile.Cursor
	timer    *time.Timer
	buffered time.Duration // buffer, as it was before the commands that were obeyed last
	words    []byte        // answers, not yet sent
	bytes    uint64        // sent
	paused   bool
	show     bool // one picture is due, although paused
	over     bool
	overAt   time.Time
	follows  bool  // another play waits for the end
	failed   error // the file cannot be read
	broken   error // why the outlet has closed, and with it the connection
	noAudio  bool
	noVideo  bool
	position position
}

// command is what a player asks for.
type command struct {
	kind commandKind
	on   bool
	to   time.Duration
}

type commandKind uint8

const (
	commandSeek commandKind = iota
	commandPause
	commandAudio
	commandVideo
	commandFollow
)

// Bounds and times of file players.
const (
	// maxCommands bounds the commands that wait while the file is slow.
	maxCommands = 1024
	// seekableFor is how long a player whose file is over may still seek, beyond the time for
	// which it has media, of which no more than maxSeekable counts.
	seekableFor = 30 * time.Second
	maxSeekable = time.Minute
	// closingCheck is how often a player that waits for its file to grow looks whether the
	// hub shuts down.
	closingCheck = time.Second
	// defaultBuffer is what a player is taken to buffer that does not say.
	defaultBuffer = 3 * time.Second
)

// playFile begins to play a recording.
func (h *Handler) playFile(s *rtmp.ServerStream, r *rtmp.Request, a *asked, opts *hub.WatchOptions) *filePlayer {
	p := &filePlayer{
		stream: s, outlet: h.outlet(s), archive: h.Archive, others: h.Elsewhere, asked: a, req: r, shape: opts.Shape,
		done: make(chan struct{}), woken: make(chan struct{}, 1),
		noAudio: opts.NoAudio, noVideo: opts.NoVideo,
	}
	p.buffer.Store(int64(defaultBuffer))
	if r.Buffer > 0 {
		p.buffer.Store(int64(r.Buffer))
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	go p.run()
	return p
}

var _ rtmp.FilePlayback = (*filePlayer)(nil)

// Seek notes a seek.
func (p *filePlayer) Seek(to time.Duration) { p.note(command{kind: commandSeek, to: to}) }

// Pause notes a pause or its end.
func (p *filePlayer) Pause(on bool, _ time.Duration) { p.note(command{kind: commandPause, on: on}) }

// ReceiveAudio notes whether the player wants sound.
func (p *filePlayer) ReceiveAudio(on bool) { p.note(command{kind: commandAudio, on: on}) }

// ReceiveVideo notes whether the player wants video, which begins again with a key frame.
func (p *filePlayer) ReceiveVideo(on bool) { p.note(command{kind: commandVideo, on: on}) }

// Follow notes that another play waits.
func (p *filePlayer) Follow() { p.note(command{kind: commandFollow}) }

// SetBuffer sets how far ahead media is sent.
func (p *filePlayer) SetBuffer(ahead time.Duration) {
	p.buffer.Store(int64(ahead))
	p.wake()
}

// Position returns the time of the packet sent last.
func (p *filePlayer) Position() time.Duration {
	return time.Duration(p.at.Load()) * time.Millisecond
}

// Close ends the player. It waits for its goroutine, which waits for nothing but the file, and for a second at the most for
// other nodes.
func (p *filePlayer) Close(err error) {
	p.mu.Lock()
	p.left = ending(err)
	p.mu.Unlock()
	p.cancel()
	<-p.done
}

// note hands a command to the goroutine.
func (p *filePlayer) note(c command) {
	p.mu.Lock()
	if len(p.commands) == maxCommands {
		p.mu.Unlock()
		p.stream.CloseConn(rtmp.ErrFlood)
		return
	}
	p.commands = append(p.commands, c)
	interrupt := p.waiting
	p.mu.Unlock()
	if interrupt != nil {
		interrupt()
	}
	p.wake()
}

func (p *filePlayer) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// take returns the commands that have come.
func (p *filePlayer) take() []command {
	p.mu.Lock()
	defer p.mu.Unlock()
	commands := p.commands
	p.commands = nil
	return commands
}

// run is the goroutine.
func (p *filePlayer) run() {
	defer close(p.done)
	defer p.cancel()
	if err := p.open(); err != nil {
		p.stream.Fail(playStatus(err))
		return
	}
	defer p.file.Close()
	p.timer = time.NewTimer(time.Hour)
	defer p.timer.Stop()
	why, then := p.play()
	p.stream.AddBytesOut(int64(p.bytes))
	p.asked.session.End(why, p.bytes, 0)
	if then != nil {
		then()
	}
}

// play plays until something ends that. It returns why, and what is to be done then.
func (p *filePlayer) play() (why *hub.Refusal, then func()) {
	p.begin()
	for {
		p.buffered = time.Duration(p.buffer.Load()) // first, so that nothing is sent by it that what came before forbids
		p.obey()
		p.speak()
		switch {
		case p.broken != nil:
			return &hub.Refusal{Reason: fanout.ReasonOf(p.broken)}, nil
		case p.failed != nil:
			return errUnreadable, func() { p.stream.Fail(playStatus(errUnreadable)) }
		case p.over && p.follows:
			return complete, p.stream.Next
		case p.over && p.seekable() <= 0:
			return complete, func() { p.stream.End(complete) }
		}
		wait := p.advance()
		if why, over := p.ended(); over {
			return why, nil
		}
		if p.dismissed() {
			why := context.Cause(p.session).(*hub.Refusal)
			p.words = appendWhy(p.words, p.stream, why)
			p.speak()
			return why, func() { p.stream.End(why) }
		}
		if wait != 0 {
			p.sleep(nil, wait)
		}
	}
}

// complete is the end of a player that had everything.
var complete = &hub.Refusal{Reason: hub.ReasonComplete}

// ended reports whether Close was called, and why.
func (p *filePlayer) ended() (why *hub.Refusal, over bool) {
	if p.ctx.Err() == nil {
		return nil, false
	}
	if p.over {
		return complete, true
	}
	if err := p.outlet.Err(); err != nil { // the session ends because of it
		return &hub.Refusal{Reason: fanout.ReasonOf(err)}, true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left, true
}

// dismissed reports whether the hub wants the player to end.
func (p *filePlayer) dismissed() bool {
	select {
	case <-p.session.Done():
		return true
	default:
		return false
	}
}

// forever is a wait for a command.
const forever time.Duration = -1

// sleep waits for a command, the end, or c; and for a time, if it is not forever.
func (p *filePlayer) sleep(c <-chan struct{}, d time.Duration) {
	var timeout <-chan time.Time
	if d != forever {
		p.timer.Reset(d)
		timeout = p.timer.C
	}
	select {
	case <-c:
	case <-timeout:
	case <-p.woken:
	case <-p.session.Done():
	case <-p.ctx.Done():
	}
}

// speak sends the answers that were given.
func (p *filePlayer) speak() {
	if len(p.words) == 0 {
		return
	}
	n, err := p.outlet.Write(p.words)
	p.bytes, p.broken = p.bytes+uint64(n), err
	p.words = nil // they are rare
}

// seekable returns for how long a player may still seek whose file is over.
func (p *filePlayer) seekable() time.Duration {
	return time.Until(p.overAt) + seekableFor + min(p.buffered, maxSeekable)
}

// advance sends the next piece of media, if the connection has taken the one before, and
// returns how long to wait.
func (p *filePlayer) advance() time.Duration {
	switch {
	case p.over:
		return p.seekable()
	case p.paused && !p.show:
		return forever
	}
	drained := p.outlet.Drained()
	select {
	case <-drained:
	default:
		p.sleep(drained, forever)
		return 0
	}
	wait, err := p.send()
	switch {
	case err == nil:
	case errors.Is(err, flvfile.ErrNotYet):
		p.grow()
	case errors.Is(err, io.EOF):
		p.finish(false)
	case errors.Is(err, errDuration):
		p.finish(true)
	default:
		p.fail(err)
	}
	return wait
}

// fail notes that the file cannot be read.
func (p *filePlayer) fail(err error) {
	p.stream.Logger().Warn("a recording cannot be read", "recording", p.asked.recording, "error", err)
	p.failed = err
}

// grow waits until the file has more, or a command comes.
func (p *filePlayer) grow() {
	ctx, cancel := context.WithTimeout(p.ctx, closingCheck)
	defer cancel()
	p.mu.Lock()
	if len(p.commands) > 0 {
		p.mu.Unlock()
		return
	}
	p.waiting = cancel
	p.mu.Unlock()
	err := p.cursor.Wait(ctx)
	p.mu.Lock()
	p.waiting = nil
	p.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		p.fail(err)
	}
}
