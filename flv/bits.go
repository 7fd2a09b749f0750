package flv

// bitReader reads numbers of any width, most significant bit first. Past the
// end it gives zeros and sets short, so that a parser checks once at its end.
type bitReader struct {
	b     []byte
	pos   int // in bits
	short bool
}

// read returns the next n bits, n <= 32.
func (r *bitReader) read(n int) uint32 {
	if r.pos+n > 8*len(r.b) {
		r.pos, r.short = 8*len(r.b), true
		return 0
	}
	var v uint64
	first := r.pos / 8
	last := (r.pos + n + 7) / 8
	for _, b := range r.b[first:last] { // at most five bytes
		v = v<<8 | uint64(b)
	}
	r.pos += n
	v >>= uint(8*last - r.pos)
	return uint32(v & (1<<n - 1))
}

func (r *bitReader) flag() bool { return r.read(1) == 1 }

// skip passes over n bits, however many.
func (r *bitReader) skip(n int) {
	if r.pos+n > 8*len(r.b) {
		r.pos, r.short = 8*len(r.b), true
		return
	}
	r.pos += n
}

// ue reads an unsigned Exp-Golomb number (ITU-T H.264 §9.1); AV1's uvlc() is
// the same. One of more than 32 bits sets short.
func (r *bitReader) ue() uint32 {
	zeros := 0
	for !r.flag() {
		if zeros++; zeros > 31 || r.short {
			r.short = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.read(zeros)
}

// se reads a signed Exp-Golomb number (ITU-T H.264 §9.1.1).
func (r *bitReader) se() int32 {
	v := r.ue()
	n := int32(v/2 + v&1)
	if v&1 == 0 {
		return -n
	}
	return n
}

// unescape returns a NAL unit's bytes without the emulation prevention bytes
// (ITU-T H.264 §7.3.1, H.265 §7.3.1.1). It copies only when there are some.
func unescape(nal []byte) []byte {
	zeros := 0
	var out []byte
	start := 0
	for i, b := range nal {
		if zeros >= 2 && b == 3 {
			out = append(out, nal[start:i]...)
			start, zeros = i+1, 0
			continue
		}
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	if start == 0 {
		return nal
	}
	return append(out, nal[start:]...)
}
