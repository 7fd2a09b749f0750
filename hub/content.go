package hub

import (
	"sluice/flv"
	"sluice/hub/timeline"
)

// content is what a publisher's tag holds, as far as the bytes tell. It is found out
// once, before the stream is locked; on its way into the log nobody looks into the body
// after that.
type content struct {
	tag  flv.Tag
	skip skip // why there is nothing in it to take; notSkipped as a rule

	script *script // of script data
	loops  bool    // it is metadata that say that the stream has passed this server already
	place  placement

	// Of audio and video.
	packets []flv.Packet // of each of its tracks: the publisher's memory
	main    *flv.Packet  // that of track 0, or the first
	formats []Track      // what packets newly tell of their tracks
	silence *silence     // what can stand for the sound, if this is the main track's header; nil if nothing
}

// understand looks into a tag. What it finds is valid until the next call.
func (p *Publisher) understand(c *content, t flv.Tag) {
	c.tag = t
	switch {
	case t.Type == flv.TypeScript:
		c.script = readScript(t.Data)
		if !c.script.safe {
			c.skip = skipUnsafe
		}
		c.loops = p.stream.hub.loops(c.script.meta.text(PathProperty))
		return
	case len(t.Data) == 0:
		c.skip = skipEmpty
		return
	}
	packets, err := t.AppendPackets(p.packets[:0])
	if err != nil {
		c.skip = skipUnreadable
		return
	}
	p.packets, c.packets, c.main = packets, packets, mainOf(packets)
	main := c.main
	if main.Kind == flv.KindFrame && len(packets) == 1 && main.Track == 0 && !main.Key &&
		main.Codec != 0 && main.Codec == p.codecs[mainTrack(t.Type)] {
		return // as nearly all are
	}
	switch {
	case main.Kind == flv.KindEnd && main.Enhanced:
	case main.Kind == flv.KindCommand, main.Kind == flv.KindEnd:
		c.skip = skipCommand
	case main.Kind == flv.KindUnknown, main.Codec == 0:
		c.skip = skipUnreadable
	case main.Kind == flv.KindConfig && len(main.Payload) == 0:
		c.skip = skipEmpty // ffmpeg sends one for AAC whose real header is to come
	case main.Kind == flv.KindFrame:
		p.readFormats(c, false)
	default:
		c.packets = withoutEmptyConfigs(packets)
		c.main = mainOf(c.packets)
		p.readFormats(c, true)
		c.silence = readSilence(t.Type, c.main)
	}
}

// hasMainHeader reports whether the tag holds the codec header of the main track.
func (c *content) hasMainHeader() bool { return c.main.Kind == flv.KindConfig && c.main.Track == 0 }

// isMainFrame reports whether the tag holds a frame of a main track.
func (c *content) isMainFrame() bool {
	return c.skip == notSkipped && c.script == nil && c.main.Kind == flv.KindFrame && c.main.Track == 0
}

// mainOf returns the packet of track 0, or the first where there is none.
func mainOf(packets []flv.Packet) *flv.Packet {
	for i := range packets {
		if packets[i].Track == 0 {
			return &packets[i]
		}
	}
	return &packets[0]
}

func withoutEmptyConfigs(packets []flv.Packet) []flv.Packet {
	kept := packets[:0]
	for _, p := range packets {
		if p.Kind != flv.KindConfig || len(p.Payload) > 0 {
			kept = append(kept, p)
		}
	}
	return kept
}

// readFormats reads what the packets tell of their tracks. A codec header tells
// everything; a frame of a codec that needs no header tells that there is such a track; a
// key frame tells the size of the picture where the codec's header need not.
func (p *Publisher) readFormats(c *content, headers bool) {
	for i := range c.packets {
		packet := &c.packets[i]
		id := timeline.ID{Type: c.tag.Type, Number: packet.Track}
		isNew := p.codec(id) != packet.Codec
		sizes := packet.Key && sizedByFrames(packet.Codec)
		if headers && packet.Kind != flv.KindConfig || !headers && !isNew && !sizes {
			continue
		}
		t := Track{Number: packet.Track}
		if id.Type == flv.TypeVideo {
			f, err := flv.ParseVideoConfig(*packet)
			if err != nil {
				f = flv.VideoFormat{Codec: packet.Codec}
			}
			if !headers && !isNew && (err != nil || f == p.picture) {
				continue
			}
			if sizes {
				p.picture = f
			}
			t.Video = new(f)
		} else {
			f, err := flv.ParseAudioConfig(*packet)
			if err != nil {
				f = flv.AudioFormat{Codec: packet.Codec}
			}
			t.Audio = new(f)
		}
		p.setCodec(id, packet.Codec)
		c.formats = append(c.formats, t)
	}
}

// sizedByFrames reports whether the picture's size may stand in key frames only.
func sizedByFrames(c flv.Codec) bool {
	switch c {
	case flv.CodecVP8, flv.CodecVP9, flv.CodecAV1, flv.CodecH263:
		return true
	}
	return false
}

// needsHeader reports whether players whose decoders are set up once can make nothing of
// a codec's frames before its header has come. MPEG-4 may have a header, or may carry the
// same in its key frames.
func needsHeader(c flv.Codec) bool {
	switch c {
	case flv.CodecH264, flv.CodecHEVC, flv.CodecVVC, flv.CodecAV1,
		flv.CodecAAC, flv.CodecOpus, flv.CodecFLAC:
		return true
	}
	return false
}

// codec returns the codec of a track, as far as the publisher has shown it.
func (p *Publisher) codec(id timeline.ID) flv.Codec {
	if id.Number != 0 {
		return p.further[id]
	}
	return p.codecs[mainTrack(id.Type)]
}

func (p *Publisher) setCodec(id timeline.ID, codec flv.Codec) {
	if id.Number == 0 {
		p.codecs[mainTrack(id.Type)] = codec
		return
	}
	if p.further == nil {
		p.further = make(map[timeline.ID]flv.Codec) // of 510 at the most, numbers being bytes
	}
	p.further[id] = codec
}
