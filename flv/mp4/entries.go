package mp4

import (
	"bytes"
	"encoding/binary"

	"sluice/flv"
)

// supported reports whether a codec has a place in MP4 here.
func supported(c flv.Codec, video bool) bool {
	switch c {
	case flv.CodecH264, flv.CodecHEVC, flv.CodecAV1, flv.CodecVP9:
		return video
	case flv.CodecAAC, flv.CodecMP3, flv.CodecOpus, flv.CodecFLAC:
		return !video
	}
	return false
}

// describedByFrames reports whether a codec has no codec header.
func describedByFrames(c flv.Codec) bool { return c == flv.CodecMP3 }

// expressible reports whether a codec header, which flv has understood, has all that its box
// needs.
func expressible(c flv.Codec, d *description) bool {
	switch c {
	case flv.CodecOpus:
		return opusBox(d.config) != nil
	case flv.CodecFLAC:
		return streamInfo(d.config) != nil
	}
	return true
}

// appendEntry appends the sample entry of a description.
func appendEntry(dst []byte, c flv.Codec, d *description) []byte {
	switch c {
	case flv.CodecH264:
		return appendVideoEntry(dst, "avc1", d, "avcC", d.config) // ISO/IEC 14496-15 §5.4.2
	case flv.CodecHEVC:
		return appendVideoEntry(dst, "hvc1", d, "hvcC", d.config) // §8.4.1
	case flv.CodecAV1:
		return appendVideoEntry(dst, "av01", d, "av1C", d.config) // AV1 in ISOBMFF §2.2, §2.3
	case flv.CodecVP9:
		return appendVideoEntry(dst, "vp09", d, "vpcC", vpBox(d.config)) // VP in ISOBMFF
	case flv.CodecAAC:
		return appendAudioEntry(dst, "mp4a", d, "esds", appendESDS(nil, objectAAC, d.config))
	case flv.CodecMP3:
		object := byte(objectMP3)
		if d.rate <= 24000 { // MPEG-2 and 2.5
			object = objectMP3Low
		}
		return appendAudioEntry(dst, "mp4a", d, "esds", appendESDS(nil, object, nil))
	case flv.CodecOpus:
		return appendAudioEntry(dst, "Opus", d, "dOps", opusBox(d.config))
	case flv.CodecFLAC:
		return appendAudioEntry(dst, "fLaC", d, "dfLa", flacBox(d.config))
	}
	return dst
}

// appendVideoEntry appends a VisualSampleEntry (ISOBMFF §12.1.3).
//
//	reserved (6)  data reference 1 (u16)
//	reserved (16)  width (u16)  height (u16)  72 dpi twice (16.16)  reserved (u32)
//	frames a sample 1 (u16)  name of the compressor (32)  depth 0x18 (u16)  -1 (s16)
//	the codec's box  pasp, where pixels are not square (§12.1.4)
func appendVideoEntry(dst []byte, name string, d *description, configName string, config []byte) []byte {
	return appendBox(dst, name, func(b []byte) []byte {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 1)
		b = append(b, make([]byte, 16)...)
		b = binary.BigEndian.AppendUint16(b, uint16(min(d.width, maxSide)))
		b = binary.BigEndian.AppendUint16(b, uint16(min(d.height, maxSide)))
		b = append(b, 0, 72, 0, 0, 0, 72, 0, 0, 0, 0, 0, 0, 0, 1)
		b = append(b, make([]byte, 32)...)
		b = append(b, 0, 0x18, 0xff, 0xff)
		b = appendBox(b, configName, func(b []byte) []byte { return append(b, config...) })
		if d.pixel[0] == d.pixel[1] {
			return b
		}
		return appendBox(b, "pasp", func(b []byte) []byte {
			b = binary.BigEndian.AppendUint32(b, uint32(d.pixel[0]))
			return binary.BigEndian.AppendUint32(b, uint32(d.pixel[1]))
		})
	})
}

// maxSide is the largest width and height that boxes have room for.
const maxSide = 1<<16 - 1

// appendAudioEntry appends an AudioSampleEntry (ISOBMFF §12.2.3).
//
//	reserved (6)  data reference 1 (u16)
//	reserved (8)  channels (u16)  sample size 16 (u16)  reserved (4)  sample rate (16.16)
//	the codec's box
func appendAudioEntry(dst []byte, name string, d *description, configName string, config []byte) []byte {
	return appendBox(dst, name, func(b []byte) []byte {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 1)
		b = append(b, make([]byte, 8)...)
		channels := d.channels
		if channels == 0 {
			channels = 2
		}
		b = binary.BigEndian.AppendUint16(b, uint16(channels))
		b = append(b, 0, 16, 0, 0, 0, 0)
		rate := uint32(d.rate)
		for rate > 1<<16-1 { // the greatest division of it that there is room for, as FLAC's binding has it
			rate /= 2
		}
		b = binary.BigEndian.AppendUint32(b, rate<<16)
		return appendBox(b, configName, func(b []byte) []byte { return append(b, config...) })
	})
}

