package timeline

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// Frames are written as words: A or V, and the wire timestamp in ms, which may be
// counted from 2^24, 2^31 or 2^32 ("V^31-40"). "|" begins a new session.
func frames(words string) (in []frame) {
	for w := range strings.FieldsSeq(words) {
		if w == "|" {
			in = append(in, frame{track: newSession})
			continue
		}
		f := frame{track: trackAudio}
		if w[0] == 'V' {
			f.track = trackVideo
		}
		w = w[1:]
		base := uint64(0)
		if strings.HasPrefix(w, "^") {
			exp, err := strconv.Atoi(w[1:3])
			if err != nil {
				panic(err)
			}
			base, w = 1<<exp, w[3:]
		}
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			panic(err)
		}
		f.ts = uint32(base + uint64(n))
		in = append(in, f)
	}
	return in
}

type frame struct {
	track       int
	number      uint8
	key         bool
	ts          uint32
	composition int32
}

var mains = [...]ID{trackAudio: {flv.TypeAudio, 0}, trackVideo: {flv.TypeVideo, 0}}

// at places a frame that arrives together with all others.
func at(line *Timeline, id ID, ts uint32, composition int32, key bool) int64 {
	return line.At(id, Frame{Timestamp: ts, Composition: composition, Key: key})
}

// newTimeline returns one with a session, as every stream that gets frames has.
func newTimeline() *Timeline {
	t := new(Timeline)
	t.BeginSession()
	return t
}

// Events among the frames.
const (
	newSession = -1 - iota
	newHeader
)

// feed returns what the timeline makes of the frames, as words.
func feed(t *Timeline, in []frame) string {
	var out []string
	for _, f := range in {
		if f.track == newSession {
			t.BeginSession()
			out = append(out, "|")
			continue
		}
		out = append(out, fmt.Sprintf("%c%d", "AV"[f.track], at(t, mains[f.track], f.ts, 0, false)))
	}
	return strings.Join(out, " ")
}

