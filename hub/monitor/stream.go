package monitor

import (
	"math"
	"math/bits"
	"slices"
	"time"

	"sluice/hub"
)

// Spans over which a stream is judged, in looks.
const (
	rateLooks  = 6  // frame rate: over the last 10 s
	paceLooks  = 30 // pace: over the last minute
	minPace    = 10 // without which there is no pace to judge
	minDrift   = 3  // and none for which arrival is corrected
	quietLooks = 6  // without a frame, after which the pace is looked at anew
	evenLooks  = 15 // evenness of arrival: over the last 30 s
	maxRuns    = 15 // swings of the bitrate: over so many runs
)

// A run is a stretch of stream time over which the bitrate is taken: at least a GOP, since a key frame is
// as large as many other pictures.
const (
	minRun = 4 * time.Second
	maxRun = 12 * time.Second
)

// stream is what is known of a stream: its series, and of a publisher that is there what rules are about.
// Its times are the monitor's, but for those of a run and a place, which are the stream's.
type stream struct {
	series  series
	seen    time.Duration // when there was a publisher last
	session *hub.Session  // nil while nobody publishes
	words   []word        // those that are on, or about to be; as a rule none

	// What follows is of one session.
	since  time.Duration
	looks  uint32
	before hub.Counts

	places      [rateLooks]place // of the picture, at the last looks
	placed      uint8            // how many there are
	frameRate   float64
	peak        float64       // greatest bitrate of the picture over rateLooks, in bits per second
	bitrate     float64       // the present one
	keyInterval time.Duration // between the last two key frames

	shown     time.Duration // when a picture came last
	soundless time.Duration // for how long pictures came without sound

	paces [paceLooks]uint16 // stream time by the time that has passed, in hundredths
	paced uint8             // how many there are
	quiet uint8             // looks since a frame came
	evens uint32            // a bit for each of the last looks, the newest lowest: something arrived late
	late  time.Duration     // by how much, at the most

	run  run
	runs [maxRuns]uint32 // bits per second; a ring

	jumps  uint64        // of the clock, since it was good
	jumped time.Duration // when it did last

	early float64       // share of pictures that are shown before they are decoded, when there were any
	unfit time.Duration // when that was
}

// place is where the picture is: numbers of which only differences count.
type place struct{ frames, bytes, at uint32 }

// run is the run that is not complete yet.
type run struct {
	from  time.Duration
	bytes uint64 // before it
	open  bool
	count uint32 // how many are complete
}

func newStream() *stream {
	s := new(stream)
	s.skip(points)
	return s
}

// skip notes looks that did not take place, or found nobody.
func (s *stream) skip(looks int) { s.series.skip(looks) }

// begin begins a session. The series goes on.
func (s *stream) begin(m *hub.Measures, now time.Duration) {
	*s = stream{series: s.series, seen: now, session: m.Session, since: now, shown: now}
}

// pass is what has come between two looks.
type pass struct {
	span     time.Duration // between them
	pictures uint64
	sounds   uint64
	early    uint64
	bytes    uint64
	video    time.Duration // by how much the picture went on, in stream time
	front    time.Duration // and the stream
	jumps    uint64
	uneven   time.Duration
	gap      time.Duration // the longest between two pictures
	stuck    bool          // pictures came, and all with the timestamp of the one before
}

// passOf returns what has come since the counts before.
func passOf(m *hub.Measures, before *hub.Counts, span time.Duration) pass {
	now := m.Counts
	pictures := now.Pictures - before.Pictures
	return pass{
		span: span, pictures: pictures, sounds: now.Sounds - before.Sounds,
		early: now.Early - before.Early, bytes: now.Bytes - before.Bytes, video: now.Video - before.Video,
		front: now.Front() - before.Front(), jumps: now.Jumps - before.Jumps, uneven: max(m.VideoUneven, m.AudioUneven),
		gap: m.Gap, stuck: pictures == 0 && now.VideoBytes > before.VideoBytes,
	}
}

// look takes what has come since the last look, span before now.
func (s *stream) look(m *hub.Measures, now, span time.Duration) {
	s.looks++
	if s.looks == 1 {
		s.before = m.Counts
		s.series.skip(1)
		return
	}
	p := passOf(m, &s.before, span)
	s.before = m.Counts
	s.series.add(p.point(m))
	if p.pictures > 0 {
		s.shown = now
		s.soundless += span
	}
	if p.sounds > 0 {
		s.soundless = 0
	}
	if p.early > 0 {
		s.early, s.unfit = min(1, float64(p.early)/float64(max(1, p.pictures))), now
	}
	if p.jumps > 0 && now-s.since >= startUp {
		s.jumps, s.jumped = s.jumps+p.jumps, now
	}
	s.keyInterval = m.KeyInterval
	s.noteRate(m, &p)
	s.noteRun(m, &p)
	if now-s.since >= startUp {
		s.noteArrival(&p)
	}
}

