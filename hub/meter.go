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
	gap      int64 // the longest between two pictures, likewise in ms of stream time
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
	if video.frames > 0 {
		m.gap = max(m.gap, at-video.time)
		if c.tag.Timestamp == video.stamp {
			return
		}
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
		m.keyInterval = milliseconds(at - m.keyTime)
		m.keyGap = pictures - m.keyPictures
	}
	m.keys++
	m.keyTime, m.keyArrived, m.keyPictures = at, arrived, pictures
}

// Measures are what a publisher has sent, at one moment.
type Measures struct {
	Session *Session
	Key     Key
	Since   time.Time     // when it began
	Silence time.Duration // for how long nothing has come
	Counts  Counts

	// KeyInterval is the time between the last two key frames, 0 while there were not two, and
	// KeyGap how many pictures that were.
	KeyInterval time.Duration
	KeyGap      uint64
	// SinceKey is how far the newest picture is behind the newest key frame, and AfterKey how many
	// pictures that are.
	SinceKey time.Duration
	AfterKey uint64

	// Since the last look: by how much the picture was ahead of the sound, when the two were nearest
	// (HasApart is false if there was no picture, or no sound yet); and, compared with its time, how
	// much longer the latest frame of a track took to arrive than the earliest one.
	Apart                    time.Duration
	HasApart                 bool
	VideoUneven, AudioUneven time.Duration
	Gap                      time.Duration // the longest between two pictures

	// What the publisher says of itself: pictures per second in its metadata and in its codec
	// header, and bits per second; 0 where it says nothing.
	AnnouncedRate, HeaderRate float64
	VideoBitrate              float64

	// The formats of the main tracks; nil without such a track in this session. Never changed.
	VideoFormat *flv.VideoFormat
	AudioFormat *flv.AudioFormat
}

// Counts are the sums of a publisher's session, of its main tracks where nothing else is said.
type Counts struct {
	Bytes            uint64 // of all tags
	VideoBytes       uint64 // of pictures
	Pictures, Sounds uint64 // frames
	Early            uint64 // pictures with a composition time below 0
	Jumps            uint64 // how often a clock was mended; of the stream, earlier sessions included

	Video, Audio time.Duration // stream time of the newest frame
}

// Front returns the stream time of the newest frame of all.
func (c *Counts) Front() time.Duration {
	switch {
	case c.Pictures == 0:
		return c.Audio
	case c.Sounds == 0:
		return c.Video
	}
	return max(c.Video, c.Audio)
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
	video, audio := &m.tracks[videoTrack], &m.tracks[audioTrack]
	all := Measures{
		Session: s.pub.session, Key: s.key, Since: s.session.since, Silence: now.Sub(s.session.lastWrite),
		Counts: Counts{
			Bytes: s.pub.bytes, VideoBytes: video.bytes, Pictures: video.frames, Sounds: audio.frames, Early: m.early,
			Jumps: s.timeline.Jumps(), Video: milliseconds(video.time), Audio: milliseconds(audio.time),
		},
		KeyInterval: m.keyInterval, KeyGap: m.keyGap,
		Apart: milliseconds(m.apart), HasApart: m.hasApart,
		VideoUneven: video.look(), AudioUneven: audio.look(), Gap: milliseconds(m.gap),
		AnnouncedRate: said.number("framerate"), VideoBitrate: said.number("videodatarate") * 1000,
	}
	m.hasApart, m.gap = false, 0
	if m.keys > 0 {
		all.SinceKey, all.AfterKey = milliseconds(video.time-m.keyTime), video.frames-m.keyPictures
	}
	if video.frames > 0 && s.facts.video != nil {
		all.VideoFormat, all.HeaderRate = s.facts.video, s.facts.video.FrameRate
	}
	if audio.frames > 0 {
		all.AudioFormat = s.facts.audio
	}
	return all
}

// look returns how unevenly frames have arrived since the last look, and begins anew.
func (t *trackMeter) look() time.Duration {
	if !t.any {
		return 0
	}
	t.any = false
	return milliseconds(t.most - t.least)
}

// milliseconds returns so many of them.
func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