func TestTimeline(t *testing.T) {
	for _, test := range []struct {
		name, in, want string
		jumps          uint64
	}{
		{
			name: "starts at 0",
			in:   "V5000 A5000 V5040 A5023",
			want: "V0 A0 V40 A23",
		},
		{
			name: "one offset for both tracks, whichever comes first",
			in:   "V1000 A400 V1040 A423",
			want: "V0 A-600 V40 A-577",
		},
		{
			name: "monotonic within a track",
			in:   "V0 V40 V30 V20 V80 A40 A17 A63",
			want: "V0 V40 V40 V40 V80 A40 A40 A63",
		},
		{
			name: "a small step back is waited out",
			in:   "V0 A0 V1000 A1000 V750 A751 V990 A999 V1010 A1010",
			want: "V0 A0 V1000 A1000 V1000 A1000 V1000 A1000 V1010 A1010",
		},
		{
			name: "a pause of some seconds is time passing",
			in:   "V0 A0 V40 A23 V4900 A4900 V4940 A4923 V9900 A9900 V9940",
			want: "V0 A0 V40 A23 V80 A4900 V4940 A4923 V9900 A9900 V9940",
		},
		{
			name: "a leap of one frame is a wild timestamp",
			in:   "V0 A0 V40 A23 V3000 A46 V120 V160 A4000 V200 A92",
			want: "V0 A0 V40 A23 V80 A46 V120 V160 A69 V200 A92",
		},
		{
			name:  "so is a step back of one frame",
			in:    "V1000 A1000 V1040 A1023 V0 A1046 V1120 V1160 A0 V1200 A1092",
			want:  "V0 A0 V40 A23 V80 A46 V120 V160 A69 V200 A92",
			jumps: 2,
		},
		{
			name: "frames far apart",
			in:   "V0 V3000 V6000 V9000 V12000",
			want: "V0 V20 V6000 V9000 V12000",
		},
		{
			name:  "a leap of more is a clock that was set",
			in:    "V0 A0 V40 A23 V90000 A89983 V90040 A90006",
			want:  "V0 A0 V40 A23 V80 A63 V120 A86",
			jumps: 1,
		},
		{
			name:  "a jump backwards",
			in:    "V90000 A90000 V90040 A90023 V1000 A983 V1040 A1006",
			want:  "V0 A0 V40 A23 V80 A63 V120 A86",
			jumps: 1,
		},
		{
			name:  "restart at 0",
			in:    "V600000 A600000 V600040 V0 A0 V40 A23",
			want:  "V0 A0 V40 V80 A80 V120 A103",
			jumps: 1,
		},
		{
			name:  "frames of the other track from before a jump back",
			in:    "V600000 A600000 V600040 V0 A600023 A600046 V40 A0 V80 A23",
			want:  "V0 A0 V40 V80 A23 A46 V120 A80 V160 A103",
			jumps: 1,
		},
		{
			name:  "frames of the other track from before a leap",
			in:    "V0 A0 V40 V70000 A23 A46 V70040 A70000 V70080 A70023",
			want:  "V0 A0 V40 V80 A23 A46 V120 A80 V160 A103",
			jumps: 1,
		},
		{
			name: "past 2^24",
			in:   "V^24-40 A^24-17 V^24+0 A^24+6 V^24+40",
			want: "V0 A23 V40 A46 V80",
		},
		{
			name: "past 2^31, for those who count further",
			in:   "V^31-40 A^31-17 V^31+0 A^31+6 V^31+40",
			want: "V0 A23 V40 A46 V80",
		},
		{
			name: "2^31 falls to 0 (OBS)",
			in:   "V^31-40 A^31-17 V0 A6 V40 A29",
			want: "V0 A23 V40 A46 V80 A69",
		},
		{
			name: "2^31 falls to 0, the other track a little later",
			in:   "V^31-40 A^31-60 V0 A^31-37 V40 A^31-14 V80 A9 V120 A32",
			want: "V0 A-20 V40 A3 V80 A26 V120 A49 V160 A72",
		},
		{
			name: "past 2^32",
			in:   "V^32-40 A^32-17 V0 A6 V40",
			want: "V0 A23 V40 A46 V80",
		},
		{
			name: "past 2^32, the other track a little later",
			in:   "V^32-40 A^32-60 V0 A^32-37 V40 A^32-14 V80 A9",
			want: "V0 A-20 V40 A3 V80 A26 V120 A49",
		},
		{
			name: "a new session follows at once, wherever its clock stands",
			in:   "V0 A0 V40 | V777 A777 V817 | V^31+5 A^31+5",
			want: "V0 A0 V40 | V80 A80 V120 | V160 A160",
		},
		{
			name: "a new session with sound first",
			in:   "V0 A0 V40 A46 | A0 A23 V40 V80",
			want: "V0 A0 V40 A46 | A66 A89 V106 V146",
		},
		{
			name: "a new session whose sound begins before the picture has room for it",
			in:   "V0 A0 V40 A46 | V100 A0 V140 A23 A123",
			want: "V0 A0 V40 A46 | V80 A66 V206 A89 A189",
		},
		{
			name: "sound that comes seconds behind the picture stays there",
			in:   "V2000 A0 V2040 A23 V2080 A46",
			want: "V0 A-2000 V40 A-1977 V80 A-1954",
		},
		{
			name:  "tracks too far apart to belong together are each taken for what they are",
			in:    "V60000 A0 V60040 A23 V60080 A46 V60120 A69",
			want:  "V0 A0 V40 A23 V80 A46 V120 A69",
			jumps: 1,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			line := newTimeline()
			assert.Equal(t, test.want, feed(line, frames(test.in)))
			assert.Equal(t, test.jumps, line.Jumps())
		})
	}
}

