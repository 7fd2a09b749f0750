package splice

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// camera is the model of an encoder.
type camera struct {
	fps     int // 0: no pictures
	gop     int // pictures
	slices  int // packets of one picture
	sound   int // µs of a packet of sound; 0: none
	lead    int // ms by which sound is sent later than pictures of its time, or earlier
	still   int // so many GOPs have bytes of their own, then they come again; 0: all are different
	silence bool
	start   uint32 // first timestamp
	bits    int    // after which the clock wraps; 32 if 0
	small   bool   // packets of a few bytes
}

func (c camera) String() string {
	return fmt.Sprintf("fps=%d gop=%d slices=%d sound=%d lead=%d still=%d silence=%v start=%d bits=%d small=%v",
		c.fps, c.gop, c.slices, c.sound, c.lead, c.still, c.silence, c.start, c.bits, c.small)
}

// shot is a tag of the unbroken stream.
type shot struct {
	flv.Tag
	at  int // ms, when it is sent
	key bool
	n   int // of its track
}

var (
	avcHeader = flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0, 1, 100, 0, 31, 0xff}}
	aacHeader = flv.Tag{Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x12, 0x10}}
	metadata  = flv.Tag{Type: flv.TypeScript, Data: []byte("\x02\x00\x0aonMetaData\x08\x00\x00\x00\x00\x00\x00\x09")}
)

func (c camera) headers() []flv.Tag {
	tags := []flv.Tag{metadata}
	if c.fps > 0 {
		tags = append(tags, avcHeader)
	}
	if c.sound > 0 {
		tags = append(tags, aacHeader)
	}
	return tags
}

// shoot returns so many ms of the stream, in the order in which it is sent.
func (c camera) shoot(ms int, rng *rand.Rand) []shot {
	var shots []shot
	stamp := func(ms int) uint32 {
		ts := uint64(c.start) + uint64(ms)
		if c.bits != 0 {
			ts &= 1<<c.bits - 1
		}
		return uint32(ts)
	}
	filler := make([]byte, 2000)
	for i := range filler {
		filler[i] = byte(rng.Uint32())
	}
	body := func(head []byte, id uint64, size int) []byte {
		b := binary.BigEndian.AppendUint64(slices.Clone(head), id*0x9e3779b97f4a7c15)
		if !c.small {
			b = append(b, filler[:size]...)
		}
		return b
	}
	count := [2]int{}
	if c.fps > 0 {
		for n := 0; n*1000/c.fps < ms; n++ {
			at := n * 1000 / c.fps
			id := uint64(n)
			if c.still > 0 {
				id = uint64(n % (c.gop * c.still))
				if n%c.gop != 0 {
					id = uint64(n % c.gop)
				}
			}
			for s := range max(c.slices, 1) {
				head, size := []byte{0x27, 1, 0, 0, byte(n % 3 * 40)}, 100+rng.IntN(500)
				if n%c.gop == 0 {
					head, size = []byte{0x17, 1, 0, 0, 40}, 1500
				}
				if c.still > 0 {
					size = 10
				}
				t := flv.Tag{Type: flv.TypeVideo, Timestamp: stamp(at), Data: body(head, id*64+uint64(s), size)}
				shots = append(shots, shot{t, at, n%c.gop == 0, count[1]})
				count[1]++
			}
		}
	}
	if c.sound > 0 {
		for n := 0; n*c.sound/1000 < ms; n++ {
			at := n * c.sound / 1000
			id, size := uint64(n), 50+rng.IntN(200)
			if c.silence {
				id, size = 0, 10
			}
			t := flv.Tag{Type: flv.TypeAudio, Timestamp: stamp(at), Data: body([]byte{0xaf, 1}, id|1<<40, size)}
			shots = append(shots, shot{t, at + c.lead, false, count[0]})
			count[0]++
		}
	}
	sort.SliceStable(shots, func(i, j int) bool { return shots[i].at < shots[j].at })
	return shots
}

// connecting is the model of a server: how it serves a connection.
type connecting struct {
	gops   int    // how many key frames back it begins; 0: at the newest
	base   uint32 // what its clock is off by
	jitter int    // ms: it rounds timestamps by up to that, up or down
	swap   int    // ms by which it sends sound later than pictures
	flush  bool   // it sends each tag on its own: no burst is to be seen but by the clock
	first  int    // the first shot that it sends, if not a key frame; 0 is -1
	late   int    // ms by which tags arrive later at random
	noMeta bool
}

