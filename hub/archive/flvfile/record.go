package flvfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"

	"sluice/flv"
)

// recordSize is the size of a record of the index, in bytes.
const recordSize = 16

// A record says what stands at a position of the file.
//
//	position (u48)  kind (u8)  track (u8)  time in ms (u40)  extra (u16)  check (u8)
//
// Positions and times never decrease from record to record. extra is how many records back
// the last one of a header stands (its own not counted), 0 for none; as many as fit if it
// is further, where one finds another record that leads on. So the headers in force
// are found without reading the rest. In a gap, track and extra are its length in ms, at
// the end how many bytes follow that are no whole tag. check is a CRC-8 of what stands
// before it.
type record struct {
	pos   int64 // of the tag, in bytes
	kind  recordKind
	track uint8
	time  int64 // ms since the file's first packet
	extra uint16
}

// recordKind is what a record stands for.
type recordKind uint8

// Kinds of records. That of a codec header, or another packet that must be sent again
// after a seek, is kindVideoHeader or kindAudioHeader plus its flv.Kind, which is below 16;
// a body with several tracks has a record for each.
const (
	kindFile        recordKind = 1 // the first one: where tags begin, and the timestamp of the first
	kindEnd         recordKind = 2 // the file was finished: its size and duration
	kindKey         recordKind = 3 // video key frame
	kindSound       recordKind = 4 // an audio frame, one each second, in a file of sound
	kindGap         recordKind = 5 // what comes before this position is missing
	kindMetadata    recordKind = 6 // onMetaData that is not the first
	kindVideoHeader recordKind = 0x10
	kindAudioHeader recordKind = 0x20
)

const (
	maxPosition = 1<<48 - 1
	maxTime     = 1<<40 - 1
	maxLength   = 1<<24 - 1 // a longer one counts as so long
	maxExtra    = 1<<16 - 1
)

// isHeader reports whether the record is of a header that is sent again after a seek.
func (k recordKind) isHeader() bool { return k >= kindVideoHeader && k < kindAudioHeader+0x10 }

// valid reports whether there is such a kind.
func (k recordKind) valid() bool { return k >= kindFile && k <= kindMetadata || k.isHeader() }

// tagType returns the type of the tag at the record's position; 0 where any may stand.
func (k recordKind) tagType() flv.Type {
	switch {
	case k == kindMetadata:
		return flv.TypeScript
	case k == kindSound, k >= kindAudioHeader:
		return flv.TypeAudio
	case k == kindKey, k >= kindVideoHeader:
		return flv.TypeVideo
	}
	return 0
}

// length returns what track and extra are together: of a gap in ms, at the end in bytes.
func (r record) length() int64 { return int64(r.track)<<16 | int64(r.extra) }

// linked reports whether extra leads to the last header.
func (k recordKind) linked() bool { return k != kindGap && k != kindEnd }

// lengthRecord makes a record of a gap, or of the end.
func lengthRecord(kind recordKind, pos, time, length int64) record {
	length = min(max(length, 0), maxLength)
	return record{pos: pos, kind: kind, time: time, track: uint8(length >> 16), extra: uint16(length)}
}

func (r record) append(dst []byte) []byte {
	begin := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.pos)<<16|uint64(r.kind)<<8|uint64(r.track))
	dst = append(dst, byte(r.time>>32))
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.time))
	dst = binary.BigEndian.AppendUint16(dst, r.extra)
	return append(dst, checksum(dst[begin:]))
}

// parseRecord reads a record; ok is false where none stands.
func parseRecord(b *[recordSize]byte) (r record, ok bool) {
	if b[recordSize-1] != checksum(b[:recordSize-1]) {
		return record{}, false
	}
	head := binary.BigEndian.Uint64(b[:])
	r = record{
		pos:   int64(head >> 16),
		kind:  recordKind(head >> 8),
		track: uint8(head),
		time:  int64(b[8])<<32 | int64(binary.BigEndian.Uint32(b[9:])),
		extra: binary.BigEndian.Uint16(b[13:]),
	}
	return r, r.kind.valid()
}

// checksum is the CRC-8 with the polynomial x^8+x^2+x+1 and all ones at the beginning, so
// that zeros are no record.
func checksum(b []byte) byte {
	crc := byte(0xff)
	for _, c := range b {
		crc = crcTable[crc^c]
	}
	return crc
}