// Sound is turned off for a minute while the picture goes on: no jump, and it
// comes back in sync. So it is the other way round.
func TestPausedTrack(t *testing.T) {
	for quiet := range 2 {
		line := newTimeline()
		at(line, mains[1-quiet], 0, 0, false)
		at(line, mains[quiet], 0, 0, false)
		for ts := uint32(40); ts < 60_000; ts += 40 {
			require.EqualValues(t, ts, at(line, mains[1-quiet], ts, 0, false))
		}
		for ts := uint32(60_000); ts < 61_000; ts += 20 {
			require.EqualValues(t, ts, at(line, mains[quiet], ts, 0, false))
			require.EqualValues(t, ts, at(line, mains[1-quiet], ts, 0, false))
		}
		assert.Zero(t, line.Jumps())
	}
}

// A picture comes every some seconds, and nothing else: that is how time passes, as its
// arrival shows. A clock that is set at the same time is one that jumps.
func TestSparsePictures(t *testing.T) {
	for _, every := range []int64{1500, 3000, 6000, 8000, 60_000, 600_000} {
		for _, late := range []int64{0, every / 5, -every / 5} { // now and then
			late = min(max(late, -1900), 1900)
			line := newTimeline()
			for n := range int64(20) {
				f := Frame{Timestamp: uint32(777 + n*every), Arrived: n * every, Key: true}
				if n%5 == 3 {
					f.Arrived += late
				}
				require.Equal(t, n*every, line.At(mains[trackVideo], f), "every %d ms, %d ms late", every, late)
			}
			require.Zero(t, line.Jumps())
			require.Equal(t, 19*every+20, line.At(mains[trackVideo], Frame{Timestamp: 1 << 30, Arrived: 20 * every}))
			require.EqualValues(t, 1, line.Jumps())
		}
	}
}

// B-frames are shown later than they are decoded: what follows a reconnect is
// shown after all of them.
func TestSessionFollowsWhatIsShown(t *testing.T) {
	line := newTimeline()
	at(line, mains[trackVideo], 0, 80, false)
	at(line, mains[trackVideo], 40, 160, false)
	at(line, mains[trackVideo], 80, 0, false)
	at(line, mains[trackAudio], 90, 0, false)
	line.BeginSession()
	assert.EqualValues(t, 40+160-80+40, at(line, mains[trackVideo], 7000, 80, true))
	assert.EqualValues(t, 200, at(line, mains[trackVideo], 7040, 160, false), "a session goes on as it is")
	line.BeginSession()
	assert.EqualValues(t, 200, at(line, mains[trackAudio], 0, 0, false))
	assert.EqualValues(t, 360-80+40, at(line, mains[trackVideo], 7, 80, true), "sound moves on with it")
	assert.EqualValues(t, 336, at(line, mains[trackAudio], 23, 0, false))

	at(line, mains[trackVideo], 47, 1<<23-1, false) // nobody reorders over hours
	line.BeginSession()
	assert.EqualValues(t, 360+1000+40, at(line, mains[trackVideo], 0, 0, true))
	at(line, mains[trackVideo], 0, 500, false)
	line.NewHeader()
	line.BeginSession()
	assert.EqualValues(t, 1440, at(line, mains[trackVideo], 0, -40, true), "pictures before a new header are given up")
}

// A day's stream keeps its time to the millisecond over both wraps.
func TestLongStream(t *testing.T) {
	for name, wrap := range map[string]uint64{"31 bits": 1 << 31, "32 bits": 1 << 32} {
		t.Run(name, func(t *testing.T) {
			line := newTimeline()
			clock := wrap - 3_600_000
			for ms := int64(0); ms < 86_400_000; ms += 480 {
				require.Equal(t, ms, at(line, mains[trackVideo], uint32((clock+uint64(ms))%wrap), 0, false))
				require.Equal(t, ms-100, at(line, mains[trackAudio], uint32((clock+uint64(ms)-100)%wrap), 0, false))
			}
			assert.Zero(t, line.Jumps())
		})
	}
}

