package flv

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSilentAAC(t *testing.T) {
	for name, test := range map[string]struct {
		config        string
		frame         []byte // nil where there is no silence
		samples, rate int
	}{
		"LC, 44.1 kHz, stereo":             {"1210", silentStereo, 1024, 44100},
		"LC, 48 kHz, mono":                 {"1188", silentMono, 1024, 48000},
		"LC, 960 samples in a frame":       {"1194", silentStereo, 960, 48000},
		"LC, a rate of its own":            {"1780277810", silentStereo, 1024, 20208},
		"LC, a rate of 16 MHz":             {"17fffffe10", nil, 0, 0},
		"LC, a rate of 1 Hz":               {"1780000090", nil, 0, 0},
		"LC, with what is known of no SBR": {"121056e500", silentStereo, 1024, 44100},
		"5.1":                              {"11b0", nil, 0, 0},
		"a program config element":         {"1180" + "04c4040120880d", nil, 0, 0},
		"HE":                               {"2b920800", nil, 0, 0},
		"HE, for old decoders LC":          {"139056e5a5", nil, 0, 0},
		"HEv2":                             {"eb8a0800", nil, 0, 0},
		"Main":                             {"0a10", nil, 0, 0},
		"cut short":                        {"12", nil, 0, 0},
		"nothing":                          {"", nil, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := SilentAAC(unhex(t, test.config))
			require.Equal(t, test.frame != nil, ok)
			require.Equal(t, Silence{test.frame, test.samples, test.rate}, got)
		})
	}
}

// A decoder takes what stands for silence, and hears nothing.
func TestSilentAACInFFmpeg(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("ffmpeg is missing")
		}
		t.Skip("left out: ffmpeg is missing; apt-get install ffmpeg")
	}
	for _, config := range []string{"1210", "1208"} {
		quiet, ok := SilentAAC(unhex(t, config))
		require.True(t, ok)
		file := AppendHeader(nil, true, false)
		frames := []Packet{{Codec: CodecAAC, Kind: KindConfig, Payload: unhex(t, config)}}
		for range 100 {
			frames = append(frames, Packet{Codec: CodecAAC, Kind: KindFrame, Payload: quiet.Frame})
		}
		for i, p := range frames {
			body, err := AppendAudio(nil, p)
			require.NoError(t, err)
			file = AppendTag(file, Tag{Type: TypeAudio, Timestamp: uint32(max(0, i-1) * quiet.Samples * 1000 / quiet.Rate), Data: body})
		}
		path := filepath.Join(t.TempDir(), "quiet.flv")
		require.NoError(t, os.WriteFile(path, file, 0o600))
		said, err := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-i", path, "-f", "s16le", "-").CombinedOutput()
		require.NoError(t, err, "%s", said)
		require.Len(t, said, 100*1024*2*(1+strings.Count(config, "1210")))
		require.Empty(t, strings.Trim(string(said), "\x00"), "it is heard, or complained of")
	}
}
