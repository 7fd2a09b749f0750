package hub

import (
	"context"
	"sync/atomic"
	"time"

	"sluice/flv"
)

// WatchOptions says what a viewer is to get.
type WatchOptions struct {
	// FixedCodecs is for viewers that can't follow a change of codecs or tracks,
	// such as browsers: at a change they end with ReasonCodecChanged, so that the
	// player opens the stream anew.
	FixedCodecs bool
	// ScriptData is for viewers that get script data in the flow, metadata that
	// changes included. ffmpeg takes such tags in FLV for another stream.
	ScriptData bool
	// NoAudio and NoVideo leave a track out for good.
	NoAudio, NoVideo bool

	// Shape is the form in which the viewer understands bodies.
	Shape flv.Shape
	// Start says where the viewer begins, and Back how far before that: at the newest
	// key frame that is at least so old, or at the oldest that the log still holds.
	Start Start
	Back  time.Duration
	// Duration is after how much of the stream, on its own clock, the viewer ends with
	// ReasonComplete; 0 for never. It is counted in whole milliseconds.
	Duration time.Duration
}

// Viewer is a cursor of the audience: it counts among the viewers of its stream, keeps it
// waiting for a publisher, and is given framed bytes.
//
// One goroutine at a time drives it: Wait, then Fill again and again. The other
// methods may be called from any goroutine at any time.
type Viewer struct {
	// stream is where the viewer is. Until it has started it may move to another
	// stream of the same key (Wait); from then on stream stays.
	stream  atomic.Pointer[Stream]
	session *Session

	bytes atomic.Uint64
	flags atomic.Uint32

	place int32 // in stream.viewers; guarded by stream.mu, held for writing
	cursor
}

// Flags of a viewer, which anybody may set at any time.
const (
	flagClosed uint32 = 1 << iota
	flagPaused
	flagAudioOff
	flagVideoOff
	flagDismissed
)

// Stream returns where the viewer is, fixed once Wait has returned nil.
func (v *Viewer) Stream() *Stream { return v.stream.Load() }

// Tracks returns which tracks the viewer will get, true once Wait has returned nil.
func (v *Viewer) Tracks() (audio, video bool) { return v.hasAudio, v.hasVideo }

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
	if on {
		v.flags.Or(flagPaused)
		return
	}
	s := v.lock()
	s.updateLocked(func() {
		v.flags.And(^flagPaused)
		if v.started {
			s.holdLocked(v.next)
		}
		s.effects.wake = true
	})
}

// ReceiveAudio leaves audio out, or in again.
func (v *Viewer) ReceiveAudio(on bool) { v.setFlag(flagAudioOff, !on) }

// ReceiveVideo leaves video out, or in again from the next key frame on.
func (v *Viewer) ReceiveVideo(on bool) { v.setFlag(flagVideoOff, !on) }

func (v *Viewer) setFlag(flag uint32, on bool) {
	if on {
		v.flags.Or(flag)
	} else {
		v.flags.And(^flag)
	}
}

// mustEnd reports whether the viewer was closed or dismissed.
func (v *Viewer) mustEnd() bool { return v.flags.Load()&(flagClosed|flagDismissed) != 0 }

// gone returns why a viewer with these flags, one of which says that it must end, does.
func (v *Viewer) gone(flags uint32) Reason {
	if flags&flagClosed != 0 {
		return ReasonClientLeft
	}
	return v.closedBecause().Reason
}

// closedBecause returns why a viewer that must end does.
func (v *Viewer) closedBecause() *Refusal {
	if why := v.session.dismissed.Load(); why != nil {
		return why
	}
	return errViewerClosed
}

// Ending returns why the viewer ends whose Fill has said end: with the words for its client of
// who dismissed it.
func (v *Viewer) Ending(end Reason) *Refusal {
	if why := v.session.dismissed.Load(); why != nil && why.Reason == end {
		return why
	}
	return &Refusal{Reason: end}
}

// Dismissed reports whether somebody else than the viewer's peer wants it to end. Fill says so
// too.
func (v *Viewer) Dismissed() bool { return v.flags.Load()&flagDismissed != 0 }

// Dismiss ends the viewer because of why: it gets nothing more, and its Fill or Wait says so.
func (v *Viewer) Dismiss(why *Refusal) {
	v.session.dismissed.CompareAndSwap(nil, why) // the first one counts
	s := v.lock()
	s.updateLocked(func() { s.dismissViewerLocked(v) })
}

// dismissViewerLocked ends a viewer of the stream whose session knows why.
func (s *Stream) dismissViewerLocked(v *Viewer) {
	if v.flags.Or(flagDismissed)&flagDismissed == 0 {
		v.goneLocked()
		s.effects.wake = true
	}
}

// goneLocked ends the viewer's Wait; others who wait need not look.
func (v *Viewer) goneLocked() {
	if v.plan != nil && v.plan.gone != nil {
		close(v.plan.gone)
		v.plan.gone = nil
	}
}

