package hub_test

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/flv"
	"sluice/hub"
)

// The model of what players must be told, while tracks come and go in whatever way:
//
//	told of a track      it comes within 5 s, or the player is ended (fixed codecs)
//	not told of one      it does not come for 5 s, or the player is ended (fixed codecs)
//	                     or gets it (others)
//	ended                only for something that the publisher did to what it was told
//
// where time counts only while the publisher sends something. life_judge_test.go
// looks at what players get, tag by tag.

// Bounds of the model, in ms.
const (
	lifeMost = 5200  // the 5 s within which everything has to be right, and a look at it
	lifeRare = 21000 // the same for a track that had a frame or two so far, up to 10 s apart
	// the same for a track that has stopped and gone on again and again
	lifePaused = 32000
	lifeGone   = 4000 // from when on nobody who joins may be told of a track that is silent
	lifeLeast  = 2900 // from when on a track may be gone
	lifeSoon   = 1200 // from when on a track that comes is told to whoever joins
	lifeBurst  = 700  // between two looks at a track that goes on
)

func (l *life) failf(p *player, format string, args ...any) {
	if l.fault == "" {
		l.fault = fmt.Sprintf("%6d ms: %s: ", l.now, p.name) + fmt.Sprintf(format, args...)
	}
}

// wants reports whether a player asked for a track.
func (p *player) wants(typ flv.Type) bool {
	return typ == flv.TypeAudio && !p.NoAudio || typ == flv.TypeVideo && !p.NoVideo
}

var lifeTypes = []flv.Type{flv.TypeAudio, flv.TypeVideo}

func other(typ flv.Type) flv.Type { return flv.TypeAudio + flv.TypeVideo - typ }

// lastFrame returns the last frame of a track in this session, nil without one.
func (l *life) lastFrame(typ flv.Type) *sent {
	if n := l.track(typ).last; n >= 0 && l.p != nil {
		return &l.sent[n]
	}
	return nil
}

// goesOn returns the last frame of a track that comes, nil if it does not.
func (l *life) goesOn(typ flv.Type) *sent {
	if f := l.lastFrame(typ); f != nil && l.now-f.at <= lifeBurst {
		return f
	}
	return nil
}

// alone returns for how long the other track has gone on without this one.
func (l *life) alone(typ flv.Type) int64 {
	o := l.goesOn(other(typ))
	if o == nil {
		return 0
	}
	begin := o.run
	if f := l.lastFrame(typ); f != nil {
		begin = max(begin, f.at)
	}
	return l.now - begin
}

// filled reports whether the sound is one that is filled for a player while it is
// silent, and whether it might be.
func (l *life) filled(p *player, typ flv.Type) (is, maybe bool) {
	f := l.lastFrame(typ)
	if f == nil || !f.format.aac() || !l.fills || p.Shape.Form == flv.FormAsSent {
		return false, false
	}
	return f.header != nil && f.format == l.audio.lifeFormat, true
}

// most returns for how long a player may believe in a track that does not come.
func (l *life) most(typ flv.Type) int64 {
	if f := l.lastFrame(typ); f != nil && f.framesOfSession <= 4 { // two, in two messages each
		return lifeRare
	}
	if l.pauses(typ) > 1 {
		return lifePaused
	}
	return lifeMost
}

// pauses returns how often a track has stopped and gone on in this session.
func (l *life) pauses(typ flv.Type) (n int) {
	last := int64(-1)
	for _, s := range l.sent {
		if s.typ == typ && s.frame && s.session == l.session {
			if last >= 0 && s.at-last >= lifeLeast {
				n++
			}
			last = s.at
		}
	}
	return n
}

// joins looks at what a player is told when it begins.
func (l *life) joins(p *player) {
	for _, typ := range lifeTypes {
		f, told := l.goesOn(typ), p.tells[typ]
		filled, maybe := l.filled(p, typ)
		switch {
		case !p.wants(typ):
			if told {
				l.failf(p, "told of %v, which it does not want", typ)
			}
		case told && p.FixedCodecs && l.lacksHeader(typ):
			l.failf(p, "told of %v, for which no header came", typ)
		case told && l.lastFrame(typ) == nil:
			l.failf(p, "told of %v, of which no frame came", typ)
		case told && !maybe && l.alone(typ) > l.gone(p, typ) && l.most(typ) == lifeMost:
			l.failf(p, "told of %v, which has not come for %d ms", typ, l.alone(typ))
		case told:
		case l.lastFrame(typ) == nil && l.now-l.first < l.least(typ):
			l.failf(p, "not told of %v %d ms after the first frame", typ, l.now-l.first)
		case f != nil && l.now-f.since >= lifeSoon && l.track(typ).on && !(p.FixedCodecs && l.track(typ).bare()):
			l.failf(p, "not told of %v, which comes", typ)
		case filled && l.alone(typ) > 0:
			l.failf(p, "not told of %v, which is filled", typ)
		}
	}
}

