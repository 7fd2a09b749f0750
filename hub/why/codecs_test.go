package why

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/flv"
)

// Players as they call themselves.
func TestIdentify(t *testing.T) {
	for agent, want := range map[string]player{
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
		assert.Equal(t, want, identify(agent), agent)
	}
}

func TestPlays(t *testing.T) {
	const any = 0
	for _, c := range []struct {
		codec  flv.Codec
		player player
		want   verdict
	}{
		{flv.CodecH264, player{firefox, any, ""}, playable}, {flv.CodecAAC, player{webkit, any, ""}, playable}, {flv.CodecMP3, player{chromium, 1, ""}, playable},
		{flv.CodecHEVC, player{chromium, 106, ""}, unplayable}, {flv.CodecHEVC, player{chromium, 107, "Windows"}, doubtful}, {flv.CodecHEVC, player{chromium, any, ""}, doubtful},
		{flv.CodecHEVC, player{firefox, 133, "Windows"}, unplayable}, {flv.CodecHEVC, player{firefox, 134, "Windows"}, doubtful},
		{flv.CodecHEVC, player{firefox, 135, "Mac"}, unplayable}, {flv.CodecHEVC, player{firefox, 136, "Mac"}, doubtful},
		{flv.CodecHEVC, player{firefox, 136, ""}, unplayable}, {flv.CodecHEVC, player{firefox, 137, ""}, doubtful},
		{flv.CodecHEVC, player{webkit, 17, "Mac"}, playable}, {flv.CodecHEVC, player{webkit, 10, "Mac"}, unplayable}, {flv.CodecHEVC, player{webkit, any, "Mac"}, doubtful},
		{flv.CodecAV1, player{chromium, 130, ""}, playable}, {flv.CodecAV1, player{firefox, 128, ""}, playable}, {flv.CodecAV1, player{webkit, 16, "Mac"}, unplayable},
		{flv.CodecAV1, player{webkit, 17, "Mac"}, doubtful}, {flv.CodecOpus, player{webkit, 16, ""}, unplayable}, {flv.CodecOpus, player{firefox, 128, ""}, playable},
		{flv.CodecFLAC, player{webkit, 17, ""}, doubtful}, {flv.CodecPCM, player{chromium, 130, ""}, doubtful},
		{flv.CodecVP9, player{chromium, 130, ""}, unplayable}, {flv.CodecVVC, player{webkit, 18, ""}, unplayable}, {flv.CodecSpeex, player{firefox, 130, ""}, unplayable},
		{flv.CodecHEVC, player{ffmpeg, 59, ""}, unplayable}, {flv.CodecHEVC, player{ffmpeg, 60, ""}, doubtful}, {flv.CodecHEVC, player{ffmpeg, 61, ""}, playable},
		{flv.CodecH264, player{ffmpeg, 57, ""}, playable}, {flv.CodecSpeex, player{ffmpeg, 57, ""}, playable},
		{flv.CodecHEVC, player{}, playable}, {flv.CodecVP6, player{}, playable},
	} {
		assert.Equal(t, c.want, c.player.plays(c.codec), "%s in %s", c.codec, c.player)
	}
}