// lock locks the stream in which the viewer is, so that it stays there.
func (v *Viewer) lock() *Stream {
	for {
		s := v.stream.Load()
		s.mu.Lock()
		if v.stream.Load() == s {
			return s
		}
		s.mu.Unlock()
	}
}

// Wait blocks until the stream has something to start with: a publisher whose
// tracks are known and, with video, a key frame. It returns a *Refusal when
// nobody publishes the stream within Config.ViewerWait, when the stream has none
// of the tracks wanted, or at shutdown; ctx's error when ctx ends first; and
// net.ErrClosed (wrapped) after Close. Such an error has been told. A viewer that was
// refused must be closed.
func (v *Viewer) Wait(ctx context.Context) error {
	err := v.wait(ctx)
	if err != nil {
		v.session.Refuse(err)
	}
	return err
}

// TryStart is Wait for a caller that does not wait: started is false where the stream has
// nothing to start with yet.
func (v *Viewer) TryStart() (started bool, err error) {
	change, _, err := v.tryStart()
	if err != nil {
		v.session.Refuse(err)
	}
	return err == nil && change == nil, err
}

func (v *Viewer) wait(ctx context.Context) error {
	change, publishing, err := v.tryStart()
	if err != nil || change == nil {
		return err // which most viewers do
	}
	gone, err := v.leaving()
	if err != nil {
		return err
	}
	key, wait := v.Stream().key, v.Stream().hub.cfg.ViewerWait
	if locate := v.Stream().hub.cfg.Locate; locate != nil {
		wait = max(wait, locate(key))
	}
	absent := time.NewTimer(wait) // runs while nobody publishes
	defer absent.Stop()
	var live *time.Timer // runs while somebody publishes
	defer func() {
		if live != nil {
			live.Stop()
		}
	}()
	for {
		expired := absent.C
		if publishing {
			if live == nil {
				live = time.NewTimer(startWait)
			}
			expired = live.C
		} else if live != nil {
			// The publisher left again without a picture: wait as at first.
			live.Stop()
			live = nil
			absent.Reset(wait)
		}
		select {
		case <-change:
		case <-gone:
			return v.closedBecause()
		case <-ctx.Done():
			return ctx.Err()
		case <-expired:
			if publishing {
				return refuse(ReasonNotFound, "%s has sent no key frame, or no codec header, for %s", key, startWait)
			}
			return refuse(ReasonNotFound, "no publisher for %s within %s", key, wait)
		}
		if change, publishing, err = v.tryStart(); err != nil || change == nil {
			return err
		}
	}
}

// leaving returns a channel that is closed when the viewer is closed.
func (v *Viewer) leaving() (<-chan struct{}, error) {
	s := v.lock()
	defer s.mu.Unlock()
	if v.mustEnd() {
		return nil, v.closedBecause()
	}
	if v.plan == nil {
		v.plan = new(startPlan)
	}
	if v.plan.gone == nil {
		v.plan.gone = make(chan struct{})
	}
	return v.plan.gone, nil
}

// tryStart starts the viewer if the stream allows. Otherwise it returns a channel
// that is closed when it is worth another try, and whether somebody publishes.
func (v *Viewer) tryStart() (change chan struct{}, publishing bool, err error) {
	for {
		s := v.lock()
		if v.mustEnd() {
			s.mu.Unlock()
			return nil, false, v.closedBecause()
		}
		if s.state == stateEnded {
			s.mu.Unlock()
			if err := s.hub.attach(v, s.key); err != nil {
				return nil, false, err
			}
			continue
		}
		s.updateLocked(func() {
			if seq, lacks := s.startLocked(&v.cursor); lacks == LacksNothing {
				publishing, err = true, s.admitLocked(v, seq)
				return
			}
			change, publishing = s.change, s.state == stateLive
			switch {
			case !publishing || s.session.begun.IsZero():
				v.early = v.plan == nil || !v.plan.live
			case s.session.decided:
				v.early = false
			}
		})
		return change, publishing, err
	}
}

var errViewerClosed = &Refusal{Reason: ReasonClientLeft, Detail: "the viewer was closed"}

// admitLocked starts a viewer at packet seq.
func (s *Stream) admitLocked(v *Viewer, seq uint64) error {
	v.hasAudio, v.hasVideo = s.offersLocked(&v.cursor)
	if !v.hasAudio && !v.hasVideo {
		if v.noVideo {
			return refuse(ReasonNotFound, "%s has no audio", s.key)
		}
		return refuse(ReasonNotFound, "%s has no video", s.key)
	}
	if err := s.chooseTracksLocked(&v.cursor); err != nil {
		return err
	}
	v.started, v.next, v.needKey = true, seq, true
	if v.isFixed() {
		s.fixed++
	}
	s.leadLocked(&v.cursor)
	s.holdLocked(seq)
	s.beginSessionLocked(Event{Kind: EventJoined, Session: v.session})
	return nil
}
