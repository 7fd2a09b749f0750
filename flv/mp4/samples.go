package mp4

import (
	"encoding/binary"
	"slices"
)

// samples is the table of a track's samples in the order of the file, packed.
//
//	for each: size << 1 | flag   bytes; a key frame of video, or a change of the frame
//	                             duration of sound
//	          gap                bytes from the end of the sample before (or of nothing)
//	          delta              ms since the decoding time of the sample before, or 0
//	          video: composition time, ms, zigzag
//	          sound, with flag: frame duration from here on, in sample rate units
//
// All are variable-length numbers (LEB128) as encoding/binary has them: some 7 bytes for a
// sample, where a plain struct would take 24.
type samples struct {
	b     []byte
	n     int
	video bool
	end   cursor // the last sample
}

// sample is one sample as it stands in the table.
type sample struct {
	offset      int64 // of its first byte in the FLV file
	size        uint32
	time        int64  // of decoding, ms
	composition int32  // ms, to be added to time
	frame       uint32 // sound: duration by what the codec says, in sample rate units; 0 if it does not
	key         bool   // video
}

// add appends a sample. Offsets grow and samples do not overlap; times do not decrease.
func (s *samples) add(v sample) {
	last := &s.end.sample
	flag := v.key
	if !s.video {
		flag = v.frame != last.frame
	}
	head := uint64(v.size) << 1
	if flag {
		head |= 1
	}
	delta := uint64(0)
	if s.n > 0 {
		delta = uint64(v.time - last.time)
	}
	s.b = binary.AppendUvarint(s.b, head)
	s.b = binary.AppendUvarint(s.b, uint64(v.offset-last.offset-int64(last.size)))
	s.b = binary.AppendUvarint(s.b, delta)
	if s.video {
		s.b = binary.AppendVarint(s.b, int64(v.composition))
	} else if flag {
		s.b = binary.AppendUvarint(s.b, uint64(v.frame))
	}
	s.n++
	s.end.sample = v
}

// pack gives memory back that further samples would have needed.
func (s *samples) pack() { s.b = append(make([]byte, 0, len(s.b)), slices.Clip(s.b)...) }

// cursor walks over a table. Times count from the first sample.
type cursor struct {
	sample
	b     []byte // what follows
	video bool
}

// read returns a cursor before the first sample.
func (s *samples) read() cursor { return cursor{b: s.b, video: s.video} }

// next moves to the next sample, and reports whether there is one.
func (c *cursor) next() bool {
	if len(c.b) == 0 {
		return false
	}
	head := c.uvarint()
	c.offset += int64(c.size) + int64(c.uvarint())
	c.size = uint32(head >> 1)
	c.time += int64(c.uvarint())
	flag := head&1 != 0
	switch {
	case c.video:
		c.key = flag
		zigzag := c.uvarint()
		c.composition = int32(int64(zigzag>>1) ^ -int64(zigzag&1))
	case flag:
		c.frame = uint32(c.uvarint())
	}
	return true
}

// uvarint is binary.Uvarint for a table that is known to be whole.
func (c *cursor) uvarint() uint64 {
	if v := c.b[0]; v < 0x80 {
		c.b = c.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(c.b)
	c.b = c.b[n:]
	return v
}
