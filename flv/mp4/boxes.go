package mp4

import "encoding/binary"

// appendBox appends a box (ISOBMFF §4.2): its size with these eight bytes (u32), its name,
// and what content appends.
func appendBox(dst []byte, name string, content func([]byte) []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = content(append(dst, name...))
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at))
	return dst
}

// appendFullBox appends a box that has a version (u8) and flags (u24) before its content.
func appendFullBox(dst []byte, name string, version byte, flags uint32, content func([]byte) []byte) []byte {
	return appendBox(dst, name, func(b []byte) []byte {
		return content(binary.BigEndian.AppendUint32(b, uint32(version)<<24|flags))
	})
}

// appendTable appends a full box that holds a number of entries (u32) and these.
func appendTable(dst []byte, name string, version byte, entries []byte, size int) []byte {
	return appendFullBox(dst, name, version, 0, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, uint32(len(entries)/size))
		return append(b, entries...)
	})
}

// appendFtyp appends the file type (ISOBMFF §4.3): major brand, minor version (u32), brands.
// iso4 is what has signed composition offsets.
func appendFtyp(dst []byte) []byte {
	return appendBox(dst, "ftyp", func(b []byte) []byte { return append(b, "isom\x00\x00\x02\x00isomiso4mp41mp42"...) })
}

// appendMdatHeader appends the header of a media data box with size bytes of content
// (ISOBMFF §8.1.1), in the form for sizes of 64 bits.
//
//	1 (u32)  "mdat"  size with these 16 bytes (u64)
func appendMdatHeader(dst []byte, size int64) []byte {
	dst = append(dst, "\x00\x00\x00\x01mdat"...)
	return binary.BigEndian.AppendUint64(dst, uint64(size)+16)
}

// movieTimescale is units a second in what concerns the whole: ms, as in FLV.
const movieTimescale = 1000

// unity is the matrix that leaves pictures as they are (ISOBMFF §6.2.2).
var unity = []byte{
	0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0,
}

// appendMvhd appends the movie header (ISOBMFF §8.2.2), version 1. Times of creation are 0, so
// that the same file always gives the same bytes.
//
//	created, modified 0 (u64 each)  timescale (u32)  duration (u64)
//	speed 1 (16.16)  volume 1 (8.8)  reserved (10)  matrix (36)  reserved (24)  next track (u32)
func appendMvhd(dst []byte, duration int64, next int) []byte {
	return appendFullBox(dst, "mvhd", 1, 0, func(b []byte) []byte {
		b = append(b, make([]byte, 16)...)
		b = binary.BigEndian.AppendUint32(b, movieTimescale)
		b = binary.BigEndian.AppendUint64(b, uint64(duration))
		b = append(b, 0, 1, 0, 0, 1, 0)
		b = append(b, make([]byte, 10)...)
		b = append(b, unity...)
		b = append(b, make([]byte, 24)...)
		return binary.BigEndian.AppendUint32(b, uint32(next))
	})
}

// appendTrak appends a track (ISOBMFF §8.3.1).
func (t *track) appendTrak(dst []byte, id int, s *tables, duration int64) []byte {
	return appendBox(dst, "trak", func(b []byte) []byte {
		b = t.appendTkhd(b, id)
		b = t.appendEdits(b)
		return appendBox(b, "mdia", func(b []byte) []byte {
			b = t.appendMdhd(b)
			b = t.appendHdlr(b)
			return appendBox(b, "minf", func(b []byte) []byte {
				b = t.appendMediaHeader(b)
				b = appendDinf(b)
				return t.appendStbl(b, s)
			})
		})
	})
}

