package hub

import (
	"math"
	"time"

	"sluice/flv"
)

// meter measures what the present publisher sends, beside the log. It is fed with each frame of a main
// track on its way into the log, and so does no more than count: it reads no clock and allocates nothing.
// What is made of it, Hub.Measure and package monitor say.
type meter struct {
	video, audio trackMeter

	// Since the last look, in ms of stream time: how far the picture was ahead of the sound when they
	// were nearest, noApart if there were not both; and the longest gap between two pictures.
	apart, gap int64

	bytes       uint64        // of pictures
	early       uint64        // pictures that are to be shown before they are decoded
	keys        uint64        // key frames
	keyPictures uint64        // pictures up to the newest key frame
	keyGap      uint64        // pictures between the last two key frames
	keyTime     int64         // stream time of the newest key frame, in ms
	keyArrived  time.Duration // when the newest key frame arrived, on the hub's clock; 0 if none has
	keyInterval time.Duration // between the last two key frames, in stream time; 0 while there were not two
}

// trackMeter is what a meter has of one main track. Times are in ms.
type trackMeter struct {
	frames uint64 // the messages of one picture are one frame
	time   int64  // stream time of the newest frame; noTime before the first

	// Since the last look: by how much frames arrived later than their stream time, on clocks
	// that have nothing to do with each other. least > most if there was no frame.
	least, most int64
}

// What stands for nothing in a meter.
const (
	noTime  = math.MinInt64
	noApart = math.MaxInt64
)

func newMeter() meter {
	m := meter{apart: noApart}
	for _, t := range []*trackMeter{&m.video, &m.audio} {
		t.time = noTime
		t.look()
	}
	return m
}

// restarted returns a meter that goes on with the same sums, for frames of another encoder: what
// compares a frame with the one before begins anew.
func (m meter) restarted() meter {
	m.apart = noApart
	m.video.look()
	m.audio.look()
	return m
}

// take takes a frame, whose stream time is at. It is called for every frame, and so small that it is
// inlined.
func (t *trackMeter) take(at, arrivedMS int64) {
	if at != t.time {
		t.frames++
		t.time = at
	}
	t.least, t.most = min(t.least, arrivedMS-at), max(t.most, arrivedMS-at)
}

// picture takes a frame of video. That suffices for the distance of the tracks: whichever of them is
// sparse, or comes in bursts, they are nearest where a picture comes next to a frame of sound.
func (m *meter) picture(c *content, at int64, s *session) {
	v := &m.video
	last := v.time
	v.take(at, s.arrivedMS)
	m.bytes += uint64(len(c.tag.Data))
	if at == last {
		return // a slice of the picture before
	}
	if last != noTime {
		m.gap = max(m.gap, at-last)
	}
	if sound := m.audio.time; sound != noTime {
		if apart := at - sound; max(apart, -apart) < max(m.apart, -m.apart) {
			m.apart = apart
		}
	}
	if c.main.CompositionTime < 0 {
		m.early++
	}
	if c.main.Key {
		m.key(at, s.arrived)
	}
}

// key takes a key frame, which picture has taken.
func (m *meter) key(at int64, arrived time.Duration) {
	pictures := m.video.frames
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
	all := Measures{
		Session: s.pub.session, Key: s.key, Since: s.pub.since, Silence: now.Sub(s.session.lastWrite),
		Counts: Counts{
			Bytes: s.pub.bytes, VideoBytes: m.bytes, Pictures: m.video.frames, Sounds: m.audio.frames, Early: m.early,
			Jumps: s.timeline.Jumps(),
		},
		KeyInterval: m.keyInterval, KeyGap: m.keyGap,
		HasApart: m.apart != noApart, Gap: milliseconds(m.gap),
		AnnouncedRate: said.number("framerate"), VideoBitrate: said.number("videodatarate") * 1000,
	}
	if all.HasApart {
		all.Apart = milliseconds(m.apart)
	}
	if m.keys > 0 {
		all.SinceKey, all.AfterKey = milliseconds(m.video.time-m.keyTime), m.video.frames-m.keyPictures
	}
	if m.video.frames > 0 {
		all.Counts.Video, all.VideoFormat = milliseconds(m.video.time), s.facts.video
	}
	if f := all.VideoFormat; f != nil {
		all.HeaderRate = f.FrameRate
	}
	if m.audio.frames > 0 {
		all.Counts.Audio, all.AudioFormat = milliseconds(m.audio.time), s.facts.audio
	}
	m.apart, m.gap = noApart, 0
	all.VideoUneven, all.AudioUneven = m.video.look(), m.audio.look()
	return all
}

// look returns how unevenly frames have arrived since the last look, and begins anew.
func (t *trackMeter) look() time.Duration {
	uneven := milliseconds(max(0, t.most-t.least))
	if t.least > t.most {
		uneven = 0
	}
	t.least, t.most = math.MaxInt64, math.MinInt64
	return uneven
}

// milliseconds returns so many of them.
func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