// gone returns from when on nobody who joins may be told of a track that is silent; of
// one that is filled for others, it is as soon as that begins.
func (l *life) gone(p *player, typ flv.Type) int64 {
	if f := l.lastFrame(typ); l.mayDoWithout(p, typ) && f.header != nil && f.format == l.audio.lifeFormat {
		return 2000
	}
	return lifeGone
}

// least returns how long a new session is looked at for a track.
func (l *life) least(typ flv.Type) int64 {
	if l.track(typ).named {
		return 3900
	}
	return 950
}

// lacksHeader reports whether a track needs a header that never came.
func (l *life) lacksHeader(typ flv.Type) bool {
	f := l.lastFrame(typ)
	return f != nil && f.bare() && !f.stale && !slices.ContainsFunc(l.sent, func(s sent) bool {
		return s.typ == typ && s.session == l.session && !s.frame
	})
}

// waits looks at a player that has not begun.
func (l *life) waits(p *player) {
	for _, typ := range lifeTypes {
		f := l.goesOn(typ)
		if f == nil || !p.wants(typ) || f.bare() && p.FixedCodecs {
			continue
		}
		if since := max(f.since, l.changed, p.opened, l.begin); l.now-since > lifeMost {
			l.failf(p, "not let in, though %v comes for %d ms", typ, l.now-since)
		}
	}
}

// refused looks at why a player may not watch.
func (l *life) refused(p *player, err error) {
	for _, typ := range lifeTypes {
		f := l.goesOn(typ)
		if f != nil && p.wants(typ) && !(f.bare() && p.FixedCodecs) && l.now-max(f.since, l.changed) >= lifeMost {
			l.failf(p, "refused (%v), though %v comes", err, typ)
		}
	}
	l.close(p)
}

// plays looks at a player that has begun.
func (l *life) plays(p *player) {
	if !p.began {
		return // it was ended just now
	}
	for _, typ := range lifeTypes {
		f, last := l.goesOn(typ), p.last[typ]
		switch {
		case !p.wants(typ):
		case p.tells[typ]:
			if !p.FixedCodecs || l.mayDoWithout(p, typ) {
				continue
			}
			owed := min(l.alone(typ), l.now-max(p.joined, last.at))
			if owed > l.most(typ) {
				l.failf(p, "told of %v, which has not come for %d ms", typ, owed)
			}
		case p.FixedCodecs && f != nil && !f.bare():
			since, most := max(f.since, p.joined), int64(lifeMost)
			if since > max(l.begin, l.changed)+lifeMost {
				most = lifeSoon // what there is has been known for long
			}
			if l.now-since > most {
				l.failf(p, "goes on without %v, which comes for %d ms", typ, l.now-since)
			}
		}
	}
	l.follows(p)
}

// mayDoWithout reports whether a player is not ended though it gets nothing: of sound
// that is filled for others.
func (l *life) mayDoWithout(p *player, typ flv.Type) bool {
	f := l.lastFrame(typ)
	return p.Shape.Form == flv.FormAsSent && l.fills && f != nil && f.format.aac()
}

// follows requires that filled sound keeps to the picture.
func (l *life) follows(p *player) {
	a, v := p.last[flv.TypeAudio], p.last[flv.TypeVideo]
	if filled, _ := l.filled(p, flv.TypeAudio); !filled || !p.tells[flv.TypeAudio] || !v.ok || l.alone(flv.TypeAudio) < 2500 || l.now-p.joined < 500 {
		return
	}
	if picture := l.goesOn(flv.TypeVideo); picture == nil || v.Timestamp < 200 {
		return // which it is put in with
	}
	if d := int64(a.Timestamp) - int64(v.Timestamp); !a.ok || d < -1000 || d > 700 {
		l.failf(p, "filled sound is at %d where the picture is at %d", a.Timestamp, v.Timestamp)
	}
}

// ends looks at why a player is ended.
func (l *life) ends(p *player) {
	switch p.end {
	case hub.ReasonUnpublished:
		until := l.now
		if l.p != nil {
			until = l.begin
		}
		if until-l.left < 8000 || l.now-until > lifeBurst {
			l.failf(p, "ended as unpublished")
		}
		return
	case hub.ReasonCodecChanged:
	default:
		l.failf(p, "ended: %v", p.end)
		return
	}
	for _, typ := range lifeTypes {
		if p.wants(typ) && l.mayEnd(p, typ) {
			return
		}
	}
	l.failf(p, "ended without a cause, %d ms after it began", l.now-p.joined)
}

