package flvfile

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
)

// foreign makes a file as others write it: what stands before the tags, the packets with
// timestamps that begin elsewhere, and a PreviousTagSize that is 0 if zeros is set.
func foreign(head []byte, packets []Packet, first uint32, zeros bool) []byte {
	b := bytes.Clone(head)
	for _, p := range packets {
		t := p.Tag
		t.Timestamp = first + uint32(p.Time)
		if b = flv.AppendTag(b, t); zeros {
			clear(b[len(b)-tagTail:])
		}
	}
	return b
}

func metadataTag(props amf.ECMAArray) []byte {
	return flv.AppendTag(nil, flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", props)})
}

// Files of any make play, seek, and have a content that players seek in.
func TestForeignFiles(t *testing.T) {
	_, av := clip(t, "h264-bframes-aac")
	_, sound := clip(t, "aac")
	header, wrongFlags := flv.AppendHeader(nil, true, true), flv.AppendHeader(nil, false, false)
	long := append([]byte("FLV\x01\x05\x00\x00\x00\x20"), make([]byte, 0x20-9+4)...)
	withMeta := append(bytes.Clone(header), metadataTag(amf.ECMAArray{{Name: "duration", Value: 0.0}, {Name: "encoder", Value: "somebody"}})...)
	notMetadata := flv.AppendTag(bytes.Clone(header), flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onTextData", amf.Object{})})
	binary.BigEndian.PutUint32(long[5:], 0x20)
	for _, tt := range []struct {
		name    string
		file    []byte
		packets []Packet
	}{
		{"plain", foreign(header, av, 0, false), av},
		{"wrong flags", foreign(wrongFlags, av, 0, false), av},
		{"long header", foreign(long, av, 0, false), av},
		{"metadata", foreign(withMeta, av, 0, false), av},
		{"PreviousTagSize 0", foreign(withMeta, av, 0, true), av},
		{"first timestamp", foreign(withMeta, av, 123456, false), av},
		{"timestamps that wrap", foreign(withMeta, av, 1<<32-2500, false), av},
		{"timestamps over 2^31", foreign(withMeta, av, 1<<31-2500, true), av},
		{"script that is no metadata", foreign(notMetadata, av, 0, false), av},
		{"sound", foreign(header, sound, 5000, false), sound},
		{"cut", append(foreign(withMeta, av, 0, false), 9, 0, 0x10, 0, 1, 2, 3), av},
		{"cut behind its header", append(foreign(withMeta, av, 0, true), 9, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0x17, 1), av},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, readOnly := range []bool{false, true} {
				m := newMemFS()
				m.put("a.flv", tt.file)
				m.readOnly = readOnly
				checkForeign(t, m, tt.packets)
				if !readOnly {
					require.NotNil(t, m.files["a.idx"])
					idx := bytes.Clone(m.files["a.idx"].b)
					m.readOnly = true
					checkForeign(t, m, tt.packets)
					assert.Equal(t, idx, m.files["a.idx"].b)
					f, err := Open(m, "a")
					require.NoError(t, err)
					_, _, err = f.shared.snapshot()
					require.NoError(t, err)
					assert.NotNil(t, f.shared.indexFile, "it was made anew")
					require.NoError(t, f.Close())
				}
			}
		})
	}
}

func checkForeign(t *testing.T, m *memFS, packets []Packet) {
	t.Helper()
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	c := f.Cursor()
	headers, err := c.Headers()
	require.NoError(t, err)
	var got []Packet
	for _, p := range append(headers[1:], readAll(t, c)...) {
		if p.Type != flv.TypeScript {
			got = append(got, p)
		}
	}
	require.Equal(t, packets, got)

	at, err := c.SeekTo(3500)
	require.NoError(t, err)
	if packets[0].Type == flv.TypeVideo {
		assert.EqualValues(t, 2000, at)
	} else {
		assert.InDelta(t, 3500, at, 30)
	}
	p, err := c.Next()
	require.NoError(t, err)
	assert.Equal(t, at, p.Time)
	assert.True(t, p.Key)
	headers, err = c.Headers()
	require.NoError(t, err)
	assert.Equal(t, got[0].Data, headers[1].Data)
	info := f.Info()
	assert.InDelta(t, 5.1, info.Duration.Seconds(), 0.1)
	assert.Equal(t, flv.CodecAAC, info.Audio)
	read, err := ReadInfo(m, "a")
	require.NoError(t, err)
	assert.InDelta(t, info.Duration.Milliseconds(), read.Duration.Milliseconds(), 5200) // a cut file does not tell
	assert.Equal(t, info.Video, read.Video)
	assert.Equal(t, info.Width, read.Width)

	content, err := f.Content()
	require.NoError(t, err)
	require.EqualValues(t, dataStart, content.Head)
	b := make([]byte, content.Size)
	_, err = content.ReadAt(b, 0)
	require.NoError(t, err)
	file := m.files["a.flv"].b
	assert.True(t, bytes.HasPrefix(file[content.Offset:], b[content.Head:]))
	tag := readTags(t, b[:dataStart])[0]
	times, positions := keyframesOf(t, tag.Data)
	require.Greater(t, len(times), 3)
	for i, pos := range positions {
		h := parseHeader(b[pos:])
		p := Packet{Tag: flv.Tag{Type: h.typ, Data: b[pos+tagHeaderSize:][:h.size]}}
		p.classify()
		assert.Equal(t, i == 0, p.Header)
	}
}

