package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// peer is a server of another make.
type peer struct {
	program string // in the folder that SLUICE_TEST_PEERS names
	// start starts it; the URLs hold NAME where the stream's name is to stand.
	start func(t *testing.T, program string, i identity) (push []string, pull map[string]string)
	// remuxes says that it takes frames out of their tags and makes others of them: codec headers
	// before key frames, decoding times of its own.
	remuxes bool
	// lacks is how many frames of a track are still on their way in it when it ends the stream, and lost.
	lacks int
}

var peers = []peer{
	{"mediamtx", startMediaMTX, true, 5},
	{"lalserver", startLal, false, 0},
	{"srs", startSRS, false, 20},
	{"nginx-http-flv", startNginxHTTPFLV, false, 0},
}

// startProgram writes a configuration and runs a program with it.
func startProgram(t *testing.T, program, file, conf, listensAt string, args ...string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(conf), 0o600))
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	listens(t, begin(t, cmd), listensAt)
}

func startMediaMTX(t *testing.T, program string, i identity) (push []string, pull map[string]string) {
	rtmp, rtmps := freeAddress(t), freeAddress(t)
	conf := "rtsp: no\nhls: no\nwebrtc: no\nsrt: no\nmoq: no\nrtmp: yes\nrtmpEncryption: optional\n" +
		"rtmpAddress: " + rtmp + "\nrtmpsAddress: " + rtmps + "\nrtmpServerKey: " + i.file + "\nrtmpServerCert: " + i.file + "\npaths:\n  all_others:\n"
	startProgram(t, program, "mediamtx.yml", conf, rtmp)
	push = []string{"rtmp://" + rtmp + "/live/NAME", "rtmps://" + rtmps + "/live/NAME"}
	return push, map[string]string{"rtmp": push[0], "rtmps": push[1]}
}

func startLal(t *testing.T, program string, i identity) (push []string, pull map[string]string) {
	rtmp, rtmps, http, https := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	off := map[string]any{"enable": false, "enable_https": false}
	conf, err := json.Marshal(map[string]any{
		"conf_version": "v0.4.1",
		"rtmp": map[string]any{"enable": true, "addr": rtmp, "rtmps_enable": true, "rtmps_addr": rtmps,
			"rtmps_cert_file": i.file, "rtmps_key_file": i.file, "gop_num": 1},
		"default_http": map[string]any{"http_listen_addr": http, "https_listen_addr": https, "https_cert_file": i.file, "https_key_file": i.file},
		"httpflv":      map[string]any{"enable": true, "enable_https": true, "url_pattern": "/", "gop_num": 1},
		"hls":          off, "httpts": off, "rtsp": off, "http_api": off, "pprof": off, "http_notify": off, "record": off, "relay_push": off,
		"static_relay_pull": off,
	})
	require.NoError(t, err)
	startProgram(t, program, "lal.json", string(conf), rtmp, "-c", "lal.json")
	push = []string{"rtmp://" + rtmp + "/live/NAME", "rtmps://" + rtmps + "/live/NAME"}
	return push, map[string]string{
		"rtmp": push[0], "rtmps": push[1], "http": "http://" + http + "/live/NAME.flv", "ws": "ws://" + http + "/live/NAME.flv",
		"https": "https://" + https + "/live/NAME.flv", "wss": "wss://" + https + "/live/NAME.flv",
	}
}

func startSRS(t *testing.T, program string, _ identity) (push []string, pull map[string]string) {
	rtmp, http := freeAddress(t), freeAddress(t)
	conf := "daemon off; srs_log_tank console; srs_log_level warn; max_connections 100; pid ./srs.pid; listen " + rtmp + ";\n" +
		"http_server { enabled on; listen " + http + "; dir .; }\n" +
		"vhost __defaultVhost__ { http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } }\n"
	startProgram(t, program, "srs.conf", conf, rtmp, "-c", "srs.conf")
	push = []string{"rtmp://" + rtmp + "/live/NAME"}
	return push, map[string]string{"rtmp": push[0], "http": "http://" + http + "/live/NAME.flv"}
}

func startNginxHTTPFLV(t *testing.T, program string, _ identity) (push []string, pull map[string]string) {
	rtmp, http := freeAddress(t), freeAddress(t)
	conf := "daemon off; master_process off; pid pid; error_log stderr; events {}\n" +
		"rtmp { access_log off; server { listen " + rtmp + "; application live { live on; gop_cache on; publish_notify on; } } }\n" +
		"http { access_log off; server { listen " + http + "; location /flv { flv_live on; chunked_transfer_encoding on; } } }\n"
	startProgram(t, program, "nginx.conf", conf, rtmp, "-p", ".", "-e", "stderr", "-c", "nginx.conf")
	push = []string{"rtmp://" + rtmp + "/live/NAME"}
	_, port, _ := strings.Cut(rtmp, ":")
	return push, map[string]string{"rtmp": push[0], "http": "http://" + http + "/flv?port=" + port + "&app=live&stream=NAME"}
}

// Servers of other makes, over each protocol that they have: what is pushed to them and pulled from
// there has every frame, with all of its bytes. It is left out unless SLUICE_TEST_PEERS names a
// folder with the programs, each under the name above.
func TestRelayPeers(t *testing.T) {
	t.Parallel()
	folder := os.Getenv("SLUICE_TEST_PEERS")
	if folder == "" {
		t.Skip("left out: SLUICE_TEST_PEERS names no folder with servers of other makes")
	}
	for _, peer := range peers {
		t.Run(peer.program, func(t *testing.T) {
			program, err := exec.LookPath(filepath.Join(folder, peer.program))
			if err != nil {
				t.Skip(err)
			}
			i := newIdentity(t)
			pushes, pulls := peer.start(t, program, i)
			trust := "SSL_CERT_FILE=" + i.file
			s := serve(t, append(endsAtOnce, longWait, trust)...)
			want := s.pull(curl, "live/x")
			publisher := s.publish("live/x", both)
			var rules []string
			for i, url := range pushes {
				scheme, _, _ := strings.Cut(url, ":")
				s.pushes("live/x", strings.ReplaceAll(url, "NAME", scheme))
				for by, url := range pulls {
					if i == 0 || by == scheme {
						rules = append(rules, scheme+"-"+by+"/x "+strings.ReplaceAll(url, "NAME", scheme))
					}
				}
			}
			until(t, "all pushes are live", func() bool { return s.live("push") == len(pushes) })
			to := serve(t, append(endsAtOnce, longWait, trust, "SLUICE_PULL_HOLD=3s", "SLUICE_PULL="+strings.Join(rules, ";"))...)
			var viewers []*pull
			for _, rule := range rules {
				key, _, _ := strings.Cut(rule, " ")
				viewers = append(viewers, to.pull(curl, key))
			}
			for _, p := range viewers {
				p.reaches(4000)
			}
			publisher.signal(os.Interrupt)
			want.done()
			for _, p := range viewers {
				p.done()
				compare := isEndOf
				if peer.remuxes {
					compare = showsEndOf
				}
				t.Logf("%s: %d frames of %d", p.what, compare(t, p.path, want.path, 3000, peer.lacks), len(read(t, want.path).frames()))
			}
			assert.Zero(t, s.connection("live/x").Dropped)
		})
	}
}

// live returns how many connections of relays are live.
func (s *server) live(kind string) (n int) {
	for _, rule := range s.relays() {
		for _, c := range rule.Connections {
			if rule.Kind == kind && c.State == "live" {
				n++
			}
		}
	}
	return n
}
