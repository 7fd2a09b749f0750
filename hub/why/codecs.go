package why

import (
	"fmt"
	"strings"

	"sluice/flv"
)

// verdict is whether a player plays a codec.
type verdict uint8

const (
	playable   verdict = iota // as far as is known
	doubtful                  // it depends on the device
	unplayable                // probably not
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

// player is what a viewer's own words tell of it.
type player struct {
	engine  engine
	version int    // the major one; 0 if it is not told
	system  string // "Windows", "Mac" or "", which matters for Firefox
}

func (p player) String() string {
	name := [engines]string{"this player", "Chrome", "Firefox", "Safari", "ffmpeg's libavformat"}[p.engine]
	if p.version != 0 {
		name += fmt.Sprintf(" %d", p.version)
	}
	if p.engine == chromium {
		name += ", or a browser built on it,"
	}
	return name
}

// identify reads a User-Agent. All browsers name others that they want to be taken for, so the
// order counts.
func identify(agent string) (p player) {
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

// plays returns whether a player plays a codec.
func (p player) plays(c flv.Codec) verdict {
	s := support{}
	switch p.engine {
	case ffmpeg:
		if c == flv.CodecHEVC || c == flv.CodecAV1 || c == flv.CodecVP9 || c == flv.CodecVVC {
			s = support{allEnhanced, someEnhanced}
		}
	case chromium, firefox, webkit:
		of, taken := browsers[c]
		if !taken {
			return unplayable
		}
		s = of[p.engine]
		if since, earlier := firefoxHEVC[p.system]; earlier && p.engine == firefox && c == flv.CodecHEVC {
			s.some = since
		}
	}
	switch {
	case s == support{}:
		return playable
	case p.version == 0: // any version
		if s.some == never {
			return unplayable
		}
		return doubtful
	case p.version >= s.plays:
		return playable
	case p.version >= s.some:
		return doubtful
	}
	return unplayable
}

// worst returns which codec of those that the viewer was told of its player is least likely to
// play, with a sentence about it; 0 if it should play all.
func (k *Known) worst() (codec flv.Codec, worst verdict, sentence string) {
	p := identify(k.Agent)
	if k.Protocol == "rtmp" {
		p = player{} // no browser speaks it, and ffmpeg does not tell its version
	}
	for _, t := range k.Viewer.Told {
		if found := p.plays(t.Codec); found > worst && t.Codec != 0 {
			codec, worst = t.Codec, found
		}
	}
	_, fed := browsers[codec]
	switch {
	case worst == unplayable && !fed && p.engine != ffmpeg:
		sentence = fmt.Sprintf("It is sent %s, which no player for browsers takes from FLV.", codec)
	case worst == unplayable:
		sentence = fmt.Sprintf("It is sent %s, which %s probably does not play.", codec, p)
	case worst == doubtful:
		sentence = fmt.Sprintf("It depends on the device and the library whether %s plays %s.", p, codec)
	}
	return codec, worst, sentence
}
