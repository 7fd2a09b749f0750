package mp4_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/mp4"
)

// Whatever a file is: no panic, memory in proportion to it, and a head whose tables agree
// with each other and point to what lies within tags.
func FuzzScan(f *testing.F) {
	paths, err := filepath.Glob("../testdata/*.flv")
	require.NoError(f, err)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(b[:min(len(b), 8000)])
	}
	for _, b := range oddFiles() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkScan(t, b) })
}

// oddFiles are files that have what captures do not.
func oddFiles() [][]byte {
	config := func(c flv.Codec, b []byte) flv.Packet {
		return flv.Packet{Codec: c, Enhanced: true, Kind: flv.KindConfig, Payload: b}
	}
	frame := func(c flv.Codec, text string) flv.Packet {
		return flv.Packet{Codec: c, Enhanced: true, Kind: flv.KindFrame, Key: c.Video(), Payload: []byte(text)}
	}
	return [][]byte{
		file(audio(0, config(flv.CodecOpus, opusHead)), audio(0, frame(flv.CodecOpus, "\x03\x05packets")), audio(20, frame(flv.CodecOpus, "\x78packet"))),
		file(audio(0, config(flv.CodecFLAC, flacInfo)), audio(0, frame(flv.CodecFLAC, "\xff\xf8\x69\x18\x00\x40frame"))),
		file(audio(0, frame(flv.CodecMP3, "\xff\xfb\x90\x64frame")), audio(1<<31, frame(flv.CodecMP3, "\xff\xfb\x90\x64frame"))),
		file(video(0, config(flv.CodecVP9, vpcC)), video(0, frame(flv.CodecVP9, "\x82\x49\x83\x42\x00\x14\x10\x0f\x16"))),
		file(video(0, config(flv.CodecAV1, av1C)), video(0, frame(flv.CodecAV1, "\x12\x00\x0a\x0a\x00\x00\x00\x06\x27\xfe\x55\x74\x13\xff"))),
		file(h264Header(), aacHeader(), picture(0, true, 1<<23-1, "a"), picture(40, false, -1<<23, "b"), sound(10, "s"), picture(5, false, 80, "c"), sound(1<<30, "s"), sound(3, "s")),
		file(h264Header(), multitrack(0, 0, "zero", 1, "one"), multitrack(40, 1, "one", 0, "zero")),
	}
}

// checkScan checks what holds for every file.
func checkScan(t *testing.T, b []byte) {
	x, err := mp4.Scan(context.Background(), bytes.NewReader(b), int64(len(b)))
	if err != nil {
		if !errors.Is(err, flv.ErrFormat) && !errors.Is(err, mp4.ErrNoTracks) && !errors.Is(err, mp4.ErrUnsupported) {
			t.Fatal(err)
		}
		return
	}
	if most := int64(4096 + 4*len(b)); x.Bytes() > most {
		t.Fatalf("%d bytes of memory for %d", x.Bytes(), len(b))
	}
	head := x.Head()
	if most := 4096 + 8*len(b); len(head) > most {
		t.Fatalf("a head of %d bytes for %d", len(head), len(b))
	}
	m := unpack(append(bytes.Clone(head), b...))
	if len(m.tracks) == 0 || len(m.tracks) > 2 {
		t.Fatalf("%d tracks", len(m.tracks))
	}
	for _, tr := range m.tracks {
		checkTrack(t, &tr, uint64(len(head)), uint64(len(b)))
		if m.duration < tr.duration {
			t.Fatalf("a movie of %d ms with a track of %d ms", m.duration, tr.duration)
		}
	}
}

func checkTrack(t *testing.T, tr *movieTrack, head, size uint64) {
	end := head + flv.HeaderSize
	for i, s := range tr.samples {
		if len(s.data) == 0 || s.offset < end || s.offset+uint64(len(s.data)) > head+size {
			t.Fatalf("sample %d of %d bytes at %d in %d bytes behind %d", i, len(s.data), s.offset, size, head)
		}
		end = s.offset + uint64(len(s.data))
		if s.duration == 0 || s.duration > 1<<31 && tr.timescale == 1000 {
			t.Fatalf("sample %d lasts %d", i, s.duration)
		}
		if at := tr.presented(s); at < -1e-9 {
			t.Fatalf("sample %d is presented at %f s", i, at)
		}
	}
	if tr.handler == "vide" && !tr.samples[0].key {
		t.Fatal("the first picture is no key frame")
	}
}

// Files that are cut, and files with a byte that is another one.
func TestScanDamaged(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, b := range oddFiles() {
		for n := range b {
			checkScan(t, b[:n])
			damaged := bytes.Clone(b)
			damaged[n] = byte(rng.Uint32())
			checkScan(t, damaged)
		}
	}
}
