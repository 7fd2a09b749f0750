//go:build unix

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/event"
	"sluice/cmd/sluice/hook"
	"sluice/hub"
)

// knowsKeys starts a server that is asked in Sluice's own form and knows the keys of the tests. It
// returns its address, in which there is a secret.
func knowsKeys(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Session struct{ Role string }
			Query   url.Values
		}
		if !assert.NoError(t, json.NewDecoder(r.Body).Decode(&q)) {
			return
		}
		keys := q.Query["key"]
		good := map[string]string{"publish": publishKey, "watch": watchKey}[q.Session.Role]
		json.NewEncoder(w).Encode(map[string]any{"allow": len(keys) == 1 && keys[0] == good, "subject": "somebody"})
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/hook?token=S3CREThook"
}

// classic is a server as it is written for SRS or for nginx-rtmp.
type classic struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string // action, name and query's key of each
}

func newClassic(t *testing.T, answer func(w http.ResponseWriter, action, name string)) *classic {
	c := new(classic)
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		action, name, key := "", "", ""
		if r.Header.Get("Content-Type") == "application/json" {
			var body struct{ Action, Stream, Param string }
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
			action, name, key = body.Action, body.Stream, body.Param
		} else {
			assert.NoError(t, r.ParseForm())
			action, name, key = r.PostForm.Get("call"), r.PostForm.Get("name"), r.PostForm.Get("key")
		}
		c.mu.Lock()
		c.calls = append(c.calls, action+" "+name+" "+key)
		c.mu.Unlock()
		answer(w, action, name)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *classic) heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.calls...)
}

// Servers that were written for SRS and for nginx-rtmp are asked and told at one address: nobody
// who was granted is told twice, a query is in the question only, and nginx-rtmp's gives a
// publisher another name, of which nobody sees the one that was typed.
func TestPermissionClassicServers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		format string
		answer func(w http.ResponseWriter, action, name string)
		typed  string
		want   []string
	}{
		{
			"srs", func(w http.ResponseWriter, _, _ string) { io.WriteString(w, `{"code": 0}`) }, "cam",
			[]string{
				"on_publish cam ?key=" + publishKey, "on_play cam ?key=" + watchKey, "on_stop cam ", "on_unpublish cam ",
			},
		},
		{
			"nginx", func(w http.ResponseWriter, action, name string) {
				if name == typedKey {
					w.Header().Set("Location", "cam")
					w.WriteHeader(http.StatusFound)
				}
			}, typedKey,
			[]string{
				"publish " + typedKey + " " + publishKey, "play cam " + watchKey, "play_done cam ", "publish_done cam ",
			},
		},
	} {
		t.Run(test.format, func(t *testing.T) {
			server := newClassic(t, test.answer)
			log := new(syncBuffer)
			svc, p := permitted(t, log,
				"SLUICE_PUBLISH_AUTH=url", "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL="+server.URL+"/S3CRET",
				"SLUICE_AUTH_FORMAT="+test.format, "SLUICE_EVENT_URL="+server.URL+"/S3CRET", "SLUICE_EVENT_FORMAT="+test.format)
			heard := func(n int) {
				until(t, "the server is told", func() bool { return len(server.heard()) >= n })
				assert.Equal(t, test.want[:n], server.heard())
			}
			session := svc.hub.NewSession(hub.RolePublish, hub.Key{App: "live", Name: test.typed},
				hub.Client{Protocol: "test", Query: url.Values{"key": {publishKey}}})
			require.NoError(t, session.AskAndWait(t.Context()))
			publisher, err := svc.hub.Publish(session, hub.PublishOptions{})
			require.NoError(t, err)
			defer publisher.Close()
			for _, tag := range append(madeHeader(), stream200k.frames(time.Second)...) {
				require.NoError(t, publisher.Write(tag))
			}
			heard(1)
			viewer := askers[2].ask(t, p, nil, "cam?key="+watchKey)
			answer, err := viewer.answer()
			require.NoError(t, err)
			require.Equal(t, in, answer)
			heard(2)
			viewer.Close()
			heard(3)
			publisher.Close()
			heard(4)
			_, list := p.get(t, "/api/v1/streams")
			svc.stop()
			assert.Equal(t, test.want, server.heard(), "nothing is told twice")
			noSecrets(t, "the log", log.bytes())
			noSecrets(t, "the list", list)
		})
	}
}

// The address of a server is a secret as well, and read again.
func TestPermissionServerIsReadAgain(t *testing.T) {
	yes := newClassic(t, func(w http.ResponseWriter, _, _ string) { io.WriteString(w, "0") })
	no := newClassic(t, func(w http.ResponseWriter, _, _ string) { io.WriteString(w, "1") })
	log := new(syncBuffer)
	file := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(file, []byte(no.URL+"/S3CRET\n"), 0o600))
	environ := []string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_PUBLISH_AUTH=url",
		"SLUICE_AUTH_FORMAT=srs", "SLUICE_AUTH_URL_FILE=" + file,
	}
	svc, p := permitted(t, log, environ...)
	ask := func(want string) {
		client := askers[0].ask(t, p, nil, "cam")
		defer client.Close()
		answer, err := client.answer()
		require.NoError(t, err)
		assert.Contains(t, answer, want)
	}
	ask(askers[0].denied)
	require.NoError(t, os.WriteFile(file, []byte(yes.URL+"/S3CRET\n"), 0o600))
	svc.reload(environ)
	ask(in)
	svc.stop()
	noSecrets(t, "the log", log.bytes())
}

// Where recordings are is told so that whoever gets it finds them from anywhere.
func TestRecordFolderIsAbsolute(t *testing.T) {
	here, err := os.Getwd()
	require.NoError(t, err)
	cfg := config{RecordDir: "recordings", permission: new(permission)}
	cfg.EventFormat = hook.FormatSRS
	_, bodies := cfg.webhook().Encode(&event.Event{
		Type: event.TypeRecordFinished, App: "live", Name: "a", Recording: &event.Recording{Path: "live/a/x.flv"},
	})
	require.Len(t, bodies, 1)
	var call struct{ CWD, File string }
	require.NoError(t, json.Unmarshal(bodies[0], &call))
	assert.Equal(t, filepath.Join(here, "recordings"), call.CWD)
	assert.Equal(t, "./live/a/x.flv", call.File)
	assert.Empty(t, new(config).recordFolder())
}
