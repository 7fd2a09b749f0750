package hub

import (
	"cmp"
	"slices"
	"time"

	"sluice/flv"
)

// StreamInfo is what is known of a stream at one moment.
type StreamInfo struct {
	App, Name string
	State     string // "waiting" (viewers, no publisher), "live", "grace" (publisher gone, viewers held)

	// Of the publisher that is shown, or will be when it has sent a key frame; zero without one.
	Protocol  string
	Publisher string    // its address
	Since     time.Time // when it began
	Bitrate   int64     // bits per second of tag bodies, over the last seconds
	Standby   *Standby  // who stands by for it; nil without one
	// Back is how far before the newest packet a viewer with WatchOptions.Back can begin in the
	// log now; 0 without Config.LogDuration, and as long as nobody can begin.
	Back time.Duration

	// Of what was published last; nil where there is no such track.
	Video *flv.VideoFormat
	Audio *flv.AudioFormat
	// Muted says that the publisher sends no sound, and that viewers get silence instead.
	Muted bool
	// Further are the further tracks of a stream with several, video before audio, by
	// number; Video and Audio are track 0.
	Further []Track

	Viewers           int
	ViewersByProtocol map[string]int

	BytesIn  uint64 // of tags taken from publishers
	BytesOut uint64 // sent to viewers, in their protocols' forms
	Dropped  uint64 // packets that viewers were not sent because they were too slow

	GOPCuts uint64            // how often a GOP outgrew its bound
	Jumps   uint64            // how often a publisher's clock jumped and was mended
	Filled  uint64            // frames of silence put in where the publisher sent no sound
	Skipped map[string]uint64 // tags that were not taken, by reason
}

// info returns ok false for a stream that has ended, or that is for nobody.
func (s *Stream) info(now time.Time) (info StreamInfo, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.state == stateEnded || s.isForNobodyLocked() {
		return StreamInfo{}, false
	}
	info = StreamInfo{
		App: s.key.App, Name: s.key.Name,
		State:             s.state.String(),
		Viewers:           len(s.viewers),
		ViewersByProtocol: make(map[string]int),
		BytesIn:           s.facts.in,
		BytesOut:          s.facts.out,
		Dropped:           s.facts.dropped,
		GOPCuts:           s.log.gopCut,
		Filled:            s.facts.filled,
		Jumps:             s.timeline.Jumps(),
		Skipped:           make(map[string]uint64),
	}
	if !s.tracks.known || s.tracks.codecs[videoTrack] != 0 {
		info.Video = s.videoLocked()
	}
	if !s.tracks.known || s.tracks.codecs[audioTrack] != 0 {
		info.Audio = s.facts.audio
	}
	info.Muted = s.headers.filled
	info.Further = s.facts.further
	row := 0 // viewers of one protocol, counted all at once
	for i, v := range s.viewers {
		info.BytesOut += v.bytes.Load()
		info.Dropped += v.dropped.Load()
		row++
		if i+1 == len(s.viewers) || s.viewers[i+1].session.Protocol() != v.session.Protocol() {
			info.ViewersByProtocol[v.session.Protocol()] += row
			row = 0
		}
	}
	for why, n := range s.facts.skipped {
		if n > 0 {
			info.Skipped[skip(why).String()] = n
		}
	}
	if s.pub != nil {
		info.Protocol = s.pub.session.Protocol()
		info.Publisher = s.pub.session.Client().Remote()
		info.Since = s.pub.since
		info.Bitrate = s.facts.rate.perSecond(now) * 8
		info.Back = s.backLocked()
		info.Standby = s.standbyLocked(now)
		if s.pub.aside != nil {
			info.State = stateGrace.String() // viewers are held until it can be shown
		}
	}
	return info, true
}

// isForNobodyLocked reports whether nobody publishes the stream, or waits for it: its first viewer is about to come, or its
// last one has just left.
func (s *Stream) isForNobodyLocked() bool { return s.state == stateWaiting && len(s.viewers) == 0 }

// backLocked returns StreamInfo.Back. It looks at one packet.
func (s *Stream) backLocked() time.Duration {
	l := &s.log
	if s.hub.cfg.LogDuration == 0 || s.state != stateLive || !s.session.decided || !l.hasGOP {
		return 0
	}
	first := max(s.oldest, s.sound, l.shed) // of sound
	if s.tracks.codecs[videoTrack] != 0 {
		from := max(s.oldest, l.shed)
		i, _ := slices.BinarySearch(l.keys, from)
		if i == len(l.keys) {
			return 0
		}
		first = l.keys[i]
	}
	if first >= l.head {
		return 0
	}
	return time.Duration(max(0, l.newest().time-l.at(first).time)) * time.Millisecond
}

// videoLocked returns the format of the video, with the frame rate that the
// publisher's metadata tells where the codec header tells none.
func (s *Stream) videoLocked() *flv.VideoFormat {
	f := s.facts.video
	if f == nil || f.FrameRate != 0 {
		return f
	}
	told := *f
	if rate := s.headers.meta.number("framerate"); rate >= 1/maxFrameRate && rate <= maxFrameRate {
		told.FrameRate = rate
	}
	return &told
}

// maxFrameRate is the highest frame rate, in pictures per second, that metadata is believed, and one
// picture in as many seconds the lowest.
const maxFrameRate = 1000.0

// maxWaitingListed bounds the streams that nobody publishes in what Streams returns:
// anybody can wait for any name.
const maxWaitingListed = 1000

// Streams returns what is known of every stream, sorted by key; of those that are only
// waited for, a thousand at the most.
func (h *Hub) Streams() []StreamInfo {
	streams := h.all()
	now := time.Now()
	infos := make([]StreamInfo, 0, len(streams))
	waiting := 0
	for _, s := range streams {
		info, ok := s.info(now)
		if !ok {
			continue
		}
		if info.State == stateWaiting.String() {
			if waiting++; waiting > maxWaitingListed {
				continue
			}
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b StreamInfo) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Name, b.Name))
	})
	return infos
}

// rate counts bytes by the second and gives the mean over the last full seconds.
type rate struct {
	second  int64 // of the newest slot
	first   int64 // when counting began
	buckets [rateWindow + 1]int64
}

// rateWindow is how many full seconds the mean covers, at the most.
const rateWindow = 4

func (r *rate) add(now time.Time, n int) {
	r.advance(now.Unix())
	r.buckets[r.second%int64(len(r.buckets))] += int64(n)
}

// perSecond returns bytes per second. It does not change r, which may be shared.
func (r rate) perSecond(now time.Time) int64 {
	if r.first == 0 {
		return 0
	}
	r.advance(now.Unix())
	sum := int64(0)
	for i, n := range r.buckets {
		if int64(i) != r.second%int64(len(r.buckets)) {
			sum += n
		}
	}
	full := min(r.second-r.first, rateWindow)
	if full == 0 {
		return r.buckets[r.second%int64(len(r.buckets))]
	}
	return sum / full
}

func (r *rate) advance(second int64) {
	if r.first == 0 || second-r.second > int64(len(r.buckets)) {
		*r = rate{second: second, first: second}
		return
	}
	for r.second < second {
		r.second++
		r.buckets[r.second%int64(len(r.buckets))] = 0
	}
}
