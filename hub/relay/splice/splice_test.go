package splice

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

var plain = camera{fps: 25, gop: 50, sound: 21333}

// broken returns a rig whose first connection broke after so many ms of a stream of 20 s.
func broken(t *testing.T, cam camera, ms int) *rig {
	g := newRig(t, rand.New(rand.NewPCG(1, 2)), cam, 20_000)
	g.connect(0, connecting{first: -1}, g.now(ms))
	g.run.Begin()
	require.Equal(t, Joining, g.run.Outcome())
	require.False(t, g.run.New())
	return g
}

// edit changes the shots of a connection that begins at a time, after f.
func (g *rig) edit(f func(i int, s *shot)) (undo func()) {
	was := slices.Clone(g.shots)
	for i := range g.shots {
		f(i, &g.shots[i])
	}
	return func() { g.shots = was }
}

// take takes a tag of a burst at a time.
func (g *rig) take(t flv.Tag, at int, more bool) {
	g.t.Helper()
	require.NoError(g.t, g.run.Take(t, g.epoch.Add(time.Duration(at)*time.Millisecond), more, g))
}

func TestFirstConnectionGoesOnAsItIs(t *testing.T) {
	g := newRig(t, rand.New(rand.NewPCG(1, 2)), plain, 3_000)
	g.run.Begin() // which need not be said
	odd := []flv.Tag{{Type: 77, Data: []byte("x")}, {Type: flv.TypeVideo}, {Type: flv.TypeAudio, Timestamp: 5}}
	var want []flv.Tag
	for _, tag := range odd {
		g.take(tag, 0, true)
		want = append(want, tag)
	}
	require.False(t, g.run.New())
	for _, tag := range plain.headers() {
		g.take(tag, 0, true)
		g.take(tag, 0, true)
		want = append(want, tag, tag)
	}
	for _, s := range g.shots {
		g.take(s.Tag, s.at, false)
		want = append(want, s.Tag)
	}
	require.Len(t, g.out, len(want))
	for i := range want {
		require.Equal(t, want[i].Type, g.out[i].Type)
		require.Equal(t, want[i].Timestamp, g.out[i].Timestamp)
		require.Equal(t, string(want[i].Data), string(g.out[i].Data))
	}
	require.True(t, g.run.New())
	require.Equal(t, First, g.run.Outcome())
	require.Zero(t, g.run.Counts())
}

// A connection that broke before its first frame leaves nothing to join to.
func TestNothingBeforeTheFirstFrame(t *testing.T) {
	g := newRig(t, rand.New(rand.NewPCG(1, 2)), plain, 3_000)
	for _, tag := range plain.headers() {
		g.take(tag, 0, true)
	}
	g.run.Begin()
	require.Equal(t, First, g.run.Outcome())
	g.connect(0, connecting{}, len(g.shots))
	g.whole(0)
}

// What is known is dropped, and the first packet that is not goes on at once, though the burst is
// not over.
func TestFirstUnknownGoesOnAtOnce(t *testing.T) {
	g := broken(t, plain, 5_500)
	next, before := g.sent, len(g.out)
	for i := g.cacheAt(next, 0); i <= next; i++ {
		require.Len(t, g.out, before)
		g.take(g.shots[i].Tag, 5_900, true)
	}
	require.Equal(t, Joined, g.run.Outcome())
	require.True(t, g.run.New())
	require.Len(t, g.out, before+1)
	require.Equal(t, g.shots[next].Data, g.out[before].Data)
	require.Equal(t, Counts{Joined: 1, Known: uint64(next - g.cacheAt(next, 0))}, g.run.Counts())
}

