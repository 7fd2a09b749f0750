package bench

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/demo"
	"sluice/flv"
)

// builtIn returns the built-in clip.
func builtIn(t testing.TB) *loop {
	t.Helper()
	l, err := readLoop(bytes.NewReader(demo.Clip()))
	require.NoError(t, err)
	return l
}

// file returns tags as an FLV file.
func file(tags ...flv.Tag) *bytes.Reader {
	b := flv.AppendHeader(nil, true, true)
	for _, t := range tags {
		b = flv.AppendTag(b, t)
	}
	return bytes.NewReader(b)
}

func TestBuiltInClip(t *testing.T) {
	l := builtIn(t)
	assert.EqualValues(t, 8000, l.period)
	assert.Equal(t, 2*time.Second, l.gop)
	assert.Len(t, l.header, 3)
	assert.Len(t, l.frames, 575)
	assert.True(t, l.frames[0].key)
	assert.InDelta(t, 71.9, l.tagRate(), 0.1)
}

func TestLoopGoesOnWithoutASeam(t *testing.T) {
	l := builtIn(t)
	var last [2]int64
	var order [2]int64
	bytes := int64(0)
	for n := range int64(4 * len(l.frames)) {
		tag := l.tag(n)
		assert.EqualValues(t, tag.Timestamp, l.due(n).Milliseconds())
		assert.Equal(t, bytes, l.bytes(n, allTracks))
		bytes += int64(tag.Size())
		id, _ := trackOf(tag.Type)
		assert.Equal(t, n, l.of(id, order[id]), "frame %d of the %v", order[id], id)
		assert.Equal(t, order[id], l.ordered(id, n+1))
		assert.Equal(t, order[1-id]-1, l.ordered(1-id, n))
		step := int64(tag.Timestamp) - last[id]
		switch {
		case order[id] == 0:
		case id == videoTrack:
			require.EqualValues(t, 40, step)
		default:
			require.InDelta(t, 21.3, step, 1)
		}
		last[id] = int64(tag.Timestamp)
		order[id]++
	}
}

func TestFramesBefore(t *testing.T) {
	l := builtIn(t)
	assert.Zero(t, l.framesBefore(-time.Second))
	assert.Zero(t, l.framesBefore(0))
	for d := time.Millisecond; d < 20*time.Second; d += 37 * time.Millisecond {
		n := l.framesBefore(d)
		require.Less(t, l.due(n-1), d)
		require.GreaterOrEqual(t, l.due(n), d)
	}
}

func TestFindKnowsEveryFrame(t *testing.T) {
	l := builtIn(t)
	for id, tr := range l.tracks {
		for m, i := range tr.frames {
			assert.Contains(t, l.find(trackID(id), l.frames[i].Data), m)
		}
	}
	assert.Empty(t, l.find(videoTrack, []byte("no frame")))
	assert.Empty(t, l.find(audioTrack, l.frames[0].Data), "of the other track")
}

func TestLoopOfAFile(t *testing.T) {
	config := flv.Tag{Type: flv.TypeVideo, Timestamp: 990, Data: []byte("\x17\x00\x00\x00\x00\x01\x4d\x40\x28\xff")}
	key := func(ts uint32) flv.Tag {
		return flv.Tag{Type: flv.TypeVideo, Timestamp: ts, Data: []byte("\x17\x01\x00\x00\x00key")}
	}
	inter := func(ts uint32) flv.Tag {
		return flv.Tag{Type: flv.TypeVideo, Timestamp: ts, Data: []byte("\x27\x01\x00\x00\x00inter")}
	}
	sound := func(ts uint32) flv.Tag {
		return flv.Tag{Type: flv.TypeAudio, Timestamp: ts, Data: []byte("\xaf\x01sound")}
	}
	end := flv.Tag{Type: flv.TypeVideo, Timestamp: 1160, Data: []byte("\x17\x02\x00\x00\x00")}

	l, err := readLoop(file(sound(980), config, inter(960), key(1000), sound(990), inter(1040), sound(1020), config, inter(1080), end))
	require.NoError(t, err)
	var stamps []uint32
	for _, f := range l.frames {
		stamps = append(stamps, f.Timestamp)
	}
	assert.Equal(t, []uint32{0, 20, 40, 80}, stamps, "from the first key frame, in order, without what was before")
	assert.EqualValues(t, 120, l.period, "80 and a frame more")
	assert.Equal(t, config.Data, l.tracks[videoTrack].config)
	assert.Zero(t, l.header[0].Timestamp)

	l, err = readLoop(file(sound(5), sound(26), sound(47)))
	require.NoError(t, err)
	assert.EqualValues(t, 63, l.period)
	_, err = l.padded(1e6)
	assert.ErrorContains(t, err, "H.264")

	_, err = readLoop(file(config, inter(0)))
	assert.ErrorIs(t, err, errNoFrames)
	_, err = readLoop(file())
	assert.ErrorIs(t, err, errNoFrames)
	_, err = readLoop(bytes.NewReader([]byte("no FLV")))
	assert.ErrorIs(t, err, flv.ErrFormat)
	other := config
	other.Data = append(bytes.Clone(config.Data), 1)
	_, err = readLoop(file(config, key(0), other))
	assert.ErrorContains(t, err, "midway")
}

// Padding makes the bit rate with NAL units that hold nothing, and leaves what was
// there as it was.
func TestPadded(t *testing.T) {
	l := builtIn(t)
	for _, rate := range []float64{l.bitrate() * 1.01, 500e3, 2e6, 20e6} {
		p, err := l.padded(rate)
		require.NoError(t, err)
		assert.InEpsilon(t, rate, p.bitrate(), 0.01)
		assert.Equal(t, l.period, p.period)
		assert.Equal(t, l.header, p.header)
		for i, f := range p.frames {
			was := l.frames[i]
			require.Equal(t, was.Timestamp, f.Timestamp)
			require.True(t, bytes.HasPrefix(f.Data, was.Data))
			if filler := f.Data[len(was.Data):]; len(filler) > 0 {
				require.Equal(t, flv.TypeVideo, f.Type)
				require.EqualValues(t, len(filler)-4, binary.BigEndian.Uint32(filler), "its length before it")
				require.EqualValues(t, nalFiller, filler[4])
				require.Equal(t, len(filler)-6, bytes.Count(filler[5:], []byte{0xFF}))
				require.EqualValues(t, 0x80, filler[len(filler)-1])
			}
		}
	}
	_, err := l.padded(100e3)
	assert.ErrorContains(t, err, "cannot get less")
}
