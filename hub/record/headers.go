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

// config is the body of codec headers, or of other packets that belong before the frames.
type config struct {
	slots []trackSlot // of those in it that are in force
	tag   flv.Tag     // data is its own
}

// trackSlot is the place of a codec header; a new one for the same place replaces the old one.
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
	var slots []trackSlot
	packets, _ := t.AppendPackets(nil)
	for _, p := range packets {
		slots = append(slots, trackSlot{t.Type, p.Kind, p.Track})
	}
	if len(slots) == 0 {
		slots = []trackSlot{{typ: t.Type}}
	}
	if slices.ContainsFunc(h.configs, func(c config) bool {
		return slices.Equal(c.slots, slots) && bytes.Equal(c.tag.Data, t.Data)
	}) {
		return false
	}
	replaced := func(s trackSlot) bool { return slices.Contains(slots, s) }
	for i := range h.configs {
		h.configs[i].slots = slices.DeleteFunc(h.configs[i].slots, replaced)
	}
	h.configs = slices.DeleteFunc(h.configs, func(c config) bool { return len(c.slots) == 0 })
	t.Data = bytes.Clone(t.Data)
	h.configs = append(h.configs, config{slots, t}) // behind those of which it replaces a part
	return true
}

// reset forgets the codec headers.
func (h *headers) reset() { h.configs = nil }

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

// main is the format without the further tracks, of which a viewer need not know.
func (f format) main() format {
	f.more = 0
	return f
}

// format returns the format that is in force.
func (h *headers) format() format {
	var f format
	for _, c := range h.configs {
		packets, _ := c.tag.AppendPackets(nil)
		for _, p := range packets {
			switch {
			case p.Kind != flv.KindConfig || !slices.Contains(c.slots, trackSlot{c.tag.Type, p.Kind, p.Track}):
			case p.Track != 0:
				f.more++
			case c.tag.Type == flv.TypeVideo:
				f.video, _ = flv.ParseVideoConfig(p)
				f.video.Codec, f.video.FrameRate = p.Codec, 0
			case c.tag.Type == flv.TypeAudio:
				f.audio, _ = flv.ParseAudioConfig(p)
				f.audio.Codec = p.Codec
			}
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
