package hub

import (
	"crypto/subtle"
	"sync"
	"time"

	"sluice/flv"
	"sluice/hub/timeline"
)

// PublishOptions says who a publisher is.
type PublishOptions struct {
	Protocol string // "rtmp": a bounded set, shown in figures
	Remote   string // address, for logs and figures

	// Identity is what the publisher proved of itself, such as a hash of the secret
	// in its URL. One that shows the same identity as the present publisher, and
	// any at all, takes the stream over at once. It is compared in constant time
	// and never shown.
	Identity string

	// End is called at most once, without a lock held, when the hub ends the
	// publisher: it was replaced, or the server shuts down. That may be before
	// Publish has returned. It must not block and
	// should close the publisher's connection, which may well be reading. The
	// publisher must be closed all the same.
	End func(*Refusal)
}

// Publisher appends to one stream. Write must not be called by two goroutines at
// a time; Close may be called at any time.
type Publisher struct {
	stream *Stream
	opts   PublishOptions

	mu    sync.Mutex // may be taken after the stream's mutex
	ended *Refusal   // why it publishes no more; set before stream.pub is another

	// Of Write: what it knows of the tracks that it has seen, and working memory.
	codecs  [mainTracks]flv.Codec
	further map[timeline.ID]flv.Codec
	picture flv.VideoFormat // as key frames tell it
	packets []flv.Packet
}

// Publish makes the caller the publisher of the stream. The error is a *Refusal:
// ReasonBusy where another one publishes it that is neither silent nor shows the
// same identity.
func (h *Hub) Publish(key Key, opts PublishOptions) (*Publisher, error) {
	if err := h.authorize(Access{Publish: true, Key: key, Protocol: opts.Protocol, Remote: opts.Remote}); err != nil {
		return nil, err
	}
	p := &Publisher{opts: opts}
	for {
		h.mu.Lock()
		s, err := h.streamLocked(key, 2*h.cfg.MaxStreams)
		if err != nil {
			h.mu.Unlock()
			return nil, err
		}
		s.mu.Lock()
		h.mu.Unlock()
		if s.state == stateEnded { // since streamLocked looked
			s.mu.Unlock()
			continue
		}
		now := time.Now()
		if s.pub != nil && !s.pub.same(opts.Identity) && !s.silentLocked(now) {
			s.mu.Unlock()
			return nil, refuse(ReasonBusy, "%s is being published already", key)
		}
		s.updateLocked(func() {
			s.dismissLocked(refuse(ReasonReplaced, "another publisher took %s over", key))
			p.stream = s
			s.beginLocked(p, now)
		})
		return p, nil
	}
}

// dismissLocked makes the present publisher, if there is one, an ended one, which will
// be told. The caller replaces it or ends the stream.
func (s *Stream) dismissLocked(why *Refusal) {
	if p := s.pub; p != nil && p.finish(why) && p.opts.End != nil {
		s.effects.ended = func() { p.opts.End(why) }
	}
}

// same reports whether identity proves its owner to be p's owner too.
func (p *Publisher) same(identity string) bool {
	return identity != "" && subtle.ConstantTimeCompare([]byte(p.opts.Identity), []byte(identity)) == 1
}

// Write appends a tag to the stream. Its timestamp is on the publisher's own
// clock; its data is copied. The error is the *Refusal with which the hub ended
// the publisher, ReasonTooMany here and now where it exceeds Config.MaxBitrate, or net.ErrClosed (wrapped) after Close. A tag that can't be used
// is counted and no error: an encoder that sends something odd goes on.
func (p *Publisher) Write(t flv.Tag) error {
	s := p.stream
	var c content
	p.understand(&c, t)
	now := time.Now()
	var err error
	cut := false
	s.update(func() {
		if s.pub != p {
			err = p.err()
			return
		}
		if most := s.hub.cfg.MaxBitrate; most > 0 && !s.session.allowance.take(now, len(t.Data), most) {
			why := refuse(ReasonTooMany, "more than the %d bits per second that are allowed", most)
			p.finish(why)
			s.leaveLocked()
			err = why
			return
		}
		cuts := s.log.gopCut
		s.takeLocked(&c, now)
		cut = s.log.gopCut > cuts
	})
	if cut {
		s.hub.cfg.Logger.Warn("GOP larger than its bound: new viewers wait for the next key frame",
			"stream", s.key.String(), "max_bytes", s.hub.cfg.GOPMaxBytes)
	}
	return err
}

// Close ends the publish session. Viewers are held for the grace time.
func (p *Publisher) Close() {
	p.finish(refuse(ReasonClientLeft, "the publisher was closed"))
	s := p.stream
	s.update(func() {
		if s.pub == p {
			s.leaveLocked()
		}
	})
}

// finish notes why the publisher ends, if it hadn't ended.
func (p *Publisher) finish(why *Refusal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended != nil {
		return false
	}
	p.ended = why
	return true
}

func (p *Publisher) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}
