package flvfile

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
)

// keyframesOf returns the times, in ms, and positions in metadata.
func keyframesOf(t testing.TB, body []byte) (times []float64, positions []int64) {
	t.Helper()
	v, _, err := amf.DecodeAMF0(body[len(onMetaData):], amf.Limits{Elements: 1 << 20})
	require.NoError(t, err)
	props, _ := amf.Properties(v)
	k, _ := amf.Object(props).Get("keyframes")
	lists, _ := amf.Properties(k)
	values := func(name string) amf.StrictArray {
		v, _ := amf.Object(lists).Get(name)
		a, _ := v.(amf.StrictArray)
		return a
	}
	for _, v := range values("times") {
		times = append(times, v.(float64)*1000)
	}
	for _, v := range values("filepositions") {
		positions = append(positions, int64(v.(float64)))
	}
	return times, positions
}

func TestHeadGolden(t *testing.T) {
	h := head{videoID: 7.0, audioID: 10.0, last: 4933, seekable: true, ours: true, publisher: amf.ECMAArray{{Name: "encoder", Value: "obs"}, {Name: "stereo", Value: true}}}
	h.Info = Info{App: "live", Name: "camera", Begin: begin, Duration: 5 * time.Second, Size: 1 << 20, Width: 320, Height: 180, Gaps: 1, GapTime: 1500 * time.Millisecond}
	got := h.bytes([]entry{{0, 65564}, {0, 65654}, {2000, 90325}})
	want := "464c5601050000000900000000" + // FLV header: audio and video
		"12010000" + "00000000" + "000000" + // script tag of 65,536 bytes
		"02000a6f6e4d65746144617461" + "0800000014" + // onMetaData, 20 properties
		"00086475726174696f6e" + "004014000000000000" +
		"000866696c6573697a65" + "004130000000000000" +
		"000d6c61737474696d657374616d70" + "004013bb645a1cac08" +
		"00057769647468" + "004074000000000000" +
		"0006686569676874" + "004066800000000000" +
		"000c766964656f636f6465636964" + "00401c000000000000" +
		"000c617564696f636f6465636964" + "004024000000000000" +
		"000c6861734b65796672616d6573" + "0101" +
		"000c63616e5365656b546f456e64" + "0101" +
		"0008686173417564696f" + "0101" +
		"0008686173566964656f" + "0101" +
		"0003617070" + "0200046c697665" +
		"000673747265616d" + "02000663616d657261" +
		"0005626567696e" + "020018" + hex.EncodeToString([]byte("2026-11-28T17:05:00.123Z")) +
		"000467617073" + "003ff0000000000000" +
		"000767617054696d65" + "003ff8000000000000" +
		"0007656e636f646572" + "0200036f6273" +
		"000673746572656f" + "0101" +
		"00096b65796672616d6573" + "03" +
		"000574696d6573" + "0a00000003" + "000000000000000000" + "000000000000000000" + "004000000000000000" +
		"000d66696c65706f736974696f6e73" + "0a00000003" + "0040f001c000000000" + "0040f0076000000000" + "0040f60d5000000000" +
		"000009"
	require.Len(t, got, dataStart)
	require.Equal(t, want, hex.EncodeToString(got[:len(want)/2]))
	// What is left is an array of zeros behind a name of the length that it takes.
	rest := got[len(want)/2:]
	assert.True(t, bytes.HasPrefix(rest[2:], []byte("spacer")), "%q", rest[:20])
	assert.True(t, bytes.HasSuffix(rest, []byte{0, 0, 9, 0, 1, 0, 11}), "% x", rest[len(rest)-10:])
	v, after, err := amf.DecodeAMF0(readTags(t, got)[0].Data[len(onMetaData):], amf.Limits{Elements: 1 << 16})
	require.NoError(t, err)
	assert.Empty(t, after)
	assert.Len(t, v, 20)
}

// The head has its size whatever is in it.
func TestHeadSize(t *testing.T) {
	for n := range 40 {
		h := head{ours: true, publisher: amf.ECMAArray{{Name: "x", Value: strings.Repeat("x", n)}}}
		for _, count := range []int{0, 1, h.room() - 1, h.room()} {
			entries := make([]entry, count)
			b := h.bytes(entries)
			require.Len(t, b, dataStart)
			tags := readTags(t, b)
			require.Len(t, tags, 1)
			times, _ := keyframesOf(t, tags[0].Data)
			require.Len(t, times, count)
		}
	}
}

