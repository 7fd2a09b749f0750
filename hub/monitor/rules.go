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
	minRate        = 5               // pictures per second; who announces less sends as it likes
	maxRate        = 240             // more stands for a rate that varies
	quietShare     = 0.4             // of the bitrate that is announced, or was reached: below it little moves
	quietPixel     = 0.005           // bits per pixel, likewise
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
	maxSoundless   = 10 * time.Second // without sound, while pictures come
	maxSilence     = 15 * time.Second // without anything
	maxEarly       = 0.0              // share of pictures shown before they are decoded
)

// noFigure is the unit of what no figure is measured of.
const noFigure = "none"

// rule says when a word begins and ends.
type rule struct {
	word         string
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
		word: "silent", unit: "s", find: findSilent,
		sentence: func(f finding) string { return fmt.Sprintf("Nothing has come for %.0f s.", f.value) },
		hint:     "Look whether the encoder still runs, and whether its network is up.",
	},
	{
		word: "browser_codec", begins: 2 * time.Second, unit: noFigure, find: findCodec,
		sentence: func(f finding) string { return f.what },
		hint:     "Choose H.264 and AAC: in ffmpeg -c:v libx264 -pix_fmt yuv420p -c:a aac, in OBS x264 and color format NV12.",
	},
	{
		word: "key_frame_interval", begins: 4 * time.Second, ends: 10 * time.Second, unit: "s", find: findKeys,
		sentence: func(f finding) string {
			if f.other > 0 {
				return fmt.Sprintf("No key frame has come for %.1f s.", f.value)
			}
			return fmt.Sprintf("A key frame comes every %.1f s.", f.value)
		},
		hint: "Viewers see nothing before a key frame. Set Keyframe Interval to 2 s in OBS (Output, Advanced), or -g to twice the frame rate in ffmpeg.",
	},
	{
		word: "frame_rate", from: startUp, begins: 14 * time.Second, ends: 10 * time.Second, unit: "fps", find: findRate,
		sentence: func(f finding) string {
			return fmt.Sprintf("%.1f pictures a second come, and %.4g are announced.", f.value, f.other)
		},
		hint: "The encoder cannot keep up, or its camera gives less: choose a faster preset (x264 veryfast), a smaller picture, or the frame rate that there is.",
	},
	{
		word: "bitrate_swings", from: startUp, begins: 4 * time.Second, ends: 10 * time.Second, unit: "times", find: findSwings,
		sentence: func(f finding) string {
			return fmt.Sprintf("The bitrate swings between %.1f and %.1f Mbit/s.", f.other/f.value/1e6, f.other/1e6)
		},
		hint: "Set the encoder to a constant bitrate (CBR in OBS), or bound it in ffmpeg with -maxrate and -bufsize.",
	},
	{
		word: "uneven_arrival", from: startUp, ends: 4 * time.Second, unit: "ms", find: findUneven,
		sentence: func(f finding) string { return fmt.Sprintf("What it sends arrives up to %.1f s late.", f.value/1000) },
		hint:     "Its network does not carry the stream evenly: lower the bitrate, use a cable in place of Wi-Fi, or a nearer server.",
	},
	{
		word: "too_slow", from: startUp, begins: 10 * time.Second, ends: 10 * time.Second, unit: "", find: findSlow,
		sentence: func(f finding) string {
			return fmt.Sprintf("It sends %.2f s of the stream a second: viewers run dry.", f.value)
		},
		hint: "The encoder or its network is too slow: choose a faster preset (x264 veryfast), a smaller picture, or a lower bitrate.",
	},
	{
		word: "too_fast", from: startUp, begins: 10 * time.Second, ends: 10 * time.Second, unit: "", find: findFast,
		sentence: func(f finding) string {
			return fmt.Sprintf("It sends %.2f s of the stream a second: viewers fall behind.", f.value)
		},
		hint: "Send at the pace of real time: in ffmpeg put -re before the -i of a file.",
	},
	{
		word: "audio_video_apart", from: startUp, begins: 6 * time.Second, ends: 10 * time.Second, unit: "s", find: findApart,
		sentence: func(f finding) string {
			if f.value < 0 {
				return fmt.Sprintf("The picture comes %.1f s after the sound that belongs to it.", -f.value)
			}
			return fmt.Sprintf("The sound comes %.1f s after the picture that belongs to it.", f.value)
		},
		hint: "Look for an offset in the encoder: Sync Offset in OBS, -itsoffset in ffmpeg. With -c copy, encode instead.",
	},
	{
		word: "clock_jumps", from: startUp, unit: "jumps", find: findJumps,
		sentence: func(f finding) string {
			return fmt.Sprintf("Its timestamps have jumped, last time %.0f s ago; that was mended.", f.other)
		},
		hint: "Its timestamps are broken at the source: in ffmpeg try -use_wallclock_as_timestamps 1 before -i, or encode in place of -c copy.",
	},
	{
		word: "no_reorder_room", begins: 4 * time.Second, ends: 10 * time.Second, unit: "%", find: findEarly,
		sentence: func(f finding) string {
			return fmt.Sprintf("%.0f %% of the pictures are to be shown before they are decoded: the encoder leaves no room for B-frames.", f.value)
		},
		hint: "Switch B-frames off: 0 B-frames in OBS, -bf 0 in ffmpeg.",
	},
	{
		word: "no_sound", from: startUp, ends: 4 * time.Second, unit: "s", find: findSoundless,
		sentence: func(f finding) string { return fmt.Sprintf("No sound has come for %.0f s.", f.value) },
		hint:     "Look whether the microphone is muted, or its track was removed.",
	},
}
