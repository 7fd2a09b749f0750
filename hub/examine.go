package hub

import (
	"time"

	"sluice/flv"
)

// ViewerInfo is all that is known of one viewer at one moment: what it waits for, what it
// was told of and gets, and how its bytes get on. It is what tells why a picture is black
// (package why). For a session that is no viewer of a stream, At is the zero Time.
type ViewerInfo struct {
	At      time.Time // when it was looked at
	Stream  string    // state of the stream: "waiting", "live", "grace" or "ended"
	Started bool      // it has its place in the log
	Begun   bool      // ... and had its first frame

	// Lacks is what it waits for before it starts. Awaits are then the tracks concerned:
	// those of which it is not known whether the publisher has them, with their codec if its
	// metadata announces it, or those whose codec header is missing.
	Lacks  Lack
	Awaits []ViewerTrack
	// Decided is until when the stream waits for a track that has not come; the zero Time
	// before the publisher's first frame, and when nothing is waited for.
	Decided time.Time

	Published time.Time     // when the present publisher began; the zero Time without one
	LastWrite time.Time     // when it sent anything last
	Left      time.Time     // when the last publisher left whose stream is held; zero otherwise
	Grace     time.Duration // for how long that is held

	// KeyFrame is when the newest key frame of the present publisher arrived, and KeyInterval how
	// long it is after the one before, by the stream's clock; zero where there was none. KeyLost
	// says that the newest one was given up, since what followed it outgrew the bound of a GOP.
	KeyFrame    time.Time
	KeyInterval time.Duration
	KeyLost     bool

	NoVideo  bool // it asked for the stream without (WatchOptions)
	VideoOff bool // it has turned it off for now (Viewer.ReceiveVideo)
	Paused   bool
	// NeedsKey says that video is left out up to the next key frame, and Evicted that this is
	// so because the log has lost packets that it was too slow for.
	NeedsKey, Evicted bool

	Told []ViewerTrack // the tracks that it was told of
	Gets []ViewerTrack // of those that whose frames it is given now
	Lag  time.Duration // as in SessionInfo

	Served   bool // Delivery is known
	Delivery Delivery
}

// ViewerTrack is a track as a viewer is told of it.
type ViewerTrack struct {
	Type    flv.Type
	Codec   flv.Codec // 0 if it is not known
	Number  uint8     // 0 for the main track
	Profile string    // of a main track with video, as in flv.VideoFormat; "" if it is not known
}

// examineChunk is how many viewers of a stream are looked at before others may lock it.
const examineChunk = 64

// Examine looks closer at some of the sessions that Sessions returned, in their order. Each
// costs about a microsecond of its stream's lock and two questions to the operating system:
// it is for a page of them.
func (h *Hub) Examine(sessions []SessionInfo) []ViewerInfo {
	infos, links := make([]ViewerInfo, len(sessions)), make([]Link, len(sessions))
	var locked *Stream
	looked, now := 0, time.Now()
	for i := range sessions {
		v := sessions[i].viewer
		if v == nil {
			continue
		}
		if looked++; locked == nil || looked >= examineChunk || v.stream.Load() != locked {
			if locked != nil {
				locked.mu.Unlock()
			}
			locked, looked = v.lock(), 0
		}
		if v.flags.Load()&flagClosed == 0 {
			infos[i], links[i] = locked.examineLocked(v, now), v.session.link
		}
	}
	if locked != nil {
		locked.mu.Unlock()
	}
	for i, l := range links {
		if l != nil {
			infos[i].Served, infos[i].Delivery = true, l.Delivery()
		}
	}
	return infos
}

