package mp4_test

import (
	"encoding/binary"
	"fmt"
	"math"
)

// movie is what a reader of MP4 finds.
type movie struct {
	duration uint64 // ms
	tracks   []movieTrack
}

type movieTrack struct {
	handler   string
	id        uint32
	size      [2]uint32 // width, height
	duration  uint64    // of the track, ms
	timescale uint32
	media     uint64 // duration, in timescale
	edits     []edit
	entries   []entry
	samples   []movieSample
}

type edit struct {
	duration uint64
	begin    int64
}

// entry is a sample entry: its name and all that follows.
type entry struct {
	name string
	body []byte
}

type movieSample struct {
	data        []byte
	offset      uint64
	at          uint64 // of decoding, in timescale
	duration    uint32
	composition int64
	key         bool
	description int // from 0
}

// box is one box; full boxes still have version and flags in their body.
type box struct {
	name string
	body []byte
}

// boxes divides b. It panics, as all here, where b is none: tests find that.
func boxes(b []byte) (all []box) {
	for len(b) > 0 {
		size, head := uint64(binary.BigEndian.Uint32(b)), uint64(8)
		if size == 1 {
			size, head = binary.BigEndian.Uint64(b[8:]), 16
		}
		all = append(all, box{string(b[4:8]), b[head:size]})
		b = b[size:]
	}
	return all
}

// find returns the body of the one box at a path, nil if there is none.
func find(b []byte, path ...string) []byte {
	for _, name := range path {
		var found []byte
		for _, x := range boxes(b) {
			if x.name == name {
				if found != nil {
					panic("two of " + name)
				}
				found = x.body
			}
		}
		if b = found; b == nil {
			return nil
		}
	}
	return b
}

func u32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.BigEndian.Uint64(b) }

// rows divides the entries of a table behind their number, which is at b[4:].
func rows(b []byte, size int) (all [][]byte) {
	n := int(u32(b[4:]))
	if b = b[8:]; len(b) != n*size {
		panic(fmt.Sprintf("%d bytes for %d entries of %d", len(b), n, size))
	}
	for ; len(b) > 0; b = b[size:] {
		all = append(all, b[:size])
	}
	return all
}

// unpack reads an MP4.
func unpack(b []byte) (m movie) {
	mvhd := find(b, "moov", "mvhd")
	m.duration = u64(mvhd[24:])
	for _, x := range boxes(find(b, "moov")) {
		if x.name == "trak" {
			m.tracks = append(m.tracks, unpackTrack(x.body, b))
		}
	}
	return m
}

func unpackTrack(trak, file []byte) (t movieTrack) {
	tkhd, mdhd, hdlr := find(trak, "tkhd"), find(trak, "mdia", "mdhd"), find(trak, "mdia", "hdlr")
	t.id, t.duration = u32(tkhd[20:]), u64(tkhd[28:])
	t.size = [2]uint32{u32(tkhd[88:]) >> 16, u32(tkhd[92:]) >> 16}
	t.timescale, t.media, t.handler = u32(mdhd[20:]), u64(mdhd[24:]), string(hdlr[8:12])
	if elst := find(trak, "edts", "elst"); elst != nil {
		for _, row := range rows(elst, 20) {
			t.edits = append(t.edits, edit{u64(row), int64(u64(row[8:]))})
		}
	}
	stbl := find(trak, "mdia", "minf", "stbl")
	stsd := find(stbl, "stsd")
	for _, x := range boxes(stsd[8:]) {
		t.entries = append(t.entries, entry(x))
	}
	t.samples = make([]movieSample, u32(find(stbl, "stsz")[8:]))
	co := find(stbl, "co64")
	width := 8
	if co == nil {
		co, width = find(stbl, "stco"), 4
	}
	offsets := rows(co, width)
	if len(offsets) != len(t.samples) {
		panic("a chunk is a sample")
	}
	for i := range t.samples {
		s := &t.samples[i]
		if width == 8 {
			s.offset = u64(offsets[i])
		} else {
			s.offset = uint64(u32(offsets[i]))
		}
		size := uint64(u32(find(stbl, "stsz")[12+4*i:]))
		s.data = file[s.offset : s.offset+size]
	}
	t.unpackTimes(stbl)
	return t
}

// unpackTimes reads the tables that are in runs, and those of key frames and descriptions.
func (t *movieTrack) unpackTimes(stbl []byte) {
	i, at := 0, uint64(0)
	for _, row := range rows(find(stbl, "stts"), 8) {
		for range u32(row) {
			t.samples[i].at, t.samples[i].duration = at, u32(row[4:])
			at += uint64(u32(row[4:]))
			i++
		}
	}
	if i != len(t.samples) || at != t.media {
		panic(fmt.Sprintf("stts: %d samples of %d, lasting %d of %d", i, len(t.samples), at, t.media))
	}
	if ctts := find(stbl, "ctts"); ctts != nil {
		i = 0
		for _, row := range rows(ctts, 8) {
			offset := int64(u32(row[4:]))
			if ctts[0] == 1 {
				offset = int64(int32(u32(row[4:])))
			}
			for range u32(row) {
				t.samples[i].composition = offset
				i++
			}
		}
		if i != len(t.samples) {
			panic("ctts is not for all samples")
		}
	}
	if stss := find(stbl, "stss"); stss == nil {
		for i := range t.samples {
			t.samples[i].key = true
		}
	} else {
		for _, row := range rows(stss, 4) {
			t.samples[u32(row)-1].key = true
		}
	}
	chunks := rows(find(stbl, "stsc"), 12)
	for n, row := range chunks {
		end := uint32(math.MaxUint32)
		if n+1 < len(chunks) {
			end = u32(chunks[n+1])
		}
		if u32(row[4:]) != 1 {
			panic("a chunk is a sample")
		}
		for i := u32(row); i < end && i <= uint32(len(t.samples)); i++ {
			t.samples[i-1].description = int(u32(row[8:])) - 1
			_ = t.entries[t.samples[i-1].description]
		}
	}
}

// presented returns when a sample is presented, in seconds from the beginning of the movie.
func (t *movieTrack) presented(s movieSample) float64 {
	delay, begin := uint64(0), int64(0)
	for _, e := range t.edits {
		if e.begin < 0 {
			delay += e.duration
		} else {
			begin = e.begin
		}
	}
	return float64(delay)/1000 + float64(int64(s.at)+s.composition-begin)/float64(t.timescale)
}
