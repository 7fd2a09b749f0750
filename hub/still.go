package hub

import (
	"sluice/flv"
)

// MaxStill bounds the key frame of a Still, in bytes. One of a picture of 3840×2160 has some
// hundred KiB to a MiB.
const MaxStill = 4 << 20

// stillReach is how many packets are looked through for the rest of a key frame that came in
// several.
const stillReach = 256

// Still is the newest key frame of a stream's main picture, with what a decoder needs to begin
// with it.
type Still struct {
	// Mark says which key frame it is.
	Mark StillMark
	// Config is the codec header in force at it. It belongs to the hub, and must not be changed;
	// its Data is nil where there is none.
	Config flv.Tag
	// Frames are the bodies of the key frame, one as a rule, and one for each slice of encoders
	// that send these apart. They belong to the caller, and are none where Mark is what the
	// caller has.
	Frames []flv.Tag
}

// StillMark says which key frame of which stream a Still is, and how much of it had come: no two
// that differ have the same. The zero StillMark is that of none.
type StillMark struct {
	stream      uint64 // Stream.number
	first, last uint64 // packets of the log
}

// Still returns the newest key frame of a stream that is published, or whose publisher has its
// grace time; without its bytes if it is still the one of have. Whoever asks is no viewer: he
// counts nowhere, keeps no stream waiting, and makes none. He may be asked for permission before
// (Session.Ask with Client.Still). The error is a *Refusal with ReasonNotFound that says what is
// missing: a stream, a picture, a key frame, or one of up to MaxStill bytes.
//
// It holds the stream's lock for reading while it copies the key frame into memory that was
// taken before.
func (h *Hub) Still(key Key, have StillMark) (Still, error) {
	s := h.stream(key)
	if s == nil {
		return Still{}, noStill("nobody publishes %s now", key)
	}
	var buf []byte
	for {
		still, size, err := s.still(have, buf)
		if err != nil || size <= len(buf) {
			return still, err
		}
		buf = make([]byte, size) // and look again: a newer one may be larger
	}
}

// still copies the newest key frame into buf, if its size is no larger.
func (s *Stream) still(have StillMark, buf []byte) (still Still, size int, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l := &s.log
	switch {
	case s.pub == nil && s.state != stateGrace:
		return still, 0, noStill("nobody publishes %s now", s.key)
	case s.tracks.known && s.tracks.codecs[videoTrack] == 0:
		return still, 0, noStill("%s has no picture", s.key)
	case !l.hasGOP || l.at(l.gop).kind != flv.TypeVideo:
		return still, 0, noStill("no key frame of %s has come yet", s.key)
	}
	still.Mark = StillMark{s.number, l.gop, l.gop}
	first := l.at(l.gop)
	parts := 0
	for seq := l.gop; seq < min(l.head, l.gop+stillReach); seq++ {
		p := l.at(seq)
		if p.kind != flv.TypeVideo || p.track != 0 || p.is(markAside) {
			continue
		}
		if !p.is(markRandom) || p.time != first.time {
			break
		}
		still.Mark.last = seq
		parts++
		size += int(p.size)
	}
	switch {
	case still.Mark == have:
		return still, 0, nil
	case size > MaxStill:
		return still, 0, noStill("the key frames of %s are larger than %d bytes", s.key, MaxStill)
	case size > len(buf):
		return still, size, nil
	}
	h, _ := l.headersAt(l.gop)
	if i, found := h.find(slot{flv.TypeVideo, flv.KindConfig, 0}); found {
		still.Config = flv.Tag{Type: flv.TypeVideo, Data: h.configs[i].data}
	}
	still.Frames = make([]flv.Tag, 0, parts)
	for seq := still.Mark.first; seq <= still.Mark.last; seq++ {
		if p := l.at(seq); p.kind == flv.TypeVideo && p.track == 0 && !p.is(markAside) {
			n := copy(buf, p.data())
			still.Frames = append(still.Frames, flv.Tag{Type: p.kind, Data: buf[:n:n]})
			buf = buf[n:]
		}
	}
	return still, size, nil
}

func noStill(format string, args ...any) *Refusal { return refuse(ReasonNotFound, format, args...) }