// point returns the point of a series.
func (p *pass) point(m *hub.Measures) point {
	of := noPoint
	of.bitrate = float64(p.bytes) * 8 / p.span.Seconds()
	switch {
	case m.Counts.Pictures == 0:
	case p.pictures == 0:
		of.rate = 0
	case p.jumps > 0 || p.video <= 0:
		of.rate = float64(p.pictures) / p.span.Seconds()
	default:
		of.rate = float64(p.pictures) / p.video.Seconds()
	}
	if m.KeyInterval > 0 {
		of.key = milliseconds(max(m.KeyInterval, m.SinceKey))
	}
	if m.HasApart && p.sounds > 0 {
		of.apart = milliseconds(m.Apart)
	}
	if p.pictures+p.sounds > 0 && p.jumps == 0 {
		of.uneven = milliseconds(p.uneven)
	}
	return of
}

// noteRate finds out the frame rate of the last seconds.
func (s *stream) noteRate(m *hub.Measures, p *pass) {
	if p.jumps > 0 || p.video < 0 {
		s.placed = 0
	}
	s.placed = min(s.placed+1, rateLooks)
	copy(s.places[1:], s.places[:])
	s.places[0] = place{uint32(m.Counts.Pictures), uint32(m.Counts.VideoBytes), uint32(m.Counts.Video.Milliseconds())}
	now, first := s.places[0], s.places[s.placed-1]
	s.frameRate, s.bitrate = 0, 0
	if passed := float64(now.at-first.at) / 1000; passed > 0 {
		s.frameRate = float64(now.frames-first.frames) / passed
		s.bitrate = float64(now.bytes-first.bytes) * 8 / passed
	}
	if s.placed == rateLooks {
		s.peak = max(s.peak, s.bitrate)
	}
}

// noteRun finds out the bitrate of the runs, by the stream's time: how it arrives is another matter.
func (s *stream) noteRun(m *hub.Measures, p *pass) {
	r, front := &s.run, m.Counts.Front()
	length := min(max(minRun, m.KeyInterval), maxRun)
	passed := front - r.from
	switch {
	case !r.open, p.jumps > 0, passed < 0, passed > 2*maxRun: // or there was a pause
	case passed < length:
		return
	default:
		rate := float64(m.Counts.Bytes-r.bytes) * 8 / passed.Seconds()
		s.runs[r.count%maxRuns] = uint32(min(rate, math.MaxUint32))
		r.count++
	}
	r.open, r.from, r.bytes = true, front, m.Counts.Bytes
}

// noteArrival notes how what came has arrived. Sound that encoders send in the order of timestamps waits for
// the next picture: that long it may be late.
func (s *stream) noteArrival(p *pass) {
	s.notePace(p)
	s.evens <<= 1
	uneven := p.uneven - s.drift(p.span)
	if p.pictures+p.sounds == 0 || p.jumps > 0 || uneven < maxUneven+p.gap {
		return
	}
	if s.lateLooks() == 0 {
		s.late = 0
	}
	s.evens |= 1
	s.late = max(s.late, uneven)
}

// notePace notes by how much the stream went on while time passed.
func (s *stream) notePace(p *pass) {
	switch {
	case p.pictures+p.sounds > 0 || p.stuck:
		s.quiet = 0
	case s.quiet < quietLooks:
		s.quiet++
	}
	if s.quiet == quietLooks || p.jumps > 0 {
		s.paced = 0
		return
	}
	s.paced = min(s.paced+1, paceLooks)
	copy(s.paces[1:], s.paces[:])
	s.paces[0] = uint16(min(max(math.Round(100*p.front.Seconds()/p.span.Seconds()), 0), math.MaxUint16))
}

// drift returns by how much frames arrive unevenly in a time because all of it comes at another pace.
func (s *stream) drift(span time.Duration) time.Duration {
	_, median, ok := s.pace(minDrift)
	if !ok {
		return 0
	}
	return time.Duration(math.Abs(median-1) * float64(span))
}

// lateLooks returns at how many of the last looks something had arrived late.
func (s *stream) lateLooks() int { return bits.OnesCount32(s.evens & (1<<evenLooks - 1)) }

// pace returns the mean and the median of the pace of the last minute, 1 being that of time. It is false
// while there are not as many looks.
func (s *stream) pace(least uint8) (mean, median float64, ok bool) {
	if s.paced < least {
		return 0, 0, false
	}
	sorted := s.paces
	of := sorted[:s.paced]
	slices.Sort(of)
	sum := 0
	for _, p := range of {
		sum += int(p)
	}
	return float64(sum) / 100 / float64(len(of)), float64(of[len(of)/2]) / 100, true
}

// swings returns between which bitrates the last runs swing, in bits per second, and how often: a run in
// the upper half after one below a limit's part of the highest.
func (s *stream) swings() (low, high float64, times int) {
	n := min(s.run.count, maxRuns)
	if n < maxRuns/2 {
		return 0, 0, 0
	}
	var sorted [maxRuns]uint32
	copy(sorted[:], s.runs[:n])
	of := sorted[:n]
	slices.Sort(of)
	low, high = float64(of[n/8]), float64(of[n-1-n/8])
	down := false
	for i := range n {
		switch rate := float64(s.runs[(s.run.count-n+i)%maxRuns]); {
		case rate*maxSwing <= high:
			down = true
		case down && rate >= high/2:
			down = false
			times++
		}
	}
	return low, high, times
}
