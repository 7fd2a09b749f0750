package monitor

import (
	"fmt"
	"time"

	"sluice/hub"
)

// What is still good, and from when on it is looked at: all thresholds are here. README.md has them for
// people, which a test holds.
const (
	// startUp is how long a publisher may do as it likes: encoders begin with a burst, or with one
	// track well before the other.
	startUp = 10 * time.Second

	minRateShare   = 0.8             // of the frame rate that is announced
	maxStillShare  = 1. / 3          // likewise: of a picture that stands still no more need be sent
	minRate        = 5               // pictures per second; who announces less sends as it likes
	minSentRate    = 1               // likewise
	maxRate        = 240             // more stands for a rate that varies
	quietShare     = 0.4             // of the bitrate that is announced, or was reached: below it little moves
	quietPixel     = 0.01            // bits per pixel, likewise
	usualPixels    = 640 * 360       // of a picture whose size is not known
	maxKeyInterval = 4 * time.Second // between key frames
	minKeyPictures = 8               // fewer pictures between key frames are none too many
	maxSwing       = 4.0             // of the bitrate, from lowest to highest
	minSwings      = 3               // up and down in a minute
	minSwingRate   = 1e6             // bits per second at the highest; less is no burden for any network
	maxOver        = 1.5             // of the highest bitrate over that which is announced
	maxApart       = time.Second     // picture and sound, in what arrives together
	maxJumps       = 0               // of the clock
	jumpMemory     = time.Minute     // for which they count
	maxUneven      = 700 * time.Millisecond
	minLate        = 3    // looks at which something was that late, in half a minute
	minPaceRate    = 0.95 // stream time by the time that passes
	maxPaceRate    = 1.05
	minMoving      = 0.005            // likewise; below it timestamps stand still
	maxSoundless   = 10 * time.Second // without sound, while pictures come
	maxSilence     = 15 * time.Second // without anything
	maxEarly       = 0.0              // share of pictures shown before they are decoded
)

// noFigure is the unit of what no figure is measured of.
const noFigure = "none"

// rule says when a word begins and ends.
type rule struct {
	word         string
	when         string        // it is wrong, for people
	from         time.Duration // how old a session must be
	begins, ends time.Duration // how long it must have been bad, or good again
	unit         string
	find         func(*stream, *hub.Measures, time.Duration) finding
	sentence     func(finding) string
	hint         string
}

