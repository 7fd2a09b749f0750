package flvfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
)

// dataStart is where the tags behind the first one begin in a file of ours.
const dataStart = flv.HeaderSize + flv.TagOverhead + HeadSize

// Bounds of the head, in bytes where nothing else is said.
const (
	maxNames     = 1 << 10      // app and name together
	maxPublisher = HeadSize / 2 // the publisher's properties
	maxName      = 127          // of a property; ffmpeg refuses 128
	maxText      = 1 << 10
	maxNumber    = 1 << 32 // of a number that is believed: seconds, pixels
	maxForeign   = 4 << 20 // metadata of a file from elsewhere; a larger one is passed over
)

// beginLayout is how the head writes the time of the first packet.
const beginLayout = "2006-01-02T15:04:05.000Z07:00"

// head is what the first tag says, but for the key frames.
type head struct {
	Info
	videoID, audioID any   // as the metadata has them; nil for no such track
	last             int64 // time of the last packet, ms
	seekable         bool  // there are key frames
	publisher        amf.ECMAArray

	// Of a file from elsewhere, or one that is read.
	start     int64  // where the tags behind the head begin
	whole     int64  // where the last whole tag ends, if that is known
	ours      bool   // this package wrote it
	base      uint32 // timestamp of the first packet
	keyframes bool   // the metadata has key frames
}

// reserved are the names of properties that are ours, in small letters.
var reserved = map[string]bool{
	"duration": true, "filesize": true, "lasttimestamp": true, "width": true, "height": true,
	"videocodecid": true, "audiocodecid": true, "haskeyframes": true, "canseektoend": true,
	"hasaudio": true, "hasvideo": true, "hasmetadata": true, "app": true, "stream": true, "begin": true,
	"gaps": true, "gaptime": true, "keyframes": true, "times": true, "filepositions": true, "spacer": true,
	"lastkeyframetimestamp": true, "lastkeyframelocation": true, "datasize": true, "videosize": true, "audiosize": true,
}

// setTracks takes what the tags told.
func (h *head) setTracks(s *summary) {
	h.videoID, h.audioID = s.video.id(), s.audio.id()
	h.last = max(s.video.last, s.audio.last)
}

// id returns what stands for the track's codec in metadata, nil if it has no frames.
func (t *track) id() any {
	codec := t.present()
	if codec == 0 {
		return nil
	}
	return flv.Shape{}.CodecID(codec, t.enhanced)
}

// properties returns the metadata without key frames: numbers, booleans and texts.
func (h *head) properties() amf.ECMAArray {
	var props amf.ECMAArray
	add := func(name string, value any, ok bool) {
		if ok {
			props = append(props, amf.Property{Name: name, Value: value})
		}
	}
	add("duration", h.Duration.Seconds(), h.Duration > 0)
	add("filesize", h.Size, h.Size > 0)
	add("lasttimestamp", float64(h.last)/1000, h.Duration > 0)
	add("width", h.Width, h.Width > 0)
	add("height", h.Height, h.Height > 0)
	add("videocodecid", h.videoID, h.videoID != nil)
	add("audiocodecid", h.audioID, h.audioID != nil)
	add("hasKeyframes", h.seekable, true)
	add("canSeekToEnd", h.seekable, true)
	known := h.videoID != nil || h.audioID != nil
	add("hasAudio", h.audioID != nil, known)
	add("hasVideo", h.videoID != nil, known)
	add("app", h.App, h.App != "")
	add("stream", h.Name, h.Name != "")
	add("begin", h.Begin.UTC().Format(beginLayout), !h.Begin.IsZero())
	add("gaps", h.Gaps, h.ours || h.Gaps > 0)
	add("gapTime", h.GapTime.Seconds(), h.ours || h.Gaps > 0)
	return append(props, h.publisher...)
}

// body returns the metadata as players get it that are not given the file itself.
func (h *head) body() []byte { return amf.AppendAMF0(nil, "onMetaData", h.properties()) }

// What the parts of the metadata take, in bytes.
const (
	entrySize      = 2 * 9                                         // a number in each of two arrays
	keyframesSize  = 2 + len("keyframes") + 1 + keyframesInner + 3 // without entries
	keyframesInner = 2 + len("times") + 5 + 2 + len("filepositions") + 5
	spacerSize     = 2 + len("spacer") + 5 // without numbers
)