// check feeds frames and holds the output to what viewers may rely on, whatever the
// frames are: each track is monotonic, nothing leaps, nothing falls far back.
func check(t *testing.T, in []frame) {
	t.Helper()
	line := newTimeline()
	last := map[ID]int64{}
	for i, f := range in {
		switch f.track {
		case newSession:
			line.BeginSession()
			continue
		case newHeader:
			line.NewHeader()
			continue
		}
		id := ID{mains[f.track].Type, f.number}
		front := line.Front()
		out := at(line, id, f.ts, f.composition, f.key)
		if before, seen := last[id]; seen && out < before {
			t.Fatalf("frame %d: from %d back to %d", i, before, out)
		}
		last[id] = out
		if id.Number != 0 {
			continue // nobody goes by it
		}
		if out-front > 3*maxLeap.Milliseconds() {
			t.Fatalf("frame %d: leaps from %d to %d", i, front, out)
		}
		if front-out > maxApart.Milliseconds() {
			t.Fatalf("frame %d: %d is far behind %d: %+v %+v %v", i, out, front, f, line.mains, line.session)
		}
	}
	if len(line.further) > 510 {
		t.Fatalf("%d further tracks", len(line.further))
	}
}

// Whatever clocks do, viewers never see it.
func TestTimelineProperties(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		clock := [2]uint32{rng.Uint32(), rng.Uint32()}
		if rng.IntN(2) == 0 {
			clock[1] = clock[0]
		}
		var in []frame
		for range 2000 {
			track := rng.IntN(2)
			switch rng.IntN(100) {
			case 0:
				in = append(in, frame{track: newSession})
			case 7:
				in = append(in, frame{track: newHeader})
			case 1:
				clock[track] = rng.Uint32()
			case 2:
				clock[0] = rng.Uint32()
				clock[1] = clock[0]
			case 3:
				clock[track] += uint32(rng.IntN(20_000) - 10_000)
			case 4:
				clock[track] = 0
			case 5:
				clock[track] = 1<<31 - uint32(rng.IntN(100))
			case 6:
				clock[track] &= 1<<31 - 1
			default:
				clock[track] += uint32(rng.IntN(50))
			}
			f := frame{track: track, ts: clock[track], key: rng.IntN(50) == 0}
			if rng.IntN(3) == 0 {
				f.number = uint8(rng.IntN(4))
			}
			if track == trackVideo {
				f.composition = int32(rng.IntN(200) - 20)
				if rng.IntN(50) == 0 {
					f.composition = int32(rng.Uint32()) >> 8
				}
			}
			in = append(in, f)
		}
		check(t, in)
	}
}

// After a jump of both tracks they are in sync again, and jumps don't go on.
func TestSyncAfterJumps(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 8))
		line := newTimeline()
		clock := rng.Uint32()
		for range 5 {
			if rng.IntN(2) == 0 {
				clock = rng.Uint32()
			} else {
				clock += uint32(rng.IntN(40_000) - 20_000)
			}
			jumped := line.Jumps()
			var audio, video int64
			for range 400 { // 8 s; a small step back takes its time
				clock += 20
				video = at(line, mains[trackVideo], clock, 0, false)
				audio = at(line, mains[trackAudio], clock, 0, false)
			}
			require.Equal(t, video, audio, "seed %d", seed)
			require.LessOrEqual(t, line.Jumps(), jumped+1, "seed %d", seed)
		}
	}
}

func FuzzTimeline(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{1, 0x7f, 0xff, 0xff, 0xf0, 0, 0x7f, 0xff, 0xff, 0xf8, 1, 0, 0, 0, 3, 0, 0x7f, 0xff, 0xff, 0xff})
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0x40, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var in []frame
		for ; len(b) >= 5; b = b[5:] {
			f := frame{track: int(b[0] % 4), ts: binary.BigEndian.Uint32(b[1:]), key: b[0]>>2 == 0}
			switch {
			case f.track >= 2:
				f.track = [...]int{newSession, newHeader}[f.track-2]
			case f.track == trackVideo:
				f.composition = int32(int8(b[0]))>>2<<(b[0]>>4) + int32(b[0]>>2) // up to 2^20
			default:
				f.number = b[0] >> 6
			}
			in = append(in, f)
		}
		check(t, in)
	})
}
