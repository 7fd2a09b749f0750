package why

import (
	"fmt"
	"strings"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/player"
)

// ago returns how long ago a moment is, in words.
func (k *Known) ago(moment time.Time) string { return span(k.Now.Sub(moment)) }

// until returns how long it is to a moment, in words.
func (k *Known) until(moment time.Time) string { return span(moment.Sub(k.Now)) }

// span returns a duration in words: "1.2 s", "3 min 20 s", "2 h 5 min". One below 0 is "0.0 s".
func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute-50*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

// size returns a number of bytes in words: "512 bytes", "84 kB", "1.2 MB".
func size(n int) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1_000_000:
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// words returns tracks in a sentence: "H.264 video and AAC audio".
func words(tracks []hub.ViewerTrack) string {
	if len(tracks) == 0 {
		return "no track"
	}
	all := make([]string, 0, len(tracks))
	for _, t := range tracks {
		word := kind(t.Type)
		if t.Codec != 0 {
			word = t.Codec.String() + " " + word
		}
		if t.Number != 0 {
			word += fmt.Sprintf(" (track %d)", t.Number)
		}
		all = append(all, word)
	}
	if len(all) == 1 {
		return all[0]
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " and " + all[last]
}

func kind(typ flv.Type) string {
	if typ == flv.TypeVideo {
		return "video"
	}
	return "audio"
}

// Track returns a track as fields name it: "video h264", "audio aac", "audio opus 2".
func Track(t hub.ViewerTrack) string {
	s := kind(t.Type) + " " + Codec(t.Codec)
	if t.Number != 0 {
		s += fmt.Sprintf(" %d", t.Number)
	}
	return s
}

// Codec returns a codec as fields name it: letters and digits of its usual name, small ones.
// It is empty for none.
func Codec(c flv.Codec) string {
	if c == 0 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return -1
	}, c.String())
}

// worst returns which codec of those that the viewer was told of its player is least likely to
// play, with a sentence about it; 0 if it should play all.
func (k *Known) worst() (codec flv.Codec, worst player.Verdict, sentence string) {
	p := player.Identify(k.Agent)
	if k.Protocol == "rtmp" {
		p = player.Player{} // no browser speaks it, and ffmpeg does not tell its version
	}
	name := ""
	for _, t := range k.Viewer.Told {
		if found := p.Plays(t.Codec, t.Profile); found > worst {
			codec, worst, name = t.Codec, found, player.Name(t.Codec, t.Profile)
		}
	}
	switch {
	case worst == player.Unplayable && p.IsBrowser() && !player.FromFLV(codec):
		sentence = fmt.Sprintf("It is sent %s, which no player for browsers takes from FLV.", name)
	case worst == player.Unplayable:
		sentence = fmt.Sprintf("It is sent %s, which %s probably does not play.", name, p)
	case worst == player.Doubtful:
		sentence = fmt.Sprintf("It depends on the device and the library whether %s plays %s.", p, name)
	}
	return codec, worst, sentence
}