var crcTable = func() (t [256]byte) {
	for i := range t {
		c := byte(i)
		for range 8 {
			high := c&0x80 != 0
			if c <<= 1; high {
				c ^= 0x07
			}
		}
		t[i] = c
	}
	return t
}()

// index is an index as it is at one moment: what stands in the file, and what is still in
// memory behind that. It is immutable.
type index struct {
	file    io.ReaderAt
	written int // records in the file
	pending []record
}

// errIndex is an index that is not what it should be.
var errIndex = errors.New("flvfile: damaged index")

func (x index) len() int { return x.written + len(x.pending) }

// at returns record i.
func (x index) at(i int) (record, error) {
	if i >= x.written {
		return x.pending[i-x.written], nil
	}
	var b [recordSize]byte
	if _, err := x.file.ReadAt(b[:], int64(i)*recordSize); err != nil {
		return record{}, fmt.Errorf("flvfile: reading the index: %w", err)
	}
	r, ok := parseRecord(&b)
	if !ok {
		return record{}, fmt.Errorf("%w: record %d", errIndex, i)
	}
	return r, nil
}

// each calls f with all records in their order, until it returns false.
func (x index) each(f func(i int, r record) bool) error {
	const ahead = 64 << 10
	size := x.written * recordSize
	file := io.NewSectionReader(fileOrNothing(x.file), 0, int64(size))
	in := bufio.NewReaderSize(file, min(ahead, max(recordSize, size)))
	var b [recordSize]byte
	for i := range x.written {
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return fmt.Errorf("flvfile: reading the index: %w", err)
		}
		r, ok := parseRecord(&b)
		if !ok {
			return fmt.Errorf("%w: record %d", errIndex, i)
		}
		if !f(i, r) {
			return nil
		}
	}
	for i, r := range x.pending {
		if !f(x.written+i, r) {
			return nil
		}
	}
	return nil
}

// search returns the number of the first record for which reached is true, len if there is
// none; reached must stay true once it is.
func (x index) search(reached func(record) bool) (int, error) {
	var failed error
	i := sort.Search(x.len(), func(i int) bool {
		if failed != nil {
			return true
		}
		r, err := x.at(i)
		if err != nil {
			failed = err
			return true
		}
		return reached(r)
	})
	return i, failed
}

// lastBefore returns the last record of a kind that stands before record i, and its number;
// ok is false if there is none.
func (x index) lastBefore(i int, kind recordKind) (r record, at int, ok bool, err error) {
	for i--; i >= 0; i-- {
		if r, err = x.at(i); err != nil {
			return record{}, 0, false, err
		}
		if r.kind == kind {
			return r, i, true, nil
		}
	}
	return record{}, 0, false, nil
}

// first returns the first record of a kind; ok is false if there is none.
func (x index) first(kind recordKind) (r record, ok bool, err error) {
	err = x.each(func(_ int, at record) bool {
		if at.kind == kind {
			r, ok = at, true
		}
		return !ok
	})
	return r, ok, err
}

// maxHeaderSteps bounds how many header records are looked at for those in force: headers
// that change with every frame must not make a seek expensive.
const maxHeaderSteps = 4096

// headersBefore returns the records of the headers that are in force before a position: the
// last one of each kind and track, in the order of the file.
func (x index) headersBefore(pos int64) ([]record, error) {
	i, err := x.search(func(r record) bool { return r.pos >= pos })
	if err != nil {
		return nil, err
	}
	type slot struct {
		kind  recordKind
		track uint8
	}
	var found []record
	seen := map[slot]bool{}
	for i, steps := i-1, 0; i >= 0 && steps < maxHeaderSteps; steps++ {
		r, err := x.at(i)
		if err != nil {
			return nil, err
		}
		if at := (slot{r.kind, r.track}); r.kind.isHeader() && !seen[at] {
			seen[at] = true
			found = append(found, r)
		}
		switch {
		case !r.kind.linked():
			i--
		case r.extra == 0:
			i = -1
		default:
			i -= int(r.extra)
		}
	}
	for a, b := 0, len(found)-1; a < b; a, b = a+1, b-1 {
		found[a], found[b] = found[b], found[a]
	}
	return found, nil
}

// nothing is a file without bytes.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

func fileOrNothing(r io.ReaderAt) io.ReaderAt {
	if r == nil {
		return nothing{}
	}
	return r
}