// Nothing is left of a connection that ended while it was being joined.
func TestEndedWhileJoining(t *testing.T) {
	g := broken(t, plain, 5_500)
	for _, tag := range plain.headers() {
		g.take(tag, 5_900, true)
	}
	g.take(g.shots[g.cacheAt(g.sent, 0)].Tag, 5_900, true)
	g.take(avcHeader, 5_900, true)
	g.run.Begin()
	require.Equal(t, Joining, g.run.Outcome())
	g.connect(5_950, connecting{base: 77}, len(g.shots))
	g.whole(0)
	require.EqualValues(t, 1, g.run.Counts().Joined)
}

// Headers that are the same are dropped, changed ones go on, with a time that is not before what
// went on.
func TestHeadersAfterAJoin(t *testing.T) {
	g := broken(t, plain, 5_500)
	before := len(g.out)
	other := metadata
	other.Data = append(slices.Clone(metadata.Data), 1)
	g.take(other, 5_900, true)
	g.connect(5_900, connecting{base: 1 << 31, noMeta: true}, len(g.shots))
	g.whole(0)
	require.Equal(t, other.Data, g.out[before].Data)
	require.Equal(t, g.out[before-1].Timestamp, g.out[before].Timestamp)
	for _, tag := range g.out[before+1:] {
		p, err := tag.Packet()
		require.NoError(t, err)
		require.Equal(t, flv.KindFrame, p.Kind)
	}
}

