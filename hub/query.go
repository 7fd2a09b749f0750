package hub

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/flv"
)

// Start is where a viewer begins.
type Start uint8

// Where a viewer begins.
const (
	// StartGOP is the newest key frame, at the publisher's pace: the picture is there
	// at once, and as old as that key frame.
	StartGOP Start = iota
	// StartLive is the newest key frame too, but what is between it and the live edge
	// is shown in the blink of an eye, without its sound: the picture is there at
	// once, and live.
	StartLive
)

// maxBack bounds WatchOptions.Back. A log is an hour long at the most, a recording may be longer.
const maxBack = 7 * 24 * time.Hour

// watchOptions are the parameters that ReadQuery knows.
var watchOptions = []string{"onlyaudio", "onlyvideo", "start", "back", "track", "hevc"}

// IsWatchOption reports whether ReadQuery knows a parameter: then it says what somebody wants,
// and not who it is.
func IsWatchOption(name string) bool { return slices.Contains(watchOptions, name) }

// ReadQuery takes what a viewer asks for from the query of its URL, the same over every
// protocol:
//
//	onlyaudio=1, onlyvideo=1   leave the other track out
//	start=gop|live             where to begin (Start)
//	back=SECONDS               begin that far back, as far as the log reaches
//	track=N|all                one track of several, or everything as it was sent
//	hevc=legacy|enhanced       the form of HEVC
//
// What it does not know means nothing; a value that makes no sense is a *Refusal
// with ReasonBadRequest.
func (o *WatchOptions) ReadQuery(query url.Values) error {
	o.NoVideo = flag(query.Get("onlyaudio"))
	o.NoAudio = flag(query.Get("onlyvideo"))
	if o.NoVideo && o.NoAudio {
		return refuse(ReasonBadRequest, "onlyaudio and onlyvideo leave nothing")
	}
	switch query.Get("start") {
	case "", "gop":
	case "live":
		o.Start = StartLive
	default:
		return refuse(ReasonBadRequest, "start is gop or live")
	}
	if text := query.Get("back"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds >= 0 && seconds <= maxBack.Seconds()) {
			return refuse(ReasonBadRequest, "back is a number of seconds up to %.0f", maxBack.Seconds())
		}
		if o.Start == StartLive && seconds > 0 {
			return refuse(ReasonBadRequest, "back and start=live contradict each other")
		}
		o.Back = time.Duration(seconds * float64(time.Second))
	}
	switch text := query.Get("track"); text {
	case "":
	case "all":
		o.Shape.Form = flv.FormAsSent
	default:
		n, err := strconv.ParseUint(text, 10, 8)
		if err != nil {
			return refuse(ReasonBadRequest, "track is a number up to 255, or all")
		}
		o.Shape.Track = uint8(n)
		if o.Shape.Form == flv.FormAsSent {
			o.Shape.Form = flv.FormSingle
		}
	}
	switch query.Get("hevc") {
	case "":
	case "legacy":
		o.Shape.HEVC = flv.HEVCLegacy
	case "enhanced":
		o.Shape.HEVC = flv.HEVCEnhanced
	default:
		return refuse(ReasonBadRequest, "hevc is legacy or enhanced")
	}
	return nil
}

func flag(value string) bool { return value == "1" || strings.EqualFold(value, "true") }
