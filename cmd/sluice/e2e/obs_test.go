//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"
)

// newerRoot names the environment variable with the folder of a whole Debian 13, made by
// debootstrap, with OBS and other programs with a window installed in it. They are a
// gigabyte and need root, so these tests are for people who have set that up by hand, and
// are left out in CI as well.
const newerRoot = "NEWER_DEBIAN"

// inNewer returns a command that runs in that Debian, in a new home there. Its user is
// root, or nobody where a program refuses that.
func inNewer(t *testing.T, nobody bool, variables []string, args ...string) (cmd *exec.Cmd, home string) {
	t.Helper()
	root := os.Getenv(newerRoot)
	if root == "" {
		t.Skipf("left out: %s does not say where a Debian 13 with %s is; debootstrap trixie FOLDER, and as root apt-get install there",
			newerRoot, args[0])
	}
	if _, err := os.Stat(filepath.Join(root, "usr/bin", args[0])); err != nil {
		t.Skipf("left out: %s", err)
	}
	outside, err := os.MkdirTemp(filepath.Join(root, "tmp"), "sluice-e2e-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(outside) })
	require.NoError(t, os.Chmod(outside, 0o777))
	home = strings.TrimPrefix(outside, filepath.Clean(root))
	var command []string
	if nobody {
		command = append(command, "--userspec=65534:65534")
	}
	command = append(command, root, "env", "HOME="+home, "XDG_RUNTIME_DIR="+home, "LC_ALL=C.UTF-8")
	return exec.Command("chroot", append(append(command, variables...), args...)...), home
}

// obs is a running OBS.
type obs struct {
	*process
	remote *websocket.Conn // its remote control
}

// obsFiles are OBS's settings, below its home, as its own dialogs would write them.
func obsFiles(clip, encoder, server, key string, control int) map[string]string {
	const profile = "basic/profiles/Test/"
	preset := `"ultrafast"`
	if encoder != "obs_x264" {
		preset = "10"
	}
	return map[string]string{
		"global.ini": "[General]\nFirstRun=true\nLastVersion=503447555\nEnableAutoUpdates=false\n" +
			"[Basic]\nProfile=Test\nProfileDir=Test\nSceneCollection=Test\nSceneCollectionFile=Test\n",
		profile + "basic.ini": "[General]\nName=Test\n[Output]\nMode=Advanced\n" +
			"[AdvOut]\nEncoder=" + encoder + "\nAudioEncoder=ffmpeg_aac\nTrackIndex=1\nApplyServiceSettings=false\n" +
			"[Video]\nBaseCX=640\nBaseCY=360\nOutputCX=640\nOutputCY=360\nFPSType=0\nFPSCommon=30\n[Audio]\nSampleRate=48000\n",
		profile + "streamEncoder.json": fmt.Sprintf(`{"bitrate":500,"keyint_sec":2,"preset":%s,"rate_control":"CBR"}`, preset),
		profile + "service.json":       fmt.Sprintf(`{"settings":{"key":%q,"server":%q},"type":"rtmp_custom"}`, key, server),
		"basic/scenes/Test.json": fmt.Sprintf(`{"name":"Test","current_scene":"Scene","scene_order":[{"name":"Scene"}],"sources":[
			{"id":"ffmpeg_source","name":"Clip","mixers":255,"settings":{"local_file":%q,"looping":true}},
			{"id":"scene","name":"Scene","settings":{"id_counter":1,"items":[
				{"name":"Clip","id":1,"visible":true,"pos":{"x":0,"y":0},"scale":{"x":2,"y":2},"align":5}]}}]}`, clip),
		"plugin_config/obs-websocket/config.json": fmt.Sprintf(
			`{"server_enabled":true,"server_port":%d,"auth_required":false,"alerts_enabled":false,"first_load":false}`, control),
	}
}

// startOBS starts OBS on a display of its own; it does not stream yet.
func (s *server) startOBS(encoder, app, key string) *obs {
	s.t.Helper()
	screen, _ := inNewer(s.t, false, nil, "Xvfb", "-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp")
	cmd, home := inNewer(s.t, false, []string{"LIBGL_ALWAYS_SOFTWARE=1", "QT_QPA_PLATFORM=xcb"}, "obs",
		"--multi", "--minimize-to-tray", "--disable-shutdown-check", "--disable-updater", "--disable-missing-files-check")
	clip, err := os.ReadFile("../../../testdata/clips/h264-bframes-aac.flv")
	require.NoError(s.t, err)
	outside := filepath.Join(os.Getenv(newerRoot), home)
	require.NoError(s.t, os.WriteFile(filepath.Join(outside, "clip.flv"), clip, 0o666))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(s.t, err)
	control := free.Addr().(*net.TCPAddr).Port
	free.Close()
	for name, content := range obsFiles(home+"/clip.flv", encoder, s.rtmp+"/"+app, key, control) {
		path := filepath.Join(outside, ".config/obs-studio", name)
		require.NoError(s.t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(s.t, os.WriteFile(path, []byte(content), 0o666))
	}
	display := begin(s.t, screen)
	until(s.t, "there is a display", func() bool { return strings.Contains(display.said.String(), "\n") })
	number, _, _ := strings.Cut(display.said.String(), "\n")
	cmd.Env = append(environment(), "DISPLAY=:"+strings.TrimSpace(number))
	o := &obs{process: begin(s.t, cmd)}
	until(s.t, "OBS can be told what to do", func() bool {
		require.True(s.t, o.running(), "OBS: %s", o.said.String())
		o.remote, _, err = websocket.Dial(s.t.Context(), fmt.Sprintf("ws://127.0.0.1:%d", control), nil)
		return err == nil
	})
	s.t.Cleanup(func() { o.remote.CloseNow() })
	o.say(1, `{"rpcVersion":1}`)
	return o
}

// say sends a message of obs-websocket 5 and waits for the answer; a request may be
// refused.
func (o *obs) say(op int, data string) bool {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	require.NoError(o.t, o.remote.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"op":%d,"d":%s}`, op, data)))
	for {
		_, b, err := o.remote.Read(ctx)
		require.NoError(o.t, err)
		var answer struct {
			Op int
			D  struct{ RequestStatus struct{ Result bool } }
		}
		require.NoError(o.t, json.Unmarshal(b, &answer))
		if answer.Op == op+1 {
			return answer.D.RequestStatus.Result
		}
	}
}

// ask makes OBS do something, as soon as it is ready for it.
func (o *obs) ask(request string) {
	o.t.Helper()
	until(o.t, "OBS does "+request, func() bool { return o.say(6, fmt.Sprintf(`{"requestType":%q,"requestId":"1"}`, request)) })
}

// A real OBS publishes H.264 and AV1, stops and starts; viewers in Chromium and over
// RTMP stay and go on.
func TestOBS(t *testing.T) {
	for encoder, codec := range map[string]string{"obs_x264": "H.264", "ffmpeg_svt_av1": "AV1"} {
		t.Run(encoder, func(t *testing.T) {
			if os.Getenv(newerRoot) == "" {
				inNewer(t, false, nil, "obs")
			}
			s := serve(t, longGrace)
			o := s.startOBS(encoder, "live", "obs?token=abc")
			o.ask("StartStream")
			s.until("live/obs", "live with its tracks", func(st stream) bool {
				return st.State == "live" && st.Video != nil && st.Audio != nil
			})
			st := s.stream("live/obs")
			assert.Equal(t, codec, st.Video.Codec)
			assert.Equal(t, []int{640, 360}, []int{st.Video.Width, st.Video.Height})
			assert.Equal(t, "AAC", st.Audio.Codec)
			p := openPlayers(t)
			for _, scheme := range []string{"http", "ws"} {
				p.play(s, "mpegts", scheme, "live/obs")
			}
			viewer := s.pull(curl, "live/obs")
			for _, name := range p.names {
				p.wait(name, "p.picture && p.time > 3 && p.frames > 60 && p.width === 640")
			}
			for stops := range 2 {
				o.ask("StopStream")
				s.state("live/obs", "grace")
				until(t, "OBS has stopped", func() bool { return strings.Count(o.said.String(), "Streaming Stop =") > stops })
				seam := map[string]float64{}
				for _, name := range p.names {
					seam[name] = p.look(name).End
				}
				o.ask("StartStream")
				for _, name := range p.names {
					p.wait(name, fmt.Sprintf("p.time > %f && p.smooth > 30", seam[name]+3))
				}
			}
			viewer.stop()
			var found probed
			out := run(t, newer(t, "ffprobe"), "-v", "warning", "-show_streams", "-show_packets", "-of", "json", viewer.path)
			require.NoError(t, json.Unmarshal(out, &found))
			found.monotonic(t)
			t.Logf("%d packets, the last at %s s", len(found.Packets), found.Packets[len(found.Packets)-1].Time)
			o.ask("StopStream")
			o.kill()
		})
	}
}

// OBS publishes over rtmps to a server whose certificate its machine trusts, and sends nothing to one that
// it does not.
func TestOBSOverTLS(t *testing.T) {
	inNewer(t, false, nil, "obs")
	i := newIdentity(t)
	secure := i.serve(t)
	s := secure.in(t)
	s.rtmp = secure.rtmps
	o := s.startOBS("obs_x264", "live", "obs?token=abc")
	o.ask("StartStream")
	until(t, "OBS does not trust it", func() bool { return strings.Contains(o.said.String(), "Cert verify failed") })
	assert.Empty(t, s.streams())

	text, err := os.ReadFile(i.file)
	require.NoError(t, err)
	trusted := filepath.Join(os.Getenv(newerRoot), "etc/ssl/certs/sluice-e2e.pem")
	require.NoError(t, os.WriteFile(trusted, text, 0o644))
	t.Cleanup(func() { os.Remove(trusted) })
	o.ask("StartStream")
	s.until("live/obs", "live with its tracks", func(st stream) bool {
		return st.State == "live" && st.Video != nil && st.Audio != nil
	})
	p := openPlayersOn(t, i.start, browse(t, i.trusted()))
	for _, scheme := range []string{"https", "wss"} {
		p.playURL(scheme, "mpegts", scheme+"://"+secure.https+"/live/obs.flv")
	}
	for _, scheme := range []string{"https", "wss"} {
		p.wait(scheme, "p.picture && p.time > 3 && p.frames > 60 && p.width === 640")
	}
	o.ask("StopStream")
	o.kill()
}
