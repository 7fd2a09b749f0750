package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// life is a publisher whose tracks, headers and metadata come and go, and the players
// that watch it. What it sends is written down; life_model_test.go holds against it
// what the players are told and get.
type life struct {
	t     *testing.T
	h     *hub.Hub
	fills bool // silent AAC is filled
	begun time.Time
	now   int64         // ms since then
	steps time.Duration // µs by which each step of the clock is beside the millisecond

	p            *source
	session      int
	begin        int64 // when the session began
	left         int64 // when the publisher left the last time
	first        int64 // when its first frame was sent, -1 before
	clock        int64 // what its timestamps are ahead of the time
	audio, video encoder
	burst        int64 // ms for which frames are kept back and sent together
	flushed      int64

	sent    []sent
	changed int64 // when a track had another format for the last time
	players []*player
	story   []string // what was done, in words
	fault   string   // the first thing that was wrong
}

// encoder makes one track.
type encoder struct {
	*lifeFormat
	on      bool
	next    int64 // µs, when the next frame is taken
	since   int64 // ms, from when on frames of the present format came without a gap
	gop     int64 // ms from one key frame to the next
	nextKey int64 // ms
	keyed   bool  // the session had one of this codec
	shown   bool  // something was sent of its present codec in this session
	slice   bool  // each key frame comes in two messages

	named  bool   // metadata named its codec, before it was decided what there is
	header []byte // that came in this session, for the present codec
	stale  bool   // one came in an earlier session
	last   int    // its last frame among all sent, -1 for none in the session
	frames int    // of the session
}

// bare reports whether the track lacks the header that its codec needs.
func (e *encoder) bare() bool { return e.lifeFormat.header != nil && e.header == nil }

// sent is a frame or a header, as it was published.
type sent struct {
	typ             flv.Type
	format          *lifeFormat
	at              int64 // when it was sent
	ts              int64 // on the publisher's clock
	session         int
	frame           bool // otherwise it is a header
	key, slice      bool // the first message of a key frame, a further one
	useless         bool // video before the first key frame
	header          []byte
	stale           bool  // it has no header but that of an earlier session
	run, since      int64 // when frames began to come without a gap, and in this format and with this header
	lastOfItsTrack  int   // the frame before it, -1 for none in the session
	framesOfSession int
}

// bare reports whether a frame lacks the header that its codec needs.
func (s *sent) bare() bool { return s.format.header != nil && s.header == nil }

// lifeStep is how often anything happens, in ms.
const lifeStep = 20

// lifeGap is how long a track may pause, in ms, and still go on.
const lifeGap = 1000

func (l *life) track(typ flv.Type) *encoder {
	if typ == flv.TypeAudio {
		return &l.audio
	}
	return &l.video
}

// tell writes down what is done.
func (l *life) tell(format string, args ...any) {
	l.story = append(l.story, fmt.Sprintf("%6d ms: ", l.now)+fmt.Sprintf(format, args...))
}

// pass lets time pass.
func (l *life) pass(ms int64) {
	for until := l.now + ms; l.now < until && l.fault == ""; {
		// No two things happen at the very same time, so that a run can be repeated.
		l.steps = (l.steps + 7) % 997
		next := time.Duration(l.now+lifeStep)*time.Millisecond + l.steps*time.Microsecond
		time.Sleep(time.Until(l.begun.Add(next)))
		l.now += lifeStep
		l.admit()
		if l.now-l.flushed >= l.burst {
			l.flush()
		}
		l.watch()
	}
}

// flush sends the frames that were taken up to now.
func (l *life) flush() {
	for l.flushed = l.now; ; {
		e := &l.video
		if !e.on || l.audio.on && l.audio.next < e.next {
			e = &l.audio
		}
		if !e.on || e.next > l.flushed*1000 {
			return
		}
		taken := e.next / 1000
		e.next += e.step
		key := e.typ == flv.TypeVideo && taken >= e.nextKey
		if key {
			e.nextKey = taken + e.gop
		}
		l.sendFrame(e, taken, key, false)
		if key && e.slice {
			l.sendFrame(e, taken, true, true)
		}
	}
}

