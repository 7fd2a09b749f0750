package player

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/flv"
)

const (
	oldFirefox = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	chrome     = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
	oldFFmpeg  = "Lavf/59.27.100"
)

// Players as they call themselves.
func TestIdentify(t *testing.T) {
	for agent, want := range map[string]Player{
		"": {}, "curl/7.88.1": {}, "VLC/3.0.18 LibVLC/3.0.18": {}, "OBS-Studio/30.0": {},
		oldFFmpeg: {ffmpeg, 59, ""}, "Lavf": {},
		oldFirefox: {firefox, 128, ""}, chrome: {chromium, 130, ""},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:134.0) Gecko/20100101 Firefox/134.0":                                                               {firefox, 134, "Windows"},
		"Mozilla/5.0 (Android 14; Mobile; rv:131.0) Gecko/131.0 Firefox/131.0":                                                                           {firefox, 131, ""},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0":                  {chromium, 131, "Windows"},
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Mobile Safari/537.36":                                {chromium, 129, ""},
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15":                          {webkit, 17, "Mac"},
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1": {webkit, 0, "Mac"},
		"Mozilla/5.0 (iPhone; CPU iPhone OS 14_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/132.0 Mobile/15E148 Safari/605.1.15":      {webkit, 0, "Mac"},
		"Mozilla/5.0 (Linux; Android 9; SM-G960F) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/74.0.3729.157 Mobile Safari/537.36":          {chromium, 74, ""},
		"Firefox/": {firefox, 0, ""}, "Firefox/123456789": {firefox, 0, ""}, "Chrome/x": {chromium, 0, ""}, "Version/17": {},
	} {
		assert.Equal(t, want, Identify(agent), agent)
	}
}

func TestPlays(t *testing.T) {
	const any = 0
	for _, c := range []struct {
		codec  flv.Codec
		player Player
		want   Verdict
	}{
		{flv.CodecH264, Player{firefox, any, ""}, Playable}, {flv.CodecAAC, Player{webkit, any, ""}, Playable}, {flv.CodecMP3, Player{chromium, 1, ""}, Playable},
		{flv.CodecHEVC, Player{chromium, 106, ""}, Unplayable}, {flv.CodecHEVC, Player{chromium, 107, "Windows"}, Doubtful}, {flv.CodecHEVC, Player{chromium, any, ""}, Doubtful},
		{flv.CodecHEVC, Player{firefox, 133, "Windows"}, Unplayable}, {flv.CodecHEVC, Player{firefox, 134, "Windows"}, Doubtful},
		{flv.CodecHEVC, Player{firefox, 135, "Mac"}, Unplayable}, {flv.CodecHEVC, Player{firefox, 136, "Mac"}, Doubtful},
		{flv.CodecHEVC, Player{firefox, 136, ""}, Unplayable}, {flv.CodecHEVC, Player{firefox, 137, ""}, Doubtful},
		{flv.CodecHEVC, Player{webkit, 17, "Mac"}, Playable}, {flv.CodecHEVC, Player{webkit, 10, "Mac"}, Unplayable}, {flv.CodecHEVC, Player{webkit, any, "Mac"}, Doubtful},
		{flv.CodecAV1, Player{chromium, 130, ""}, Playable}, {flv.CodecAV1, Player{firefox, 128, ""}, Playable}, {flv.CodecAV1, Player{webkit, 16, "Mac"}, Unplayable},
		{flv.CodecAV1, Player{webkit, 17, "Mac"}, Doubtful}, {flv.CodecOpus, Player{webkit, 16, ""}, Unplayable}, {flv.CodecOpus, Player{firefox, 128, ""}, Playable},
		{flv.CodecFLAC, Player{webkit, 17, ""}, Doubtful}, {flv.CodecPCM, Player{chromium, 130, ""}, Doubtful},
		{flv.CodecVP9, Player{chromium, 130, ""}, Unplayable}, {flv.CodecVVC, Player{webkit, 18, ""}, Unplayable}, {flv.CodecSpeex, Player{firefox, 130, ""}, Unplayable},
		{flv.CodecHEVC, Player{ffmpeg, 59, ""}, Unplayable}, {flv.CodecHEVC, Player{ffmpeg, 60, ""}, Doubtful}, {flv.CodecHEVC, Player{ffmpeg, 61, ""}, Playable},
		{flv.CodecH264, Player{ffmpeg, 57, ""}, Playable}, {flv.CodecSpeex, Player{ffmpeg, 57, ""}, Playable},
		{flv.CodecHEVC, Player{}, Playable}, {flv.CodecVP6, Player{}, Playable},
	} {
		assert.Equal(t, c.want, c.player.Plays(c.codec, "High"), "%s in %s", c.codec, c.player)
	}
}

// H.264 is for everybody with 8 bits and 4:2:0 only.
func TestProfiles(t *testing.T) {
	for profile, want := range map[string]Verdict{
		"": Playable, "Baseline": Playable, "High": Playable,
		"High 10": Doubtful, "High 4:2:2": Doubtful, "High 4:4:4 Predictive": Doubtful, "CAVLC 4:4:4 Intra": Doubtful,
	} {
		assert.Equal(t, want, Player{chromium, 130, ""}.Plays(flv.CodecH264, profile), profile)
		assert.Equal(t, want, InBrowsers(flv.CodecH264, profile), profile)
		assert.Equal(t, Playable, Player{ffmpeg, 57, ""}.Plays(flv.CodecH264, profile), profile)
		assert.Equal(t, want == Doubtful, Name(flv.CodecH264, profile) != "H.264", profile)
	}
	assert.Equal(t, "H.264 High 10", Name(flv.CodecH264, "High 10"))
	assert.Equal(t, "HEVC", Name(flv.CodecHEVC, "Main 10"))
	assert.Equal(t, Playable, InBrowsers(flv.CodecAV1, "Main 10"), "which is another codec's")
}

// What most browsers play.
func TestInBrowsers(t *testing.T) {
	for want, codecs := range map[Verdict][]flv.Codec{
		Playable:   {0, flv.CodecH264, flv.CodecAV1, flv.CodecAAC, flv.CodecMP3, flv.CodecOpus, flv.CodecFLAC},
		Doubtful:   {flv.CodecHEVC, flv.CodecPCM},
		Unplayable: {flv.CodecVP8, flv.CodecVP9, flv.CodecVVC, flv.CodecH263, flv.CodecAC3, flv.CodecADPCM, flv.CodecSpeex, 'x'},
	} {
		for _, c := range codecs {
			assert.Equal(t, want, InBrowsers(c, ""), c)
			assert.Equal(t, want != Unplayable, FromFLV(c) || c == 0, c)
		}
	}
}
