// Package player says which players play which codecs, as far as that can be told from outside: by what
// a player calls itself, and for browsers in general. What operators are told of a viewer (package why) and
// of a publisher (package monitor) comes from the one table here.
package player

import (
	"fmt"
	"slices"
	"strings"

	"sluice/flv"
)

// Verdict is whether a player plays a codec.
type Verdict uint8

// Verdicts, the worse the higher.
const (
	Playable   Verdict = iota // as far as is known
	Doubtful                  // it depends on the device
	Unplayable                // probably not
)

// engine is what decodes in a player, as far as its own words tell.
type engine uint8

const (
	otherEngine engine = iota // nothing is known of it
	chromium                  // Chrome, Edge, Opera, the browsers of most phones with Android
	firefox
	webkit // Safari, and every browser on iOS
	ffmpeg // libavformat: ffplay, mpv, many others
	engines
)

// Player is what a player's own words tell of it. Of the zero value nothing is known, and it plays
// everything.
type Player struct {
	engine  engine
	version int    // the major one; 0 if it is not told
	system  string // "Windows", "Mac" or "", which matters for Firefox
}

// String returns it in words, as a part of a sentence. None of them is the player's own.
func (p Player) String() string {
	name := [engines]string{"this player", "Chrome", "Firefox", "Safari", "ffmpeg's libavformat"}[p.engine]
	if p.version != 0 {
		name += fmt.Sprintf(" %d", p.version)
	}
	if p.engine == chromium {
		name += ", or a browser built on it,"
	}
	return name
}

// Identify reads a User-Agent. All browsers name others that they want to be taken for, so the
// order counts.
func Identify(agent string) (p Player) {
	for _, sign := range []struct {
		text   string
		engine engine
	}{
		{"Lavf/", ffmpeg}, {"FxiOS/", webkit}, {"CriOS/", webkit}, {"EdgiOS/", webkit},
		{"Firefox/", firefox}, {"Chrome/", chromium}, {"Version/", webkit}, {"AppleWebKit/", webkit},
	} {
		_, rest, found := strings.Cut(agent, sign.text)
		if !found || sign.engine == webkit && !strings.Contains(agent, "AppleWebKit/") {
			continue
		}
		p.engine = sign.engine
		// What a browser on iOS calls its version is not that of its engine.
		if sign.engine != webkit || sign.text == "Version/" {
			p.version = major(rest)
		}
		break
	}
	for _, system := range []string{"Windows", "Mac"} {
		if strings.Contains(agent, system) {
			p.system = system
			break
		}
	}
	return p
}

// maxVersion bounds what is taken for a version.
const maxVersion = 99_999

// major returns the number with which a text begins, 0 for none.
func major(text string) (n int) {
	for _, r := range text {
		if r < '0' || r > '9' {
			break
		}
		if n = n*10 + int(r-'0'); n > maxVersion {
			return 0
		}
	}
	return n
}

// support is since which version an engine plays a codec, and since which it does on some
// devices; never stands for not at all.
type support struct{ plays, some int }

const never = 1 << 30

// browsers says what browsers play by Media Source Extensions, which mpegts.js feeds. What it
// cannot take from FLV is not in here, and no browser plays that. flv.js takes H.264, AAC and
// MP3 only, which nothing tells apart.
var browsers = map[flv.Codec]map[engine]support{
	flv.CodecH264: {chromium: {0, 0}, firefox: {0, 0}, webkit: {0, 0}},
	flv.CodecAAC:  {chromium: {0, 0}, firefox: {0, 0}, webkit: {0, 0}},
	flv.CodecMP3:  {chromium: {0, 0}, firefox: {0, 0}, webkit: {0, 0}},
	flv.CodecPCM:  {chromium: {never, 0}, firefox: {never, 0}, webkit: {never, 0}},
	// Chrome and Firefox leave HEVC to the device. Firefox began on Windows (firefoxHEVC).
	flv.CodecHEVC: {chromium: {never, 107}, firefox: {never, 137}, webkit: {13, 11}},
	flv.CodecAV1:  {chromium: {70, 70}, firefox: {67, 67}, webkit: {never, 17}},
	flv.CodecOpus: {chromium: {33, 33}, firefox: {50, 50}, webkit: {never, 17}},
	flv.CodecFLAC: {chromium: {62, 62}, firefox: {51, 51}, webkit: {never, 11}},
}

// firefoxHEVC is since which version Firefox plays HEVC on some devices of a system.
var firefoxHEVC = map[string]int{"Windows": 134, "Mac": 136}

// Since which major version libavformat reads codecs in the form of Enhanced RTMP: with some
// minor one, and with all.
const (
	someEnhanced = 60
	allEnhanced  = 61
)

// Plays returns whether a player plays a codec, of H.264 with a profile (flv.VideoFormat.Profile; of
// others it does not matter). It plays codec 0, which is none.
func (p Player) Plays(c flv.Codec, profile string) Verdict {
	s := support{}
	if c == 0 {
		return Playable
	}
	switch p.engine {
	case ffmpeg:
		if c == flv.CodecHEVC || c == flv.CodecAV1 || c == flv.CodecVP9 || c == flv.CodecVVC {
			s = support{allEnhanced, someEnhanced}
		}
	case chromium, firefox, webkit:
		of, taken := browsers[c]
		if !taken {
			return Unplayable
		}
		if isDeep(c, profile) {
			return Doubtful
		}
		s = of[p.engine]
		if since, earlier := firefoxHEVC[p.system]; earlier && p.engine == firefox && c == flv.CodecHEVC {
			s.some = since
		}
	}
	switch {
	case s == support{}:
		return Playable
	case p.version == 0: // any version
		if s.some == never {
			return Unplayable
		}
		return Doubtful
	case p.version >= s.plays:
		return Playable
	case p.version >= s.some:
		return Doubtful
	}
	return Unplayable
}

// isDeep reports whether a codec is H.264 with more than 8 bits, or with more colour than 4:2:0, which
// many decoders cannot do.
func isDeep(c flv.Codec, profile string) bool {
	return c == flv.CodecH264 && slices.ContainsFunc([]string{"10", "4:2:2", "4:4:4"}, func(sign string) bool {
		return strings.Contains(profile, sign)
	})
}

// InBrowsers returns what holds for most browsers that are up to date: AV1 and Opus are playable, though
// not on each device in Safari.
func InBrowsers(c flv.Codec, profile string) Verdict {
	var all []Verdict
	for _, e := range []engine{chromium, firefox, webkit} {
		all = append(all, Player{engine: e, version: maxVersion}.Plays(c, profile))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// FromFLV reports whether players for browsers take a codec from FLV at all.
func FromFLV(c flv.Codec) bool {
	_, taken := browsers[c]
	return taken
}

// IsBrowser reports whether a player is a browser.
func (p Player) IsBrowser() bool {
	return p.engine == chromium || p.engine == firefox || p.engine == webkit
}

// Name returns a codec in words, with its profile where that decides who plays it.
func Name(c flv.Codec, profile string) string {
	if isDeep(c, profile) {
		return c.String() + " " + profile
	}
	return c.String()
}
