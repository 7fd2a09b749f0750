package gateway

import (
	"errors"
	"sync"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub/archive/flvfile"
)

// position is where a file player is. Times are milliseconds of the file.
type position struct {
	base     int64 // what the player's timestamps begin at
	stop     int64 // the first time that is not played any more; 0 if all is
	headers  bool  // codec headers are due
	metadata bool  // and metadata before them
	needKey  bool  // video is left out up to a key frame

	packet  flvfile.Packet // the next one, if held
	held    bool
	tag     [1]flv.Tag
	scratch []byte // for bodies in the player's shape

	// The clock of what the player shows: at `shown` when it was `since`, standing while
	// the player pauses.
	shown int64
	since time.Time
}

// How media is paced.
const (
	// ahead is what is sent beyond what the player buffers.
	ahead = time.Second
	// merge is the least time between two pieces, where they are paced: what is due
	// meanwhile is sent in one write.
	merge = 250 * time.Millisecond
	// pieceSize is about how many bytes are sent at a time, frames beyond it whole.
	pieceSize = 32 << 10
	// maxPiece is the largest buffer that is kept for further pieces.
	maxPiece = 128 << 10
)

// pieces are buffers for pieces, for all players together.
var pieces = sync.Pool{New: func() any {
	b := make([]byte, 0, pieceSize+pieceSize/4)
	return &b
}}

// errDuration is the end of the time for which a player wants to play.
var errDuration = errors.New("gateway: played for as long as asked")

// begin goes to where the player wants to begin, and says so.
func (p *filePlayer) begin() {
	start := p.req.StartTime()
	if p.req.Position > 0 {
		start = p.req.Position
	}
	p.words = p.stream.AppendFileStart(p.words, !p.req.NoReset)
	p.position.headers, p.position.metadata = true, true
	if p.req.Duration > 0 {
		p.position.stop = max((start + p.req.Duration).Milliseconds(), 1)
	}
	at := int64(0)
	if start > 0 {
		var err error
		at, err = p.cursor.SeekTo(start.Milliseconds())
		if errors.Is(err, flvfile.ErrBeyond) && p.file.Growing() {
			at, err = p.cursor.SeekTo(p.file.Info().Duration.Milliseconds())
		}
		switch {
		case errors.Is(err, flvfile.ErrBeyond):
			p.finish(false)
		case err != nil:
			p.fail(err)
		}
	}
	if p.req.Position == 0 {
		p.position.base = at // timestamps begin at 0
	}
	p.at.Store(at)
	p.setClock(at)
}

// setClock sets the clock of what the player shows.
func (p *filePlayer) setClock(at int64) { p.position.shown, p.position.since = at, time.Now() }

// shownNow returns what the player shows by now, as far as it can know.
func (p *filePlayer) shownNow() int64 {
	if p.paused {
		return p.position.shown
	}
	return p.position.shown + time.Since(p.position.since).Milliseconds()
}

// obey does what the player has asked for.
func (p *filePlayer) obey() {
	for _, c := range p.take() {
		switch c.kind {
		case commandSeek:
			p.seek(c.to.Milliseconds())
		case commandPause:
			p.pause(c.on)
		case commandAudio:
			p.noAudio = !c.on
		case commandVideo:
			p.noVideo = !c.on
		case commandFollow:
			p.follows = true
		}
	}
}

// seek goes to the key frame at or before a time. Behind the end of a finished file it is over:
// ffmpeg, which throws away everything until NetStream.Seek.Notify, would wait for the end of
// the file otherwise.
func (p *filePlayer) seek(to int64) {
	at, err := p.cursor.SeekTo(to)
	switch {
	case errors.Is(err, flvfile.ErrBeyond):
		p.words = p.stream.AppendSeekInvalid(p.words)
		if !p.over && !p.file.Growing() {
			p.finish(false)
		}
		return
	case err != nil:
		p.fail(err)
		return
	}
	p.words = p.stream.AppendSeek(p.words)
	p.position.base, p.position.held, p.position.headers, p.position.metadata = 0, false, true, false
	p.position.needKey = false
	p.over, p.show = false, p.paused
	p.at.Store(at)
	p.setClock(at)
}

// pause stops and resumes: with what follows that which was sent last. The player says where
// it is (RTMP 1.0 §7.2.2.8), and only what is newer is to be sent then. What was sent stays good
// in the player's buffer, so that is never newer than what follows here, except where
// the player has not seen the effect of a seek yet, or says a time of long ago (ffmpeg): then it means nothing.
func (p *filePlayer) pause(on bool) {
	if on {
		p.words = p.stream.AppendPause(p.words)
		if !p.paused {
			shown := p.shownNow()
			p.paused = true
			p.setClock(shown)
		}
		return
	}
	p.words = p.stream.AppendUnpause(p.words)
	if p.paused {
		p.paused, p.show = false, false
		p.setClock(p.position.shown)
	}
}