// mayEnd reports whether a track gave cause to end a player since it began.
func (l *life) mayEnd(p *player, typ flv.Type) bool {
	for _, s := range l.sent[p.joinedAfter:] {
		switch {
		case s.typ != typ || s.useless:
		case p.tells[typ]:
			first := p.firstOf(l, typ)
			if first != nil && s.format != first.format || s.frame && s.bare() {
				return true // it is another one
			}
		case s.frame && (!s.bare() || s.stale):
			return true // it came
		case !s.frame && s.lastOfItsTrack >= 0:
			return true // it had come, and got its header
		}
	}
	return p.tells[typ] && l.wasGone(typ)
}

// wasGone reports whether, up to now or a moment ago, a track was silent for long
// enough while the other one came, or a new session lacked it.
func (l *life) wasGone(typ flv.Type) bool {
	until, others := l.now, int64(0)
	for i := len(l.sent) - 1; i >= 0 && l.sent[i].session == l.session; i-- {
		switch s := &l.sent[i]; {
		case !s.frame || s.useless:
		case s.typ != typ:
			others += s.format.step / 1000
		case until-s.at >= lifeLeast && others >= 300:
			filled := l.fills && s.format.aac() && s.format == l.audio.lifeFormat && s.header != nil
			return !filled
		case l.now-s.at > 200:
			return false
		default:
			until, others = s.at, 0
		}
	}
	return until-l.begin >= 900
}

// firstOf returns the first frame that a player got of a track, or, without one, what
// had been sent of it last when it began.
func (p *player) firstOf(l *life, typ flv.Type) *sent {
	for _, g := range p.got {
		if g.Type == typ && g.number >= 0 {
			return &l.sent[g.number]
		}
	}
	for i := p.joinedAfter - 1; i >= 0; i-- {
		if l.sent[i].typ == typ {
			return &l.sent[i]
		}
	}
	return nil
}

// lifeRun reports what is wrong with a life, and how it went; "" for nothing.
func lifeRun(t *testing.T, do []byte) string {
	fills := do[1]&0x80 == 0
	l := live(t, do, hub.Config{NoFillSilence: !fills}, fills)
	if l.fault == "" {
		return ""
	}
	return fmt.Sprintf("%s\n%s", l.fault, strings.Join(l.story, "\n"))
}

// lifeShrunk leaves out actions as long as something is wrong.
func lifeShrunk(t *testing.T, do []byte) (less []byte, fault string) {
	fault = lifeRun(t, do)
	for i := 2; i < len(do); {
		without := slices.Delete(slices.Clone(do), i, i+2)
		if f := lifeRun(t, without); f != "" {
			do, fault = without, f
		} else {
			i += 2
		}
	}
	return do, fault
}

// TestLife lets forty publishers live, or as many as LIFE_LIVES says.
func TestLife(t *testing.T) {
	const mostFaults = 3
	lives := uint64(40)
	if n, err := strconv.ParseUint(os.Getenv("LIFE_LIVES"), 10, 32); err == nil {
		lives = n
	}
	faults := 0
	for seed := range lives {
		rng := rand.New(rand.NewPCG(seed, 8))
		do := make([]byte, 2*(8+rng.IntN(8)))
		for i := range do {
			do[i] = byte(rng.Uint32())
		}
		if lifeRun(t, do) == "" {
			continue
		}
		less, fault := lifeShrunk(t, do)
		t.Errorf("seed %d, %x:\n%s", seed, less, fault)
		if faults++; faults == mostFaults {
			t.Fatal("and maybe more")
		}
	}
}

// FuzzLife lets publishers live as the bytes say.
func FuzzLife(f *testing.F) {
	for _, seed := range []string{
		"000071007103530053035300", // sound off and on, off and on
		"000073007303530053035300", // the picture
		"8ce551bc", "96fea8117a45383c", "0cf9d9338f6b", "5642e15cb4b1", "c134477844db", "101b563d",
		"e03d12e264fb", "866984c04852", "44ee85267af1c1604a1b43c9", "4833d36451602af1048fd4ea",
		"e426643710521338b31c791f25d5", "8773a3b951091392fba1", "11565133f582", "74ab08a380af347e8044",
	} {
		do, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(do)
	}
	f.Fuzz(func(t *testing.T, do []byte) {
		if len(do) < 4 || len(do) > 40 {
			return
		}
		if fault := lifeRun(t, do); fault != "" {
			t.Error(fault)
		}
	})
}