// appendTkhd appends the track header (ISOBMFF §8.3.2), version 1.
//
//	flags: enabled 1, in the movie 2, in the preview 4
//	created, modified 0 (u64 each)  id (u32)  reserved (4)  duration, of the movie (u64)
//	reserved (8)  layer 0, group 0 (u16 each)  volume, of sound 1 (8.8)  reserved (2)
//	matrix (36)  width, height as shown (16.16 each)
func (t *track) appendTkhd(dst []byte, id int) []byte {
	return appendFullBox(dst, "tkhd", 1, 7, func(b []byte) []byte {
		b = append(b, make([]byte, 16)...)
		b = binary.BigEndian.AppendUint32(b, uint32(id))
		b = append(b, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint64(b, uint64(t.delay+t.length()))
		b = append(b, make([]byte, 12)...)
		if t.video {
			b = append(b, 0, 0, 0, 0)
		} else {
			b = append(b, 1, 0, 0, 0)
		}
		b = append(b, unity...)
		width, height := t.shownSize()
		b = binary.BigEndian.AppendUint32(b, uint32(width)<<16)
		return binary.BigEndian.AppendUint32(b, uint32(height)<<16)
	})
}

// shownSize is the size of the picture in square pixels; 0 for sound.
func (t *track) shownSize() (width, height int) {
	d := t.descriptions[0]
	if width = d.width; d.pixel[1] > 0 {
		width = int(int64(width) * int64(d.pixel[0]) / int64(d.pixel[1]))
	}
	return min(width, maxSide), min(d.height, maxSide)
}

// appendEdits appends an edit list (ISOBMFF §8.6.5, §8.6.6), version 1, if the track does not
// begin with its first sample at the beginning of the presentation.
//
//	number of entries (u32)
//	for each: duration in the movie's timescale (u64)  begin in media time, -1 for nothing (s64)
//	          speed 1 (16.16)
func (t *track) appendEdits(dst []byte) []byte {
	if t.delay == 0 && t.skip() == 0 {
		return dst
	}
	var entries []byte
	add := func(duration, begin int64) {
		entries = binary.BigEndian.AppendUint64(entries, uint64(duration))
		entries = binary.BigEndian.AppendUint64(entries, uint64(begin))
		entries = append(entries, 0, 1, 0, 0)
	}
	if t.delay > 0 {
		add(t.delay, -1)
	}
	add(t.length(), t.skip()) // only pictures skip, and their timescale is ms
	return appendBox(dst, "edts", func(b []byte) []byte { return appendTable(b, "elst", 1, entries, 20) })
}

// appendMdhd appends the media header (ISOBMFF §8.4.2), version 1.
//
//	created, modified 0 (u64 each)  timescale (u32)  duration (u64)  "und" in 3 × 5 bits (u16)  0 (u16)
func (t *track) appendMdhd(dst []byte) []byte {
	return appendFullBox(dst, "mdhd", 1, 0, func(b []byte) []byte {
		b = append(b, make([]byte, 16)...)
		b = binary.BigEndian.AppendUint32(b, uint32(t.timescale))
		b = binary.BigEndian.AppendUint64(b, uint64(t.end+t.last))
		return append(b, 0x55, 0xc4, 0, 0)
	})
}

// appendHdlr appends the handler (ISOBMFF §8.4.3): 0 (u32), type, reserved (12), name.
func (t *track) appendHdlr(dst []byte) []byte {
	handler := "soun\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00Sound\x00"
	if t.video {
		handler = "vide\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00Video\x00"
	}
	return appendFullBox(dst, "hdlr", 0, 0, func(b []byte) []byte { return append(append(b, 0, 0, 0, 0), handler...) })
}

// appendMediaHeader appends vmhd (ISOBMFF §12.1.2: flags 1, mode and colour 0) or smhd
// (§12.2.2: balance 0).
func (t *track) appendMediaHeader(dst []byte) []byte {
	if t.video {
		return appendFullBox(dst, "vmhd", 0, 1, func(b []byte) []byte { return append(b, make([]byte, 8)...) })
	}
	return appendFullBox(dst, "smhd", 0, 0, func(b []byte) []byte { return append(b, 0, 0, 0, 0) })
}

// appendDinf says that the media is in this file (ISOBMFF §8.7.1, §8.7.2): a URL with flag 1.
func appendDinf(dst []byte) []byte {
	return appendBox(dst, "dinf", func(b []byte) []byte {
		return appendFullBox(b, "dref", 0, 0, func(b []byte) []byte {
			b = append(b, 0, 0, 0, 1)
			return appendFullBox(b, "url ", 0, 1, func(b []byte) []byte { return b })
		})
	})
}

// appendStbl appends the sample tables (ISOBMFF §8.5), and notes where its offsets stand.
//
//	stsd §8.5.2: number of entries (u32), sample entries
//	stts §8.6.1.2, ctts §8.6.1.3, stss §8.6.2, stsc §8.7.4, stco, co64 §8.7.5: see tables
//	stsz §8.7.3: 0 (u32)  number of samples (u32)  sizes
func (t *track) appendStbl(dst []byte, s *tables) []byte {
	return appendBox(dst, "stbl", func(b []byte) []byte {
		b = appendFullBox(b, "stsd", 0, 0, func(b []byte) []byte {
			b = binary.BigEndian.AppendUint32(b, uint32(len(t.descriptions)))
			for i := range t.descriptions {
				b = appendEntry(b, t.codec, &t.descriptions[i])
			}
			return b
		})
		b = appendTable(b, "stts", 0, s.stts, 8)
		if len(s.ctts) > 0 {
			version := byte(0)
			if s.signed {
				version = 1
			}
			b = appendTable(b, "ctts", version, s.ctts, 8)
		}
		if t.video && !s.keys {
			b = appendTable(b, "stss", 0, s.stss, 4)
		}
		b = appendTable(b, "stsc", 0, s.stsc, 12)
		b = appendFullBox(b, "stsz", 0, 0, func(b []byte) []byte {
			b = binary.BigEndian.AppendUint32(b, 0)
			b = binary.BigEndian.AppendUint32(b, uint32(len(s.stsz)/4))
			return append(b, s.stsz...)
		})
		if s.wide {
			b = appendTable(b, "co64", 0, s.offsets, 8)
		} else {
			b = appendTable(b, "stco", 0, s.offsets, 4)
		}
		s.at = len(b) - len(s.offsets)
		return b
	})
}
