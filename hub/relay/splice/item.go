package splice

import (
	"bytes"
	"hash/maphash"

	"sluice/flv"
)

// item is a tag of a connection, understood.
type item struct {
	tag   flv.Tag
	sum   uint64 // a hash of its type and body
	came  uint32 // ms since the run's first tag
	kind  itemKind
	track uint8 // of a frame: its place in Run.tracks
	key   bool  // a viewer can begin at it
	main  bool  // and it is of the main track
	slot  slot  // of a header
	codec flv.Codec
}

type itemKind uint8

const (
	opaque itemKind = iota // audio or video that is neither a frame nor a header, or can't be read
	frame
	header // codec headers and what else belongs before frames, and metadata
	script // other script data
)

// trackID is a type of tag, times 256, and the number of a track.
type trackID uint16

func (id trackID) typ() flv.Type { return flv.Type(id >> 8) }

// maxTracks bounds the tracks that are told apart; packets of further ones are opaque.
const maxTracks = 16

// seed is of all hashes of this process.
var seed = maphash.MakeSeed()

// understand says what a tag is. It registers its track.
func (r *Run) understand(t flv.Tag, came uint32) item {
	it := item{tag: t, came: came, sum: maphash.Bytes(seed, t.Data) ^ uint64(t.Type)*0x9e3779b97f4a7c15}
	switch t.Type {
	case flv.TypeAudio, flv.TypeVideo:
	case flv.TypeScript, flv.TypeScriptAMF3:
		if isMetadata(t) {
			it.kind, it.slot = header, slot{typ: flv.TypeScript}
			return it
		}
		it.kind = script
		return it
	default:
		return it
	}
	p, err := t.Packet()
	if err != nil || len(t.Data) == 0 {
		return it
	}
	switch p.Kind {
	case flv.KindFrame:
		id := trackID(t.Type)<<8 | trackID(p.Track)
		track, ok := r.trackOf(id)
		if !ok {
			return it
		}
		it.kind, it.track = frame, track
		it.key = p.Frame == flv.FrameKey && t.Type == flv.TypeVideo
		it.main = p.Key
	case flv.KindConfig, flv.KindConfigTS, flv.KindMetadata, flv.KindMultichannel:
		it.kind, it.codec, it.slot = header, p.Codec, slot{t.Type, p.Kind, p.Track}
	}
	return it
}

// trackOf returns the place of a track in Run.tracks.
func (r *Run) trackOf(id trackID) (uint8, bool) {
	for i, known := range r.tracks {
		if known == id {
			return uint8(i), true
		}
	}
	if len(r.tracks) == maxTracks {
		return 0, false
	}
	r.tracks = append(r.tracks, id)
	return uint8(len(r.tracks) - 1), true
}

func (r *Run) isVideo(track uint8) bool { return r.tracks[track].typ() == flv.TypeVideo }

// The beginnings of metadata: AMF0 strings.
var (
	onMetaData   = []byte("\x02\x00\x0aonMetaData")
	setDataFrame = []byte("\x02\x00\x0d@setDataFrame")
)

func isMetadata(t flv.Tag) bool {
	data := t.Data
	if t.Type == flv.TypeScriptAMF3 && len(data) > 0 {
		data = data[1:]
	}
	return bytes.HasPrefix(data, onMetaData) || bytes.HasPrefix(data, setDataFrame)
}

// slot is the place of a header: a new one replaces what was there. Metadata has one of its own.
type slot struct {
	typ   flv.Type
	kind  flv.Kind
	track uint8
}

// kept is a header as it was sent.
type kept struct {
	slot  slot
	codec flv.Codec
	tag   flv.Tag // its data is never changed
}

// headers are those in force, in the order in which their slots came first.
type headers []kept

// Bounds of headers. One that does not fit counts as another one each time it comes.
const (
	maxHeaders    = 32
	maxHeaderSize = 16 << 10 // bytes
)

// find returns what is in a slot, nil if nothing is.
func (h headers) find(s slot) *kept {
	for i := range h {
		if h[i].slot == s {
			return &h[i]
		}
	}
	return nil
}

// has reports whether just this header is in force.
func (h headers) has(it *item) bool {
	k := h.find(it.slot)
	return k != nil && k.tag.Type == it.tag.Type && bytes.Equal(k.tag.Data, it.tag.Data)
}

// set puts a header in force, and reports whether it replaces another one. It copies the body
// unless it stands in other, whose memory it shares then.
func (h *headers) set(it *item, other headers) (replaced bool) {
	if h.has(it) || len(it.tag.Data) > maxHeaderSize {
		return false
	}
	k := kept{slot: it.slot, codec: it.codec, tag: it.tag}
	if other.has(it) {
		k.tag.Data = other.find(it.slot).tag.Data
	} else {
		k.tag.Data = bytes.Clone(it.tag.Data)
	}
	if old := h.find(it.slot); old != nil {
		*old = k
		return true
	}
	if len(*h) < maxHeaders {
		*h = append(*h, k)
	}
	return false
}
