package mp4_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// encoded is what ffmpeg made: a file, its codec header, and its packets.
type encoded struct {
	path    string
	config  []byte
	packets []packet
}

type packet struct {
	data []byte
	at   float64 // of decoding, s
	show float64 // of presentation, s
	key  bool
}

// encode has ffmpeg make an MP4 of one track, and takes it apart.
func encode(t *testing.T, args ...string) encoded {
	t.Helper()
	return encodeTo(t, filepath.Join(t.TempDir(), "made.mp4"), args...)
}

func encodeTo(t *testing.T, path string, args ...string) encoded {
	t.Helper()
	args = append([]string{"-nostdin", "-v", "error", "-f", "lavfi", "-i"}, args...)
	run(t, newer(t, "ffmpeg"), append(args, path)...)
	out := run(t, newer(t, "ffprobe"), "-v", "error", "-show_streams", "-show_packets", "-show_data", "-of", "json", path)
	var probed struct {
		Streams []struct{ Extradata string }
		Packets []struct {
			Pos, Size string
			Decoded   string `json:"dts_time"`
			Presented string `json:"pts_time"`
			Flags     string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &probed))
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	e := encoded{path: path, config: undump(t, probed.Streams[0].Extradata)}
	for _, p := range probed.Packets {
		pos, err := strconv.Atoi(p.Pos)
		require.NoError(t, err)
		size, err := strconv.Atoi(p.Size)
		require.NoError(t, err)
		at, err := strconv.ParseFloat(p.Decoded, 64)
		require.NoError(t, err)
		show, err := strconv.ParseFloat(p.Presented, 64)
		require.NoError(t, err)
		e.packets = append(e.packets, packet{file[pos : pos+size], at, show, strings.Contains(p.Flags, "K")})
	}
	require.NotEmpty(t, e.packets)
	if at := bytes.Index(file, []byte("vpcC")); at > 0 { // which ffprobe does not tell
		e.config = file[at+4 : at-4+int(u32(file[at-4:]))]
	}
	return e
}

// undump reads lines as "00000000: 4f70 7573 ...  Op..".
func undump(t *testing.T, dump string) (b []byte) {
	t.Helper()
	for line := range strings.Lines(dump) {
		if _, rest, ok := strings.Cut(line, ": "); ok {
			digits, _, _ := strings.Cut(rest, "  ")
			part, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
			require.NoError(t, err)
			b = append(b, part...)
		}
	}
	return b
}

// pcm returns the sound of a file as it is heard.
func pcm(t *testing.T, path string) string {
	t.Helper()
	return run(t, newer(t, "ffmpeg"), "-nostdin", "-v", "warning", "-i", path, "-f", "s16le", "-")
}

// Sound that ffmpeg cannot put into FLV: what is heard of the MP4 is what the encoder's own
// file has.
func TestGeneratedSound(t *testing.T) {
	for _, test := range []struct {
		name  string
		codec flv.Codec
		args  []string
		rate  int
		frame int // samples
	}{
		{"Opus", flv.CodecOpus, []string{"sine=440:r=48000:d=3", "-c:a", "libopus", "-ac", "2"}, 48000, 960},
		{"Opus, 60 ms", flv.CodecOpus, []string{"sine=440:r=48000:d=3", "-c:a", "libopus", "-frame_duration", "60"}, 48000, 2880},
		{"Opus, 2.5 ms", flv.CodecOpus, []string{"sine=440:r=48000:d=3", "-c:a", "libopus", "-frame_duration", "2.5", "-application", "lowdelay"}, 48000, 120},
		{"FLAC", flv.CodecFLAC, []string{"sine=440:r=44100:d=3", "-c:a", "flac"}, 44100, 4608},
		{"FLAC, 96 kHz", flv.CodecFLAC, []string{"sine=440:r=96000:d=3", "-c:a", "flac", "-sample_fmt", "s32", "-bits_per_raw_sample", "24"}, 96000, 8192},
		{"MP3", flv.CodecMP3, []string{"sine=440:r=44100:d=3", "-c:a", "libmp3lame"}, 44100, 1152},
		{"MP3, 24 kHz", flv.CodecMP3, []string{"sine=440:r=24000:d=3", "-c:a", "libmp3lame"}, 24000, 576},
		{"AAC", flv.CodecAAC, []string{"sine=440:r=44100:d=3", "-c:a", "aac", "-ac", "2"}, 44100, 1024},
		{"AAC, 96 kHz", flv.CodecAAC, []string{"sine=440:r=96000:d=3", "-c:a", "aac", "-ac", "2"}, 96000, 1024},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := encode(t, test.args...)
			var tags []flv.Tag
			if test.codec != flv.CodecMP3 {
				tags = append(tags, audio(0, flv.Packet{Codec: test.codec, Enhanced: true, Kind: flv.KindConfig, Payload: e.config}))
			}
			for _, p := range e.packets {
				at := uint32(int64((p.at-e.packets[0].at)*1000 + 0.5))
				tags = append(tags, audio(at, flv.Packet{Codec: test.codec, Enhanced: true, Kind: flv.KindFrame, Payload: p.data}))
			}
			b := whole(t, file(tags...))
			path := keep(t, "out.mp4", b)
			run(t, "ffprobe", "-v", "warning", "-show_streams", "-show_packets", path)
			m := unpack(b)
			require.Len(t, m.tracks, 1)
			tr := m.tracks[0]
			assert.EqualValues(t, test.rate, tr.timescale, "durations are exact")
			for i, s := range tr.samples[:len(tr.samples)-1] {
				require.EqualValues(t, test.frame, s.duration, "sample %d", i)
			}
			want, got := pcm(t, e.path), pcm(t, path)
			assert.NotEmpty(t, want)
			// The encoder's own file says what of its beginning and end is not to be heard, in
			// edits that FLV has no place for.
			assert.Contains(t, got, want[2000:len(want)-2000])
			assert.InDelta(t, len(want), len(got), float64(4*4*test.frame+4*2000))
		})
	}
}

