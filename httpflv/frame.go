package httpflv

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"sluice/flv"
)

// file frames tags as an FLV file: the file's header before the first tags, then tags.
type file struct {
	audio, video bool
	begun        bool
}

func (f *file) AppendTags(dst []byte, tags []flv.Tag) []byte {
	if !f.begun {
		f.begun = true
		dst = flv.AppendHeader(dst, f.audio, f.video)
	}
	for _, t := range tags {
		dst = flv.AppendTag(dst, t)
	}
	return dst
}

// Forms of framed tags, see hub.Stamper.
const (
	formNone = iota
	formFile
	formChunked
	formMessage
)

// form returns its argument, or formNone while the file's header is still to come.
func (f *file) form(form uint64) uint64 {
	if !f.begun {
		return formNone
	}
	return form
}

func (f *file) Form() uint64 { return f.form(formFile) }

func (f *file) Stamp(framed []byte, timestamps []uint32) bool {
	for _, ts := range timestamps {
		framed = flv.StampTag(framed, ts)
	}
	return true
}

// size returns how many bytes AppendTags will append.
func (f *file) size(tags []flv.Tag) int {
	n := 0
	if !f.begun {
		n = flv.HeaderSize
	}
	for _, t := range tags {
		n += t.Size()
	}
	return n
}

// chunkedFile frames a file as chunks of an HTTP/1.1 body (RFC 9112 §7.1), whole
// tags in each.
type chunkedFile struct{ file }

func (f *chunkedFile) AppendTags(dst []byte, tags []flv.Tag) []byte {
	dst = strconv.AppendInt(dst, int64(f.size(tags)), 16)
	dst = append(dst, "\r\n"...)
	dst = f.file.AppendTags(dst, tags)
	return append(dst, "\r\n"...)
}

func (f *chunkedFile) Form() uint64 { return f.form(formChunked) }

func (f *chunkedFile) Stamp(framed []byte, timestamps []uint32) bool {
	return f.file.Stamp(framed[bytes.IndexByte(framed, '\n')+1:], timestamps)
}

// lastChunk ends a chunked body.
const lastChunk = "0\r\n\r\n"

// message frames a file as WebSocket messages of whole tags: each is one binary frame,
// unmasked and unfragmented as a server sends it. No tag is added to a message that has
// reached messageSize.
//
//	 0               1               2               (RFC 6455 §5.2)
//	+-+---+---------+-+-------------+-------------------------------+
//	|F|rsv| opcode 2|M| length < 126, or 126 and u16, or 127 and u64 |
//	|1|000|  0010   |0|                                             |
//	+-+---+---------+-+-------------+-------------------------------+
type message struct{ file }

// messageSize is the size in bytes at which a message ends. A browser gives a script
// nothing of a message before its last byte has come, and the first picture of a viewer
// must not wait for the rest of its GOP.
const messageSize = 16 << 10

func (m *message) AppendTags(dst []byte, tags []flv.Tag) []byte {
	for len(tags) > 0 {
		n := 0
		for size := 0; n < len(tags) && size < messageSize; n++ {
			size += tags[n].Size()
		}
		dst = m.file.AppendTags(appendBinaryHead(dst, m.size(tags[:n])), tags[:n])
		tags = tags[n:]
	}
	return dst
}

func (m *message) Form() uint64 { return m.form(formMessage) }

func (m *message) Stamp(framed []byte, timestamps []uint32) bool {
	for rest := 0; len(timestamps) > 0; timestamps = timestamps[1:] {
		if rest == 0 {
			head, size := binaryHead(framed)
			framed, rest = framed[head:], size
		}
		next := flv.StampTag(framed, timestamps[0])
		rest -= len(framed) - len(next)
		framed = next
	}
	return true
}

// binaryHead returns the size of a head that appendBinaryHead made, and that of the
// message after it.
func binaryHead(b []byte) (head, size int) {
	switch n := int(b[1]); n {
	case 126:
		return 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 10, int(binary.BigEndian.Uint64(b[2:]))
	default:
		return 2, n
	}
}

func appendBinaryHead(dst []byte, size int) []byte {
	const finBinary = finBit | 0x2
	switch {
	case size < 126:
		return append(dst, finBinary, byte(size))
	case size <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, finBinary, 126), uint16(size))
	default:
		return binary.BigEndian.AppendUint64(append(dst, finBinary, 127), uint64(size))
	}
}