// rig runs connections to a model.
type rig struct {
	t     *testing.T
	rng   *rand.Rand
	run   *Run
	shots []shot
	cam   camera
	epoch time.Time
	out   []flv.Tag
	cuts  []int     // before which of out
	sent  int       // how many shots the run has been sent
	sends []flv.Tag // the headers that a server sends, if not those of cam
}

func newRig(t *testing.T, rng *rand.Rand, cam camera, ms int) *rig {
	return &rig{t: t, rng: rng, run: New(Config{}), cam: cam, shots: cam.shoot(ms, rng), epoch: time.Unix(1_000_000, 0)}
}

func (g *rig) Tag(t flv.Tag) error {
	t.Data = slices.Clone(t.Data)
	g.out = append(g.out, t)
	return nil
}

func (g *rig) Cut() { g.cuts = append(g.cuts, len(g.out)) }

// now returns how many shots have been sent at a time, in ms.
func (g *rig) now(at int) int {
	return sort.Search(len(g.shots), func(i int) bool { return g.shots[i].at > at })
}

// cacheAt returns the first shot of what a server sends that has sent n.
func (g *rig) cacheAt(n, gops int) int {
	for i := n - 1; i >= 0; i-- {
		if s := g.shots[i]; s.key && (i == 0 || !g.shots[i-1].key || g.shots[i-1].Timestamp != s.Timestamp) {
			if gops == 0 {
				return i
			}
			gops--
		}
	}
	return 0
}

// connect takes the tags of a connection from a time on, in ms, until all shots before end have
// come. It returns the first shot that it brought.
func (g *rig) connect(at int, c connecting, end int) int {
	cached := g.now(at)
	first := c.first
	if first == 0 && g.cam.fps > 0 {
		first = g.cacheAt(cached, c.gops)
	} else if first == 0 {
		first = max(0, min(cached, g.sent)-20-g.rng.IntN(50))
	}
	first = max(first, 0)
	type sending struct {
		shot
		order int
	}
	var all []sending
	for _, s := range g.shots[first:end] {
		order := max(s.at, 0)
		if s.Type == flv.TypeAudio {
			order += c.swap
		}
		all = append(all, sending{s, order})
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].order < all[j].order })
	take := func(t flv.Tag, ms int, more bool) {
		data := slices.Clone(t.Data)
		t.Data = data
		require.NoError(g.t, g.run.Take(t, g.epoch.Add(time.Duration(ms)*time.Millisecond), more && !c.flush, g))
		for i := range data {
			data[i] = 0xee // it may not be kept
		}
	}
	sends := g.sends
	if sends == nil {
		sends = g.cam.headers()
	}
	for _, h := range sends {
		if h.Type == flv.TypeScript && c.noMeta {
			continue
		}
		take(h, at, true)
	}
	came := at
	for i, s := range all {
		t := s.Tag
		t.Timestamp -= c.base
		if c.jitter > 0 {
			t.Timestamp += uint32(g.rng.IntN(2*c.jitter+1) - c.jitter)
		}
		if g.cam.bits != 0 {
			t.Timestamp &= 1<<g.cam.bits - 1
		}
		more := i+1 < len(all) && max(all[i+1].at, all[i+1].order) <= at && s.order <= at
		came = max(came, s.at+g.rng.IntN(c.late+1), s.order)
		take(t, came, more)
	}
	if o := g.run.Outcome(); o != Joining {
		g.sent = max(g.sent, end)
	}
	return first
}

// frames returns the packets that are no headers, of a type.
func frames(tags []flv.Tag, typ flv.Type) []flv.Tag {
	var out []flv.Tag
	for _, t := range tags {
		if p, err := t.Packet(); t.Type == typ && err == nil && p.Kind == flv.KindFrame {
			out = append(out, t)
		}
	}
	return out
}