// room returns for how many key frames there is room.
func (h *head) room() int {
	return (HeadSize - len(h.body()) - keyframesSize - spacerSize - len(amfEnd)) / entrySize
}

// bytes returns the head of a file, dataStart bytes: FLV header and first tag. There are at
// most room entries; none leave out the property.
func (h *head) bytes(entries []entry) []byte {
	dst := make([]byte, 0, dataStart)
	dst = flv.AppendHeader(dst, h.audioID != nil || h.videoID == nil, h.videoID != nil || h.audioID == nil)
	body := amf.AppendAMF0(make([]byte, 0, HeadSize), "onMetaData", h.properties())
	count := body[len(onMetaData)+1:][:4]
	binary.BigEndian.PutUint32(count, binary.BigEndian.Uint32(count)+1)
	body = body[:len(body)-len(amfEnd)]
	if len(entries) > 0 {
		binary.BigEndian.PutUint32(count, binary.BigEndian.Uint32(count)+1)
		body = appendKeyframes(body, entries)
	}
	body = appendSpacer(body, HeadSize-len(amfEnd))
	body = append(body, amfEnd...)
	return flv.AppendTag(dst, flv.Tag{Type: flv.TypeScript, Data: body})
}

// appendSpacer appends a property that fills dst up to size bytes: an array of numbers
// behind a name as long as it takes. There must be room for spacerSize bytes.
func appendSpacer(dst []byte, size int) []byte {
	const number = 9
	rest := size - len(dst) - spacerSize
	dst = appendText(dst, "spacer"+strings.Repeat("_", rest%number))
	dst = appendArray(dst, rest/number)
	return append(dst, make([]byte, rest/number*number)...) // zeros, marker and value
}