// examineLocked looks at a viewer of the stream, which is locked for writing.
func (s *Stream) examineLocked(v *Viewer, now time.Time) ViewerInfo {
	flags := v.flags.Load()
	info := ViewerInfo{
		At: now, Stream: s.state.String(), Started: v.started, Begun: v.begun,
		KeyLost: s.log.lost,
		NoVideo: v.noVideo, VideoOff: flags&flagVideoOff != 0, Paused: flags&flagPaused != 0,
		NeedsKey: v.needKey, Evicted: v.evicted,
	}
	if s.pub != nil {
		info.Published, info.LastWrite = s.session.since, s.session.lastWrite
	}
	if s.state == stateGrace {
		info.Left, info.Grace = s.left, s.hub.cfg.PublisherGrace
	}
	if m := &s.session.meter; m.keys > 0 {
		info.KeyFrame, info.KeyInterval = s.hub.at(m.keyArrived), m.keyInterval
	}
	if !v.started {
		info.Lacks = s.lacksLocked(&v.cursor)
		info.Awaits, info.Decided = s.awaitsLocked(&v.cursor, info.Lacks)
		return info
	}
	info.Lag = s.lagLocked(v)
	info.Told = s.toldLocked(&v.cursor)
	for _, t := range info.Told {
		if v.begun && flags&flagPaused == 0 && v.receives(t.Type, flags) {
			info.Gets = append(info.Gets, t)
		}
	}
	return info
}

// receives reports whether a viewer is given frames of a type at present, as due decides for
// each of them.
func (c *cursor) receives(typ flv.Type, flags uint32) bool {
	if typ == flv.TypeVideo {
		return flags&flagVideoOff == 0 && !c.needKey
	}
	return flags&flagAudioOff == 0 && !c.deaf(c.next)
}

// awaitsLocked returns for which tracks a viewer waits that lacks something, and until when.
func (s *Stream) awaitsLocked(c *cursor, lacks Lack) (tracks []ViewerTrack, until time.Time) {
	named := s.session.declared.namesCodecs()
	for i := range s.session.tracks {
		i = mainTracks - 1 - i // video first
		state, t := s.session.tracks[i].state, ViewerTrack{Type: typeOf(i)}
		switch {
		case lacks == LacksTracks && !state.known():
			t.Codec = named[i]
		case lacks == LacksCodecHeader && s.lacksHeaderLocked(c, i):
			t.Codec = s.tracks.codecs[i]
		default:
			continue
		}
		tracks = append(tracks, t)
	}
	if lacks != LacksTracks || s.session.begun.IsZero() {
		return tracks, time.Time{}
	}
	return tracks, s.decisionLocked()
}

// lacksHeaderLocked reports whether a main track that a viewer wants has no codec header, and needs one.
func (s *Stream) lacksHeaderLocked(c *cursor, i int) bool {
	if c.noAudio && i == audioTrack || c.noVideo && i == videoTrack {
		return false
	}
	codec := s.tracks.codecs[i]
	return codec != 0 && needsHeader(codec) && s.codecLocked(typeOf(i)) != codec
}

// toldLocked returns which tracks a viewer that has started was told of: by the headers that it
// has, or before its first frame by what the stream offered it.
func (s *Stream) toldLocked(c *cursor) (told []ViewerTrack) {
	for _, typ := range []flv.Type{flv.TypeVideo, flv.TypeAudio} {
		h, is := c.headers, c.hasVideo
		if typ == flv.TypeAudio {
			is = c.hasAudio
		}
		if h == nil {
			h = s.headers
		} else if typ == flv.TypeVideo || c.plan == nil { // else of sound that comes later
			is = c.has(h, typ)
		}
		if !is || !c.wants(typ) {
			continue
		}
		t := ViewerTrack{Type: typ, Codec: s.codecFor(c, h, typ), Number: c.track(typ)}
		if f := s.facts.video; typ == flv.TypeVideo && t.Number == 0 && f != nil && f.Codec == t.Codec {
			t.Profile = f.Profile
		}
		told = append(told, t)
		for _, cfg := range h.configs {
			if c.everything() && cfg.typ == typ && cfg.kind == flv.KindConfig && cfg.track != 0 {
				told = append(told, ViewerTrack{Type: typ, Codec: cfg.codec, Number: cfg.track})
			}
		}
	}
	return told
}

// codecFor returns the codec of the track of a type that a viewer gets.
func (s *Stream) codecFor(c *cursor, h *headers, typ flv.Type) flv.Codec {
	if number := c.track(typ); number != 0 {
		if i, found := h.find(slot{typ, flv.KindConfig, number}); found {
			return h.configs[i].codec
		}
	}
	if codec := h.track(typ); codec != 0 {
		return codec
	}
	return s.tracks.codecs[mainTrack(typ)]
}