// Pictures in forms that no capture has.
func TestGeneratedPictures(t *testing.T) {
	const source = "testsrc2=s=320x180:r=30:d=2"      // two GOPs
	folder, made := t.TempDir(), map[string]encoded{} // by how
	for _, test := range []struct {
		name     string
		codec    flv.Codec
		enhanced bool
		args     []string
		shown    [2]uint32 // where pixels are not square
	}{
		{"HEVC, classic", flv.CodecHEVC, false, []string{"-c:v", "libx265", "-x265-params", "log-level=none:bframes=3", "-g", "30"}, [2]uint32{}},
		{"HEVC, enhanced", flv.CodecHEVC, true, []string{"-c:v", "libx265", "-x265-params", "log-level=none:bframes=3", "-g", "30"}, [2]uint32{}},
		{"H.264, enhanced", flv.CodecH264, true, []string{"-c:v", "libx264", "-bf", "3", "-g", "30"}, [2]uint32{}},
		{"H.264, wide pixels", flv.CodecH264, false, []string{"-vf", "setsar=16/11", "-c:v", "libx264", "-g", "30"}, [2]uint32{465, 180}},
		{"HEVC, narrow pixels", flv.CodecHEVC, true, []string{"-vf", "setsar=8/9", "-c:v", "libx265", "-x265-params", "log-level=none", "-g", "30"}, [2]uint32{284, 180}},
		{"VP9, enhanced", flv.CodecVP9, true, []string{"-c:v", "libvpx-vp9", "-g", "30", "-deadline", "realtime"}, [2]uint32{}},
		{"VP9, classic", flv.CodecVP9, false, []string{"-c:v", "libvpx-vp9", "-g", "30", "-deadline", "realtime"}, [2]uint32{}},
		{"AV1", flv.CodecAV1, true, []string{"-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-g", "30"}, [2]uint32{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, ok := made[fmt.Sprint(test.args)]
			if !ok {
				e = encodeTo(t, filepath.Join(folder, fmt.Sprint(len(made), ".mp4")), append([]string{source, "-pix_fmt", "yuv420p"}, test.args...)...)
				made[fmt.Sprint(test.args)] = e
			}
			tags := []flv.Tag{video(0, flv.Packet{Codec: test.codec, Enhanced: test.enhanced, Kind: flv.KindConfig, Payload: e.config})}
			for _, p := range e.packets {
				at, shown := math.Round(1000*(p.at-e.packets[0].at)), math.Round(1000*(p.show-e.packets[0].at))
				tags = append(tags, video(uint32(at), flv.Packet{
					Codec: test.codec, Enhanced: test.enhanced, Kind: flv.KindFrame, Key: p.key,
					CompositionTime: int32(shown - at), Payload: p.data,
				}))
			}
			path := keep(t, "out.mp4", whole(t, file(tags...)))
			const entries = "stream=codec_name,codec_tag_string,width,height,sample_aspect_ratio,display_aspect_ratio"
			said := func(path string) string {
				return run(t, "ffprobe", "-v", "warning", "-show_entries", entries, "-of", "compact", path)
			}
			switch test.codec {
			case flv.CodecHEVC: // ffmpeg calls it hev1 unless told otherwise
				assert.Equal(t, strings.Replace(said(e.path), "hev1", "hvc1", 1), said(path))
			case flv.CodecH264:
				assert.Equal(t, said(e.path), said(path))
			default: // nothing says that pixels are square
				assert.Equal(t, strings.ReplaceAll(strings.ReplaceAll(said(e.path), "=1:1", "=N/A"), "=16:9", "=N/A"), said(path))
			}
			if strings.HasSuffix(test.name, "pixels") {
				tr := unpack(must(os.ReadFile(path))).tracks[0]
				assert.NotNil(t, find(tr.entries[0].body[78:], "pasp"))
				assert.Equal(t, test.shown, tr.size)
			}
			want, got := decode(t, e.path), decode(t, path)
			require.Len(t, got["0"], len(want["0"]))
			for i, f := range want["0"] {
				require.Equal(t, f.hash, got["0"][i].hash, "frame %d", i)
				require.InDelta(t, f.at-want["0"][0].at, got["0"][i].at-got["0"][0].at, 0.0021, "frame %d", i)
			}
		})
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic("reading what was just written: " + err.Error())
	}
	return b
}