// finish says that the play is over: the file, or the time for which it was asked for.
func (p *filePlayer) finish(asked bool) {
	switch length := p.file.Info().Duration; {
	case p.follows:
		p.words = p.stream.AppendSwitch(p.words, length, int64(p.bytes))
	case asked:
		p.words = p.stream.AppendPlayStop(p.words)
	default:
		p.words = p.stream.AppendComplete(p.words, length, int64(p.bytes))
	}
	p.over, p.overAt, p.show = true, time.Now(), false
}

// send sends what is due, up to one piece, and returns after how long to go on.
func (p *filePlayer) send() (wait time.Duration, err error) {
	buf := pieces.Get().(*[]byte)
	b, wait, err := p.fill((*buf)[:0])
	if len(b) > 0 {
		p.bytes += uint64(len(b))
		p.broken = p.outlet.Send(b)
	}
	if cap(b) <= maxPiece {
		*buf = b
		pieces.Put(buf)
	}
	return wait, err
}

// fill appends what is due.
func (p *filePlayer) fill(b []byte) (_ []byte, wait time.Duration, err error) {
	if p.position.headers {
		if b, err = p.appendHeaders(b); err != nil {
			return b, 0, err
		}
	}
	for len(b) < pieceSize {
		packet, err := p.peek()
		if err != nil {
			return b, 0, err
		}
		if p.position.stop > 0 && packet.Time >= p.position.stop {
			return b, 0, errDuration
		}
		if early := p.early(packet.Time); early > 0 && !p.show {
			return b, max(early, merge), nil
		}
		p.position.held = false
		b = p.appendPacket(b, packet)
		p.at.Store(packet.Time)
		if p.show && (packet.Key || packet.Type == flv.TypeVideo && !packet.Header) {
			p.show = false
			return b, forever, nil
		}
	}
	return b, 0, nil
}

// peek returns the next packet, which stays the next one while it is held. Its data is valid until
// the cursor is used.
func (p *filePlayer) peek() (*flvfile.Packet, error) {
	if !p.position.held {
		packet, err := p.cursor.Next()
		if err != nil {
			return nil, err
		}
		p.position.packet, p.position.held = packet, true
	}
	return &p.position.packet, nil
}

// early returns how long it is until a time is due to be sent.
func (p *filePlayer) early(at int64) time.Duration {
	due := time.Duration(at-p.shownNow()) * time.Millisecond
	return due - p.buffered - ahead
}

// appendHeaders appends what stands before the first packet at a new position.
func (p *filePlayer) appendHeaders(b []byte) ([]byte, error) {
	headers, err := p.cursor.Headers()
	if err != nil {
		return b, err
	}
	for i := range headers {
		switch {
		case headers[i].Type != flv.TypeScript:
			b = p.appendPacket(b, &headers[i])
		case p.position.metadata:
			headers[i].Data = endsWithLastPacket(headers[i].Data)
			b = p.appendPacket(b, &headers[i])
		}
	}
	p.position.headers = false
	return b, nil
}

// endsWithLastPacket returns metadata whose duration is the time of the last packet, and not the end
// of that: rtmpdump takes for incomplete, in its exit code, what ends before 99.9 % of the
// duration, as whole files of less than a minute do by their last frame.
func endsWithLastPacket(metadata []byte) []byte {
	values, err := amf.DecodeAll(metadata, amf.Limits{})
	if err != nil || len(values) != 2 {
		return metadata
	}
	array, _ := values[1].(amf.ECMAArray)
	last := 0.0
	for _, property := range array {
		if property.Name == "lasttimestamp" {
			last, _ = property.Value.(float64)
		}
	}
	for i := range array {
		if array[i].Name != "duration" {
			continue
		}
		if length, ok := array[i].Value.(float64); ok && last > 0 && last < length {
			array[i].Value = last
		}
	}
	return amf.AppendAMF0(nil, values...)
}

// appendPacket appends a packet, in the player's shape, unless it does not want it.
func (p *filePlayer) appendPacket(b []byte, packet *flvfile.Packet) []byte {
	if !packet.Header && !p.wants(packet) {
		return b
	}
	p.position.scratch = p.position.scratch[:0]
	body, ok := p.shape.Apply(packet.Tag, &p.position.scratch)
	if !ok {
		return b
	}
	at := max(packet.Time-p.position.base, 0)
	if packet.Header && packet.Type == flv.TypeScript {
		at = 0 // metadata at any other time is a stream of its own to ffmpeg
	}
	p.position.tag[0] = flv.Tag{Type: packet.Type, Timestamp: uint32(at), Data: body}
	return p.stream.AppendTags(b, p.position.tag[:])
}

// wants reports whether the player wants a packet. Video that begins again does so with a key
// frame.
func (p *filePlayer) wants(packet *flvfile.Packet) bool {
	switch packet.Type {
	case flv.TypeAudio:
		return !p.noAudio
	case flv.TypeVideo:
		p.position.needKey = p.noVideo || p.position.needKey && !packet.Key
		return !p.position.needKey
	}
	return true
}
