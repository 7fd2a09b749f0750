package mp4

import (
	"bytes"
	"unsafe"

	"sluice/flv"
)

// track is one track of an index.
type track struct {
	video   bool
	codec   flv.Codec // 0 before the first codec header
	samples samples
	// descriptions are its different codec headers, current the one in force.
	descriptions []description
	current      int
	changes      []change

	// What is known when the scan is complete. Times in ms.
	start     int64 // decoding of the first sample
	shown     int64 // presentation of the sample that is presented first
	delay     int64 // of shown behind the presentation's begin
	timescale int64 // units a second of the media's own time
	exact     bool  // sound: durations are those of the codec, in sample rate units
	end       int64 // decoding of the last sample, from start, in units of timescale
	last      int64 // duration of the last sample, in the same units

	lowest, highest           int64 // presentation times
	minComposition, maxCompos int32
	usual                     int64 // last distance of two pictures that was no gap
	rates                     bool  // sound: the sample rate changes
}

// description is a codec header.
type description struct {
	config        []byte
	frame         frames
	width, height int    // pixels
	pixel         [2]int // shape of a pixel; 0 for a square one
	rate          int    // Hz
	channels      int
	asked         bool // a key frame has been asked for the size
}

// change says from which sample on another description is in force.
type change struct {
	sample      uint32
	description uint32
}

const (
	descriptionSize = int64(unsafe.Sizeof(description{}))
	changeSize      = int64(unsafe.Sizeof(change{}))
)

// describe has p, a codec header or a frame of a codec that has none, in force from the next
// sample on. It reports false if nothing can be made of it.
func (t *track) describe(p flv.Packet) bool {
	var config []byte
	if p.Kind == flv.KindConfig {
		if config = p.Payload; len(config) > maxConfig {
			return false
		}
		for i := range t.descriptions {
			if bytes.Equal(t.descriptions[i].config, config) {
				t.current = i
				return true
			}
		}
	}
	if len(t.descriptions) == maxConfigs {
		return false
	}
	d := description{config: bytes.Clone(config)}
	if t.video {
		f, err := flv.ParseVideoConfig(p)
		if err != nil {
			return false
		}
		d.width, d.height = f.Width, f.Height
		d.pixel = [2]int{f.PixelWidth, f.PixelHeight}
	} else {
		f, err := flv.ParseAudioConfig(p)
		if err != nil || f.SampleRate == 0 {
			return false
		}
		d.rate, d.channels = f.SampleRate, f.Channels
		d.frame = framesOf(p, f)
	}
	if !expressible(p.Codec, &d) {
		return false
	}
	t.codec = p.Codec
	t.current = len(t.descriptions)
	t.descriptions = append(t.descriptions, d)
	return true
}

// add appends a sample, whose payload begins with head.
func (t *track) add(v sample, head []byte) {
	d := &t.descriptions[t.current]
	if !t.video {
		v.frame = d.frame.duration(head)
		t.rates = t.rates || d.rate != t.descriptions[0].rate
	}
	if n := len(t.changes); n == 0 && t.current != 0 || n > 0 && int(t.changes[n-1].description) != t.current {
		t.changes = append(t.changes, change{uint32(t.samples.n), uint32(t.current)})
	}
	if t.samples.n > 0 {
		t.order(&v)
	} else {
		t.start, t.lowest, t.highest = v.time, maxTime, -maxTime
		t.minComposition, t.maxCompos = v.composition, v.composition
	}
	shown := v.time + int64(v.composition)
	t.lowest, t.highest = min(t.lowest, shown), max(t.highest, shown)
	t.minComposition, t.maxCompos = min(t.minComposition, v.composition), max(t.maxCompos, v.composition)
	t.samples.add(v)
}

// order has the times of pictures grow, by at least 1 ms, and those of sound not decrease.
// Pictures are still presented when they should be.
func (t *track) order(v *sample) {
	last := t.samples.end.time
	v.time = min(v.time, last+longestGap)
	if !t.video {
		v.time = max(v.time, last)
		return
	}
	if moved := last + 1 - v.time; moved > 0 {
		v.time += moved
		v.composition -= int32(moved)
	}
	if step := v.time - last; step <= longFrame {
		t.usual = step
	}
}

const (
	// longFrame is beyond what a distance of two pictures is a gap rather than a frame
	// rate, in ms; it is not for how long the last picture is shown.
	longFrame = 1000
	// longestGap is how long a sample may last, in ms: 24 days.
	longestGap = 1<<31 - 1
	// loneFrame is for how long the only picture of a file is shown, in ms.
	loneFrame = 40
)

// complete finds out the track's timing when all samples are there.
func (t *track) complete() {
	t.samples.pack()
	t.shown = t.lowest
	if !t.video {
		t.completeSound()
		return
	}
	t.timescale = 1000
	t.end = t.samples.end.time - t.start
	if t.last = t.usual; t.last == 0 {
		t.last = loneFrame
	}
}

// skip is where in media time the presentation begins (ISOBMFF §8.6.6, media_time), in ms.
func (t *track) skip() int64 { return max(t.shown-t.start, 0) }

// shift is what is added to composition times so that the presentation does not begin
// before the first sample is decoded, in ms.
func (t *track) shift() int64 { return max(t.start-t.shown, 0) }

// length is for how long the track is presented, in ms.
func (t *track) length() int64 {
	if t.video {
		return t.highest - t.lowest + t.last
	}
	return (1000*(t.end+t.last) + t.timescale - 1) / t.timescale
}