// A file that has an index of its own is left as it is.
func TestForeignFileWithKeyframes(t *testing.T) {
	_, packets := clip(t, "h264-bframes-aac")
	head := append(flv.AppendHeader(nil, true, true), metadataTag(amf.ECMAArray{
		{Name: "duration", Value: 5.0},
		{Name: "keyframes", Value: amf.Object{{Name: "filepositions", Value: amf.StrictArray{1.0, 2.0}}, {Name: "times", Value: amf.StrictArray{1.0, 2.0}}}},
	})...)
	m := newMemFS()
	m.put("a.flv", foreign(head, packets, 0, false))
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	c, err := f.Content()
	require.NoError(t, err)
	assert.Zero(t, c.Head)
	b := make([]byte, c.Size)
	_, err = c.ReadAt(b, 0)
	require.NoError(t, err)
	assert.Equal(t, m.files["a.flv"].b, b)
	require.Len(t, m.names(), 1, "no index is needed for that")
}

func TestOpenRefuses(t *testing.T) {
	_, packets := clip(t, "aac")
	for name, b := range map[string][]byte{
		"nothing": {}, "one byte": []byte("F"), "half a header": []byte("FLV\x01\x05\x00"), "text": []byte("no FLV file at all, but some text"),
		"version 2": []byte("FLV\x02\x05\x00\x00\x00\x09\x00\x00\x00\x00"), "huge header": []byte("FLV\x01\x05\x10\x00\x00\x09\x00\x00\x00\x00"),
	} {
		m := newMemFS()
		m.put("a.flv", b)
		_, err := Open(m, "a")
		require.ErrorIs(t, err, flv.ErrFormat, name)
		_, err = ReadInfo(m, "a")
		require.ErrorIs(t, err, flv.ErrFormat, name)
	}
	fsys, dir := folder(t)
	_, err := Open(fsys, "a")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "a.flv"), 0o755))
	_, err = Open(fsys, "a")
	require.Error(t, err)
	_, err = Open(fsys, "../a")
	require.Error(t, err)

	// Garbage further on is an error where it stands, and the end for an index.
	m := newMemFS()
	m.put("a.flv", append(foreign(flv.AppendHeader(nil, true, false), packets, 0, false), bytes.Repeat([]byte("garbage"), 100)...))
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	c := f.Cursor()
	for err == nil {
		_, err = c.Next()
	}
	require.ErrorIs(t, err, flv.ErrFormat)
	at, err := c.SeekTo(4000)
	require.NoError(t, err)
	assert.InDelta(t, 4000, at, 30)
	_, err = Append(m, "a")
	require.ErrorIs(t, err, ErrForeign)
}

func TestEmptyFile(t *testing.T) {
	m := newMemFS()
	m.put("a.flv", flv.AppendHeader(nil, true, true))
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	c := f.Cursor()
	_, err = c.Next()
	require.ErrorIs(t, err, io.EOF)
	headers, err := c.Headers()
	require.NoError(t, err)
	assert.Len(t, headers, 1)
	_, err = c.SeekTo(0)
	require.Error(t, err)
	content, err := f.Content()
	require.NoError(t, err)
	assert.EqualValues(t, dataStart, content.Size)
}

// An index of another file, or of what the file was before, is made anew.
func TestStaleIndex(t *testing.T) {
	_, av := clip(t, "h264-bframes-aac")
	_, video := clip(t, "h264-bframes")
	header := flv.AppendHeader(nil, true, true)
	m := newMemFS()
	m.put("a.flv", foreign(header, av, 0, false))
	checkForeign(t, m, av)
	old := m.files["a.idx"].b
	m.put("a.flv", foreign(header, video, 0, false))
	m.put("a.idx", bytes.Clone(old))
	f, err := Open(m, "a")
	require.NoError(t, err)
	at, err := f.Cursor().SeekTo(4500)
	require.NoError(t, err)
	assert.InDelta(t, 4000, at, 0.5)
	assert.NotEqual(t, old, m.files["a.idx"].b)
	require.NoError(t, f.Close())

	// One whose damage shows only where it is used.
	idx := m.files["a.idx"].b
	var lie []byte
	for i := 0; i < len(idx); i += recordSize {
		r, ok := parseRecord((*[recordSize]byte)(idx[i:]))
		require.True(t, ok)
		if r.kind == kindKey && r.time == 0 {
			r.pos++
		}
		lie = r.append(lie)
	}
	m.put("a.idx", lie)
	f, err = Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	var seekers sync.WaitGroup
	for range 8 { // some find that out at the same time
		seekers.Go(func() {
			at, err := f.Cursor().SeekTo(500)
			assert.NoError(t, err)
			assert.Zero(t, at)
		})
	}
	seekers.Wait()
	assert.Equal(t, idx, m.files["a.idx"].b)
}

