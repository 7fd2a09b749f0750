package hub

import (
	"context"
	"sync/atomic"
	"time"

	"sluice/flv"
)

// WatchOptions says who a viewer is and what it is to get.
type WatchOptions struct {
	Protocol string // "rtmp", "http-flv", "ws-flv": a bounded set, shown in figures
	Remote   string // address, for logs

	// FixedCodecs is for viewers that can't follow a change of codecs or tracks,
	// such as browsers: at a change they end with ReasonCodecChanged, so that the
	// player opens the stream anew.
	FixedCodecs bool
	// ScriptData is for viewers that get script data in the flow, metadata that
	// changes included. ffmpeg takes such tags in FLV for another stream.
	ScriptData bool
	// NoAudio and NoVideo leave a track out for good.
	NoAudio, NoVideo bool
}

// Viewer is a cursor in a stream's log. It holds no copy of anything.
//
// One goroutine at a time drives it: Wait, then Fill again and again. The other
// methods may be called from any goroutine at any time.
type Viewer struct {
	hub  *Hub
	key  Key
	opts WatchOptions

	// stream is where the viewer is. Until it has started it may move to another
	// stream of the same key (Wait); from then on stream stays.
	stream atomic.Pointer[Stream]
	closed atomic.Bool

	paused, audioOff, videoOff atomic.Bool
	bytes, dropped             atomic.Uint64

	// Guarded by stream.mu. The driver alone changes the cursor, under the read
	// lock; the stream reads and sets started and stop under the write lock.
	started      bool
	begun        bool      // it had its first frame, and has its base
	audio, video flv.Codec // what the stream had when it started
	base         int64     // stream time of its timestamp 0
	cursor       uint64    // the next packet
	headers      *headers  // those it has; nil before its first packet
	needKey      bool      // video is left out up to the next key frame
	evicted      bool      // ... because packets before it were gone: that counts as dropped
	wasPaused    bool
	stop         struct {
		set    bool
		at     uint64
		reason Reason
	}
}

// Framer puts tags into the form of one protocol.
type Framer interface {
	// AppendTags appends the tags to dst, whole and in order. It must not keep
	// them: their bytes are valid only during the call. It is called with the
	// stream locked for reading, so it does nothing else.
	AppendTags(dst []byte, tags []flv.Tag) []byte
}

// Batch is the working memory of whoever serves viewers, one after the other.
type Batch struct {
	Bytes []byte // framed bytes; Fill appends to them
	tags  []flv.Tag
}

// Stream returns where the viewer is, fixed once Wait has returned nil.
func (v *Viewer) Stream() *Stream { return v.stream.Load() }

// Tracks returns which tracks the viewer will get, true once Wait has returned nil.
func (v *Viewer) Tracks() (audio, video bool) { return v.audio != 0, v.video != 0 }

// Bytes returns how many bytes the viewer was sent, in its protocol's form.
func (v *Viewer) Bytes() uint64 { return v.bytes.Load() }

// Dropped returns how many packets the viewer was not sent because it was too slow.
func (v *Viewer) Dropped() uint64 { return v.dropped.Load() }

// Sent counts bytes that were written to the viewer.
func (v *Viewer) Sent(bytes int) { v.bytes.Add(uint64(bytes)) }

// Pause stops and resumes what Fill gives out. A viewer that resumes goes on at
// the newest key frame if there is one behind the packet at which it stopped,
// otherwise with that packet: it never sees a frame twice.
func (v *Viewer) Pause(on bool) {
	v.paused.Store(on)
	if !on {
		v.wake()
	}
}

// ReceiveAudio leaves audio out, or in again.
func (v *Viewer) ReceiveAudio(on bool) { v.audioOff.Store(!on) }

// ReceiveVideo leaves video out, or in again from the next key frame on.
func (v *Viewer) ReceiveVideo(on bool) { v.videoOff.Store(!on) }

func (v *Viewer) wake() {
	s := v.stream.Load()
	s.mu.RLock()
	wakers := s.wakers
	s.mu.RUnlock()
	wake(wakers)
}

