package hub

import (
	"bytes"
	"cmp"
	"slices"
	"unsafe"

	"sluice/flv"
)

// headers are what a viewer is sent before its first frame: the stream's
// metadata and codec headers. They are immutable, and the log knows for every packet
// which are in force: a viewer that meets a packet with others than it has,
// at its start, after a jump or because they changed, is sent the difference
// first. So headers never stand in the log themselves.
type headers struct {
	meta    metadata
	configs []config              // video before audio, then by kind and track
	codecs  [mainTracks]flv.Codec // of the main tracks that have frames; 0 for none
	filled  bool                  // the sound is silence, in place of what is not sent
	first   uint64                // the first packet of what was encoded in one go with those they are for
}

// config is one codec header, or another packet that belongs before the frames
// (HDR colour information, a channel map).
type config struct {
	slot
	codec    flv.Codec
	enhanced bool   // it has the form of Enhanced RTMP
	data     []byte // the body as it was sent, which several tracks may share
	number   uint32 // of the tag that it came in, among the stream's tags of configs
}

// sharesBody reports whether c came in one body with o.
func (c *config) sharesBody(o *config) bool {
	return unsafe.SliceData(c.data) == unsafe.SliceData(o.data)
}

// slot is the place of a config among the headers; a new one for the same slot
// replaces the old one.
type slot struct {
	typ   flv.Type
	kind  flv.Kind
	track uint8
}

func (s slot) compare(o slot) int {
	return cmp.Or(
		-cmp.Compare(s.typ, o.typ), // video is 9, audio 8
		cmp.Compare(s.kind, o.kind),
		cmp.Compare(s.track, o.track),
	)
}

var noHeaders = &headers{}

// withConfigs returns headers in which all of one body's configs stand in their slots: h
// itself if they stand there already and came with number first or later. It copies the
// body.
func (h *headers) withConfigs(first uint32, configs ...config) *headers {
	if !slices.ContainsFunc(configs, func(c config) bool {
		i, found := h.find(c.slot)
		return !found || h.configs[i].number < first || !h.has(c)
	}) {
		return h
	}
	next := h.with(slices.Clone(h.configs))
	data := bytes.Clone(configs[0].data)
	for _, c := range configs {
		c.data = data
		if i, found := next.find(c.slot); found {
			next.configs[i] = c
		} else {
			next.configs = slices.Insert(next.configs, i, c)
		}
	}
	return next
}

// configsOf returns the configs of a body, number among the stream's, and whether there is room for
// them.
func (h *headers) configsOf(c *content, number uint32) (configs []config, fit bool) {
	configs = make([]config, 0, 4)
	for _, p := range c.packets {
		next := config{slot{c.tag.Type, p.Kind, p.Track}, p.Codec, p.Enhanced, c.tag.Data, number}
		if !h.hasRoom(next, len(configs)) {
			return nil, false
		}
		configs = append(configs, next)
	}
	return configs, true
}

// replaced returns headers without those that mean nothing behind a body: of a type whose main track
// has another codec by it.
func (h *headers) replaced(c *content) *headers {
	for _, p := range c.packets {
		if i, found := h.find(slot{c.tag.Type, flv.KindConfig, 0}); found && p.Track == 0 && h.configs[i].codec != p.Codec {
			return h.without(c.tag.Type)
		}
	}
	return h
}

// onlySince returns the configs that came with number first or later, and nothing else.
func (h *headers) onlySince(first uint32) *headers {
	return &headers{configs: slices.DeleteFunc(slices.Clone(h.configs), func(c config) bool { return c.number < first })}
}

// asSent returns the configs for viewers that get everything as it was sent: each body
// once, and those of one type in the order in which they came, since a later one may
// replace a part of a body that several tracks share.
func (h *headers) asSent() []config {
	inOrder := func(a, b config) int {
		return cmp.Or(-cmp.Compare(a.typ, b.typ), cmp.Compare(a.number, b.number))
	}
	configs := slices.Clone(h.configs)
	slices.SortStableFunc(configs, inOrder)
	return slices.CompactFunc(configs, func(a, b config) bool { return a.sharesBody(&b) })
}

// withMetadata returns headers with other metadata: h itself if they are the same.
func (h *headers) withMetadata(m metadata) *headers {
	if slices.Equal(h.meta, m) {
		return h
	}
	next := h.with(h.configs)
	next.meta = m
	return next
}

// withTrack returns headers in which a main track has another codec: h itself if it is
// the same.
func (h *headers) withTrack(track int, codec flv.Codec) *headers {
	if h.codecs[track] == codec {
		return h
	}
	next := h.with(h.configs)
	next.codecs[track] = codec
	return next
}

// withFilled returns headers in force while the gap in the sound is filled, or not: h
// itself if they are.
func (h *headers) withFilled(on bool) *headers {
	if h.filled == on {
		return h
	}
	next := h.with(h.configs)
	next.filled = on
	return next
}