func TestPublisherPropertiesAreBounded(t *testing.T) {
	var many amf.ECMAArray
	for i := range 128 {
		many = append(many, amf.Property{Name: fmt.Sprint("p", i), Value: strings.Repeat("x", 8*i)})
	}
	got := ownProperties(many)
	size := 0
	for i, p := range got {
		size += propertySize(p)
		require.Equal(t, many[i], p, "the largest ones go, the others stay in order")
	}
	assert.LessOrEqual(t, size, maxPublisher)
	assert.Greater(t, size, maxPublisher-1100)
	h := head{publisher: got, ours: true}
	assert.Greater(t, h.room(), 1500)
	assert.Empty(t, ownProperties(amf.ECMAArray{{Name: "a", Value: nil}, {Name: "", Value: 1.0}, {Name: "KeyFrames", Value: 1.0}, {Name: "b", Value: "x\x00y"}, {Name: strings.Repeat("n", 128), Value: 1.0}}))
	assert.Equal(t, amf.ECMAArray{{Name: "a", Value: 2.0}}, ownProperties(amf.ECMAArray{{Name: "a", Value: 1.0}, {Name: "a", Value: 2.0}, {Name: "a", Value: nil}}))
}

func TestThinned(t *testing.T) {
	for _, most := range []int{1, 2, 5, 100} {
		list := newThinned(most)
		for n := range int64(1000) {
			list.add(entry{time: n})
			require.LessOrEqual(t, len(list.entries), most)
			require.GreaterOrEqual(t, 2*len(list.entries), min(most, int(n+1)))
			for i, e := range list.entries {
				require.EqualValues(t, i*list.stride, e.time, "%d of %d", n, most)
			}
		}
		require.Zero(t, list.stride&(list.stride-1))
	}
}

func TestRecordGolden(t *testing.T) {
	for _, tt := range []struct {
		record
		hex string
	}{
		{record{pos: 65564, kind: kindFile}, "00000001001c01000000000000 0000c8"},
		{record{pos: 65654, kind: kindKey, time: 2000, extra: 1}, "000000010076030000000007d00001"},
		{record{pos: maxPosition, kind: kindVideoHeader + recordKind(flv.KindConfig), track: 3, time: maxTime, extra: maxExtra}, "ffffffffffff1203ffffffffffffff"},
		{lengthRecord(kindGap, 1, 2, 0x010203), "0000000000010501" + "0000000002" + "0203"},
	} {
		b := tt.append(nil)
		require.Len(t, b, recordSize)
		assert.True(t, strings.HasPrefix(hex.EncodeToString(b), strings.ReplaceAll(tt.hex, " ", "")), "%x", b)
		got, ok := parseRecord((*[recordSize]byte)(b))
		require.True(t, ok)
		assert.Equal(t, tt.record, got)
		for i := range recordSize * 8 {
			b[i/8] ^= 1 << (i % 8)
			_, ok := parseRecord((*[recordSize]byte)(b))
			assert.False(t, ok, "bit %d", i)
			b[i/8] ^= 1 << (i % 8)
		}
	}
	_, ok := parseRecord(new([recordSize]byte))
	assert.False(t, ok)
}

func TestIndexGolden(t *testing.T) {
	meta, packets := clip(t, "h264-bframes-aac")
	m := newMemFS()
	writeFile(t, m, "a", meta, packets)
	var lines []string
	require.NoError(t, index{file: &memHandle{fs: m, memFile: m.files["a.idx"]}, written: len(m.files["a.idx"].b) / recordSize}.each(func(_ int, r record) bool {
		lines = append(lines, fmt.Sprintf("%d kind %#x track %d at %d ms, extra %d", r.pos, r.kind, r.track, r.time, r.extra))
		return true
	}))
	assert.Equal(t, []string{
		"65564 kind 0x1 track 0 at 0 ms, extra 0",
		"65564 kind 0x12 track 0 at 0 ms, extra 0",
		"65632 kind 0x22 track 0 at 0 ms, extra 1",
		"65654 kind 0x3 track 0 at 0 ms, extra 1",
		"90325 kind 0x3 track 0 at 2000 ms, extra 2",
		"117405 kind 0x3 track 0 at 4000 ms, extra 3",
		"132395 kind 0x2 track 0 at 5148 ms, extra 0",
	}, lines)
}