// whole requires that what came out is the unbroken stream from its first shot on, with timestamps
// that are at most off by slack.
func (g *rig) whole(slack int32) {
	g.t.Helper()
	require.Empty(g.t, g.cuts)
	var want []flv.Tag
	for _, s := range g.shots[:g.sent] {
		want = append(want, s.Tag)
	}
	for _, typ := range []flv.Type{flv.TypeVideo, flv.TypeAudio} {
		is, was := frames(g.out, typ), frames(want, typ)
		for i := range min(len(is), len(was)) {
			if string(is[i].Data) != string(was[i].Data) {
				g.t.Fatalf("%v %d is another packet: at %d, not %d", typ, i, is[i].Timestamp, was[i].Timestamp)
			}
			off := diff(is[i].Timestamp, was[i].Timestamp)
			if g.cam.bits != 31 && slack == 0 {
				off = int32(is[i].Timestamp - was[i].Timestamp)
			}
			if off > slack || off < -slack {
				g.t.Fatalf("%v %d is at %d, not %d", typ, i, is[i].Timestamp, was[i].Timestamp)
			}
		}
		require.Equal(g.t, len(was), len(is), "%v", typ)
	}
}

// long is by how much longer tests run with SLUICE_TEST_LONG.
func long() int {
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		return 20
	}
	return 1
}

var cameras = []camera{
	{fps: 25, gop: 50, sound: 21333},
	{fps: 30, gop: 30, sound: 23220, start: 1<<32 - 20_000},
	{fps: 25, gop: 25, sound: 21333, start: 1<<31 - 20_000, bits: 31},
	{fps: 25, gop: 50, sound: 21333, lead: 700},
	{fps: 25, gop: 50, sound: 21333, lead: -700},
	{fps: 60, gop: 120, slices: 4, sound: 20000},
	{fps: 50, gop: 12, sound: 2500},
	{fps: 25, gop: 50},
	{fps: 25, gop: 50, sound: 21333, silence: true},
	{fps: 25, gop: 50, sound: 21333, still: 1},
	{fps: 25, gop: 50, sound: 21333, small: true},
	{fps: 5, gop: 300, sound: 21333},
	{sound: 21333},
	{sound: 26122, start: 1<<32 - 20_000},
}

// TestModel breaks connections at random again and again: as long as what a server has covers the
// gap, nothing is lost, nothing comes twice, and no timestamp is another.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	for i, cam := range cameras {
		for j, jitter := range []int{0, 1} {
			t.Run(fmt.Sprintf("%d/%d", i, jitter), func(t *testing.T) {
				t.Log(cam)
				rng := rand.New(rand.NewPCG(seed, uint64(i*2+j)))
				length := 15_000 * long()
				g := newRig(t, rng, cam, length)
				at, breaks := 0, 0
				for c := (connecting{first: -1}); at < length-3_000; breaks++ {
					// At least 2 packets of the new connection are known or follow on those.
					ends := min(g.sent+1+rng.IntN(200), len(g.shots))
					if rng.IntN(10) == 0 {
						ends = min(g.sent+1, len(g.shots))
					}
					was := g.sent
					first := g.connect(at, c, ends)
					if len(g.cuts) > 0 || breaks > 0 && g.run.Outcome() != Joined && ends > g.now(at) {
						t.Fatalf("%v at %d, of %d with %d at %d: %d to %d, %+v", g.run.Outcome(), g.cuts, len(g.out), was, at, first, ends, c)
					}
					away := 1 + rng.IntN(1000)
					at = max(at, g.shots[ends-1].at) + away
					c = connecting{gops: rng.IntN(3), base: rng.Uint32(), jitter: jitter, swap: rng.IntN(3) * 60, flush: rng.IntN(3) == 0, late: rng.IntN(2) * 40}
					if cam.gop > 100*cam.fps/10 && cam.fps > 0 {
						c.gops = 0 // more than is held
					}
					if rng.IntN(5) == 0 {
						c.base = 0
					}
					for cam.fps > 0 && g.cacheAt(g.now(at), c.gops) >= g.sent {
						c.gops++
					}
					if ends < len(g.shots) {
						g.run.Begin()
					}
				}
				// Two packets that are told apart by 2 ms where one joins, and the last one's own. So many all to
				// one side are seen only where there are few.
				g.whole(int32(jitter * min(2*(breaks-1), breaks/2+8)))
				t.Logf("%d breaks, %+v", breaks, g.run.Counts())
			})
		}
	}
}
