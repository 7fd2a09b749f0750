package hub

import (
	"math"
	"slices"
	"strings"

	"sluice/flv"
	"sluice/flv/amf"
)

// metadata is a stream's onMetaData, made safe for every player: each value is a
// finite number, a boolean or a string, in the publisher's order. Players choke
// on anything else: ffmpeg ends the session at an undefined or a key of 128
// bytes, flv.js and mpegts.js skip the rest at a null.
type metadata []property

type property struct {
	name  string
	value any // float64, bool or string
}

// Bounds of what is kept of a publisher's metadata.
const (
	maxProperties  = 128
	maxPropertyKey = 127  // bytes; ffmpeg refuses 128
	maxPropertyStr = 1024 // bytes; longer texts are left out
)

// Left out of metadata: what a live stream has no true value for (a copied duration makes
// players show a seek bar, and rtmpdump report a loss), and what is decided anew for each
// viewer.
var notForwarded = map[string]bool{
	"duration": true, "filesize": true, "filepositions": true, "times": true, "keyframes": true,
	"lasttimestamp": true, "lastkeyframetimestamp": true, "lastkeyframelocation": true,
	"datasize": true, "videosize": true, "audiosize": true, "haskeyframes": true, "canseektoend": true,
	"hasaudio": true, "hasvideo": true, "hasmetadata": true,
}

// parseMetadata reads what follows the name in an onMetaData message. What can't be kept
// is left out; excess is how many of these were too large, or too many. ok is false where
// there is no object at all.
func parseMetadata(b []byte) (m metadata, excess uint64, ok bool) {
	keep := func(name []byte, value any, err error) {
		ok = true
		text, _ := value.(string)
		switch {
		case err != nil, len(name) > maxPropertyKey, len(text) > maxPropertyStr:
			excess++
		case len(name) == 0, notForwarded[strings.ToLower(string(name))], !playable(value):
		case len(m) == maxProperties && !m.has(string(name)):
			excess++
		default:
			m = m.with(string(name), value)
		}
	}
	for len(b) > 0 {
		_, err := amf.EachProperty(b, scriptLimits, keep)
		switch {
		case err == nil:
			return m, excess, true
		case ok: // what follows can't be told
			return m, excess + 1, true
		}
		if b, err = amf.SkipAMF0(b); err != nil {
			return nil, 0, false
		}
	}
	return nil, 0, false
}

// playable reports whether every player can take a value.
func playable(value any) bool {
	switch v := value.(type) {
	case float64:
		return !math.IsNaN(v) && !math.IsInf(v, 0)
	case bool:
		return true
	case string:
		return !strings.ContainsRune(v, 0)
	}
	return false
}

// with returns m with the property set, in its old place if it has one.
func (m metadata) with(name string, value any) metadata {
	for i := range m {
		if m[i].name == name {
			m[i].value = value
			return m
		}
	}
	return append(m, property{name, value})
}

// number returns a property that is a positive number, 0 if it is none.
func (m metadata) number(name string) float64 {
	for _, p := range m {
		if n, ok := p.value.(float64); ok && p.name == name && n > 0 {
			return n
		}
	}
	return 0
}

// text returns a property that is a text, empty if it is none.
func (m metadata) text(name string) string {
	for _, p := range m {
		if text, ok := p.value.(string); ok && p.name == name {
			return text
		}
	}
	return ""
}

func (m metadata) has(name string) bool {
	return slices.ContainsFunc(m, func(p property) bool { return p.name == name })
}

// namesCodecs returns the codecs of the main tracks that the publisher says it has, 0 where
// it names none that exists. What it does not say means nothing: encoders leave out a codec, or name none
// (0, an empty text), and send the track all the same.
func (m metadata) namesCodecs() (named [mainTracks]flv.Codec) {
	for _, p := range m {
		switch p.name {
		case "audiocodecid":
			named[audioTrack] = flv.ParseCodecID(flv.TypeAudio, p.value)
		case "videocodecid":
			named[videoTrack] = flv.ParseCodecID(flv.TypeVideo, p.value)
		}
	}
	return named
}

// belongs tells which track a property describes.
func belongs(name string) (audio, video bool) {
	switch strings.ToLower(name) {
	case "audiocodecid", "audiodatarate", "audiosamplerate", "audiosamplesize", "audiochannels", "audiodelay", "stereo":
		return true, false
	case "videocodecid", "videodatarate", "width", "height", "framerate", "displaywidth", "displayheight", "avclevel", "avcprofile":
		return false, true
	}
	return false, false
}

// trackInfo is what a viewer's metadata says of its tracks.
type trackInfo struct {
	audio, video         float64 // what stands for the codec, 0 for no such track
	mainAudio, mainVideo bool    // it is the track that the publisher's properties describe

	audioNamed, videoNamed bool // of appendBody
}

// appendBody appends the body of the onMetaData tag for a viewer: properties of tracks
// that it is not sent are left out, hasAudio and hasVideo tell the truth, and the
// codecs are named as the viewer meets them, even where the publisher sent no metadata
// (ffmpeg reads from them which tracks an RTMP stream has). further properties come last.
func (m metadata) appendBody(dst []byte, t trackInfo, further ...amf.Property) []byte {
	props := make(amf.ECMAArray, 0, len(m)+4+len(further))
	for _, p := range m {
		a, v := belongs(p.name)
		if a && !t.mainAudio || v && !t.mainVideo {
			continue
		}
		switch strings.ToLower(p.name) {
		case "audiocodecid":
			p.value, t.audioNamed = t.audio, true
		case "videocodecid":
			p.value, t.videoNamed = t.video, true
		}
		props = append(props, amf.Property{Name: p.name, Value: p.value})
	}
	if t.video != 0 && !t.videoNamed {
		props = append(props, amf.Property{Name: "videocodecid", Value: t.video})
	}
	if t.audio != 0 && !t.audioNamed {
		props = append(props, amf.Property{Name: "audiocodecid", Value: t.audio})
	}
	props = append(props,
		amf.Property{Name: "hasAudio", Value: t.audio != 0},
		amf.Property{Name: "hasVideo", Value: t.video != 0},
	)
	props = append(props, further...)
	return amf.AppendAMF0(dst, "onMetaData", props)
}

// MetadataTracks says which tracks the viewer of a recording gets, and how.
type MetadataTracks struct {
	Audio, Video                 flv.Codec // 0 for no such track
	EnhancedAudio, EnhancedVideo bool      // the publisher's bodies have the enhanced form
	Shape                        flv.Shape // in which the viewer gets them
}

// AppendMetadata appends the body of an onMetaData tag for the viewer of a recording, made
// of that of the publisher as for a viewer of its stream: what every player can take, true
// for the tracks that this one gets. further properties are added.
func AppendMetadata(dst, publisher []byte, t MetadataTracks, further ...amf.Property) []byte {
	rest, err := amf.SkipAMF0(publisher) // its name
	var m metadata
	if err == nil {
		m, _, _ = parseMetadata(rest)
	}
	main := t.Shape.Track == 0
	tracks := trackInfo{mainAudio: main && t.Audio != 0, mainVideo: main && t.Video != 0}
	if t.Audio != 0 {
		tracks.audio = t.Shape.CodecID(t.Audio, t.EnhancedAudio)
	}
	if t.Video != 0 {
		tracks.video = t.Shape.CodecID(t.Video, t.EnhancedVideo)
	}
	return m.appendBody(dst, tracks, further...)
}