func (l *life) sendFrame(e *encoder, taken int64, key, slice bool) {
	if l.first < 0 {
		l.first = l.now
	}
	e.keyed = e.keyed || key
	s := sent{
		typ: e.typ, format: e.lifeFormat, at: l.now, ts: taken + l.clock, session: l.session,
		frame: true, key: key && !slice, slice: slice, useless: e.typ == flv.TypeVideo && !e.keyed,
		header: e.header, stale: e.stale, lastOfItsTrack: e.last,
	}
	if !s.useless {
		s.run = s.at
		if e.last >= 0 && s.at-l.sent[e.last].at <= lifeGap {
			s.run = l.sent[e.last].run
		}
		e.since = max(e.since, s.run)
		s.since = e.since
		e.last, e.shown = len(l.sent), true
		e.frames++
		s.framesOfSession = e.frames
	}
	l.sent = append(l.sent, s)
	l.write(flv.Tag{Type: e.typ, Timestamp: uint32(s.ts), Data: e.frame(key, len(l.sent)-1)})
}

// sendHeader sends a header of the track's present format.
func (l *life) sendHeader(e *encoder, equal bool) {
	header := e.lifeFormat.header
	if header == nil {
		return // it needs none
	}
	if equal {
		header = e.equal
	}
	if e.header == nil {
		e.since = l.now
	}
	e.header, e.stale, e.shown = header, false, true
	l.sent = append(l.sent, sent{typ: e.typ, format: e.lifeFormat, at: l.now, session: l.session, header: header, lastOfItsTrack: e.last})
	t := e.config(header)
	t.Timestamp = uint32(l.now + l.clock)
	l.write(t)
}

func (l *life) write(t flv.Tag) {
	require.NoError(l.t, l.p.Write(t))
	l.admit()
}

// change makes a track another one, with its header or without.
func (l *life) change(e *encoder, to *lifeFormat, header bool) {
	switch {
	case e.code != to.code && !e.shown:
		return // nobody could tell it from what was before
	case e.code != to.code:
		e.shown = false
		e.header, e.stale, e.keyed = nil, false, false
	case e.header == nil && !e.stale:
		to = e.lifeFormat // what it was before nobody knew
		fallthrough
	default:
		header = true // without it nobody would know
	}
	l.tell("%s becomes %s, with a header: %v", e.name, to.name, header)
	if e.lifeFormat != to {
		l.changed, e.since, e.nextKey = l.now, l.now, 0
	}
	e.lifeFormat = to
	if header {
		l.sendHeader(e, false)
	}
}

// start makes a track's frames come, or stops them.
func (l *life) start(e *encoder, on bool) {
	if e.on = on; on {
		e.next, e.nextKey = l.now*1000, 0
	}
}

// connect begins a session.
func (l *life) connect(audio, video bool, clock int64) {
	l.session++
	l.begin, l.clock, l.flushed, l.first = l.now, clock, l.now, -1
	l.p = publish(l.t, l.h, client{})
	for _, e := range []*encoder{&l.audio, &l.video} {
		e.stale, e.header = e.stale || e.header != nil, nil
		e.keyed, e.named, e.shown, e.last, e.frames, e.since = false, false, false, -1, 0, 0
		l.start(e, map[flv.Type]bool{flv.TypeAudio: audio, flv.TypeVideo: video}[e.typ])
	}
}

// lifeAway are the times for which a publisher stays away, in ms: some beyond the grace.
var lifeAway = []int64{100, 600, 1500, 3000, 5000, 7500, 9000, 12_000}

func (l *life) reconnect(arg byte) {
	l.p.Close()
	l.p, l.left, l.audio.on, l.video.on = nil, l.now, false, false
	away := lifeAway[arg&7]
	l.pass(away)
	if away > 8000 { // another stream, which knows nothing of this one
		l.audio.header, l.video.header = nil, nil
		l.audio.stale, l.video.stale = false, false
	}
	audio, video := arg&0x18 != 0x08, arg&0x18 != 0x10
	l.connect(audio, video, int64(arg>>5)*100_000)
	if arg&0x60 != 0x60 {
		l.sendHeader(&l.video, false)
		l.sendHeader(&l.audio, false)
	}
	if arg&0x80 != 0 {
		l.video.nextKey = l.now + 700 // it begins in the middle of a GOP
	}
}

// lifeNames are what metadata may say of a track's codec.
func lifeNames(id float64, text string) []any {
	return []any{lifeAbsent, 0.0, "", text, "x264", id, 99.0, nil}
}

const (
	lifeAbsent   = "nothing at all"
	lifeRealName = 5 // which of lifeNames says what is there
)

// lifeMetadata returns onMetaData that names codecs.
func lifeMetadata(audio, video any, more ...amf.Property) flv.Tag {
	object := amf.ECMAArray{{Name: "width", Value: 640.0}}
	if audio != lifeAbsent {
		object = append(object, amf.Property{Name: "audiocodecid", Value: audio})
	}
	if video != lifeAbsent {
		object = append(object, amf.Property{Name: "videocodecid", Value: video})
	}
	return flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", append(object, more...))}
}