// Object types of an elementary stream (ISO/IEC 14496-1 §7.2.6.6, objectTypeIndication).
const (
	objectAAC    = 0x40
	objectMP3Low = 0x69 // MPEG-2
	objectMP3    = 0x6b // MPEG-1
)

// appendESDS appends the content of an ESDBox (ISO/IEC 14496-14 §6.7.2).
//
//	version and flags 0 (u32)
//	ES_Descriptor 3: id 0 (u16)  flags 0 (u8)
//	  DecoderConfigDescriptor 4: object type (u8)  audio: 0x15 (u8)
//	      buffer size (u24)  greatest and average bit rate (u32 each), 0 for unknown
//	    DecoderSpecificInfo 5: AudioSpecificConfig, for AAC
//	  SLConfigDescriptor 6: 2 (u8)
func appendESDS(dst []byte, object byte, config []byte) []byte {
	var specific []byte
	if len(config) > 0 {
		specific = appendDescriptor(nil, 5, config)
	}
	decoder := append([]byte{object, 0x15}, make([]byte, 11)...)
	decoder = append(decoder, specific...)
	stream := appendDescriptor([]byte{0, 0, 0}, 4, decoder)
	stream = appendDescriptor(stream, 6, []byte{2})
	return appendDescriptor(append(dst, 0, 0, 0, 0), 3, stream)
}

// appendDescriptor appends a descriptor of ISO/IEC 14496-1 §8.3.3: tag, size in four groups of
// 7 bits, content.
func appendDescriptor(dst []byte, tag byte, content []byte) []byte {
	n := len(content)
	dst = append(dst, tag, byte(n>>21)|0x80, byte(n>>14)|0x80, byte(n>>7)|0x80, byte(n)&0x7f)
	return append(dst, content...)
}

// vpBox returns the content of a VPCodecConfigurationBox: version 1 and flags 0 (u32), which
// some writers of FLV leave out, and the record.
func vpBox(config []byte) []byte {
	full := []byte{1, 0, 0, 0}
	if bytes.HasPrefix(config, full) {
		return config
	}
	return append(full, config...)
}

// opusBox returns the content of an OpusSpecificBox (Opus in ISOBMFF §4.3.2), nil if there is
// no whole OpusHead (RFC 7845 §5.1). They hold the same, one in big-endian, the other in
// little-endian order.
//
//	"OpusHead"  version 1 (u8)      |  version 0 (u8)
//	channels (u8)  pre-skip (u16)  input rate (u32)  gain (s16)  mapping family (u8)
//	if that is not 0: streams (u8)  of them coupled (u8)  channel mapping (u8 each)
func opusBox(head []byte) []byte {
	const fixed = 19
	if len(head) < fixed {
		return nil
	}
	channels, family := head[9], head[18]
	b := []byte{0, channels}
	b = binary.BigEndian.AppendUint16(b, binary.LittleEndian.Uint16(head[10:]))
	b = binary.BigEndian.AppendUint32(b, binary.LittleEndian.Uint32(head[12:]))
	b = binary.BigEndian.AppendUint16(b, binary.LittleEndian.Uint16(head[16:]))
	b = append(b, family)
	if family == 0 {
		return b
	}
	mapping := head[fixed:]
	if len(mapping) < 2+int(channels) {
		return nil
	}
	return append(b, mapping[:2+int(channels)]...)
}

// flacBox returns the content of a FLACSpecificBox (FLAC in ISOBMFF §3.3.2): version and flags 0
// (u32), and STREAMINFO as the last of the metadata blocks (RFC 9639 §8.1): 0x80, its size
// (u24).
func flacBox(config []byte) []byte {
	info := streamInfo(config)
	return append([]byte{0, 0, 0, 0, 0x80, 0, 0, byte(len(info))}, info...)
}

// streamInfo returns FLAC's STREAMINFO (RFC 9639 §8.2) of a codec header, which may have
// "fLaC" and the header of the block before it, or not; nil if it is cut short.
func streamInfo(config []byte) []byte {
	const size, blockHeader = 34, 4
	if rest, ok := bytes.CutPrefix(config, []byte("fLaC")); ok {
		config = rest[min(len(rest), blockHeader):]
	}
	if len(config) < size {
		return nil
	}
	return config[:size]
}
