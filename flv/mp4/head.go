package mp4

import (
	"encoding/binary"
	"math"
)

// Head returns what comes before the FLV file: ftyp, moov, and the header of mdat, whose
// content is the whole FLV file. The caller owns it. It is always the same for the same file;
// making it costs some 15 ns and takes 8 to 24 bytes for each sample.
func (x *Index) Head() []byte {
	all := make([]tables, len(x.tracks))
	size := 0
	wide := x.size+int64(x.Samples())*maxEntry+x.Bytes()+maxFixed > math.MaxUint32
	for i, t := range x.tracks {
		all[i] = t.tables(wide)
		size += all[i].size()
	}
	b := appendFtyp(make([]byte, 0, size+maxFixed))
	b = appendBox(b, "moov", func(b []byte) []byte {
		b = appendMvhd(b, x.milliseconds(), len(x.tracks)+1)
		for i, t := range x.tracks {
			b = t.appendTrak(b, i+1, &all[i], x.milliseconds())
		}
		return b
	})
	b = appendMdatHeader(b, x.size)
	for i := range all {
		all[i].move(b, int64(len(b)))
	}
	return b
}

const (
	// maxEntry is the most that a sample takes in the tables, in bytes: 8 each in stts, ctts
	// and co64, 4 each in stsz and stss, 12 in stsc.
	maxEntry = 3*8 + 2*4 + 12
	// maxFixed is more than the other boxes take, codec headers aside.
	maxFixed = 4 << 10
)

// milliseconds is the duration of the whole.
func (x *Index) milliseconds() int64 { return x.Duration.Milliseconds() }

// tables are the contents of the sample tables of a track, without their heads.
type tables struct {
	stts    []byte // number of samples (u32), their duration (u32)
	ctts    []byte // number of samples (u32), their composition offset (s32); empty if all are 0
	stss    []byte // numbers of key frames (u32)
	stsz    []byte // sizes (u32)
	offsets []byte // of samples, each of which is a chunk: u32, or u64 if wide
	stsc    []byte // number of the first chunk (u32), 1 sample a chunk (u32), description (u32)
	keys    bool   // all samples are key frames
	wide    bool
	signed  bool // ctts
	at      int  // of offsets, in the head
}

// runs is a table of numbers in which equal ones stand together.
type runs struct {
	b     []byte
	count uint32
	value uint32
}

func (r *runs) add(v uint32) {
	if v != r.value {
		r.flush()
	}
	r.count, r.value = r.count+1, v
}

func (r *runs) flush() {
	if r.count > 0 {
		r.b = binary.BigEndian.AppendUint32(r.b, r.count)
		r.b = binary.BigEndian.AppendUint32(r.b, r.value)
	}
	r.count = 0
}

// tables makes the tables in one pass.
func (t *track) tables(wide bool) tables {
	n := t.samples.n
	width := 4
	if wide {
		width = 8
	}
	out := tables{
		stsz: make([]byte, 0, 4*n), offsets: make([]byte, 0, width*n),
		keys: true, wide: wide, signed: int64(t.minComposition)+t.shift() < 0,
	}
	var durations, compositions runs
	shift := t.shift()
	k, c := t.clock(), t.samples.read()
	before := int64(0)
	for i := uint32(1); c.next(); i++ {
		at := k.next(&c)
		if i > 1 {
			durations.add(uint32(at - before))
		}
		before = at
		out.stsz = binary.BigEndian.AppendUint32(out.stsz, c.size)
		if wide {
			out.offsets = binary.BigEndian.AppendUint64(out.offsets, uint64(c.offset))
		} else {
			out.offsets = binary.BigEndian.AppendUint32(out.offsets, uint32(c.offset))
		}
		if !t.video {
			continue
		}
		compositions.add(uint32(int64(c.composition) + shift))
		if c.key {
			out.stss = binary.BigEndian.AppendUint32(out.stss, i)
		}
	}
	durations.add(uint32(t.last))
	durations.flush()
	out.stts = durations.b
	if t.video {
		out.keys = len(out.stss) == 4*n
		if compositions.b != nil || compositions.value != 0 {
			compositions.flush()
			out.ctts = compositions.b
		}
	}
	out.stsc = t.chunks()
	return out
}

// chunks returns the content of stsc.
func (t *track) chunks() []byte {
	var b []byte
	add := func(sample, description uint32) {
		b = binary.BigEndian.AppendUint32(b, sample+1)
		b = binary.BigEndian.AppendUint32(b, 1)
		b = binary.BigEndian.AppendUint32(b, description+1)
	}
	if len(t.changes) == 0 || t.changes[0].sample > 0 {
		add(0, 0)
	}
	for _, c := range t.changes {
		add(c.sample, c.description)
	}
	return b
}

// size is the memory that the tables take.
func (s *tables) size() int {
	return len(s.stts) + len(s.ctts) + len(s.stss) + len(s.stsz) + len(s.offsets) + len(s.stsc)
}

// move adds to the offsets in a head where the FLV file begins.
func (s *tables) move(head []byte, by int64) {
	b := head[s.at : s.at+len(s.offsets)]
	if s.wide {
		for ; len(b) > 0; b = b[8:] {
			binary.BigEndian.PutUint64(b, binary.BigEndian.Uint64(b)+uint64(by))
		}
		return
	}
	for ; len(b) > 0; b = b[4:] {
		binary.BigEndian.PutUint32(b, binary.BigEndian.Uint32(b)+uint32(by))
	}
}
