package monitor

import (
	"math"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/player"
)

// judged returns a finding that is bad, or good.
func judged(isBad bool, value, limit float64) finding {
	f := finding{verdict: good, value: value, limit: limit}
	if isBad {
		f.verdict = bad
	}
	return f
}

func findSilent(_ *stream, m *hub.Measures, _ time.Duration) finding {
	return judged(m.Silence > maxSilence, m.Silence.Seconds(), maxSilence.Seconds())
}

func findCodec(_ *stream, m *hub.Measures, _ time.Duration) finding {
	what := unplayed(m.VideoFormat, m.AudioFormat)
	f := judged(what != "", 0, 0)
	f.what = what
	return f
}

// unplayed says what browsers do not play, "" if most of them play all of it.
func unplayed(video *flv.VideoFormat, audio *flv.AudioFormat) string {
	said := ""
	if video != nil {
		said = inBrowsers(video.Codec, video.Profile)
	}
	if audio != nil && said == "" {
		said = inBrowsers(audio.Codec, "")
	}
	return said
}

// inBrowsers says whether browsers do not play a codec, "" if most of them do.
func inBrowsers(codec flv.Codec, profile string) string {
	switch player.InBrowsers(codec, profile) {
	case player.Unplayable:
		return "Browsers do not play " + player.Name(codec, profile) + " here."
	case player.Doubtful:
		return "Many browsers do not play " + player.Name(codec, profile) + "."
	}
	return ""
}

// announcedRate returns the frame rate that the publisher announces, 0 if it announces none: the lower one
// where metadata and codec header differ, since some encoders count fields.
func announcedRate(m *hub.Measures) float64 {
	rate := m.AnnouncedRate
	if h := m.HeaderRate; h > 0 && (rate == 0 || h < rate) {
		rate = h
	}
	if rate > maxRate {
		return 0
	}
	return rate
}

func findKeys(s *stream, m *hub.Measures, _ time.Duration) finding {
	interval, pictures, none := m.KeyInterval, m.KeyGap, 0.0
	if m.SinceKey > interval {
		interval, pictures, none = m.SinceKey, m.AfterKey, 1
	}
	if m.KeyInterval == 0 && m.SinceKey <= maxKeyInterval {
		return finding{}
	}
	// A picture that hardly changes is sent seldom by some encoders, which count pictures.
	counted := interval
	if rate := announcedRate(m); rate > 0 {
		counted = min(counted, time.Duration(float64(pictures)/rate*float64(time.Second)))
	}
	f := judged(counted > maxKeyInterval+maxKeyInterval/20 && pictures >= minKeyPictures, interval.Seconds(), maxKeyInterval.Seconds())
	f.other = none
	return f
}

func findRate(s *stream, m *hub.Measures, now time.Duration) finding {
	announced := announcedRate(m)
	switch {
	case announced < minRate, s.placed < rateLooks, s.frameRate < minSentRate:
		return finding{}
	case s.frameRate < announced*minRateShare && (s.isQuiet(m, announced) || s.isFitful(announced)):
		return finding{}
	}
	f := judged(s.frameRate < announced*minRateShare, s.frameRate, announced*minRateShare)
	f.other = announced
	return f
}

// isQuiet reports whether little moves in the picture: some encoders then leave pictures out.
func (s *stream) isQuiet(m *hub.Measures, announced float64) bool {
	if s.bitrate < quietShare*max(m.VideoBitrate, s.peak) {
		return true
	}
	pixels := usualPixels
	if v := m.VideoFormat; v != nil && v.Width > 0 && v.Height > 0 {
		pixels = v.Width * v.Height
	}
	return s.bitrate < quietPixel*float64(pixels)*announced
}

// isFitful reports whether the announced rate is reached now and then, and hardly a picture sent in
// between, as of a screen on which something moves now and then. An encoder that cannot keep up is
// mostly somewhere between the two.
func (s *stream) isFitful(announced float64) bool {
	reached, between := 0, 0
	for i := range int(s.placed) - 1 {
		now, before := s.places[i], s.places[i+1]
		pictures, passed := float64(now.frames-before.frames), float64(now.at-before.at)/1000
		switch {
		case pictures >= announced*minRateShare*passed && pictures > minRate:
			reached++
		case pictures > announced*maxStillShare*passed:
			between++
		}
	}
	return reached > 0 && 2*between < int(s.placed)
}

func findSwings(s *stream, m *hub.Measures, _ time.Duration) finding {
	low, high, times := s.swings()
	if high == 0 {
		return finding{}
	}
	announced := m.VideoBitrate
	over := announced == 0 || high > announced*maxOver
	f := judged(times >= minSwings && high >= minSwingRate && over, high/max(low, bitrateUnit), maxSwing)
	if f.verdict == good && times > 1 && over {
		f.verdict = unknown
	}
	f.other = high
	return f
}

func findUneven(s *stream, _ *hub.Measures, _ time.Duration) finding {
	late := s.lateLooks()
	f := judged(late >= minLate, milliseconds(s.late), milliseconds(maxUneven))
	if f.verdict == good && late > 0 {
		f.verdict = unknown
	}
	return f
}

func findSlow(s *stream, _ *hub.Measures, _ time.Duration) finding {
	mean, median, ok := s.pace(minPace)
	if !ok {
		return finding{}
	}
	return judged(mean < minPaceRate && median < minPaceRate, mean, minPaceRate)
}

func findFast(s *stream, _ *hub.Measures, _ time.Duration) finding {
	mean, median, ok := s.pace(minPace)
	if !ok {
		return finding{}
	}
	return judged(mean > maxPaceRate && median > maxPaceRate, mean, maxPaceRate)
}

func findApart(s *stream, m *hub.Measures, now time.Duration) finding {
	if !m.HasApart || s.soundless > 0 || s.shown != now {
		return finding{}
	}
	apart := m.Apart.Seconds()
	return judged(math.Abs(apart) > maxApart.Seconds(), apart, maxApart.Seconds())
}

func findJumps(s *stream, _ *hub.Measures, now time.Duration) finding {
	if now-s.jumped >= jumpMemory {
		s.jumps = 0
	}
	return judged(s.jumps > maxJumps, float64(s.jumps), maxJumps)
}

func findEarly(s *stream, m *hub.Measures, now time.Duration) finding {
	if s.shown != now {
		return finding{}
	}
	return judged(s.unfit == now && s.early > maxEarly, s.early*100, maxEarly*100)
}

func findSoundless(s *stream, m *hub.Measures, now time.Duration) finding {
	if m.Counts.Sounds == 0 || s.shown != now {
		return finding{}
	}
	return judged(s.soundless > maxSoundless, s.soundless.Seconds(), maxSoundless.Seconds())
}