// Wait blocks until the stream has something to start with: a publisher whose
// tracks are known and, with video, a key frame. It returns a *Refusal when
// nobody publishes the stream within Config.ViewerWait, when the stream has none
// of the tracks wanted, or at shutdown; ctx's error when ctx ends first; and
// net.ErrClosed (wrapped) after Close. A viewer that was refused must be closed.
func (v *Viewer) Wait(ctx context.Context) error {
	patience := time.NewTimer(v.hub.cfg.ViewerWait)
	defer patience.Stop()
	var live *time.Timer // runs while somebody publishes
	defer func() {
		if live != nil {
			live.Stop()
		}
	}()
	for {
		change, publishing, err := v.tryStart()
		if err != nil || change == nil {
			return err
		}
		expired := patience.C
		if publishing {
			if live == nil {
				live = time.NewTimer(startWait)
			}
			expired = live.C
		} else if live != nil {
			// The publisher left again without a picture: wait as at first.
			live.Stop()
			live = nil
			patience.Reset(v.hub.cfg.ViewerWait)
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		case <-expired:
			if publishing {
				return refuse(ReasonNotFound, "%s has sent no key frame for %s", v.key, startWait)
			}
			return refuse(ReasonNotFound, "no publisher for %s within %s", v.key, v.hub.cfg.ViewerWait)
		}
	}
}

// tryStart starts the viewer if the stream allows. Otherwise it returns a channel
// that is closed when it is worth another try, and whether somebody publishes.
func (v *Viewer) tryStart() (change chan struct{}, publishing bool, err error) {
	for {
		s := v.stream.Load()
		s.mu.Lock()
		if v.closed.Load() {
			s.mu.Unlock()
			return nil, false, errViewerClosed
		}
		if s.state == stateEnded {
			s.mu.Unlock()
			if err := v.hub.attach(v); err != nil {
				return nil, false, err
			}
			continue
		}
		seq, ok := s.startLocked()
		if !ok {
			change, publishing = s.change, s.state == stateLive
			s.mu.Unlock()
			return change, publishing, nil
		}
		err := v.startLocked(seq)
		s.mu.Unlock()
		return nil, true, err
	}
}

var errViewerClosed = &Refusal{Reason: ReasonClientLeft, Detail: "the viewer was closed"}

func (v *Viewer) startLocked(seq uint64) error {
	s := v.stream.Load()
	if !v.opts.NoAudio {
		v.audio = s.tracks.audio
	}
	if !v.opts.NoVideo {
		v.video = s.tracks.video
	}
	if v.audio == 0 && v.video == 0 {
		if v.opts.NoVideo {
			return refuse(ReasonNotFound, "%s has no audio", v.key)
		}
		return refuse(ReasonNotFound, "%s has no video", v.key)
	}
	v.started, v.cursor, v.needKey = true, seq, true
	return nil
}

// Fill appends to b.Bytes, in f's form, what is due to the viewer: up to about
// limit bytes, but at least one tag if there is any. more says that there is more
// to come at once. A reason other than ReasonNone says that the viewer's stream
// has ended: nothing follows what was appended.
func (v *Viewer) Fill(b *Batch, f Framer, limit int) (more bool, end Reason) {
	s := v.stream.Load()
	s.mu.RLock()
	defer s.mu.RUnlock()

	stop := s.log.head()
	switch {
	case v.closed.Load():
		return false, ReasonClientLeft
	case v.stop.set:
		stop, end = v.stop.at, v.stop.reason
	case s.state == stateEnded:
		end = s.reason
	}
	if v.paused.Load() {
		v.wasPaused = true
		return false, end
	}
	v.catchUp(&s.log, stop)
	b.tags = b.tags[:0]
	size := 0
	for v.cursor < stop && size < limit {
		p := s.log.at(v.cursor)
		v.cursor++
		due := v.due(p)
		if !v.begun {
			if !due || p.kind == flv.TypeScript {
				continue
			}
			v.begun, v.base = true, p.time
		}
		if p.headers != v.headers {
			size += v.appendHeaders(b, p)
		}
		if due {
			size += b.add(flv.Tag{Type: p.kind, Timestamp: v.timestamp(p), Data: p.data})
		}
	}
	if len(b.tags) > 0 {
		b.Bytes = f.AppendTags(b.Bytes, b.tags)
		clear(b.tags)
	}
	if v.cursor < stop {
		return true, ReasonNone
	}
	return false, end
}