// appendText appends the name of a property.
func appendText(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// ownProperties returns of a publisher's properties what the head can tell: what players
// choke on is left out, and what is ours; of several of a name the last one counts. If
// it is too much, the largest go.
func ownProperties(from amf.ECMAArray) amf.ECMAArray {
	var props amf.ECMAArray
	size := 0
	for i, p := range from {
		later := slices.ContainsFunc(from[i+1:], func(q amf.Property) bool { return q.Name == p.Name && playable(q.Value) })
		if p.Name == "" || len(p.Name) > maxName || reserved[strings.ToLower(p.Name)] || !playable(p.Value) || later {
			continue
		}
		props = append(props, p)
		size += propertySize(p)
	}
	for size > maxPublisher {
		largest := 0
		for i, p := range props {
			if propertySize(p) > propertySize(props[largest]) {
				largest = i
			}
		}
		size -= propertySize(props[largest])
		props = slices.Delete(props, largest, largest+1)
	}
	return props
}

func propertySize(p amf.Property) int { return 2 + len(p.Name) + len(amf.AppendAMF0(nil, p.Value)) }

// playable reports whether every player can take a value.
func playable(value any) bool {
	switch v := value.(type) {
	case float64:
		return !math.IsNaN(v) && !math.IsInf(v, 0)
	case bool:
		return true
	case string:
		return len(v) <= maxText && !strings.ContainsRune(v, 0)
	}
	return false
}

// metadataProperties returns the properties of the body of an onMetaData tag, as far as it
// can be read; keyframes reports whether there is an index of key frames among them.
func metadataProperties(body []byte) (props amf.ECMAArray, keyframes bool) {
	const most = 256 // values of one property, and properties
	rest, ok := bytes.CutPrefix(body, onMetaData)
	if !ok {
		return nil, false
	}
	keep := func(name []byte, value any, err error) {
		switch {
		case string(name) == "keyframes":
			keyframes = errors.Is(err, amf.ErrLimit) || hasEntries(value)
		case err == nil && len(props) < most && len(name) <= maxName:
			props = append(props, amf.Property{Name: string(name), Value: value})
		}
	}
	// What came before an error counts.
	_, _ = amf.EachProperty(rest, amf.Limits{Depth: 4, Elements: most, Bytes: maxPublisher}, keep)
	return props, keyframes
}

// hasEntries reports whether a value is an index that players can use.
func hasEntries(value any) bool {
	props, _ := amf.Properties(value)
	times, _ := amf.Object(props).Get("times")
	positions, _ := amf.Object(props).Get("filepositions")
	t, ok1 := times.(amf.StrictArray)
	p, ok2 := positions.(amf.StrictArray)
	return ok1 && ok2 && len(t) > 1 && len(t) == len(p)
}

// readHead reads FLV header and metadata of a file of size bytes, at most limit bytes of
// that. The error is flv.ErrFormat where no FLV file stands, or one of reading.
func readHead(file io.ReaderAt, size int64, limit int) (h head, err error) {
	r := flv.NewReader(io.NewSectionReader(file, 0, min(size, maxHeader)))
	if _, err := r.Header(); err != nil {
		if isEOF(err) {
			err = fmt.Errorf("%w: the file ends in its header", flv.ErrFormat)
		}
		return head{}, err
	}
	var b [9]byte
	if _, err := file.ReadAt(b[:], 0); err != nil {
		return head{}, fmt.Errorf("flvfile: reading the head: %w", err)
	}
	h.start = int64(binary.BigEndian.Uint32(b[5:])) + tagTail
	t := tags{file: file, pos: h.start, end: size}
	first, err := t.peek()
	switch {
	case isEnd(err):
		return h, nil // Next will tell
	case err != nil:
		return head{}, err
	case first.typ != flv.TypeScript || first.size < len(onMetaData):
		return h, nil
	}
	body := make([]byte, min(first.size, limit))
	if _, err := file.ReadAt(body, first.pos+tagHeaderSize); err != nil {
		return head{}, fmt.Errorf("flvfile: reading the head: %w", err)
	}
	if bytes.HasPrefix(body, onMetaData) {
		h.start = first.next()
		h.parse(body, first.size)
	}
	return h, nil
}

// maxHeader is more than an FLV header may have, in bytes.
const maxHeader = 64 << 10

func isEOF(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// parse takes what a metadata body of size bytes says, of which body is the beginning.
func (h *head) parse(body []byte, size int) {
	props, keyframes := metadataProperties(body)
	number := func(name string) float64 {
		v, _ := props.Get(name)
		n, _ := v.(float64)
		if !(n > 0 && n < maxNumber) {
			return 0
		}
		return n
	}
	text := func(name string) string {
		v, _ := props.Get(name)
		s, _ := v.(string)
		return s
	}
	h.keyframes, h.seekable = keyframes, keyframes
	h.Duration = seconds(number("duration"))
	h.last = seconds(number("lasttimestamp")).Milliseconds()
	h.Width, h.Height = int(number("width")), int(number("height"))
	h.videoID, h.Video = codecID(flv.TypeVideo, props, "videocodecid")
	h.audioID, h.Audio = codecID(flv.TypeAudio, props, "audiocodecid")
	_, counted := props.Get("gaps")
	if h.ours = size == HeadSize && counted; h.ours {
		if begin, err := time.Parse(beginLayout, text("begin")); err == nil {
			h.Begin = begin.UTC()
		}
		h.App, h.Name = text("app"), text("stream")
		h.Gaps, h.GapTime = int(number("gaps")), seconds(number("gapTime"))
	}
	h.publisher = ownProperties(props)
}

// seconds returns a duration, to the millisecond.
func seconds(s float64) time.Duration {
	return time.Duration(math.Round(s*1000)) * time.Millisecond
}

// unknownID is codecID for a number that stands for no codec that is known here (see
// flv.Codec).
func unknownID(typ flv.Type, n float64) (any, flv.Codec) {
	const classicAudio, fourCC = 0x100, 0x200
	switch whole := n == math.Trunc(n); {
	case whole && n > 0 && n < 16 && typ == flv.TypeVideo:
		return n, flv.Codec(n)
	case whole && n > 0 && n < 16:
		return n, flv.Codec(n) + classicAudio
	case whole && n >= fourCC && n <= math.MaxUint32:
		return n, flv.Codec(n)
	}
	return nil, 0
}

// codecID returns what metadata has for a codec, nil where it means nothing.
func codecID(typ flv.Type, props amf.ECMAArray, name string) (any, flv.Codec) {
	v, _ := props.Get(name)
	codec := flv.ParseCodecID(typ, v)
	if codec == 0 {
		n, _ := v.(float64)
		return unknownID(typ, n)
	}
	if _, text := v.(string); text {
		v = flv.Shape{}.CodecID(codec, false)
	}
	return v, codec
}