// rules are all rules. Their order is that in which words are told.
var rules = [...]rule{
	{
		word: "silent",
		when: fmt.Sprintf("nothing has come for %v", maxSilence),
		unit: "s", find: findSilent,
		sentence: func(f finding) string { return fmt.Sprintf("Nothing has come for %.0f s.", f.value) },
		hint:     "Look whether the encoder still runs, and whether its network is up.",
	},
	{
		word:   "browser_codec",
		when:   "browsers do not play the codec, or many do not: all but H.264 with 8 bits and 4:2:0, and AV1; all but AAC, MP3, Opus and FLAC",
		begins: 2 * time.Second, unit: noFigure, find: findCodec,
		sentence: func(f finding) string { return f.what },
		hint:     "Choose H.264 and AAC: in ffmpeg -c:v libx264 -pix_fmt yuv420p -c:a aac, in OBS x264 and color format NV12.",
	},
	{
		word:   "key_frame_interval",
		when:   fmt.Sprintf("more than %v lie between key frames, or have passed since the last one, by the frame rate that is announced", maxKeyInterval),
		begins: 4 * time.Second, ends: 10 * time.Second, unit: "s", find: findKeys,
		sentence: func(f finding) string {
			if f.other > 0 {
				return fmt.Sprintf("No key frame has come for %.1f s.", f.value)
			}
			return fmt.Sprintf("A key frame comes every %.1f s.", f.value)
		},
		hint: "Viewers see nothing before a key frame. Set Keyframe Interval to 2 s in OBS (Output, Advanced), or -g to twice the frame rate in ffmpeg.",
	},
	{
		word: "frame_rate",
		when: fmt.Sprintf("fewer than %.0f %% of the announced pictures a second come, while the bitrate shows that something moves: it is at least %.0f %% of what is announced, or was reached. A screen is well of which all pictures are sent now and then, and less than a third of them in between", minRateShare*100, quietShare*100),
		from: startUp, begins: 14 * time.Second, ends: 10 * time.Second, unit: "fps", find: findRate,
		sentence: func(f finding) string {
			return fmt.Sprintf("%.1f pictures a second come, and %.4g are announced.", f.value, f.other)
		},
		hint: "The encoder cannot keep up, or its camera gives less: choose a faster preset (x264 veryfast), a smaller picture, or the frame rate that there is.",
	},
	{
		word: "bitrate_swings",
		when: fmt.Sprintf("within a minute it falls to less than 1/%.0f of the highest and rises again %d times, the highest being %.0f Mbit/s or more and %.1f × what is announced", maxSwing, minSwings, minSwingRate/1e6, maxOver),
		from: startUp, begins: 4 * time.Second, ends: 10 * time.Second, unit: "times", find: findSwings,
		sentence: func(f finding) string {
			return fmt.Sprintf("The bitrate swings between %.1f and %.1f Mbit/s.", f.other/f.value/1e6, f.other/1e6)
		},
		hint: "Set the encoder to a constant bitrate (CBR in OBS), or bound it in ffmpeg with -maxrate and -bufsize.",
	},
	{
		word: "uneven_arrival",
		when: fmt.Sprintf("frames arrive %v later than others, and the time between two pictures, %d times in half a minute", maxUneven, minLate),
		from: startUp, ends: 4 * time.Second, unit: "ms", find: findUneven,
		sentence: func(f finding) string { return fmt.Sprintf("What it sends arrives up to %.1f s late.", f.value/1000) },
		hint:     "Its network does not carry the stream evenly: lower the bitrate, use a cable in place of Wi-Fi, or a nearer server. Or its encoder holds pictures back: in ffmpeg try -tune zerolatency.",
	},
	{
		word: "too_slow",
		when: fmt.Sprintf("in a minute, and in most looks of it, less than %.2f s of the stream come in a second", minPaceRate),
		from: startUp, begins: 10 * time.Second, ends: 10 * time.Second, unit: "", find: findSlow,
		sentence: func(f finding) string {
			if f.value < minMoving {
				return "Its timestamps stand still: viewers see no picture move."
			}
			return fmt.Sprintf("It sends %.2f s of the stream a second: viewers run dry.", f.value)
		},
		hint: "The encoder or its network is too slow: choose a faster preset (x264 veryfast), a smaller picture, or a lower bitrate. If its timestamps stand still, encode in place of -c copy.",
	},
	{
		word: "too_fast",
		when: fmt.Sprintf("likewise, more than %.2f s of the stream", maxPaceRate),
		from: startUp, begins: 10 * time.Second, ends: 10 * time.Second, unit: "", find: findFast,
		sentence: func(f finding) string {
			return fmt.Sprintf("It sends %.2f s of the stream a second: viewers fall behind.", f.value)
		},
		hint: "Send at the pace of real time: in ffmpeg put -re before the -i of a file.",
	},
	{
		word: "audio_video_apart",
		when: fmt.Sprintf("timestamps of picture and sound that come at the same time are more than %v apart", maxApart),
		from: startUp, begins: 6 * time.Second, ends: 10 * time.Second, unit: "s", find: findApart,
		sentence: func(f finding) string {
			if f.value < 0 {
				return fmt.Sprintf("The picture comes %.1f s after the sound that belongs to it.", -f.value)
			}
			return fmt.Sprintf("The sound comes %.1f s after the picture that belongs to it.", f.value)
		},
		hint: "Picture and sound have clocks of their own, or one of them is held up: encode both in one program, and look for an offset (Sync Offset in OBS, -itsoffset in ffmpeg).",
	},
	{
		word: "clock_jumps",
		when: fmt.Sprintf("timestamps have jumped within %v", jumpMemory),
		from: startUp, unit: "jumps", find: findJumps,
		sentence: func(f finding) string {
			if f.value == 1 {
				return "Its timestamps have jumped; that was mended."
			}
			return fmt.Sprintf("Its timestamps have jumped %.0f times; that was mended.", f.value)
		},
		hint: "Its timestamps are broken at the source: in ffmpeg try -use_wallclock_as_timestamps 1 before -i, or encode in place of -c copy.",
	},
	{
		word:   "no_reorder_room",
		when:   "pictures have a composition time below 0",
		begins: 4 * time.Second, ends: 10 * time.Second, unit: "%", find: findEarly,
		sentence: func(f finding) string {
			return fmt.Sprintf("%.0f %% of the pictures are to be shown before they are decoded: the encoder leaves no room for B-frames.", f.value)
		},
		hint: "Switch B-frames off: 0 B-frames in OBS, -bf 0 in ffmpeg.",
	},
	{
		word: "no_sound",
		when: fmt.Sprintf("pictures have come for %v without the sound that there was", maxSoundless),
		from: startUp, ends: 4 * time.Second, unit: "s", find: findSoundless,
		sentence: func(f finding) string { return fmt.Sprintf("No sound has come for %.0f s.", f.value) },
		hint:     "Look whether the microphone is muted, or its track was removed.",
	},
}