// from returns headers for what is encoded in one go from a packet on: h itself if they are.
func (h *headers) from(first uint64) *headers {
	if h.first == first {
		return h
	}
	next := h.with(h.configs)
	next.first = first
	return next
}

// withSoundOf returns headers with the configs and the codec of another one's sound.
func (h *headers) withSoundOf(other *headers) *headers {
	isSound := func(c config) bool { return c.typ == flv.TypeAudio }
	configs := slices.DeleteFunc(slices.Clone(h.configs), isSound)
	for _, c := range other.configs {
		if isSound(c) {
			configs = append(configs, c) // behind those of video
		}
	}
	next := h.with(configs)
	if codec := other.codecs[audioTrack]; codec != 0 {
		next.codecs[audioTrack] = codec
	}
	return next
}

// with returns a copy of h with other configs.
func (h *headers) with(configs []config) *headers {
	next := *h
	next.configs = configs
	return &next
}

// enhanced reports whether the codec header of the main track of the given type has
// the form of Enhanced RTMP.
func (h *headers) enhanced(typ flv.Type) bool {
	i, found := h.find(slot{typ, flv.KindConfig, 0})
	if !found {
		// Of the codecs that need no header, these have the old form with few.
		codec := h.track(typ)
		return codec == flv.CodecVP8 || codec == flv.CodecVP9
	}
	return h.configs[i].enhanced
}

// track returns the codec of the main track of the given type, 0 if it has no frames.
func (h *headers) track(typ flv.Type) flv.Codec { return h.codecs[mainTrack(typ)] }

// Bounds of what is kept beside the log. The largest header of a known codec is a
// few hundred bytes, and the most tracks in use are a dozen.
const (
	maxConfigs    = 64
	maxConfigSize = 64 << 10 // bytes
)

// hasRoom reports whether c may be kept among the headers, beside others that are
// about to be.
func (h *headers) hasRoom(c config, others int) bool {
	_, found := h.find(c.slot)
	return len(c.data) <= maxConfigSize && (found || len(h.configs)+others < maxConfigs)
}

// headerCost is about what headers, one codec header or one property take beside
// their bytes, in bytes.
const headerCost = 96

// size returns about how many bytes of memory h takes.
func (h *headers) size() int {
	n := headerCost
	for _, c := range h.configs {
		n += headerCost + len(c.data)
	}
	for _, p := range h.meta {
		n += headerCost + len(p.name)
		if text, ok := p.value.(string); ok {
			n += len(text)
		}
	}
	return n
}

// has reports whether h holds just this config.
func (h *headers) has(c config) bool {
	i, found := h.find(c.slot)
	return found && bytes.Equal(h.configs[i].data, c.data)
}

func (h *headers) find(s slot) (int, bool) {
	return slices.BinarySearchFunc(h.configs, s, func(c config, s slot) int { return c.slot.compare(s) })
}

// sinceNumber returns headers without what describes only frames that came before number
// first: further tracks, and what was said of the picture or the channels.
func (h *headers) sinceNumber(first uint32) *headers {
	old := func(c config) bool { return c.number < first && (c.track != 0 || c.kind != flv.KindConfig) }
	if !slices.ContainsFunc(h.configs, old) {
		return h
	}
	return h.with(slices.DeleteFunc(slices.Clone(h.configs), old))
}

// exceeds reports whether h, which may be nil, has a config in a slot that next lacks, as
// where a publish session begins that has fewer tracks than the one before.
func (h *headers) exceeds(next *headers) bool {
	return h != nil && slices.ContainsFunc(h.configs, func(c config) bool {
		_, found := next.find(c.slot)
		return !found
	})
}

// settled returns what h becomes once the tracks have been decided and next are the
// headers in force: it keeps its own configs, and has those of next for a track of which
// it has none.
func (h *headers) settled(next *headers) *headers {
	all := next.with(nil)
	for _, typ := range []flv.Type{flv.TypeVideo, flv.TypeAudio} {
		other := func(c config) bool { return c.typ != typ }
		configs := slices.DeleteFunc(slices.Clone(h.configs), other)
		if len(configs) == 0 || next.track(typ) == 0 {
			configs = slices.DeleteFunc(slices.Clone(next.configs), other)
		}
		all.configs = append(all.configs, configs...)
	}
	return all
}

// without returns headers without any config of typ: a track changed its codec.
func (h *headers) without(typ flv.Type) *headers {
	return h.with(slices.DeleteFunc(slices.Clone(h.configs), func(c config) bool { return c.typ == typ }))
}

// codecLocked returns the codec of the main track's header of the given type, 0
// without one.
func (s *Stream) codecLocked(typ flv.Type) flv.Codec {
	if i, found := s.headers.find(slot{typ, flv.KindConfig, 0}); found {
		return s.headers.configs[i].codec
	}
	return 0
}