// Another encoder, whatever tells that it is one: one cut, at a key frame, and all from there on.
func TestCutAtAKeyFrame(t *testing.T) {
	hevc := flv.Tag{Type: flv.TypeVideo, Data: []byte{0x1c, 0, 0, 0, 0, 1, 2, 3}}
	inBurst := func(i, first int) bool { return i >= first+20 }
	for name, test := range map[string]struct {
		gone  int // ms
		edit  func(g *rig, first int) func(i int, s *shot)
		send  []flv.Tag
		held  bool // the key frame that it is cut at is the first
		count int  // of cuts
	}{
		"a packet of the run is another": {edit: func(g *rig, first int) func(int, *shot) {
			return func(i int, s *shot) {
				if i == first+20 {
					s.Data = append(slices.Clone(s.Data), 1)
				}
			}
		}},
		"a packet of the run is missing": {edit: func(g *rig, first int) func(int, *shot) {
			return func(i int, s *shot) {
				if i == first+20 {
					j := i + 1
					for g.shots[j].Type != s.Type {
						j++
					}
					s.Data = g.shots[j].Data
				}
			}
		}},
		"the clock jumps back": {edit: func(g *rig, first int) func(int, *shot) {
			return func(i int, s *shot) {
				if inBurst(i, first) {
					s.Timestamp -= 1000
				}
			}
		}},
		"the clock jumps ahead": {edit: func(g *rig, first int) func(int, *shot) {
			return func(i int, s *shot) {
				if inBurst(i, first) {
					s.Timestamp += 40
				}
			}
		}},
		"all packets are others": {held: true, edit: func(g *rig, first int) func(int, *shot) {
			return func(i int, s *shot) { s.Data = append(slices.Clone(s.Data), 1) }
		}},
		"the codec is another": {send: []flv.Tag{hevc}, edit: func(g *rig, first int) func(int, *shot) {
			return func(i int, s *shot) {
				if s.Type == flv.TypeVideo {
					s.Data = slices.Clone(s.Data)
					s.Data[0] = s.Data[0]&0xf0 | 12
				}
			}
		}, held: true},
		"all frames but the key frame are others": {held: true, edit: func(g *rig, first int) func(int, *shot) {
			return func(i int, s *shot) {
				if !s.key {
					s.Data = append(slices.Clone(s.Data), 1)
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := broken(t, plain, 5_500)
			first := g.cacheAt(g.sent, 0)
			undo := g.edit(test.edit(g, first))
			before := len(g.out)
			for _, tag := range test.send {
				g.take(tag, 5_900, true)
			}
			cam := g.cam
			if len(test.send) > 0 {
				g.cam = camera{sound: plain.sound}
				g.connect(5_900, connecting{first: first}, len(g.shots))
			} else {
				g.connect(5_900, connecting{}, len(g.shots))
			}
			g.cam = cam
			require.Equal(t, Cut, g.run.Outcome())
			require.Equal(t, []int{before}, g.cuts)
			out := frames(g.out[before:], flv.TypeVideo)
			at := first
			if !test.held {
				for at = first + 1; !g.shots[at].key; at++ {
				}
			}
			want := make([]flv.Tag, 0)
			for _, s := range g.shots[at:] {
				want = append(want, s.Tag)
			}
			same(t, frames(want, flv.TypeVideo), out)
			same(t, frames(want, flv.TypeAudio), frames(g.out[before:], flv.TypeAudio))
			undo()
		})
	}
}

// A track that the connection does not bring: cut at a key frame.
func TestMissingTrack(t *testing.T) {
	g := broken(t, plain, 5_500)
	first := g.cacheAt(g.sent, 0)
	g.cam.sound = 0
	for i := first; i < len(g.shots); i++ {
		if s := g.shots[i]; s.Type == flv.TypeVideo {
			g.take(s.Tag, max(5_900, s.at), s.at < 5_900)
		}
	}
	require.Len(t, g.cuts, 1)
	p, err := g.out[g.cuts[0]].Packet()
	require.NoError(t, err)
	require.True(t, p.Key)
	require.Empty(t, frames(g.out[g.cuts[0]:], flv.TypeAudio))
	require.EqualValues(t, 8_000, g.out[g.cuts[0]].Timestamp)
}

// A server that sends sound from before the key frame: where the key frame is not known, the sound
// joins it.
func TestJoinedBySound(t *testing.T) {
	g := broken(t, plain, 5_500)
	before := len(g.out)
	for _, tag := range plain.headers() {
		g.take(tag, 6_100, true)
	}
	key := g.cacheAt(g.now(6_100), 0)
	require.Greater(t, key, g.sent)
	var want []flv.Tag
	for i, s := range g.shots {
		if s.at < 5_200 || i < key && s.Type == flv.TypeVideo {
			continue
		}
		if i >= g.sent {
			want = append(want, s.Tag)
		}
		s.Timestamp -= 5_200
		g.take(s.Tag, max(6_100, s.at), s.at < 6_100)
	}
	require.Equal(t, Joined, g.run.Outcome())
	require.Empty(t, g.cuts)
	same(t, frames(want, flv.TypeVideo), frames(g.out[before:], flv.TypeVideo))
	same(t, frames(want, flv.TypeAudio), frames(g.out[before:], flv.TypeAudio))
}

// What can't be read, and what is neither a frame nor a header, goes on, once, and disturbs nobody.
func TestOpaque(t *testing.T) {
	g := newRig(t, rand.New(rand.NewPCG(1, 2)), plain, 20_000)
	var shots []shot
	n := 0
	for _, s := range g.shots {
		shots = append(shots, s)
		if n++; n%7 == 0 {
			s.Tag, s.key = flv.Tag{Type: flv.TypeVideo, Timestamp: s.Timestamp, Data: []byte{0x80}}, false
			shots = append(shots, s)
			s.Tag = flv.Tag{Type: flv.TypeVideo, Timestamp: s.Timestamp, Data: []byte{0x17, 2, 0, 0, 0}}
			shots = append(shots, s)
		}
	}
	g.shots = shots
	g.connect(0, connecting{first: -1}, g.now(5_500))
	for at := 5_900; at < 15_000; at += 1_200 {
		g.run.Begin()
		g.connect(at, connecting{base: uint32(at), gops: 1}, g.now(at+500))
		require.Equal(t, Joined, g.run.Outcome())
	}
	g.whole(0)
	odd := 0
	for _, tag := range g.out {
		if tag.Type == flv.TypeVideo && len(tag.Data) <= 5 {
			odd++
		}
	}
	require.Equal(t, odd, g.sent/9*2, "of %d", g.sent)
}

// Script data is dropped where it went on already.
func TestScript(t *testing.T) {
	text := func(s string, at uint32) flv.Tag {
		return flv.Tag{Type: flv.TypeScript, Timestamp: at, Data: []byte("\x02\x00\x0aonTextData" + s)}
	}
	g := broken(t, plain, 5_500)
	first := g.cacheAt(g.sent, 0)
	g.run = New(Config{})
	send := func(from, to, at int) {
		for i := from; i < to; i++ {
			if i%30 == 0 {
				g.take(text(string(rune('a'+i/30%20)), g.shots[i].Timestamp), at, true)
			}
			g.take(g.shots[i].Tag, at, true)
		}
	}
	g.out = nil
	send(0, g.sent, 5_500)
	g.run.Begin()
	send(first, len(g.shots), 5_900)
	require.Empty(t, g.cuts)
	n := 0
	for _, tag := range g.out {
		if tag.Type == flv.TypeScript {
			require.Equal(t, text(string(rune('a'+n%20)), g.shots[n*30].Timestamp), tag)
			n++
		}
	}
	require.Equal(t, (len(g.shots)+29)/30, n)
}

// What a connection sends while it is being joined takes no more memory than it may, whatever it is.
func TestHeldIsBounded(t *testing.T) {
	big := make([]byte, 10_000)
	for name, tag := range map[string]func(i int) flv.Tag{
		"script data": func(i int) flv.Tag { return flv.Tag{Type: flv.TypeScript, Data: append(big[:100:100], byte(i))} },
		"headers": func(i int) flv.Tag {
			return flv.Tag{Type: flv.TypeVideo, Data: append([]byte{0x17, 0, 0, 0, 0, byte(i)}, big...)}
		},
		"what can't be read": func(int) flv.Tag { return flv.Tag{Type: 99, Data: big} },
		"frames": func(i int) flv.Tag {
			return flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(40 * i), Data: append([]byte{0x27, 1}, big...)}
		},
		"sound": func(i int) flv.Tag {
			return flv.Tag{Type: flv.TypeAudio, Timestamp: uint32(20 * i), Data: append([]byte{0xaf, 1}, big[:i%100]...)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := broken(t, plain, 5_500)
			for i := range 5_000 {
				g.take(tag(i), 5_900, true)
				require.LessOrEqual(t, g.run.bytes, defaultMaxHeld+len(big)+10)
				require.LessOrEqual(t, len(g.run.held), maxHeldTags)
			}
			require.Equal(t, Joining, g.run.Outcome())
			key := g.cacheAt(g.now(6_500), 0)
			g.take(g.shots[key].Tag, 6_500, true)
			g.take(g.shots[key+1].Tag, 6_530, false)
			g.take(g.shots[key+2].Tag, 6_560, false)
			require.Equal(t, Cut, g.run.Outcome(), "a key frame ends it")
		})
	}
}

// A connection that was joined and broke at once leaves marks that are whole. It is a thousand breaks
// with SLUICE_TEST_LONG.
func TestThousandBreaks(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	g := newRig(t, rng, plain, 60_000*long())
	at := 0
	breaks := 0
	for c := (connecting{first: -1}); at < 60_000*long()-2_000; breaks++ {
		ends := min(max(g.sent, g.now(at))+1+rng.IntN(4), len(g.shots))
		g.connect(at, c, ends)
		require.NotEqual(t, Joining, g.run.Outcome())
		at = max(at, g.shots[ends-1].at) + 1 + rng.IntN(100)
		c = connecting{base: rng.Uint32(), swap: rng.IntN(2) * 30}
		for g.cacheAt(g.now(at), c.gops) >= g.sent {
			c.gops++
		}
		g.run.Begin()
	}
	t.Log(breaks, "breaks")
	require.Greater(t, breaks, 300)
	g.whole(0)
}

// An error of what takes the tags is returned.
func TestError(t *testing.T) {
	r, failure := New(Config{}), errors.New("over")
	err := r.Take(avcHeader, time.Now(), false, failing{failure})
	assert.ErrorIs(t, err, failure)
}

type failing struct{ error }

func (f failing) Tag(flv.Tag) error { return f.error }
func (f failing) Cut()              {}

// same requires that tags are the same, in few words.
func same(t *testing.T, want, is []flv.Tag) {
	t.Helper()
	for i := range min(len(want), len(is)) {
		if want[i].Timestamp != is[i].Timestamp || string(want[i].Data) != string(is[i].Data) {
			t.Fatalf("%d is not the one of %d but of %d", i, want[i].Timestamp, is[i].Timestamp)
		}
	}
	require.Equal(t, len(want), len(is))
}

// Several tracks of a type are compared each on its own, whatever order the servers send them in.
func TestTracks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	g := newRig(t, rng, plain, 20_000)
	var shots []shot
	for _, s := range g.shots {
		shots = append(shots, s)
		if s.Type == flv.TypeAudio {
			body, err := flv.AppendAudio(nil, flv.Packet{Codec: flv.CodecAAC, Kind: flv.KindFrame, Enhanced: true, Multitrack: true, Track: 1,
				Payload: append([]byte{1}, s.Data[2:]...)})
			require.NoError(t, err)
			s.Tag.Data = body
			shots = append(shots, s)
		}
	}
	g.shots = shots
	g.connect(0, connecting{first: -1}, g.now(3_000))
	for at := 3_500; at < 15_000; at += 700 {
		for i := range g.shots { // each pair of sound in another order
			if i > 0 && i >= g.sent && g.shots[i].Type == flv.TypeAudio && g.shots[i-1].Type == flv.TypeAudio && g.shots[i-1].Timestamp == g.shots[i].Timestamp {
				g.shots[i-1], g.shots[i] = g.shots[i], g.shots[i-1]
			}
		}
		g.run.Begin()
		g.connect(at, connecting{base: rng.Uint32(), gops: 1}, g.now(at+300))
		require.Equal(t, Joined, g.run.Outcome())
	}
	of := func(tags []flv.Tag, track uint8) (out []flv.Tag) {
		for _, tag := range frames(tags, flv.TypeAudio) {
			if p, _ := tag.Packet(); p.Track == track {
				out = append(out, tag)
			}
		}
		return out
	}
	var want []flv.Tag
	for _, s := range g.shots[:g.sent] {
		want = append(want, s.Tag)
	}
	same(t, of(want, 0), of(g.out, 0))
	same(t, of(want, 1), of(g.out, 1))
	same(t, frames(want, flv.TypeVideo), frames(g.out, flv.TypeVideo))
}

// A server may begin at the last packet of a key picture that comes in several.
func TestBeginsInsideAPicture(t *testing.T) {
	cam := camera{fps: 25, gop: 50, slices: 4, sound: 21333}
	g := broken(t, cam, 5_500)
	first := g.cacheAt(g.sent, 0)
	for g.shots[first+1].key {
		first++
	}
	g.connect(5_900, connecting{first: first, base: 99}, len(g.shots))
	g.whole(0)
	require.EqualValues(t, 1, g.run.Counts().Joined)
}

// A break right behind a key frame is joined without waiting for the end of the burst: new bytes follow.
func TestBrokenBehindAKeyFrame(t *testing.T) {
	g := newRig(t, rand.New(rand.NewPCG(1, 2)), plain, 20_000)
	key := g.cacheAt(g.now(5_500), 0)
	g.connect(0, connecting{first: -1}, key+1)
	g.run.Begin()
	for i := key; i < key+4; i++ {
		g.take(g.shots[i].Tag, 5_000, true)
	}
	require.Equal(t, Joined, g.run.Outcome())
	g.sent = key + 4
	g.whole(0)
}