// Times go on beyond 2^32 ms, and a seek finds the right one.
func TestTimesOver32Bits(t *testing.T) {
	_, packets := clip(t, "h264-bframes-aac")
	m := newMemFS()
	w, err := Create(m, "a", Properties{})
	require.NoError(t, err)
	var want []Packet
	const day = 24 * 3600 * 1000
	for n := range int64(60) { // a piece of each day
		for _, p := range packets {
			p.Time += n * day
			p.Timestamp = uint32(p.Time)
			want = append(want, p)
		}
	}
	write(t, w, want)
	info, err := w.Finish()
	require.NoError(t, err)
	assert.Equal(t, 59*24*time.Hour+5148*time.Millisecond, info.Duration)
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	c := f.Cursor()
	require.Equal(t, want[2:], readAll(t, c))
	for _, n := range []int64{0, 1, 24, 25, 49, 50, 59, 3} {
		at, err := c.SeekTo(n*day + 2500)
		require.NoError(t, err)
		require.Equal(t, n*day+2000, at)
		p, err := c.Next()
		require.NoError(t, err)
		require.Equal(t, at, p.Time)
		require.Equal(t, uint32(at), p.Timestamp)
	}
	read, err := ReadInfo(m, "a")
	require.NoError(t, err)
	assert.Equal(t, info, read)
	require.NoError(t, m.Rename("a.flv", "a.flv.part"))
	m.put("a.flv.part", append(m.files["a.flv.part"].b, 9))
	recovered, err := Recover(m, "a")
	require.NoError(t, err)
	assert.Equal(t, info, recovered)
}

// The headers in force are those of the place, one for each track.
func TestHeadersInForce(t *testing.T) {
	video := func(track uint8, kind flv.Kind, key bool, payload string, at int64) Packet {
		body, err := flv.AppendVideo(nil, flv.Packet{Codec: flv.CodecHEVC, Kind: kind, Key: key, Enhanced: true, Multitrack: track > 0, Track: track, Payload: []byte(payload)})
		require.NoError(t, err)
		p := Packet{Tag: flv.Tag{Type: flv.TypeVideo, Data: body, Timestamp: uint32(at)}, Time: at}
		p.classify()
		return p
	}
	var packets []Packet
	add := func(p ...Packet) { packets = append(packets, p...) }
	add(video(0, flv.KindMetadata, true, "colour", 0), video(0, flv.KindConfig, true, "header", 0), video(1, flv.KindConfig, true, "header of 1", 0))
	for n := range int64(100) {
		if n == 50 {
			add(video(0, flv.KindConfig, true, "another header", n*1000))
		}
		add(video(0, flv.KindFrame, true, "key", n*1000), video(1, flv.KindFrame, true, "key", n*1000))
	}
	m := newMemFS()
	writeFile(t, m, "a", nil, packets)
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	c := f.Cursor()
	for ms, want := range map[int64][]int{0: {0, 1, 2}, 49_500: {0, 1, 2}, 51_000: {0, 2, 103}, 99_000: {0, 2, 103}} {
		at, err := c.SeekTo(ms)
		require.NoError(t, err)
		require.Equal(t, ms/1000*1000, at)
		headers, err := c.Headers()
		require.NoError(t, err)
		require.Len(t, headers, 1+len(want))
		for i, n := range want {
			assert.Equal(t, packets[n].Data, headers[1+i].Data)
			assert.Equal(t, at, headers[1+i].Time)
			assert.True(t, headers[1+i].Header)
		}
	}
	// Before the header that changes with a key frame, as one gets there by playing.
	_, err = c.SeekTo(49_000)
	require.NoError(t, err)
	for range 3 {
		p, err := c.Next()
		require.NoError(t, err)
		assert.Equal(t, string(p.Data[len(p.Data)-3:]) != "key", p.Header)
	}
	headers, err := c.Headers()
	require.NoError(t, err)
	assert.Equal(t, packets[103].Data, headers[3].Data)
	info := f.Info()
	assert.Equal(t, flv.CodecHEVC, info.Video)
	assert.Zero(t, info.Audio)
}