func (b *Batch) add(t flv.Tag) (size int) {
	b.tags = append(b.tags, t)
	return t.Size()
}

// timestamp returns p's time on the viewer's own clock, which starts at 0 with
// its first frame.
func (v *Viewer) timestamp(p *packet) uint32 { return uint32(max(0, p.time-v.base)) }

// catchUp moves a cursor that is too far behind, or that was paused, to the
// newest key frame, if that lies ahead. Too far behind is a viewer whose next
// packet arrived more than MaxLag before the newest one. One whose packets are
// gone while no key frame lies ahead goes on without video up to the next one.
func (v *Viewer) catchUp(l *log, stop uint64) {
	if v.cursor >= stop {
		v.wasPaused = false
		return
	}
	gone := v.cursor < l.tail
	late := !gone && l.at(l.head()-1).arrived-l.at(v.cursor).arrived > v.hub.cfg.MaxLag.Milliseconds()
	if !gone && !late && !v.wasPaused {
		return
	}
	to := v.cursor
	switch {
	case l.hasGOP && l.gop > v.cursor && l.gop < stop:
		to = l.gop
		v.needKey, v.evicted = true, false
	case gone:
		to = min(l.tail, stop)
		v.needKey, v.evicted = true, true
	}
	if to > v.cursor && !v.wasPaused {
		v.dropped.Add(to - v.cursor)
	}
	v.cursor = to
	v.wasPaused = false
}

// appendHeaders appends what the viewer lacks of the headers in force at p: all of
// them before its first frame, metadata first and with timestamp 0 (ffmpeg takes
// metadata at any other time for a subtitle track), and what changed later on.
func (v *Viewer) appendHeaders(b *Batch, p *packet) (size int) {
	had, h := v.headers, p.headers
	v.headers = h
	audio, video := h.audio, h.video
	if !v.wants(flv.TypeAudio) {
		audio = 0
	}
	if !v.wants(flv.TypeVideo) {
		video = 0
	}
	if had == nil || v.opts.ScriptData && !had.sameMetadata(h) {
		size += b.add(flv.Tag{Type: flv.TypeScript, Data: h.meta.appendBody(nil, audio, video)})
	}
	if had == nil {
		had = noHeaders
	}
	for _, c := range h.configs {
		if !v.wants(c.typ) || h.track(c.typ) == 0 {
			continue // a header without frames is no track to a player
		}
		if had.track(c.typ) == 0 || !had.has(c) {
			size += b.add(flv.Tag{Type: c.typ, Timestamp: v.timestamp(p), Data: c.data})
		}
	}
	return size
}

// wants reports whether the viewer gets tags of the type at all.
func (v *Viewer) wants(typ flv.Type) bool {
	switch typ {
	case flv.TypeAudio:
		return !v.opts.NoAudio && (v.audio != 0 || !v.opts.FixedCodecs)
	case flv.TypeVideo:
		return !v.opts.NoVideo && (v.video != 0 || !v.opts.FixedCodecs)
	default:
		return v.opts.ScriptData
	}
}

// due reports whether the viewer gets the packet: of a track that it wants, not
// from before its start, and of video nothing that would need a missing frame.
func (v *Viewer) due(p *packet) bool {
	if !v.wants(p.kind) || v.begun && p.time < v.base {
		return false
	}
	switch p.kind {
	case flv.TypeAudio:
		return !v.audioOff.Load()
	case flv.TypeVideo:
		if v.videoOff.Load() {
			v.needKey = true
			return false
		}
		if v.needKey && !p.key {
			if v.evicted {
				v.dropped.Add(1)
			}
			return false
		}
		v.needKey, v.evicted = false, false
	}
	return true
}