// sendMetadata sends onMetaData: what it names of each track, and whether it lies.
func (l *life) sendMetadata(arg byte) {
	audio, video := lifeNames(l.audio.id(), "mp4a")[arg&7], lifeNames(l.video.id(), "avc1")[arg>>3&7]
	var lies []amf.Property
	if lie := arg >> 6; lie != 0 {
		lies = []amf.Property{{Name: "hasAudio", Value: lie == 1}, {Name: "hasVideo", Value: lie == 2}}
	}
	if l.first < 0 || l.now-l.first < 900 {
		l.audio.named, l.video.named = audio == l.audio.id(), video == l.video.id()
	}
	l.tell("onMetaData names %#v and %#v, %v", audio, video, lies)
	l.write(lifeMetadata(audio, video, lies...))
}

// lifeTimes are how long the publisher goes on after an action, in ms.
var lifeTimes = []int64{0, 200, 500, 1100, 2000, 3500, 6000, 12_000}

// do does what two bytes say: the action, and how long the publisher then goes on, in
// the first; what kind of action in the second.
func (l *life) do(action, arg byte) {
	l.flush()
	toggle := func(e *encoder) {
		header := !e.on && arg&3 != 0
		l.tell("%s %s, with a header: %v", e.name, map[bool]string{false: "starts", true: "stops"}[e.on], header)
		if header {
			l.sendHeader(e, arg&12 == 12)
		}
		e.gop = 1000 + int64(arg>>4)*66
		l.start(e, !e.on)
	}
	formats := func(e *encoder, all []lifeFormat) {
		switch to := &all[arg/4%uint8(len(all))]; {
		case arg&3 < 2:
			l.tell("the header of %s, the other bytes: %v", e.name, arg&3 == 1)
			l.sendHeader(e, arg&3 == 1)
		default:
			l.change(e, to, arg&3 == 2)
		}
	}
	switch action & 0x0f {
	case 0, 1:
		toggle(&l.audio)
	case 2, 3:
		toggle(&l.video)
	case 4:
		formats(&l.audio, lifeFormats[3:])
	case 5:
		formats(&l.video, lifeFormats[:3])
	case 6, 7:
		l.sendMetadata(arg)
	case 8:
		l.tell("reconnects, %x", arg)
		l.reconnect(arg)
	case 9:
		l.video.slice = !l.video.slice
		l.tell("key frames in two messages: %v", l.video.slice)
	case 10:
		l.burst = int64(arg%4) * 100
		l.tell("bursts of %d ms", l.burst)
	case 11:
		pause := lifeTimes[arg&7]
		l.tell("pauses for %d ms", pause)
		audio, video := l.audio.on, l.video.on
		l.audio.on, l.video.on = false, false
		l.pass(pause)
		l.audio.on, l.video.on = audio, video
		l.audio.next, l.video.next = max(l.audio.next, l.now*1000), max(l.video.next, l.now*1000)
	default:
		if len(l.players) < 10 {
			l.join(int(arg) % len(lifeViewers))
		}
	}
	l.pass(lifeTimes[action>>4&7])
}

// live lets a publisher do what the bytes say, and returns the life that it had.
func live(t *testing.T, do []byte, cfg hub.Config, fills bool) (l *life) {
	synctest.Test(t, func(t *testing.T) {
		l = &life{t: t, h: newHub(t, cfg), begun: time.Now(), fills: fills}
		l.audio.lifeFormat, l.video.lifeFormat = &lifeFormats[3+do[0]%4], &lifeFormats[do[0]>>2&1]
		l.audio.gop, l.video.gop = 1000, 1000+int64(do[1]&0x0f)*66
		for _, kind := range []int{0, 1, 2 + int(do[1]>>4&3), 4 + int(do[1]&1)} {
			l.join(kind)
		}
		l.connect(do[0]&0x18 != 0, do[0]&0x60 != 0, 0)
		if do[1]&0x40 != 0 {
			l.sendMetadata(do[0] ^ do[1])
		}
		if l.audio.on && do[0]&0x80 == 0 {
			l.sendHeader(&l.audio, false)
		}
		if l.video.on && do[1]&0x0f != 0 {
			l.sendHeader(&l.video, false)
		}
		l.tell("begins: %s %v, %s %v", l.audio.name, l.audio.on, l.video.name, l.video.on)
		for do := do[2:]; len(do) >= 2 && l.fault == ""; do = do[2:] {
			l.do(do[0], do[1])
		}
		l.pass(1500)
		l.flush()
		l.finish()
		if l.p != nil {
			l.p.Close()
		}
	})
	return l
}
