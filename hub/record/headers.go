package record

import (
	"bytes"
	"slices"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// headers are the metadata and the codec headers in force where a recording is.
type headers struct {
	meta    []byte // body of onMetaData
	configs []config
}

// config is one codec header, or another packet that belongs before the frames.
type config struct {
	slot trackSlot
	tag  flv.Tag // data is its own
}

// trackSlot is the place of a config; a new one for the same place replaces the old one.
type trackSlot struct {
	typ   flv.Type
	kind  flv.Kind
	track uint8
}

// take notes a header packet, and reports whether it says something new. Its data is copied.
func (h *headers) take(t flv.Tag) (news bool) {
	if t.Type == flv.TypeScript {
		news = !bytes.Equal(h.meta, t.Data)
		h.meta = bytes.Clone(t.Data)
		return news
	}
	slot := trackSlot{typ: t.Type}
	if p, err := t.Packet(); err == nil {
		slot.kind, slot.track = p.Kind, p.Track
	}
	t.Data = bytes.Clone(t.Data)
	for i := range h.configs {
		if c := &h.configs[i]; c.slot == slot {
			news = !bytes.Equal(c.tag.Data, t.Data)
			c.tag = t
			return news
		}
	}
	h.configs = append(h.configs, config{slot, t})
	return true
}

// packets returns the codec headers for the beginning of a file.
func (h *headers) packets(time int64) []flvfile.Packet {
	var all []flvfile.Packet
	for _, c := range h.configs {
		all = append(all, flvfile.Packet{Tag: c.tag, Time: time, Header: true})
	}
	slices.SortStableFunc(all, func(a, b flvfile.Packet) int { return int(b.Type) - int(a.Type) }) // video first
	return all
}

// release takes the codec headers of a type out, for a file in which they come at a time.
func (h *headers) release(typ flv.Type, time int64) []flvfile.Packet {
	var all []flvfile.Packet
	h.configs = slices.DeleteFunc(h.configs, func(c config) bool {
		if c.tag.Type == typ {
			all = append(all, flvfile.Packet{Tag: c.tag, Time: time, Header: true})
		}
		return c.tag.Type == typ
	})
	return all
}

// metadata returns the properties of the metadata.
func (h *headers) metadata() amf.ECMAArray {
	values, err := amf.DecodeAll(h.meta, amf.Limits{})
	if err != nil || len(values) < 2 {
		return nil
	}
	props, _ := amf.Properties(values[1])
	return props
}

// format is what a file cannot change: codecs, picture and tracks.
type format struct {
	video  flv.VideoFormat
	audio  flv.AudioFormat
	codecs [2]flv.Codec // as metadata names them, for codecs without a header
	more   int          // how many further tracks
}

// format returns the format that is in force.
func (h *headers) format() format {
	var f format
	for _, c := range h.configs {
		if c.slot.kind != flv.KindConfig {
			continue
		}
		if c.slot.track != 0 {
			f.more++
			continue
		}
		p, err := c.tag.Packet()
		if err != nil {
			continue
		}
		switch c.tag.Type {
		case flv.TypeVideo:
			f.video, _ = flv.ParseVideoConfig(p)
			f.video.Codec, f.video.FrameRate = p.Codec, 0
		case flv.TypeAudio:
			f.audio, _ = flv.ParseAudioConfig(p)
			f.audio.Codec = p.Codec
		}
	}
	meta := h.metadata()
	for i, name := range []string{"videocodecid", "audiocodecid"} {
		if v, ok := meta.Get(name); ok {
			f.codecs[i] = flv.ParseCodecID([]flv.Type{flv.TypeVideo, flv.TypeAudio}[i], v)
		}
	}
	return f
}

// packet returns a packet of the hub as a file has it, base being the stream's time of the
// file's beginning.
func packet(p *hub.Packet, base int64) flvfile.Packet {
	return flvfile.Packet{Tag: p.Tag, Time: max(0, p.Time-base), Header: p.Header, Key: p.Key}
}
