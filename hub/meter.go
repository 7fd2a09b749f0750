package hub

import (
	"time"

	"sluice/flv"
)

// meter measures what the present publisher sends, beside the log. It is fed with each frame of a main
// track on its way into the log, and so does no more than count: it reads no clock and allocates nothing.
// What is made of it, Hub.Measure and package monitor say.
type meter struct {
	tracks [mainTracks]trackMeter

	keys        uint64        // key frames
	keyPictures uint64        // pictures up to the newest key frame
	keyGap      uint64        // pictures between the last two key frames
	keyArrived  time.Duration // when the newest key frame arrived, on the hub's clock; 0 if none has
	keyInterval time.Duration // between the last two key frames, in stream time; 0 while there were not two
	keyTime     int64         // stream time of the newest key frame, in ms
	early       uint64        // pictures that are to be shown before they are decoded

	// Since the last look: how far the picture was ahead of the sound when they were nearest, in
	// ms of stream time.
	apart    int64
	hasApart bool
}

// trackMeter is what a meter has of one main track. Times are in ms.
type trackMeter struct {
	frames uint64 // the messages of one picture are one frame
	bytes  uint64
	time   int64 // stream time of the newest frame
	stamp  uint32

	// Since the last look: by how much frames arrived later than their stream time, on clocks
	// that have nothing to do with each other. Not set without any.
	least, most int64
	any         bool
}

// frame takes a frame of a main track, whose stream time is at.
func (m *meter) frame(c *content, at, arrivedMS int64) {
	t := &m.tracks[audioTrack]
	if c.tag.Type == flv.TypeVideo {
		t = &m.tracks[videoTrack]
		m.picture(c, at)
	}
	if c.tag.Timestamp != t.stamp || t.frames == 0 {
		t.frames++
	}
	t.bytes += uint64(len(c.tag.Data))
	t.time, t.stamp = at, c.tag.Timestamp
	switch late := arrivedMS - at; {
	case !t.any:
		t.least, t.most, t.any = late, late, true
	case late < t.least:
		t.least = late
	case late > t.most:
		t.most = late
	}
}

// picture takes a frame of video. That suffices for the distance of the tracks: whichever of them is
// sparse, or comes in bursts, they are nearest where a picture comes next to a frame of sound.
func (m *meter) picture(c *content, at int64) {
	sound := &m.tracks[audioTrack]
	if apart := at - sound.time; sound.frames > 0 && (!m.hasApart || max(apart, -apart) < max(m.apart, -m.apart)) {
		m.apart, m.hasApart = apart, true
	}
	video := &m.tracks[videoTrack]
	if video.frames > 0 && c.tag.Timestamp == video.stamp {
		return
	}
	if c.main.CompositionTime < 0 {
		m.early++
	}
}

// key takes a key frame, which frame has taken. One whose slices come one by one is taken once.
func (m *meter) key(at int64, arrived time.Duration) {
	pictures := m.tracks[videoTrack].frames
	if pictures == m.keyPictures {
		return
	}
	if m.keys > 0 {
		m.keyInterval = time.Duration(at-m.keyTime) * time.Millisecond
		m.keyGap = pictures - m.keyPictures
	}
	m.keys++
	m.keyTime, m.keyArrived, m.keyPictures = at, arrived, pictures
}

// Measures are what a publisher has sent, at one moment: counts since its session began, and what has
// been since the look before. Times without a clock of their own are on that of the stream.
type Measures struct {
	Session *Session
	Key     Key
	Since   time.Time     // when it began
	Silence time.Duration // for how long nothing has come
	Bytes   uint64        // of tags
	Jumps   uint64        // how often a clock was mended in this stream, in earlier sessions as well
	Muted   bool          // its sound is filled with silence

	Video, Audio TrackMeasures

	Keys uint64 // key frames
	// KeyInterval is the time between the last two key frames, 0 while there were not two, and
	// KeyGap how many pictures that were.
	KeyInterval time.Duration
	KeyGap      uint64
	// SinceKey is how far the newest picture is behind the newest key frame, and AfterKey how many
	// pictures that are.
	SinceKey time.Duration
	AfterKey uint64
	Early    uint64 // pictures with a composition time below 0

	// Apart is by how much the picture was ahead of the sound, when the two were nearest since the
	// last look. HasApart is false while there are not both.
	Apart    time.Duration
	HasApart bool

	// What the publisher says of itself: pictures per second by its metadata and by its codec
	// header, and bits per second; 0 where it says nothing.
	AnnouncedRate, HeaderRate  float64
	VideoBitrate, AudioBitrate float64

	VideoFormat *flv.VideoFormat // nil without such a track in this session. Never changed
	AudioFormat *flv.AudioFormat
}

// TrackMeasures are those of one main track.
type TrackMeasures struct {
	Frames uint64
	Bytes  uint64
	Time   time.Duration // that of the newest frame
	// Uneven is how much longer, compared with its time, the latest frame since the last look took
	// to arrive than the earliest one; 0 if there were not two.
	Uneven time.Duration
}

// Measure appends the measures of all present publishers, in no order, and begins what counts from look
// to look anew: there must be one caller only, at regular times.
func (h *Hub) Measure(all []Measures) []Measures {
	now := time.Now()
	for _, s := range h.all() {
		s.mu.Lock()
		if s.pub != nil {
			all = append(all, s.measureLocked(now))
		}
		s.mu.Unlock()
	}
	return all
}

func (s *Stream) measureLocked(now time.Time) Measures {
	m, said := &s.session.meter, s.session.declared
	all := Measures{
		Session: s.pub.session, Key: s.key, Since: s.session.since, Silence: now.Sub(s.session.lastWrite),
		Bytes: s.pub.bytes, Jumps: s.timeline.Jumps(), Muted: s.headers.filled,
		Video: m.tracks[videoTrack].look(), Audio: m.tracks[audioTrack].look(),
		Keys: m.keys, KeyInterval: m.keyInterval, KeyGap: m.keyGap, Early: m.early,
		Apart: time.Duration(m.apart) * time.Millisecond, HasApart: m.hasApart,
		AnnouncedRate: said.number("framerate"),
		VideoBitrate:  said.number("videodatarate") * 1000, AudioBitrate: said.number("audiodatarate") * 1000,
	}
	m.hasApart = false
	if m.keys > 0 {
		all.SinceKey = all.Video.Time - time.Duration(m.keyTime)*time.Millisecond
		all.AfterKey = all.Video.Frames - m.keyPictures
	}
	if all.Video.Frames > 0 && s.facts.video != nil {
		all.VideoFormat, all.HeaderRate = s.facts.video, s.facts.video.FrameRate
	}
	if all.Audio.Frames > 0 {
		all.AudioFormat = s.facts.audio
	}
	return all
}

// look returns what is known of the track, and begins what counts from look to look anew.
func (t *trackMeter) look() TrackMeasures {
	m := TrackMeasures{Frames: t.frames, Bytes: t.bytes, Time: time.Duration(t.time) * time.Millisecond}
	if t.any {
		m.Uneven = time.Duration(t.most-t.least) * time.Millisecond
	}
	t.any = false
	return m
}
